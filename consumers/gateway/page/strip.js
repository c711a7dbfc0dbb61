// The strip of the last half hour: a bar a minute, what is right above the line and what is wrong below it.

import { el, icon } from "./dom.js";
import { STRIP_MINUTES } from "./rows.js";
import { count, minuteOfDay } from "./text.js";

const STATES = ["valid", "unchecked", "invalid"];
const LEAST = { valid: 8, unchecked: 8, invalid: 24 }; // percent: one event among thousands is still seen
const DRAW_SOON_MS = 200;
const UP_TO_DOWN = 2; // the space above the line is twice that below, on one scale

/** Draws `minutes` (see rows.js). `onMinute(start)` is called, in ms, when a minute with events is chosen. */
export class Strip {
  #chosen = STRIP_MINUTES - 1;
  #drawn = "";
  #told;
  #timer;

  constructor({ bars, legend, minutes, onMinute }) {
    Object.assign(this, { bars, legend, minutes, onMinute });
    this.buttons = Array.from({ length: STRIP_MINUTES }, (_, index) => this.#newBar(index));
    bars.append(...this.buttons);
    bars.addEventListener("keydown", (event) => this.#move(event));
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
    bar.addEventListener(
      "click",
      () => this.window[index] && sum(this.window[index]) > 0 && this.onMinute(this.window[index].start),
    );
    for (const event of ["pointerenter", "focus"]) bar.addEventListener(event, () => this.#tell(index));
    return bar;
  }

  #move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.buttons[this.#chosen].tabIndex = -1;
    this.#chosen = Math.min(STRIP_MINUTES - 1, Math.max(0, this.#chosen + step));
    this.buttons[this.#chosen].tabIndex = 0;
    this.buttons[this.#chosen].focus();
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
    const { total } = this.minutes;
    const state = JSON.stringify([this.window, total, this.#told]);
    if (state === this.#drawn || document.hidden) return;
    this.#drawn = state;
    const most = Math.max(
      1,
      ...this.window.map(({ valid, unchecked, invalid }) => Math.max(valid + unchecked, invalid * UP_TO_DOWN)),
    );
    this.window.forEach((minute, index) => this.#drawBar(this.buttons[index], minute, most));
    this.#drawLegend(this.#told === undefined ? total : this.window[this.#told]);
  }

  #drawBar(bar, minute, most) {
    const [unchecked, valid, invalid] = bar.querySelectorAll(".part");
    valid.style.height = percent(minute.valid / most, LEAST.valid);
    unchecked.style.height = percent(minute.unchecked / most, LEAST.unchecked);
    invalid.style.height = percent((minute.invalid * UP_TO_DOWN) / most, LEAST.invalid);
    bar.setAttribute("aria-label", `${minuteOfDay(minute.start)}: ${inWords(minute)}`);
    bar.classList.toggle("none", sum(minute) === 0);
  }

  #drawLegend(counts) {
    const label = this.#told === undefined ? "received" : `at ${minuteOfDay(counts.start)}`;
    const parts = STATES.map((state) =>
      el(
        "span",
        { class: `validity ${counts[state] > 0 ? state : ""}` },
        icon(state),
        el("span", {}, count(counts[state]), el("span", { class: "word" }, ` ${state}`)),
      ),
    );
    this.legend.replaceChildren(el("span", { class: "total" }, `${count(sum(counts))} ${label}`), ...parts);
  }

  #tell(index) {
    this.#told = index;
    this.draw();
  }
}

function sum({ valid, invalid, unchecked }) {
  return valid + invalid + unchecked;
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
