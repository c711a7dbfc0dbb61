// The sign in the bar that a collector takes no events now; pressed, it says which, since when and why.

import { collectorLine } from "./delivery_tab.js";
import { el, icon, untrusted } from "./dom.js";
import { duration } from "./text.js";

/** Draws `troubles` (see Deliveries) on a button, and in the panel that it opens. */
export class CollectorSign {
  constructor({ button, panel, deliveries }) {
    Object.assign(this, { button, panel, deliveries });
    this.words = "";
    this.drawn = "[]";
  }

  draw() {
    const { troubles } = this.deliveries;
    const words = inWords(troubles);
    if (words !== this.words) {
      this.words = words;
      this.button.hidden = words === "";
      const refuses = troubles.some(({ state }) => state === "refusing");
      this.button.dataset.state = refuses ? "refusing" : "down";
      this.button.replaceChildren(icon(refuses ? "refused" : "lost"), el("span", {}, words));
    }
    const state = JSON.stringify(troubles);
    if (state === this.drawn) return;
    this.drawn = state;
    if (troubles.length === 0) this.panel.hidePopover();
    this.panel.replaceChildren(
      el("h2", {}, "Collectors that take no events now"),
      ...troubles.map((each) => el("div", {}, el("h3", {}, "Group ", untrusted(each.group)), collectorLine(each))),
    );
  }
}

function inWords(troubles) {
  if (troubles.length === 0) return "";
  if (troubles.length > 1) return `${troubles.length} collectors down`;
  const [{ state, since }] = troubles;
  if (state === "refusing") return "collector refuses";
  const long = Date.now() - since;
  return `collector down${long >= 1000 ? ` ${duration(Math.floor(long / 1000) * 1000)}` : ""}`;
}
