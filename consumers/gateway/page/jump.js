// The control that jumps to a time, and back to live.

import { el, icon } from "./dom.js";
import { readTime } from "./when.js";

/** A small form in `box`. `onJump(ms)` and `onLive()` are called; `draw({past})` says whether the view is of the past. */
export class Jump {
  constructor({ box, onJump, onLive }) {
    this.input = el("input", {
      type: "text",
      name: "time",
      placeholder: "Jump to a time",
      "aria-label": "Jump to a time, such as 12:04, 10m ago or an ISO time",
      title: "Jump to a time: 12:04, 10m ago, 2026-01-31T12:04Z (t)",
      autocomplete: "off",
      spellcheck: "false",
    });
    this.live = el("button", { type: "button", class: "action", title: "Back to live (l)", click: onLive }, icon("live"), "Back to live");
    this.live.hidden = true;
    const form = el("form", { class: "jump" }, icon("queued"), this.input);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(onJump);
    });
    this.input.addEventListener("input", () => this.#complain(""));
    this.input.addEventListener("keydown", ({ key }) => key === "Escape" && this.input.blur());
    box.replaceChildren(this.live, form);
  }

  draw({ past }) {
    this.live.hidden = !past;
  }

  focus() {
    this.input.focus();
  }

  #submit(onJump) {
    if (this.input.value.trim() === "") return;
    const ms = readTime(this.input.value, Date.now());
    if (ms === undefined) {
      this.#complain("Write a time of day (12:04), how long ago (10m ago), or an ISO time");
      this.input.reportValidity();
    } else if (ms > Date.now()) {
      this.#complain("That is still to come");
      this.input.reportValidity();
    } else {
      this.input.value = "";
      this.input.blur();
      onJump(ms);
    }
  }

  #complain(problem) {
    this.input.setCustomValidity(problem);
    this.input.setAttribute("aria-invalid", String(problem !== ""));
  }
}
