// The strip: half an hour, a bar a minute, or another span; what is right above the line, what is wrong below it.

import { el } from "./dom.js";
import { Legend, STATES, sum, total } from "./legend.js";
import { STRIP_BARS } from "./rows.js";
import { count, day, minuteOfDay, secondOfDay, zoneAt } from "./text.js";

const LEAST = { valid: 8, unchecked: 8, invalid: 24 }; // percent: one event among thousands is still seen
const DRAW_SOON_MS = 200;
const UP_TO_DOWN = 2; // the space above the line is twice that below, on one scale

/**
 * Draws `minutes` (see rows.js); `isWhole()` says that nothing was before what they count. `onBar({start, end})`, in ms,
 * is called when a bar is pressed, `onRange({start, end})` when several are: by dragging, or by the arrows with Shift;
 * `onValid` as the legend says (legend.js).
 */
export class Strip {
  #anchor; // where a range begins, while one is being chosen
  #chosen = STRIP_BARS - 1;
  #drawn = "";
  #told;
  #timer;

  constructor({ bars, axis, title, legend, minutes, isWhole, onBar, onRange, onValid }) {
    Object.assign(this, { bars, axis, title, minutes, isWhole, onBar, onRange });
    this.legend = new Legend(legend, { onValid });
    this.buttons = Array.from({ length: STRIP_BARS }, (_, index) => this.#newBar(index));
    bars.append(...this.buttons);
    bars.addEventListener("keydown", (event) => this.#move(event));
    bars.addEventListener("pointerdown", (event) => event.button === 0 && this.#drag(event));
    bars.addEventListener("pointerleave", () => this.#tell(undefined));
    bars.addEventListener("focusout", () => this.#tell(undefined));
    setInterval(() => this.draw(), 1000);
    this.draw();
  }

  #newBar(index) {
    const parts = STATES.map((state) => el("span", { class: `part ${state}` }));
    const up = el("span", { class: "up" }, parts[1], parts[0]);
    const down = el("span", { class: "down" }, parts[2]);
    const bar = el(
      "button",
      { type: "button", class: "minute", tabindex: index === this.#chosen ? "0" : "-1" },
      up,
      down,
    );
    bar.addEventListener("click", ({ detail }) => detail === 0 && this.#choose(this.#anchor ?? index, index)); // a key
    for (const event of ["pointerenter", "focus"]) bar.addEventListener(event, () => this.#tell(index));
    return bar;
  }

  #move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.#anchor = event.shiftKey ? (this.#anchor ?? this.#chosen) : undefined;
    this.buttons[this.#chosen].tabIndex = -1;
    this.#chosen = Math.min(STRIP_BARS - 1, Math.max(0, this.#chosen + step));
    this.buttons[this.#chosen].tabIndex = 0;
    this.buttons[this.#chosen].focus();
    this.#mark(this.#anchor ?? this.#chosen, this.#chosen);
  }

  #drag(event) {
    const first = this.#barAt(event.clientX);
    let last = first;
    const moved = ({ clientX }) => this.#mark(first, (last = this.#barAt(clientX)));
    const end = (ended) => {
      window.removeEventListener("pointermove", moved);
      for (const name of ["pointerup", "pointercancel"]) window.removeEventListener(name, end);
      this.#mark(0, 0);
      if (ended.type === "pointerup") this.#choose(first, last);
    };
    window.addEventListener("pointermove", moved);
    for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, end);
  }

  #barAt(x) {
    const { left, width } = this.bars.getBoundingClientRect();
    return Math.min(STRIP_BARS - 1, Math.max(0, Math.floor(((x - left) / width) * STRIP_BARS)));
  }

  #mark(one, other) {
    const [first, last] = [Math.min(one, other), Math.max(one, other)];
    this.buttons.forEach((bar, index) => bar.classList.toggle("chosen", first < last && index >= first && index <= last));
  }

  #choose(one, other) {
    const [first, last] = [Math.min(one, other), Math.max(one, other)];
    this.#anchor = undefined;
    this.#mark(0, 0);
    const { start } = this.window[first];
    if (Number.isNaN(start)) return;
    if (first === last) this.onBar(this.window[first]);
    else this.onRange({ start, end: this.window[last].end });
  }

  /** Draw what changed, a little later, so that a burst costs one drawing. */
  update() {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.draw();
    }, DRAW_SOON_MS);
  }

  draw() {
    this.window = this.minutes.window(Date.now());
    const state = JSON.stringify([this.window, this.minutes.untimed, this.#isPart, this.minutes.since, this.#told]);
    if (state === this.#drawn || document.hidden) return;
    this.#drawn = state;
    this.title.textContent = this.#inWords();
    this.title.title = this.#isPart ? "Earlier events were not read yet: the foot of the list reads them" : "";
    const most = Math.max(
      1,
      ...this.window.map(({ valid, unchecked, invalid }) => Math.max(valid + unchecked, invalid * UP_TO_DOWN)),
    );
    this.window.forEach((minute, index) => this.#drawBar(this.buttons[index], minute, most));
    this.#drawAxis();
    const told = this.window[this.#told];
    this.legend.draw(told ?? total([...this.window, this.minutes.untimed]), told ? `at ${this.#time(told.start)}` : "received");
  }

  #time(ms) {
    return this.minutes.width % 60_000 === 0 ? minuteOfDay(ms) : secondOfDay(ms);
  }

  /** Whether events of the last half hour may be missing, those before the earliest that was read. */
  get #isPart() {
    const { start, since } = this.minutes;
    return start === undefined && !this.isWhole() && since > this.window[0].start && since < Infinity;
  }

  #inWords() {
    if (this.#isPart) return `Since ${secondOfDay(this.minutes.since)}`;
    if (this.minutes.start === undefined) return "Last 30 minutes";
    if (Number.isNaN(this.minutes.start)) return "No times";
    const [{ start }, { end }] = [this.window[0], this.window.at(-1)];
    const date = day(start) === day(Date.now()) ? "" : `${day(start)} `;
    return `${date}${this.#time(start)} – ${this.#time(end)}`;
  }

  #drawBar(bar, minute, most) {
    const [unchecked, valid, invalid] = bar.querySelectorAll(".part");
    valid.style.height = percent(minute.valid / most, LEAST.valid);
    unchecked.style.height = percent(minute.unchecked / most, LEAST.unchecked);
    invalid.style.height = percent((minute.invalid * UP_TO_DOWN) / most, LEAST.invalid);
    const unread = this.#isPart && minute.end <= this.minutes.since;
    bar.setAttribute("aria-label", `${this.#time(minute.start)}: ${unread ? "not read" : inWords(minute)}`);
    bar.classList.toggle("unread", unread);
    bar.classList.toggle("none", sum(minute) === 0);
  }

  /** When the thirds of the strip begin, when it ends, and by which clock. */
  #drawAxis() {
    const times = [0, STRIP_BARS / 3, (2 * STRIP_BARS) / 3].map((index) => this.window[index].start);
    const labels = Number.isNaN(times[0]) ? [] : [...times, this.window.at(-1).end].map((ms) => this.#time(ms));
    const end = labels.length ? `${labels.pop()} ${zoneAt(times[0])}` : "";
    this.axis.replaceChildren(...labels.map((label) => el("span", {}, label)), el("span", {}, end));
  }

  #tell(index) {
    this.#told = index;
    this.draw();
  }
}

function percent(share, least) {
  return share === 0 ? "0" : `${Math.max(least, 100 * share)}%`;
}

function inWords(counts) {
  if (sum(counts) === 0) return "no events";
  return STATES.filter((state) => counts[state] > 0)
    .map((state) => `${count(counts[state])} ${state}`)
    .join(", ");
}
