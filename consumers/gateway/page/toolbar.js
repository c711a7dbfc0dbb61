// The bar's text search and buttons, and the keys that stand for them.

import { byId, el, icon } from "./dom.js";
import { listenToKeys } from "./keyboard.js";

const TYPING_PAUSE_MS = 300;

/**
 * Listens to the search field and the buttons. `actions` are functions: onSearch(text, {replace}), where `replace` says that
 * the text before it was on the way to this one, and one for each button.
 */
export class Toolbar {
  #typing;
  #searched; // the text that is searched for
  #isOnTheWay = false;

  constructor(actions) {
    this.actions = actions;
    this.search = byId("search");
    this.search.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#search(), TYPING_PAUSE_MS);
    });
    this.search.addEventListener("focus", () => (this.#isOnTheWay = false));
    this.search.addEventListener("blur", () => this.#search());
    this.search.addEventListener("keydown", ({ key }) => ["Enter", "Escape"].includes(key) && this.search.blur());
    byId("pause").addEventListener("click", actions.pause);
    byId("clear").addEventListener("click", actions.clear);
    byId("import").addEventListener("click", actions.open);
    byId("help").addEventListener("click", () => byId("help-dialog").showModal());
    byId("help-close").addEventListener("click", () => byId("help-dialog").close());
  }

  #search() {
    clearTimeout(this.#typing);
    const text = this.search.value.trim();
    if (text === this.#searched) return;
    this.actions.onSearch(text, { replace: this.#isOnTheWay });
    this.#isOnTheWay = true;
  }

  /** Show a view's text, unless somebody is typing, and whether the stream is paused. */
  draw({ q, paused }) {
    this.#searched = q;
    if (document.activeElement !== this.search) this.search.value = q;
    const button = byId("pause");
    const word = paused ? "Play" : "Pause";
    if (button.getAttribute("aria-label") === word) return;
    button.replaceChildren(icon(paused ? "play" : "paused"), el("span", {}, word));
    button.title = `${word} (p)`;
    button.setAttribute("aria-label", word);
    button.classList.toggle("on", paused);
  }
}

/** The keys of the page; `actions` are those of Toolbar, `selection` and `jump` the parts that are reached by keys. */
export function bindKeys({ pause, save, open, live }, selection, jump) {
  listenToKeys({
    j: () => selection.move(1),
    ArrowDown: () => selection.move(1),
    k: () => selection.move(-1),
    ArrowUp: () => selection.move(-1),
    Enter: () => selection.enter(),
    Escape: () => selection.close(),
    "/": () => byId("search").focus(),
    f: () => byId("filter").focus(),
    p: pause,
    e: save,
    o: open,
    t: () => jump.focus(),
    l: live,
    "?": () => byId("help-dialog").showModal(),
  });
}
