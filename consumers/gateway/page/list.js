// The list of rows, newest first: only the rows in view are elements.

import { printedRows } from "./print_rows.js";
import { RowElement } from "./row.js";
import { count } from "./text.js";

const OVERSCAN = 4;
const AT_TOP_PX = 4;
const MAX_TINTED = 12;
const NEAR_ROWS = 500;
const FOOT = {
  idle: "",
  reading: "Reading … ",
  failed: "Earlier events could not be read. ",
  all: "The log holds nothing earlier.",
  none: "",
};

/**
 * Shows `rows`, and what `deliveries` know of them, in a scroller; `older()` is the state of older.js. `onSelect(row)` is
 * called when a row is pressed.
 */
export class EventList {
  #shown = new Map(); // seq → RowElement
  #spare = [];
  #scheduled = false;
  #head = 0; // the newest row shown: those after it wait above while the list is scrolled
  #active; // the seq of the row in hand
  #firstPaint = true;
  #toldMore = false;
  #otherDays = false;
  #scrolledTo = 0;
  #atEnd = false; // the oldest row is kept in view, until somebody scrolls

  constructor({ scroller, canvas, foot, newer, rows, deliveries, older, onSelect, onMore, onOlder }) {
    Object.assign(this, { scroller, canvas, foot, newer, rows, deliveries, older, onSelect, onMore, onOlder });
    this.hasMore = false; // there are newer rows that were not asked for
    this.isPast = false; // what comes is no news, and goes on above what is in view
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    scroller.addEventListener("wheel", ({ deltaY }) => deltaY > 0 && this.#wantOlder(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(scroller);
    newer.addEventListener("click", () => this.#up());
    foot.lastElementChild.addEventListener("click", onOlder);
    const press = (event) => this.#pressed(event);
    canvas.addEventListener(
      "pointerdown",
      (event) => event.pointerType === "mouse" && event.button === 0 && press(event),
    );
    canvas.addEventListener("click", (event) => event.pointerType !== "mouse" && press(event));
    canvas.addEventListener("pointerover", (event) => this.#explain(event.target));
    window.addEventListener("beforeprint", () => this.#print(true));
    window.addEventListener("afterprint", () => this.#print(false));
    this.#measure();
  }

  get atTop() {
    return this.scroller.scrollTop < AT_TOP_PX;
  }

  /** Whether the oldest rows are in view, or will soon be. */
  get isNearEnd() {
    const { scrollTop, clientHeight } = this.scroller;
    return !this.atTop && this.#head - (scrollTop + clientHeight) / this.rowHeight < this.rows.first + NEAR_ROWS;
  }

  get active() {
    return this.rows.at(this.#active);
  }

  focus() {
    this.canvas.focus({ preventScroll: true });
  }

  /** Draw what changed, in the next frame. */
  update() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.#scheduled && this.draw());
  }

  /** Draw what is known of deliveries anew, in the next frame. */
  tell() {
    this.#toldMore = true;
    this.update();
  }

  /** Everything was cleared; `atEnd` shows the oldest rows of what comes, instead of the newest. */
  reset({ atEnd = false } = {}) {
    this.#atEnd = atEnd;
    this.#head = this.rows.last;
    this.#active = undefined;
    this.#firstPaint = true;
    this.scroller.scrollTop = 0;
    this.update();
  }

  toTop() {
    this.#head = this.rows.last;
    this.scroller.scrollTop = 0;
    this.update();
  }

  /** What comes waits above from here on. */
  hold() {
    this.#atEnd = false;
    if (this.atTop) this.scroller.scrollTop = this.rowHeight;
  }

  /** Up to what waits above; from there on, to what was not asked for yet. */
  #up() {
    if (this.rows.last > this.#head || !this.hasMore) this.toTop();
    else this.#readOn();
  }

  /** Mark a row as the one in hand; `reveal` scrolls it into view. */
  activate(seq, { reveal = false } = {}) {
    this.#active = seq;
    if (reveal) this.#atEnd = false;
    if (reveal) this.#reveal(seq);
    this.update();
  }

  /** The event `step` rows further down (older) than the one in hand; the newest one when none is in hand. */
  neighbour(step) {
    let seq = this.active ? this.#active - step : this.#head;
    while (this.rows.at(seq) && this.rows.at(seq).type !== "event") seq -= Math.sign(step);
    return this.rows.at(seq);
  }

  #reveal(seq) {
    if (seq > this.#head) this.#head = this.rows.last;
    const top = (this.#head - seq) * this.rowHeight;
    const { scrollTop, clientHeight } = this.scroller;
    this.canvas.style.height = `${this.#height()}px`;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.rowHeight > scrollTop + clientHeight)
      this.scroller.scrollTop = top + this.rowHeight - clientHeight;
  }

  #height() {
    return Math.max(0, this.#head - this.rows.first + 1) * this.rowHeight;
  }

  #measure() {
    this.rowHeight = parseFloat(getComputedStyle(this.canvas).getPropertyValue("--row")) || 24;
    this.update();
  }

  /** Draw what changed, now: for who is in a frame already. */
  draw() {
    this.#scheduled = false;
    if (this.printing) return;
    const { rows, scroller } = this;
    const before = this.#head;
    if (this.#atEnd || (this.atTop && !this.isPast) || this.#head < rows.first) this.#head = rows.last;
    else if (this.#head > rows.last || (this.isPast && this.#isAbove())) this.#shift();
    if (this.#atEnd) this.#toEnd();
    if (this.#otherDays !== rows.otherDays) this.#forget();
    this.#otherDays = rows.otherDays;
    const arrived = this.#head - before;
    const tint = !this.#firstPaint && arrived > 0 && arrived <= MAX_TINTED ? before : Infinity;
    const newest = Math.min(this.#head, this.#head - Math.floor(scroller.scrollTop / this.rowHeight) + OVERSCAN);
    const fitting = Math.ceil(scroller.clientHeight / this.rowHeight) + 2 * OVERSCAN;
    const oldest = Math.max(rows.first, newest - fitting);
    for (const [seq, shown] of this.#shown) {
      if (seq <= newest && seq >= oldest) continue;
      this.#shown.delete(seq);
      this.#spare.push(shown);
    }
    for (let seq = newest; seq >= oldest; seq -= 1) this.#place(seq, seq > tint);
    for (const { element } of this.#spare.splice(0)) element.remove();
    this.#order(newest, oldest);
    this.#toldMore = false;
    if (arrived > 0 && rows.size > 0) this.#firstPaint = false;
    this.canvas.style.height = `${this.#height()}px`;
    scroller.parentElement.classList.toggle("other-days", rows.otherDays);
    scroller.parentElement.classList.toggle("with-deliveries", this.deliveries.known);
    this.#drawEdges();
  }

  /** The newest row that is held becomes the newest shown, and what is in view stays where it is. */
  #shift() {
    const by = this.rows.last - this.#head;
    this.#head = this.rows.last;
    this.canvas.style.height = `${this.#height()}px`;
    this.scroller.scrollTop += by * this.rowHeight;
    this.#scrolledTo = this.scroller.scrollTop;
  }

  #isAbove() {
    return this.scroller.scrollTop < this.scroller.clientHeight;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const isUp = scrollTop < this.#scrolledTo;
    this.#scrolledTo = scrollTop;
    if (scrollTop < scrollHeight - clientHeight - AT_TOP_PX) this.#atEnd = false;
    if (isUp && this.hasMore && this.rows.last === this.#head && this.#isAbove() && !this.#atEnd) this.#readOn();
    else if (!isUp && scrollTop > 0) this.#wantOlder();
    this.update();
  }

  #wantOlder() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    if (scrollTop + 2 * clientHeight >= scrollHeight && !this.#atEnd && this.older() === "idle") this.onOlder();
  }

  #readOn() {
    this.hold();
    this.onMore();
  }

  #forget() {
    this.canvas.replaceChildren();
    this.#shown.clear();
  }

  #toEnd() {
    this.canvas.style.height = `${this.#height()}px`;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#scrolledTo = this.scroller.scrollTop;
  }

  #drawEdges() {
    const waiting = this.rows.last - this.#head;
    this.newer.hidden = waiting === 0 && !(this.hasMore && this.scroller.scrollTop <= this.rowHeight);
    const words = waiting > 0 ? `${count(waiting)} new` : "Read on";
    if (!this.newer.hidden) this.newer.firstElementChild.textContent = words;
    const older = this.older();
    this.foot.hidden = this.rows.events === 0 || older === "none";
    const [said, button] = this.foot.children;
    if (said.textContent !== FOOT[older]) said.textContent = FOOT[older];
    button.hidden = older === "all";
    button.setAttribute("aria-disabled", String(older === "reading"));
    if (this.active && this.#shown.has(this.#active)) {
      this.canvas.setAttribute("aria-activedescendant", `row-${this.#active}`);
    } else this.canvas.removeAttribute("aria-activedescendant");
  }

  #place(seq, fresh) {
    let shown = this.#shown.get(seq);
    if (!shown) {
      shown = this.#spare.pop() ?? new RowElement(this.deliveries);
      shown.fill(this.rows.at(seq), this.rows.otherDays);
      shown.element.classList.toggle("fresh", fresh);
      this.#shown.set(seq, shown);
      if (!shown.element.isConnected) this.canvas.append(shown.element);
    } else if (this.#toldMore) shown.tell(this.rows.at(seq));
    const { element } = shown;
    element.style.transform = `translateY(${(this.#head - seq) * this.rowHeight}px)`;
    const active = seq === this.#active;
    if (element.classList.contains("active") !== active) {
      element.classList.toggle("active", active);
      element.setAttribute("aria-selected", String(active));
    }
    element.setAttribute("aria-posinset", this.#head - seq + 1);
    element.setAttribute("aria-setsize", this.#head - this.rows.first + 1);
  }

  /** Screen readers go through the rows in the order of their elements; most stand where they stood. */
  #order(newest, oldest) {
    let before = null;
    for (let seq = newest; seq >= oldest; seq -= 1) {
      const { element } = this.#shown.get(seq);
      if (element.previousSibling !== before) this.canvas.insertBefore(element, before ? before.nextSibling : this.canvas.firstChild);
      before = element;
    }
  }

  #rowOf(target) {
    const element = target instanceof Element ? target.closest(".row") : null;
    return element ? this.rows.at(Number(element.dataset.seq)) : undefined;
  }

  #pressed(event) {
    const row = this.#rowOf(event.target);
    if (row?.type === "event") this.onSelect(row);
  }

  /** What does not fit in a row is told when it is pointed at. */
  #explain(target) {
    const row = this.#rowOf(target);
    const cell = target instanceof Element ? target.closest(".row > *") : null;
    if (row?.type === "event" && cell && !cell.title) this.#shown.get(row.seq)?.explain(row, cell);
  }

  #print(printing) {
    this.printing = printing;
    if (!printing) {
      this.#forget();
      this.update();
      return;
    }
    this.canvas.replaceChildren(...printedRows(this.rows, this.#head, this.deliveries));
    this.canvas.style.height = "";
  }
}
