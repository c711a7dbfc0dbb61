// The words beside the strip: how many events of each validity there are; a press on a number shows those alone.

import { el, icon } from "./dom.js";
import { count } from "./text.js";

export const STATES = ["valid", "unchecked", "invalid"];
const FILTERS = { valid: "true", invalid: "false" }; // nothing filters by unchecked

/** Fills `box`. `onValid("true" or "false")` is called when somebody wants only such events. */
export class Legend {
  constructor(box, { onValid }) {
    this.total = el("span", { class: "total" });
    this.parts = STATES.map((state) => {
      const number = el("span");
      const content = [icon(state), el("span", {}, number, el("span", { class: "word" }, ` ${state}`))];
      const filter = FILTERS[state];
      const element = filter
        ? el("button", { type: "button", title: `Only ${state} events`, click: () => onValid(filter) }, content)
        : el("span", {}, content);
      return { state, element, number };
    });
    box.replaceChildren(this.total, ...this.parts.map(({ element }) => element));
  }

  /** Draw counts by state, and what they are of. */
  draw(counts, label) {
    this.total.textContent = `${count(sum(counts))} ${label}`;
    for (const { state, element, number } of this.parts) {
      element.className = `validity ${counts[state] > 0 ? state : ""}`;
      number.textContent = count(counts[state]);
    }
  }
}

/** Counts by state, added up. */
export function total(several) {
  return Object.fromEntries(STATES.map((state) => [state, several.reduce((all, counts) => all + counts[state], 0)]));
}

/** How many events there are of every state. */
export function sum({ valid, invalid, unchecked }) {
  return valid + invalid + unchecked;
}
