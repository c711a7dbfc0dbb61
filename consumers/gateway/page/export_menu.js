// The menu that saves the rows of the list as a file.

import { el } from "./dom.js";
import { FORMATS } from "./exports.js";
import { plural } from "./text.js";

const KEPT_MS = 60_000; // as long as a browser may take to begin with a download

/**
 * Fills `panel`, which `button` opens. `rows()` gives the rows to save, `server()` what the gateway calls itself;
 * `say(text)` tells how it went.
 */
export class ExportMenu {
  constructor({ button, panel, rows, server, say }) {
    Object.assign(this, { button, panel, rows, server, say });
    panel.addEventListener("beforetoggle", ({ newState }) => newState === "open" && this.#draw());
    panel.addEventListener("toggle", ({ newState }) => newState === "open" && panel.querySelector("button")?.focus());
    panel.addEventListener("keydown", (event) => this.#move(event));
  }

  open() {
    this.panel.showPopover();
  }

  #events() {
    return this.rows().filter(({ type }) => type === "event");
  }

  #draw() {
    const { length } = this.#events();
    const choices = Object.entries(FORMATS).map(([format, { name, note }]) =>
      el(
        "button",
        { type: "button", class: "choice", disabled: length === 0, click: () => this.#save(format) },
        el("span", { class: "choice-name" }, name),
        el("span", { class: "note" }, note),
      ),
    );
    const what = length ? `Save the ${plural(length, "event")} of the list as` : "The list holds no events to save";
    this.panel.replaceChildren(el("h2", {}, what), ...choices);
  }

  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const choices = [...this.panel.querySelectorAll("button")];
    const at = choices.indexOf(document.activeElement);
    choices[(at + step + choices.length) % choices.length]?.focus();
  }

  async #save(format) {
    this.panel.hidePopover();
    const events = this.#events();
    const { name, type, write } = FORMATS[format];
    const address = URL.createObjectURL(new Blob(await write(events, this.server()), { type }));
    const stamp = new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "");
    el("a", { href: address, download: `snowbus-${stamp}.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
    this.say(`Saved ${plural(events.length, "event")} as ${name}.`);
  }
}
