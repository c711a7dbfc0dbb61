// The small sign of the connection's state, and how many events arrive a second.

import { el, icon } from "./dom.js";
import { count } from "./text.js";

const RATE_EVERY_MS = 500;
const RATE_SAMPLES = 4;

/** Draw the state: a shape, a word, and the rate while live. */
export function drawStatus(element, phase, { paused, waiting, history, rate }) {
  const [shape, words] = statusOf(phase, { paused, waiting, history, rate });
  const state = `${shape} ${words}`;
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  element.className = `status ${shape}`;
  element.replaceChildren(icon(shape), el("span", {}, words));
}

function statusOf(phase, { paused, waiting, history, rate }) {
  if (phase.name === "halted") return ["file", "a file"];
  if (phase.name === "refused") return ["refused", "refused"];
  if (phase.name === "lost") return ["lost", "offline"];
  if (phase.name === "connecting") return ["connecting", "connecting"];
  if (paused) return ["paused", waiting ? `paused, ${count(waiting)} waiting` : "paused"];
  if (history) return ["history", "history"];
  return ["live", `live ${rate}`];
}

/** Events a second, over the last two seconds; `onSample()` is called when it may have changed. */
export class Rate {
  #arrived = 0;
  #samples = [];
  #startedAt = 0;

  constructor(onSample) {
    setInterval(() => {
      this.#sample();
      onSample();
    }, RATE_EVERY_MS);
  }

  /** A subscription began: what comes in its first moment is history, and no measure. */
  start() {
    this.#startedAt = Date.now();
  }

  add() {
    this.#arrived += 1;
  }

  #sample() {
    if (Date.now() - this.#startedAt < 2 * RATE_EVERY_MS) this.#arrived = 0;
    this.#samples.push(this.#arrived);
    this.#arrived = 0;
    if (this.#samples.length > RATE_SAMPLES) this.#samples.shift();
  }

  /** The rate in words, empty when nothing arrives. */
  toString() {
    const arrived = this.#samples.reduce((sum, sample) => sum + sample, 0);
    const perSecond = arrived / ((Math.max(1, this.#samples.length) * RATE_EVERY_MS) / 1000);
    if (perSecond === 0) return "";
    return `${perSecond >= 10 ? count(Math.round(perSecond)) : Number(perSecond.toFixed(1))}/s`;
  }
}
