// Earlier events than those that are held, read from the log when somebody scrolls to them.

import { matches } from "./matching.js";
import { readOnce } from "./read_once.js";
import { timesOf } from "./rows.js";
import { keyOf } from "./user_feed.js";
import { subscriptionOf } from "./view_state.js";

export const PART = 1000;
const LONGEST_MS = 15_000;
const ENOUGH_HELD = 100; // partitions are not quite in step: so many events that are held say that those before came
const FIRST_SPAN_MS = [2000, 3_600_000];
const LONGEST_SPAN_MS = 30 * 24 * 3_600_000;
const GROWTH = 8;
const AMPLE = 1.25; // events do not come evenly

/**
 * Reads a part after the other. `view()` is what is shown, `isWhole()` says that nothing was before it, `onFound(rows)`
 * gets what was found, oldest first, and `onChange()` is called when `state` changed: `idle`, `reading`, `failed`, `all`
 * when the log holds nothing earlier, or `none` when the view is to show nothing earlier.
 */
export class Older {
  #reading = 0;
  #state = "idle";

  constructor({ rows, view, isWhole, token, onDelivery, onFound, onChange }) {
    Object.assign(this, { rows, view, isWhole, token, onDelivery, onFound, onChange });
  }

  get state() {
    return this.#state === "idle" && this.rows.dropped === 0 && this.isWhole() ? "all" : this.#state;
  }

  /** Another view begins. */
  reset(state) {
    this.#reading += 1;
    this.#state = state;
  }

  /** Read a part, unless one is being read. */
  async read() {
    if (!["idle", "failed"].includes(this.state) || this.rows.events === 0) return;
    this.#state = "reading";
    this.onChange();
    const reading = (this.#reading += 1);
    const found = await this.#search();
    if (reading !== this.#reading) return;
    this.#state = found === undefined ? "failed" : found.isAll ? "all" : "idle";
    if (found) this.onFound(found.rows);
    this.onChange();
  }

  /** `{rows, isAll}`, or undefined when the log could not be read. */
  async #search() {
    const held = new Set(this.rows.all().filter(isEvent).map(keyOf));
    for (const from of starts(this.rows)) {
      const found = await this.#between(from, held);
      if (!found || found.rows.length > 0 || found.isAll) return found;
    }
    return undefined;
  }

  /** What stands between a place on the log and the events that are held; at most the PART nearest to them. */
  async #between(from, held) {
    const view = this.view();
    const rows = [];
    let isAll = from === "earliest";
    let seen = 0;
    const take = (message) => {
      if (message.type === "delivery") this.onDelivery(message);
      if (message.type === "gap" && message.reason === "expired") isAll = true;
      if (isEvent(message)) {
        if (held.has(keyOf(message))) seen += 1;
        else if (!view.hidden.some((filter) => matches(message, filter))) rows.push(message);
      }
      if (rows.length > 2 * PART) {
        rows.splice(0, PART);
        isAll = false;
      }
      return seen >= Math.min(ENOUGH_HELD, held.size);
    };
    const query = subscriptionOf(view);
    query.set("from", from);
    if (!(await readOnce(query, { token: this.token(), take, longestMs: LONGEST_MS }))) return undefined;
    return { rows: rows.slice(-PART), isAll: isAll && rows.length <= PART };
  }
}

function isEvent({ type }) {
  return type === "event";
}

/** From where to read, nearer places first: where events were dropped, else back by how dense they are, else the log's start. */
function* starts(rows) {
  if (rows.olderCursor !== undefined) yield rows.olderCursor;
  const { start, end } = timesOf(rows.all()) ?? { start: 0, end: 0 };
  const [shortest, longest] = FIRST_SPAN_MS;
  let span = Math.min(longest, Math.max(shortest, ((end - start) / rows.events) * PART * AMPLE));
  for (; span < LONGEST_SPAN_MS && start > span; span *= GROWTH) yield new Date(start - span).toISOString();
  yield "earliest";
}
