// What the page holds of the stream: the latest rows, within bounds, and what happened in each minute. Pure.

export const MAX_ROWS = 20_000;
const MAX_CHARACTERS = 48_000_000;
const MAX_VALUES = 500;

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
    this.characters -= this.items[index].text.length;
    this.events -= this.items[index].type === "event";
    this.items[index] = undefined;
    this.first += 1;
    this.dropped += 1;
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
export const STRIP_MINUTES = 30;

/** Events by minute and validity, for the last half hour, and in all. */
export class Minutes {
  constructor() {
    this.clear();
  }

  clear() {
    this.byMinute = new Map();
    this.total = { valid: 0, invalid: 0, unchecked: 0 };
  }

  add({ timestamp, validity }) {
    this.total[validity] += 1;
    const minute = Math.floor(timestamp / MINUTE_MS);
    if (!Number.isFinite(minute)) return;
    const counts = this.byMinute.get(minute) ?? { valid: 0, invalid: 0, unchecked: 0 };
    counts[validity] += 1;
    this.byMinute.set(minute, counts);
    if (this.byMinute.size > 4 * STRIP_MINUTES) this.#forget(Math.max(...this.byMinute.keys()));
  }

  #forget(newest) {
    for (const minute of this.byMinute.keys()) {
      if (minute <= newest - STRIP_MINUTES) this.byMinute.delete(minute);
    }
    for (const minute of [...this.byMinute.keys()].slice(0, -4 * STRIP_MINUTES)) this.byMinute.delete(minute);
  }

  /** The last half hour before `now`, oldest first: `{start, valid, invalid, unchecked}`, `start` in ms. */
  window(now) {
    const current = Math.floor(now / MINUTE_MS);
    return Array.from({ length: STRIP_MINUTES }, (_, index) => {
      const minute = current - STRIP_MINUTES + 1 + index;
      const counts = this.byMinute.get(minute) ?? { valid: 0, invalid: 0, unchecked: 0 };
      return { start: minute * MINUTE_MS, ...counts };
    });
  }
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
