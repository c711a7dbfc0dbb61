// The event in hand: chosen in the list, by the keyboard or by the URL; shown in the details.

import { lookUp } from "./read_once.js";
import { keyOf } from "./user_feed.js";

const HISTORY_MS = 1200; // how long a selected event may come with the history before it is looked up

/** Keeps list, details and `view().selected` together. `go(changes, options)` changes the view. */
export class Selection {
  constructor({ rows, list, details, scroller, view, go, token, onDelivery }) {
    Object.assign(this, { rows, list, details, scroller, view, go, token, onDelivery });
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
    } else this.details.say(`Looking for event ${selected.slice(0, 100)} …`);
  }

  /** Show it once it has come, if it is not shown yet. */
  arrived() {
    if (this.view().selected && !this.details.row) this.show();
  }

  /** The stream began: what does not come with it soon is looked up on the log. */
  began() {
    const { selected } = this.view();
    if (selected && !this.details.row) setTimeout(() => this.#find(selected), HISTORY_MS);
  }

  async #find(eventId) {
    const isWanted = () => this.view().selected === eventId && !this.details.row;
    if (!isWanted()) return;
    const row = await lookUp(eventId, { token: this.token(), onDelivery: this.onDelivery });
    if (!isWanted()) return;
    if (row) this.details.show(row, this.view().tab);
    else this.details.say(`Event ${eventId.slice(0, 100)} was not found. The log may not hold it any more.`);
  }

  close() {
    if (!this.view().selected) return;
    this.go({ selected: "" });
    this.scroller.focus();
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
