// The list of rows, newest first: only the rows in view are elements.

import { el, icon } from "./dom.js";
import { clock, count, day, plural, visible } from "./text.js";

const OVERSCAN = 4;
const AT_TOP_PX = 4;
const MAX_TINTED = 12;
const PRINTED_ROWS = 100;
export const VALIDITY_ICONS = { valid: "valid", invalid: "invalid", unchecked: "unchecked" };

/** Shows `rows` in a scroller. `onSelect(row)` is called when a row is pressed. */
export class EventList {
  #shown = new Map(); // seq → element
  #spare = [];
  #scheduled = false;
  #head = 0; // the newest row shown: those after it wait above while the list is scrolled
  #active = 0;
  #firstPaint = true;

  constructor({ scroller, canvas, foot, newer, rows, onSelect }) {
    Object.assign(this, { scroller, canvas, foot, newer, rows, onSelect });
    scroller.addEventListener("scroll", () => this.update(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(scroller);
    newer.addEventListener("click", () => this.toTop());
    const press = (event) => this.#pressed(event);
    canvas.addEventListener("pointerdown", (event) => event.pointerType === "mouse" && event.button === 0 && press(event));
    canvas.addEventListener("click", (event) => event.pointerType !== "mouse" && press(event));
    canvas.addEventListener("pointerover", (event) => this.#explain(event.target));
    window.addEventListener("beforeprint", () => this.#print(true));
    window.addEventListener("afterprint", () => this.#print(false));
    this.#measure();
  }

  get atTop() {
    return this.scroller.scrollTop < AT_TOP_PX;
  }

  get active() {
    return this.rows.at(this.#active);
  }

  /** Draw what changed, in the next frame. */
  update() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#draw();
    });
  }

  /** Everything was cleared. */
  reset() {
    this.#head = this.rows.last;
    this.#active = 0;
    this.#firstPaint = true;
    this.scroller.scrollTop = 0;
    this.update();
  }

  toTop() {
    this.#head = this.rows.last;
    this.scroller.scrollTop = 0;
    this.update();
  }

  /** Mark a row as the one in hand; `reveal` scrolls it into view. */
  activate(seq, { reveal = false } = {}) {
    this.#active = seq;
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
    else if (top + this.rowHeight > scrollTop + clientHeight) this.scroller.scrollTop = top + this.rowHeight - clientHeight;
  }

  #height() {
    return Math.max(0, this.#head - this.rows.first + 1) * this.rowHeight;
  }

  #measure() {
    this.rowHeight = parseFloat(getComputedStyle(this.canvas).getPropertyValue("--row")) || 24;
    this.update();
  }

  #draw() {
    if (this.printing) return;
    const { rows, scroller } = this;
    const before = this.#head;
    if (this.atTop || this.#head < rows.first) this.#head = rows.last;
    const arrived = this.#head - before;
    const tint = !this.#firstPaint && arrived > 0 && arrived <= MAX_TINTED ? before : Infinity;
    const newest = Math.min(this.#head, this.#head - Math.floor(scroller.scrollTop / this.rowHeight) + OVERSCAN);
    const fitting = Math.ceil(scroller.clientHeight / this.rowHeight) + 2 * OVERSCAN;
    const oldest = Math.max(rows.first, newest - fitting);
    for (const [seq, element] of this.#shown) {
      if (seq <= newest && seq >= oldest) continue;
      this.#shown.delete(seq);
      this.#spare.push(element);
    }
    for (let seq = newest; seq >= oldest; seq -= 1) this.#place(seq, seq > tint);
    for (const element of this.#spare.splice(0)) element.remove();
    if (arrived > 0 && rows.size > 0) this.#firstPaint = false;
    this.canvas.style.height = `${this.#height()}px`;
    this.canvas.classList.toggle("other-days", rows.otherDays);
    this.#drawEdges();
  }

  #drawEdges() {
    const waiting = this.rows.last - this.#head;
    this.newer.hidden = waiting === 0;
    if (waiting > 0) this.newer.firstElementChild.textContent = `${count(waiting)} new`;
    this.foot.hidden = this.rows.dropped === 0;
    if (!this.foot.hidden) {
      this.foot.textContent = `The page holds the latest ${count(this.rows.size)} rows; ${count(this.rows.dropped)} older ones are in the log.`;
    }
    if (this.active && this.#shown.has(this.#active)) {
      this.scroller.setAttribute("aria-activedescendant", `row-${this.#active}`);
    } else this.scroller.removeAttribute("aria-activedescendant");
  }

  #place(seq, fresh) {
    let element = this.#shown.get(seq);
    if (!element) {
      element = this.#spare.pop() ?? newRowElement();
      fillRow(element, this.rows.at(seq), this.rows.otherDays);
      element.classList.toggle("fresh", fresh);
      this.#shown.set(seq, element);
      if (!element.isConnected) this.canvas.append(element);
    }
    element.style.transform = `translateY(${(this.#head - seq) * this.rowHeight}px)`;
    const active = seq === this.#active;
    if (element.classList.contains("active") !== active) {
      element.classList.toggle("active", active);
      element.setAttribute("aria-selected", String(active));
    }
    element.setAttribute("aria-posinset", this.#head - seq + 1);
    element.setAttribute("aria-setsize", this.#head - this.rows.first + 1);
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
    if (row?.type !== "event" || !cell || cell.title) return;
    if (cell.classList.contains("time")) cell.title = timesOf(row);
    else if (cell.classList.contains("who")) cell.title = row.whoField ? `${row.whoField} ${visible(row.who)}` : "";
    else if (cell.classList.contains("what")) cell.title = visible(`${row.name} ${row.hint}`);
    else if (cell.classList.contains("app")) cell.title = visible(row.app);
  }

  #print(printing) {
    this.printing = printing;
    if (!printing) {
      this.canvas.replaceChildren();
      this.#shown.clear();
      this.update();
      return;
    }
    const oldest = Math.max(this.rows.first, this.#head - PRINTED_ROWS + 1);
    const elements = [];
    for (let seq = this.#head; seq >= oldest; seq -= 1) {
      const element = newRowElement();
      fillRow(element, this.rows.at(seq), this.rows.otherDays);
      elements.push(element);
    }
    this.canvas.replaceChildren(...elements);
    this.canvas.style.height = "";
  }
}

function newRowElement() {
  return el("div", { class: "row", role: "option", "aria-selected": "false" });
}

function fillRow(element, row, withDay) {
  element.dataset.seq = row.seq;
  element.id = `row-${row.seq}`;
  element.className = `row ${row.type}`;
  element.setAttribute("aria-selected", "false");
  if (row.type !== "event") {
    element.setAttribute("aria-disabled", "true");
    element.replaceChildren(el("span", { class: "gap-text", title: gapText(row) }, icon("gap"), gapText(row)));
    return;
  }
  element.removeAttribute("aria-disabled");
  const time = Number.isFinite(row.timestamp) ? clock(row.timestamp) : "no time";
  element.replaceChildren(
    el("span", { class: "time" }, withDay ? el("span", { class: "day" }, `${day(row.timestamp).slice(5)} `) : "", time),
    el("bdi", { class: "app" }, visible(row.app)),
    el("span", { class: "what" }, el("bdi", { class: "name" }, visible(row.name)), " ", el("bdi", { class: "hint" }, visible(row.hint))),
    el("bdi", { class: "who" }, visible(row.who)),
    validity(row),
  );
}

/** The state of an event's validity: a shape and a word. */
export function validity({ validity: state, errors }) {
  const word = state === "invalid" && errors > 1 ? `${count(errors)} errors` : state;
  return el("span", { class: `validity ${state}` }, icon(VALIDITY_ICONS[state]), el("span", {}, word));
}

/** What a gap says of itself. */
export function gapText({ count: missing, reason, type, text }) {
  if (type === "unreadable") return `A message could not be read: ${visible(text, 200)}`;
  const what = missing === undefined ? "Events are missing here" : `${plural(missing, "event")} missing here`;
  return reason ? `${what}: ${visible(reason, 300)}` : what;
}

const TIMES = [
  ["dvce_created_tstamp", "tracked"],
  ["dvce_sent_tstamp", "sent"],
  ["collector_tstamp", "received"],
];

function timesOf(row) {
  const { event = {} } = JSON.parse(row.text);
  const lines = [];
  let before;
  for (const [field, word] of [...TIMES, [undefined, "on the log"]]) {
    const ms = field ? Date.parse(event[field]) : row.timestamp;
    if (!Number.isFinite(ms)) continue;
    const lag = before === undefined ? "" : `  ${ms < before ? "−" : "+"}${count(Math.abs(ms - before))} ms`;
    lines.push(`${word}: ${day(ms)} ${clock(ms)}${lag}`);
    before = ms;
  }
  return lines.join("\n");
}
