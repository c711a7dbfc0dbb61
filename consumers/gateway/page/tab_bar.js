// The tabs of the details, as a tab list for pointers, keyboards and screen readers.

import { el, icon } from "./dom.js";
import { tabCount } from "./tabs.js";
import { TABS } from "./view_state.js";

const TITLES = {
  event: "Event",
  entities: "Entities",
  payload: "Payload",
  source: "Source",
  delivery: "Delivery",
  user: "User",
};

/** The tabs of one event; `choose(tab)` marks one, `onTab(tab)` is called when one is pressed. */
export class TabBar {
  constructor(model, onTab) {
    this.buttons = TABS.map((tab) => tabButton(tab, model, onTab));
    this.element = el("div", { role: "tablist", class: "tabs", "aria-label": "Parts of the event" }, this.buttons);
    this.element.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const next = (TABS.indexOf(this.chosen) + step + TABS.length) % TABS.length;
      onTab(TABS[next]);
      this.buttons[next].focus();
    });
  }

  choose(tab) {
    this.chosen = tab;
    for (const button of this.buttons) {
      const chosen = button.id === `tab-${tab}`;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
  }
}

function tabButton(tab, model, onTab) {
  const number = tabCount(tab, model);
  const wrong = model.errors.some((error) => error.tab === tab);
  return el(
    "button",
    { type: "button", role: "tab", id: `tab-${tab}`, "aria-controls": "panel", click: () => onTab(tab) },
    TITLES[tab],
    number === undefined ? "" : el("span", { class: "number" }, String(number)),
    wrong
      ? el(
          "span",
          { class: "validity invalid", title: "has errors" },
          icon("invalid"),
          el("span", { class: "offscreen" }, "has errors"),
        )
      : "",
  );
}
