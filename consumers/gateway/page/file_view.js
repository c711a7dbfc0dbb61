// A file of events to look at: by a button, or dropped on the page.

import { el, icon, untrusted } from "./dom.js";
import { eventsOfFile } from "./file_events.js";
import { readMessage } from "./messages.js";
import { count, plural } from "./text.js";

const MAX_BYTES = 200_000_000;

/**
 * Holds the rows of a file while one is looked at, and says so in `banner`. `onOpen()` and `onLeave()` are called, and
 * `say(text)` with what is wrong with a file.
 */
export class FileView {
  constructor({ banner, onOpen, onLeave, say }) {
    Object.assign(this, { banner, onOpen, onLeave, say });
    this.rows = undefined;
    this.picker = el("input", { type: "file", id: "file", class: "offscreen", accept: ".har,.json,.ndjson,.jsonl,.txt,.log", tabindex: "-1", "aria-hidden": "true" });
    this.picker.addEventListener("change", () => {
      const [file] = this.picker.files;
      this.picker.value = "";
      if (file) this.#open(file);
    });
    document.body.append(this.picker);
    this.#acceptDrops();
  }

  /** Whether a file is looked at. */
  get isOpen() {
    return this.rows !== undefined;
  }

  pick() {
    this.picker.click();
  }

  leave() {
    this.rows = undefined;
    this.banner.hidden = true;
    this.banner.replaceChildren();
    this.onLeave();
  }

  #acceptDrops() {
    const isFile = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragover", (event) => {
      if (!isFile(event)) return;
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    const stop = () => document.body.classList.remove("dropping");
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && stop());
    document.addEventListener("drop", (event) => {
      if (!isFile(event)) return;
      event.preventDefault();
      stop();
      const [file] = event.dataTransfer.files;
      if (file) this.#open(file);
    });
  }

  async #open(file) {
    try {
      if (file.size > MAX_BYTES) throw new Error(`it is larger than ${count(MAX_BYTES / 1e6)} MB`);
      const { messages, skipped } = eventsOfFile(await file.text(), file.name);
      this.rows = messages.map((message) => readMessage(JSON.stringify(message)));
      this.rows.sort((one, other) => one.timestamp - other.timestamp); // what has no time stays where it is
      this.rows.forEach((row, index) => (row.cursor = `file:${index}`));
      this.#drawBanner(file.name, skipped);
      this.onOpen();
    } catch (error) {
      this.say(`${file.name.slice(0, 100)} was not opened: ${error.message}`);
    }
  }

  #drawBanner(name, skipped) {
    const left = skipped ? `; ${count(skipped)} other entries left out` : "";
    const isChecked = this.rows.every(({ validity }) => validity !== "unchecked");
    const unchecked = isChecked ? "" : "; what it does not say of their validity is unchecked";
    this.banner.replaceChildren(
      icon("file"),
      el("span", {}, "A file, not the live stream: ", untrusted(name, { class: "file-name" }), `, ${plural(this.rows.length, "event")}${left}${unchecked}`),
      el("button", { type: "button", click: () => this.leave() }, "Back to the stream"),
    );
    this.banner.hidden = false;
  }
}
