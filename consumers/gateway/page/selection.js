// The event in hand: chosen in the list, by the keyboard or by the URL; shown in the details.

import { LONGEST_LOOK_MS, lookUp } from "./read_once.js";
import { duration, visible } from "./text.js";
import { keyOf } from "./user_feed.js";

const HISTORY_MS = 1200; // how long a selected event may come with the history before it is looked up
const MISSING = `the log does not hold it, or not any more, or too much to find it in ${duration(LONGEST_LOOK_MS)}.`;

/** Keeps list, details and `view().selected` together. `go(changes, options)` changes the view. */
export class Selection {
  #canSeek = false; // the gateway let the page in
  #sought; // the id of the event that is looked for on the log, or was last,
  #isMissing = false; // and whether it was not there

  constructor({ rows, list, details, view, go, token, onDelivery }) {
    Object.assign(this, { rows, list, details, view, go, token, onDelivery });
    this.narrow = window.matchMedia("(max-width: 840px)");
  }

  /** Choose a row; one that the list does not hold is shown all the same. */
  select(row) {
    const held = row.seq !== undefined ? row : (this.rows.find((other) => other.type === "event" && keyOf(other) === keyOf(row)) ?? row);
    const wasOpen = this.details.row !== undefined;
    const keepsFocus = this.details.pane.contains(document.activeElement);
    this.list.activate(held.seq, { reveal: held.seq !== undefined });
    this.details.show(held, this.view().tab);
    this.go({ selected: idOf(held) }, { replace: wasOpen });
    if (this.narrow.matches && !keepsFocus) this.details.focus();
  }

  /** Show what the view says is selected, as far as it is there. */
  show() {
    const { selected, tab } = this.view();
    document.body.classList.toggle("with-details", selected !== "");
    if (!selected) {
      this.details.hide();
      return;
    }
    const shown = this.details.row;
    const isShown = shown && idOf(shown) === selected;
    const row = isShown ? shown : this.rows.find((each) => idOf(each) === selected);
    if (row) {
      if (!isShown && row.seq !== undefined) this.list.activate(row.seq, { reveal: false });
      this.details.show(row, tab);
    } else this.#seek(selected);
  }

  /** Show it when it is among the rows that have come, and not shown yet. */
  arrived(rows) {
    const { selected } = this.view();
    if (selected && !this.details.row && rows.some((row) => idOf(row) === selected)) this.show();
  }

  /** The stream began: what does not come with it soon is looked up on the log. */
  began() {
    this.#canSeek = true;
    this.#sought = undefined;
    const { selected } = this.view();
    if (selected && !this.details.row) this.#seek(selected);
  }

  #seek(eventId) {
    if (this.#canSeek && this.#sought !== eventId) {
      this.#sought = eventId;
      this.#isMissing = false;
      setTimeout(() => this.#find(eventId), HISTORY_MS);
    }
    const id = visible(eventId, 100);
    this.details.say(this.#isMissing ? `Event ${id} was not found: ${MISSING}` : `Looking for event ${id} …`);
  }

  async #find(eventId) {
    const isWanted = () => this.#sought === eventId && this.view().selected === eventId && !this.details.row;
    if (!isWanted()) return;
    const row = await lookUp(eventId, { token: this.token(), onDelivery: this.onDelivery });
    if (!isWanted()) return;
    this.#isMissing = row === undefined;
    if (row) this.details.show(row, this.view().tab);
    else this.#seek(eventId);
  }

  close() {
    if (!this.view().selected) return;
    this.go({ selected: "" });
    this.list.focus();
  }

  /** So many rows further down (older); in the details, too, when they are open. */
  move(step) {
    const row = this.list.neighbour(step) ?? this.list.active;
    if (!row) return;
    this.list.activate(row.seq, { reveal: true });
    if (this.view().selected) this.select(row);
  }

  /** Enter: open the details of the row in hand, or go into them. */
  enter() {
    if (this.view().selected) this.details.focus();
    else if (this.list.active) this.select(this.list.active);
  }
}

function idOf({ eventId, cursor }) {
  return eventId || cursor;
}
