// The pane beside the list: one event, under tabs.

import { deliveryFacts, deliveryTab } from "./delivery_tab.js";
import { detailsHead } from "./details_head.js";
import { el, icon } from "./dom.js";
import { eventModel } from "./event_model.js";
import { DeliverySign } from "./row.js";
import { TabBar } from "./tab_bar.js";
import { tabContent } from "./tabs.js";
import { UserFeed } from "./user_feed.js";
import { userTab } from "./user_tab.js";

const FOLLOW_AFTER_MS = 250; // who moves through the list asks for nobody's events
const DRAW_USER_EVERY_MS = 250;
const DRAW_MANY_EVERY_MS = 1000;
const MANY = 200;

/**
 * Shows an event, and what `deliveries` know of it, in `pane`. `actions` are called: onTab(tab), onClose(),
 * onFilter([name, value]), onHide([name, value]), onSelect(row), announce(text), say(text), token(), fileRows().
 */
export class Details {
  #scheduled = false;
  #followTimer;
  #userTimer;

  constructor({ pane, deliveries, actions }) {
    Object.assign(this, { pane, deliveries, actions });
    this.row = undefined;
    this.feed = new UserFeed({ onChange: () => this.#tellUser(), token: actions.token, fileRows: actions.fileRows });
  }

  /** Show a row's event, on a tab; nothing is drawn again when both are shown already. */
  show(row, tab) {
    if (this.row !== row) {
      this.row = row;
      this.model = undefined;
      this.tab = undefined;
      try {
        this.model = eventModel(row.text);
      } catch (error) {
        this.#fill(el("p", { class: "nothing" }, `This event cannot be shown: ${error}`));
        return;
      }
      this.sign = new DeliverySign();
      this.sign.show(this.deliveries.stateOf(row));
      this.bar = new TabBar(this.model, this.actions.onTab);
      const head = detailsHead(row, this.model, this.sign, { ...this.actions, jump: (error) => this.#jump(error) });
      const panel = el("div", { class: "panel", id: "panel", role: "tabpanel", tabindex: "0" });
      this.#fill(el("div", { class: "sheet" }, head, this.bar.element, panel));
    }
    if (this.model && this.tab !== tab) this.#showTab(tab);
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
    this.#forget();
    this.#fill(el("p", { class: "nothing" }, text));
  }

  hide() {
    this.#forget();
    this.pane.hidden = true;
    this.pane.replaceChildren();
  }

  focus() {
    this.pane.querySelector("#panel, .close")?.focus();
  }

  #forget() {
    this.row = this.model = this.tab = undefined;
    clearTimeout(this.#followTimer);
    this.feed.stop();
  }

  #fill(...content) {
    const close = el(
      "button",
      {
        type: "button",
        class: "close",
        "aria-label": "Close details",
        title: "Close (Esc)",
        click: () => this.actions.onClose(),
      },
      icon("close"),
    );
    this.pane.replaceChildren(close, ...content);
    this.pane.hidden = false;
  }

  #jump(error) {
    if (error.tab !== this.tab) this.actions.onTab(error.tab);
    error.element?.scrollIntoView({ block: "center" });
  }

  #showTab(tab) {
    this.tab = tab;
    this.bar.choose(tab);
    const panel = this.pane.querySelector(".panel");
    panel.setAttribute("aria-labelledby", `tab-${tab}`);
    this.drawn = undefined;
    clearTimeout(this.#followTimer);
    if (tab === "user") this.#followTimer = setTimeout(() => this.#follow(), FOLLOW_AFTER_MS);
    else this.feed.stop();
    this.#fillPanel();
    const sheet = this.pane.querySelector(".sheet");
    sheet.scrollTop = Math.min(sheet.scrollTop, sheet.firstElementChild.offsetHeight); // the tabs stay where they are
  }

  #follow() {
    this.feed.follow(this.row, this.model.event);
    this.#fillPanel();
  }

  #tellUser() {
    if (this.tab !== "user") return;
    this.#userTimer ??= setTimeout(() => {
      this.#userTimer = undefined;
      if (this.tab === "user") this.#fillPanel();
    }, this.feed.size > MANY ? DRAW_MANY_EVERY_MS : DRAW_USER_EVERY_MS);
  }

  #fillPanel() {
    const panel = this.pane.querySelector(".panel");
    if (this.tab === "user") this.#fillUser(panel);
    else if (this.tab === "delivery") {
      const groups = deliveryFacts(this.deliveries.of(this.row), Date.now());
      const state = JSON.stringify(groups);
      if (state === this.drawn) return; // a selection in it stays
      this.drawn = state;
      panel.replaceChildren(...deliveryTab(this.row, this.model, groups));
    } else panel.replaceChildren(...tabContent(this.tab, this.model, this.actions.onFilter));
  }

  #fillUser(panel) {
    if (!this.feed.follows(this.row)) {
      panel.replaceChildren(el("p", { class: "nothing" }, "Looking for the events of the same person …"));
      return;
    }
    const focused = panel.contains(document.activeElement) && document.activeElement.dataset.key;
    panel.replaceChildren(...userTab(this.feed, this.row, this.actions));
    if (focused) panel.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
}
