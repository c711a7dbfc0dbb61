// What the page holds of the stream: the latest rows, within bounds, and what happened in each minute. Pure.

export const MAX_ROWS = 20_000;
const MAX_CHARACTERS = 48_000_000;
const MAX_VALUES = 500;
const MARK_EVERY = 500;
const MAX_MARKS = 2000;

/**
 * A stretch of the stream, its rows numbered (`seq`) in its order. When they are too many or too long, the oldest leave
 * for those that are appended, and the newest for those that are put before them.
 */
export class Rows {
  constructor({ maxRows = MAX_ROWS, maxCharacters = MAX_CHARACTERS } = {}) {
    this.maxRows = maxRows;
    this.maxCharacters = maxCharacters;
    this.last = 0;
    this.clear();
  }

  /** Forget every row; numbering goes on. */
  clear() {
    this.items = [];
    this.first = this.last + 1;
    this.base = this.first;
    this.characters = 0;
    this.events = 0;
    this.dropped = 0; // events that left at the old end,
    this.trimmed = 0; // and at the new one
    this.marks = []; // `[seq, cursor]` of rows that were dropped, one in MARK_EVERY
    this.otherDays = false;
  }

  /** Let every row leave, as the oldest do: what is read again of them is not new. */
  empty() {
    while (this.size > 0) this.#dropOldest();
    this.otherDays = false;
  }

  get size() {
    return this.last - this.first + 1;
  }

  /** Every row, oldest first. */
  all() {
    return this.items.slice(this.first - this.base);
  }

  at(seq) {
    return seq >= this.first && seq <= this.last ? this.items[seq - this.base] : undefined;
  }

  get isFull() {
    return this.size >= this.maxRows || this.characters >= this.maxCharacters;
  }

  get #isOver() {
    return this.size > this.maxRows || (this.characters > this.maxCharacters && this.size > 1);
  }

  /** Take the next row; returns whether it is one that was never held. */
  append(row) {
    this.last += 1;
    row.seq = this.last;
    this.items.push(row);
    this.#count(row, 1);
    while (this.#isOver) this.#dropOldest();
    if (this.first - this.base > 4096) {
      this.items.splice(0, this.first - this.base);
      this.base = this.first;
    }
    if (row.type !== "event" || this.trimmed === 0) return true;
    this.trimmed -= 1;
    return false;
  }

  /** Put rows, oldest first, before the others; returns those that were never held. */
  prepend(rows) {
    this.items = [...rows, ...this.all()];
    this.first -= rows.length;
    this.base = this.first;
    rows.forEach((row, index) => {
      row.seq = this.first + index;
      this.#count(row, 1);
    });
    this.marks = this.marks.filter(([seq]) => seq < this.first);
    while (this.#isOver) this.#dropNewest();
    const known = Math.min(rows.length, this.dropped);
    this.dropped -= known;
    return rows.slice(0, rows.length - known);
  }

  #count({ text, type }, sign) {
    this.characters += sign * text.length;
    if (type === "event") this.events += sign;
  }

  #dropOldest() {
    const row = this.items[this.first - this.base];
    this.items[this.first - this.base] = undefined;
    this.#count(row, -1);
    if (row.seq % MARK_EVERY === 0 && row.cursor) this.marks.push([row.seq, row.cursor]);
    if (this.marks.length > MAX_MARKS) this.marks.shift();
    this.dropped += row.type === "event";
    row.seq = undefined;
    this.first += 1;
  }

  #dropNewest() {
    const row = this.items.pop();
    this.#count(row, -1);
    this.trimmed += row.type === "event";
    row.seq = undefined;
    this.last -= 1;
  }

  /** A cursor before which, some rows further back, rows were dropped; undefined when none were. */
  get olderCursor() {
    return (this.marks.at(-3) ?? this.marks[0])?.[1];
  }

  /** Where the stream stands after the rows that are held. */
  get cursor() {
    return this.find(({ cursor }) => cursor !== undefined)?.cursor;
  }

  /** The newest row that `wanted` accepts, or undefined. */
  find(wanted) {
    for (let seq = this.last; seq >= this.first; seq -= 1) {
      const row = this.at(seq);
      if (wanted(row)) return row;
    }
    return undefined;
  }
}

const MINUTE_MS = 60_000;
export const STRIP_BARS = 30;

/**
 * Events by bar and validity: of the last half hour, or of another `{start, width}` in ms; from NaN on they are `untimed`.
 * `since` is the time of the earliest that was counted.
 */
export class Minutes {
  constructor() {
    this.clear();
  }

  clear(span) {
    this.start = span?.start;
    this.width = span?.width ?? MINUTE_MS;
    this.byBar = new Map();
    this.since = Infinity;
    this.untimed = nothing();
  }

  /** Forget what was counted, of the same span. */
  recount() {
    this.clear(this.start === undefined ? undefined : this);
  }

  add({ timestamp, validity }) {
    if (Number.isNaN(this.start)) this.untimed[validity] += 1;
    if (timestamp < this.since) this.since = timestamp;
    const bar = Math.floor((timestamp - (this.start ?? 0)) / this.width);
    if (!Number.isFinite(bar) || (this.start !== undefined && (bar < 0 || bar >= STRIP_BARS))) return;
    const counts = this.byBar.get(bar) ?? nothing();
    counts[validity] += 1;
    this.byBar.set(bar, counts);
    if (this.byBar.size > 4 * STRIP_BARS) this.#forget(Math.max(...this.byBar.keys()));
  }

  #forget(newest) {
    for (const bar of this.byBar.keys()) {
      if (bar <= newest - STRIP_BARS) this.byBar.delete(bar);
    }
    for (const bar of [...this.byBar.keys()].slice(0, -4 * STRIP_BARS)) this.byBar.delete(bar);
  }

  /** The bars, oldest first, up to `now` unless they are of a span: `{start, end, valid, invalid, unchecked}`, in ms. */
  window(now) {
    const first = this.start === undefined ? Math.floor(now / this.width) - STRIP_BARS + 1 : 0;
    return Array.from({ length: STRIP_BARS }, (_, index) => {
      const start = (this.start ?? 0) + (first + index) * this.width;
      const counts = this.byBar.get(first + index) ?? nothing();
      return { start, end: start + this.width, ...counts };
    });
  }
}

function nothing() {
  return { valid: 0, invalid: 0, unchecked: 0 };
}

/** From when to when some rows are, `{start, end}` in ms; undefined when they have no times. */
export function timesOf(rows) {
  let [start, end] = [Infinity, -Infinity];
  for (const { timestamp } of rows) {
    if (timestamp < start) start = timestamp;
    if (timestamp > end) end = timestamp;
  }
  return start <= end ? { start, end } : undefined;
}

/** The span of the strip that shows all of some rows, `{start, width}` in ms; from NaN on when they have no times. */
export function spanOf(rows) {
  const times = timesOf(rows) ?? { start: NaN, end: NaN };
  return { start: times.start, width: Math.max(1000, Math.ceil((times.end - times.start + 1) / STRIP_BARS)) };
}

/** Values seen of the fields that can be filtered by, with how often; bounded. */
export class SeenValues {
  constructor() {
    this.byField = new Map();
  }

  add(values) {
    for (const field in values) {
      const counts = this.byField.get(field) ?? new Map();
      this.byField.set(field, counts);
      const value = values[field];
      if (counts.has(value) || counts.size < MAX_VALUES) counts.set(value, (counts.get(value) ?? 0) + 1);
    }
  }

  /** `[value, count]` of a field, most frequent first. */
  of(field) {
    return [...(this.byField.get(field) ?? [])].sort((one, other) => other[1] - one[1]);
  }
}
