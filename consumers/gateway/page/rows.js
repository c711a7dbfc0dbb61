// What the page holds of the stream: the latest rows, within bounds, and what happened in each minute. Pure.

export const MAX_ROWS = 20_000;
const MAX_CHARACTERS = 48_000_000;
const MAX_VALUES = 500;
const MARK_EVERY = 500;
const MAX_MARKS = 2000;

/** The latest rows, numbered from 1 as they come (`seq`); the oldest leave when they are too many or too long. */
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
    this.dropped = 0;
    this.marks = []; // cursors of rows that were dropped, one in MARK_EVERY
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

  append(row) {
    this.last += 1;
    row.seq = this.last;
    this.items.push(row);
    this.characters += row.text.length;
    this.events += row.type === "event";
    while (this.size > this.maxRows || (this.characters > this.maxCharacters && this.size > 1)) this.#dropOldest();
    if (this.first - this.base > 4096) {
      this.items.splice(0, this.first - this.base);
      this.base = this.first;
    }
  }

  #dropOldest() {
    const index = this.first - this.base;
    const { text, type, cursor } = this.items[index];
    this.characters -= text.length;
    this.events -= type === "event";
    if (this.dropped % MARK_EVERY === 0 && cursor) this.marks.push(cursor);
    if (this.marks.length > MAX_MARKS) this.marks.shift();
    this.items[index] = undefined;
    this.first += 1;
    this.dropped += 1;
  }

  /** A cursor before which, some rows further back, rows were dropped; undefined when none were. */
  get olderCursor() {
    return this.marks.at(-3) ?? this.marks[0];
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

/** Events by bar and validity, and in all: of the last half hour, or of another `{start, width}` in ms. */
export class Minutes {
  constructor() {
    this.clear();
  }

  clear(span) {
    this.start = span?.start;
    this.width = span?.width ?? MINUTE_MS;
    this.byBar = new Map();
    this.total = { valid: 0, invalid: 0, unchecked: 0 };
  }

  /** Forget what was counted, of the same span. */
  recount() {
    this.clear(this.start === undefined ? undefined : this);
  }

  add({ timestamp, validity }) {
    this.total[validity] += 1;
    const bar = Math.floor((timestamp - (this.start ?? 0)) / this.width);
    if (!Number.isFinite(bar) || (this.start !== undefined && (bar < 0 || bar >= STRIP_BARS))) return;
    const counts = this.byBar.get(bar) ?? { valid: 0, invalid: 0, unchecked: 0 };
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
      const counts = this.byBar.get(first + index) ?? { valid: 0, invalid: 0, unchecked: 0 };
      return { start, end: start + this.width, ...counts };
    });
  }
}

/** The span that shows all of some rows, `{start, width}` in ms; undefined when they have no times. */
export function spanOf(rows) {
  let [first, last] = [Infinity, -Infinity];
  for (const { timestamp } of rows) {
    if (timestamp < first) first = timestamp;
    if (timestamp > last) last = timestamp;
  }
  return first <= last ? { start: first, width: Math.max(1000, Math.ceil((last - first + 1) / STRIP_BARS)) } : undefined;
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
