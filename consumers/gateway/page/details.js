// The pane beside the list: one event, under tabs.

import { asCurl, asJson, asPayload, copyText } from "./copy.js";
import { deliveryFacts, deliveryTab } from "./delivery_tab.js";
import { el, icon, untrusted } from "./dom.js";
import { eventModel } from "./event_model.js";
import { DeliverySign, validity } from "./row.js";
import { clock, count, day, visible } from "./text.js";
import { tabContent, tabCount } from "./tabs.js";
import { TABS } from "./view_state.js";

const TITLES = { event: "Event", entities: "Entities", payload: "Payload", source: "Source", delivery: "Delivery" };
const COPIES = [
  ["JSON", "Copy the whole message as JSON", asJson],
  ["payload", "Copy the tracker-protocol parameters", asPayload],
  ["curl", "Copy a curl command that sends this event again", asCurl],
];

/** Shows an event, and what `deliveries` know of it, in `pane`. `onTab(tab)`, `onClose()`, `onFilter([name, value])`, `announce(text)` are called. */
export class Details {
  #scheduled = false;

  constructor({ pane, deliveries, onTab, onClose, onFilter, announce }) {
    Object.assign(this, { pane, deliveries, onTab, onClose, onFilter, announce });
    this.row = undefined;
  }

  /** Show a row's event, on a tab; nothing is drawn again when both are shown already. */
  show(row, tab) {
    if (this.row !== row) {
      this.row = row;
      this.model = undefined;
      try {
        this.model = eventModel(row.text);
      } catch (error) {
        this.#fill(el("p", { class: "nothing" }, `This event cannot be shown: ${error}`));
        return;
      }
      this.tab = undefined;
      this.sign = new DeliverySign();
      this.sign.show(this.deliveries.stateOf(row));
      const panel = el("div", { class: "panel", id: "panel", role: "tabpanel", tabindex: "0" });
      this.#fill(el("div", { class: "sheet" }, this.#head(), this.#tabs(), panel));
    }
    if (this.tab !== tab) this.#showTab(tab);
  }

  /** Draw what is known of the delivery anew, in the next frame. */
  tell() {
    if (this.#scheduled || !this.row) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      if (!this.row || !this.model) return;
      this.sign.show(this.deliveries.stateOf(this.row));
      if (this.tab === "delivery") this.#fillPanel();
    });
  }

  /** Show a sentence instead of an event. */
  say(text) {
    this.row = undefined;
    this.#fill(el("p", { class: "nothing" }, text));
  }

  hide() {
    this.row = undefined;
    this.pane.hidden = true;
    this.pane.replaceChildren();
  }

  focus() {
    this.pane.querySelector("#panel, .close")?.focus();
  }

  #fill(...content) {
    const close = el(
      "button",
      {
        type: "button",
        class: "close",
        "aria-label": "Close details",
        title: "Close (Esc)",
        click: () => this.onClose(),
      },
      icon("close"),
    );
    this.pane.replaceChildren(close, ...content);
    this.pane.hidden = false;
  }

  #head() {
    const { row, model } = this;
    const schema = model.data?.schema || (row.values.schema ?? "");
    const actions = COPIES.map(([label, title, write]) => this.#copyButton(label, title, write));
    const like = filterLike(row.values);
    const only = like && this.#actionButton("filter", `Only ${visible(like[1], 40)}`, () => this.onFilter(like));
    return el(
      "header",
      { class: "details-head" },
      el("h2", {}, untrusted(row.name), row.hint && !model.data ? [" ", untrusted(row.hint, { class: "hint" })] : ""),
      schema ? untrusted(schema, { class: "schema" }) : "",
      el(
        "p",
        { class: "facts" },
        validity(row),
        this.sign.element,
        el("span", {}, `${day(row.timestamp)} ${clock(row.timestamp)}`),
        row.app ? untrusted(row.app) : "",
        row.who ? untrusted(row.who) : "",
      ),
      this.#errorSummary(model),
      el("div", { class: "actions" }, only, actions),
    );
  }

  #errorSummary({ errors }) {
    if (errors.length === 0) return "";
    const items = errors.map((error) =>
      el(
        "li",
        {},
        el(
          "button",
          { type: "button", click: () => this.#jump(error) },
          icon("invalid"),
          untrusted(whereIs(error), { class: "where" }),
          el("span", { class: "why" }, "expected ", untrusted(visible(error.expected, 120))),
        ),
      ),
    );
    return el("ul", { class: "error-summary", "aria-label": `${count(errors.length)} validation errors` }, items);
  }

  #jump(error) {
    if (error.tab !== this.tab) this.onTab(error.tab);
    error.element?.scrollIntoView({ block: "center" });
  }

  #actionButton(iconName, label, onClick) {
    return el("button", { type: "button", class: "action", click: onClick }, icon(iconName), el("span", {}, label));
  }

  #copyButton(label, title, write) {
    const button = this.#actionButton("copy", `Copy ${label}`, async () => {
      const copied = await copyText(write(this.row.text));
      const answer = copied ? "Copied" : "Not allowed";
      const text = button.lastElementChild;
      text.textContent = answer;
      this.announce(copied ? `Copied ${label}` : "The browser did not allow copying");
      setTimeout(() => (text.textContent = `Copy ${label}`), 1500);
    });
    button.title = title;
    return button;
  }

  #tabs() {
    const tabs = TABS.map((tab) => {
      const number = tabCount(tab, this.model);
      const wrong = this.model.errors.some((error) => error.tab === tab);
      return el(
        "button",
        { type: "button", role: "tab", id: `tab-${tab}`, "aria-controls": "panel", click: () => this.onTab(tab) },
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
    });
    const list = el("div", { role: "tablist", class: "tabs", "aria-label": "Parts of the event" }, tabs);
    list.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const next = (TABS.indexOf(this.tab) + step + TABS.length) % TABS.length;
      this.onTab(TABS[next]);
      tabs[next].focus();
    });
    return list;
  }

  #showTab(tab) {
    this.tab = tab;
    for (const button of this.pane.querySelectorAll("[role=tab]")) {
      const chosen = button.id === `tab-${tab}`;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
    const panel = this.pane.querySelector(".panel");
    panel.setAttribute("aria-labelledby", `tab-${tab}`);
    this.drawn = undefined;
    this.#fillPanel();
    const sheet = this.pane.querySelector(".sheet");
    sheet.scrollTop = Math.min(sheet.scrollTop, sheet.firstElementChild.offsetHeight); // the tabs stay where they are
  }

  #fillPanel() {
    const panel = this.pane.querySelector(".panel");
    if (this.tab !== "delivery") {
      panel.replaceChildren(...tabContent(this.tab, this.model, this.onFilter));
      return;
    }
    const groups = deliveryFacts(this.deliveries.of(this.row), Date.now());
    const state = JSON.stringify(groups);
    if (state === this.drawn) return; // a selection in it stays
    this.drawn = state;
    panel.replaceChildren(...deliveryTab(this.row, this.model, groups));
  }
}

function whereIs({ field, path }) {
  const place = field.startsWith("unstruct_event") || field === "" ? "" : field;
  return visible(`${place}${place ? path : path.slice(1)}`, 120) || "the whole event";
}

/** The filter for events of the same kind: the name of a self-describing one, the type of any other. */
function filterLike({ event, event_name: name }) {
  if (event === "unstruct" && name) return ["event_name", name];
  return event && ["event", event];
}
