// Shows text as it is: what would be invisible, or would reorder its neighbours, is written as an escape.

// Control, format, surrogate and separator characters, and letters that look like nothing. A zero-width joiner stays
// where scripts and emoji need it, and is shown where it only hides: at the start, or after a Latin character.
const HIDDEN = new RegExp(
  [
    /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]/u,
    /(?![\u200c\u200d\u0600-\u0605\u06dd])\p{Cf}/u,
    /(?<=^|[\u0000-\u024f])[\u200c\u200d]/u,
  ]
    .map(({ source }) => source)
    .join("|"),
  "gu",
);

const SHORT = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

function escape(character) {
  const code = character.codePointAt(0);
  const hex = code.toString(16);
  return SHORT.get(character) ?? (code > 0xffff ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`);
}

/** The text on one line, with escapes for what cannot be seen; cut after `limit` characters. */
export function visible(text, limit = Infinity) {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text;
  return cut.replace(HIDDEN, escape);
}

/** The text in pieces, `[text, isEscape]`, so that an escape can be told from a backslash that was really sent. */
export function pieces(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > end) found.push([text.slice(end, match.index), false]);
    found.push([escape(match[0]), true]);
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push([text.slice(end), false]);
  return found;
}

const grouped = new Intl.NumberFormat("en");

/** 12345 as `12,345`. */
export function count(number) {
  return grouped.format(number);
}

/** `1 event`, `2 events`. */
export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

const NO_TIME = "no time";
const two = (number) => String(number).padStart(2, "0");

/** The time of day here, with milliseconds, of `ms` since 1970; in words when it is NaN. */
export function clock(ms) {
  if (Number.isNaN(ms)) return NO_TIME;
  const time = new Date(ms);
  return `${minuteOfDay(ms)}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

/** The time of day here, to the minute. */
export function minuteOfDay(ms) {
  if (Number.isNaN(ms)) return NO_TIME;
  const time = new Date(ms);
  return `${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** The time of day here, to the second. */
export function secondOfDay(ms) {
  return clock(ms).slice(0, 8);
}

/** The date here, as `2024-02-29`. */
export function day(ms) {
  const time = new Date(ms);
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
}

const zone = new Intl.DateTimeFormat("en", { timeZoneName: "short" });

/** The name of the time zone here, as it was at `ms`: `UTC`, `GMT+1`. */
export function zoneAt(ms) {
  return zone.formatToParts(ms).find(({ type }) => type === "timeZoneName").value;
}

/** The date and the time of day here, with milliseconds; `year: false` leaves the year out. */
export function dayAndClock(ms, { year = true } = {}) {
  return Number.isNaN(ms) ? NO_TIME : `${day(ms).slice(year ? 0 : 5)} ${clock(ms)}`;
}

/** A length of time in words: `840 ms`, `12.5 s`, `3 min 20 s`, `5 h 12 min`, `4 days`. */
export function duration(ms) {
  const length = Math.abs(ms);
  if (length < 1000) return `${Math.round(length)} ms`;
  if (length < 60_000) return `${(length / 1000).toFixed(length < 10_000 ? 1 : 0)} s`;
  const minutes = Math.floor(length / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((length % 60_000) / 1000)} s`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}
