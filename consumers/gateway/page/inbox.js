// Between the socket and the list: rows wait here for the next frame, or, while paused, for play.

const MAX_HIDDEN = 500;
const HIDDEN_EVERY_MS = 1000;
export const MAX_WAITING = 5000;

/**
 * Hands rows to `onRows(rows)` once a frame. While paused it keeps up to MAX_WAITING of them and counts the rest; on
 * play it hands on what it kept, and `onReread(cursor)` asks for the rest from the log, so nothing is lost.
 */
export class Inbox {
  #queue = [];
  #scheduled = false;
  #rereadFrom;
  #cursor;

  constructor({ onRows, onReread }) {
    this.onRows = onRows;
    this.onReread = onReread;
    this.paused = false;
    this.waiting = 0;
    document.addEventListener("visibilitychange", () => this.#flushSoon());
  }

  /** Take a row; its `cursor` is where the stream stands after it. */
  push(row) {
    if (!this.paused) {
      this.#queue.push(row);
      this.#flushSoon();
      return;
    }
    if (row.type === "event") this.waiting += 1;
    if (this.#rereadFrom !== undefined) return;
    if (this.#queue.length >= MAX_WAITING && this.#cursor !== undefined) {
      this.#rereadFrom = this.#cursor;
      return;
    }
    this.#queue.push(row);
    this.#cursor = row.cursor ?? this.#cursor;
  }

  pause() {
    this.flush();
    this.paused = true;
    this.waiting = 0;
    this.#rereadFrom = undefined;
    this.#cursor = undefined;
  }

  play() {
    const cursor = this.#rereadFrom;
    this.#rereadFrom = undefined;
    this.paused = false;
    this.waiting = 0;
    this.flush();
    if (cursor !== undefined) this.onReread(cursor);
  }

  /** Forget what waits, and play: another subscription begins. */
  reset() {
    this.#queue = [];
    this.paused = false;
    this.waiting = 0;
    this.#rereadFrom = undefined;
  }

  flush() {
    if (this.paused || this.#queue.length === 0) return;
    const rows = this.#queue;
    this.#queue = [];
    this.onRows(rows);
  }

  #flushSoon() {
    if (document.hidden && this.#queue.length >= MAX_HIDDEN) this.flush();
    if (this.#scheduled || this.#queue.length === 0 || this.paused) return;
    this.#scheduled = true;
    const flush = () => {
      this.#scheduled = false;
      this.flush();
    };
    if (document.hidden) setTimeout(flush, HIDDEN_EVERY_MS);
    else requestAnimationFrame(flush);
  }
}
