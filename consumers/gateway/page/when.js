// Times as people write them: a time of day, an ISO time, or how long ago. Pure.

const UNITS = new Map([
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);
const UNIT = "s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?";
const AGO = new RegExp(`^(\\d{1,6}(?:\\.\\d{1,3})?)\\s*(${UNIT})(?:\\s+ago)?$`);
const CLOCK = /^([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d{1,3})?))?$/;

/** What a text means `now`, both in ms since 1970, or undefined: `12:04`, `12:04:31.5`, an ISO time, `10m`, `2 hours ago`. */
export function readTime(text, now) {
  const wanted = text.trim().toLowerCase();
  const [, length, unit] = AGO.exec(wanted) ?? [];
  if (length) return Math.max(0, Math.round(now - Number(length) * UNITS.get(unit[0])));
  const [, hours, minutes, seconds = "0"] = CLOCK.exec(wanted) ?? [];
  if (hours) return lastTimeOfDay(Number(hours), Number(minutes), Number(seconds), now);
  if (!/^\d{4}-\d{2}-\d{2}/.test(wanted)) return undefined;
  const ms = Date.parse(wanted.length === 10 ? `${wanted}T00:00` : text.trim().replace(" ", "T"));
  return ms >= 0 ? ms : undefined;
}

/** When it was that time of day for the last time, here. */
function lastTimeOfDay(hours, minutes, seconds, now) {
  const time = new Date(now);
  time.setHours(hours, minutes, 0, Math.round(seconds * 1000));
  if (time > now) time.setDate(time.getDate() - 1);
  return Number(time);
}

/** The time, in ms, that a `from` of the gateway's is, or undefined: it is in UTC unless it says otherwise. */
export function timeOfStart(from, now) {
  const [, length, unit] = /^(\d{1,9})([smhd])$/.exec(from) ?? [];
  if (length) return Math.max(0, now - Number(length) * UNITS.get(unit));
  if (!/^\d{4}-\d{2}-\d{2}/.test(from)) return undefined;
  const ms = Date.parse(/T[^Z+-]*$/i.test(from) ? `${from}Z` : from);
  return Number.isFinite(ms) ? ms : undefined;
}
