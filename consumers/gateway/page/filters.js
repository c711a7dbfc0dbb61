// The filter bar: chips for what is filtered by, and a field that completes names and values seen.

import { el, icon } from "./dom.js";
import { count, dayAndClock, visible } from "./text.js";
import { FILTERS, parseFilter } from "./view_state.js";

const MAX_OPTIONS = 12;

/** Shows the filters of a view. `onChange(changes)` is called with the members of the view that changed. */
export class FilterBar {
  #options = [];
  #highlighted = -1;

  constructor({ chips, input, options, problem, seen, onChange }) {
    Object.assign(this, { chips, input, options, problem, seen, onChange });
    input.addEventListener("input", () => this.#suggest());
    input.addEventListener("focus", () => this.#suggest());
    input.addEventListener("blur", () => this.#close());
    input.addEventListener("keydown", (event) => this.#key(event));
    options.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the field keeps the focus
      const option = event.target.closest("[role=option]");
      if (option) this.#choose(this.#options[Number(option.dataset.index)]);
    });
  }

  /** Draw the chips of a view. */
  draw({ filters, hidden, from, until }) {
    this.filters = filters;
    this.hidden = hidden;
    const chips = [];
    if (from) chips.push(this.#chip("from", localTime(from), () => this.onChange({ from: "", until: "" })));
    if (until) chips.push(this.#chip("until", localTime(until), () => this.onChange({ until: "" })));
    const byName = group(filters);
    for (const [name, same] of byName) {
      same.forEach((filter, index) => {
        if (index > 0) chips.push(el("span", { class: "or" }, "or"));
        chips.push(this.#chip(name, filter[1], () => this.remove(filter)));
      });
    }
    for (const filter of hidden) {
      chips.push(this.#chip(`not ${filter[0]}`, filter[1], () => this.show(filter), "chip not"));
    }
    this.chips.replaceChildren(...chips);
    this.input.placeholder = chips.length ? "" : "Filter, for example event_name=add_to_cart";
  }

  /** Add a filter, unless it stands there already. */
  add([name, value]) {
    if (this.filters.some(([other, its]) => other === name && its === value)) return;
    this.onChange({ filters: [...this.filters, [name, value]] });
  }

  /** Let a name have this value alone. */
  only(name, value) {
    this.onChange({ filters: [...this.filters.filter(([other]) => other !== name), [name, value]] });
  }

  /** Hide events that a filter matches. */
  hide([name, value]) {
    if (this.hidden.some(([other, its]) => other === name && its === value)) return;
    this.onChange({ hidden: [...this.hidden, [name, value]] });
  }

  /** Hide them no more. */
  show(filter) {
    this.onChange({ hidden: this.hidden.filter((other) => other !== filter) });
    this.input.focus();
  }

  /** Take away one part of a view, see probe.js. */
  without({ kind, filters }) {
    if (kind === "q") this.onChange({ q: "" });
    else if (kind === "hide") this.show(filters[0]);
    else this.onChange({ filters: this.filters.filter((filter) => !filters.includes(filter)) });
  }

  remove(filter) {
    this.onChange({ filters: this.filters.filter((other) => other !== filter) });
    this.input.focus();
  }

  #chip(name, value, onRemove, kind = "chip") {
    const label = `${name} ${visible(value)}`;
    return el(
      "span",
      { class: kind, title: label },
      el("span", { class: "chip-name" }, name),
      el("bdi", { class: "chip-value" }, visible(value)),
      el("button", { type: "button", "aria-label": `Remove filter ${label}`, click: onRemove }, icon("close")),
    );
  }

  #key(event) {
    switch (event.key) {
      case "ArrowDown":
      case "ArrowUp":
        event.preventDefault();
        this.#highlight(this.#highlighted + (event.key === "ArrowDown" ? 1 : -1));
        break;
      case "Enter":
        event.preventDefault();
        if (this.#highlighted >= 0) this.#choose(this.#options[this.#highlighted]);
        else this.#enter();
        break;
      case "Escape":
        event.stopPropagation();
        if (this.input.value) this.#empty();
        else this.input.blur();
        break;
      case "Backspace":
        if (this.input.value === "" && this.filters.length) this.remove(this.filters.at(-1));
        break;
      default:
    }
  }

  #enter() {
    if (this.input.value.trim() === "") return;
    const { filter, hide, from, problem } = parseFilter(this.input.value);
    if (problem) this.#complain(problem);
    else if (from) this.#done(() => this.onChange({ from, until: "" }));
    else this.#done(() => (hide ? this.hide(hide) : this.add(filter)));
  }

  #choose({ complete, filter }) {
    if (filter) return this.#done(() => this.add(filter));
    this.input.value = complete;
    this.#suggest();
    return undefined;
  }

  #done(change) {
    this.#empty();
    this.#close();
    change();
  }

  #empty() {
    this.input.value = "";
    this.#suggest();
  }

  #complain(problem) {
    this.problem.textContent = problem;
    this.problem.hidden = problem === "";
    this.input.setAttribute("aria-invalid", String(problem !== ""));
  }

  #suggest() {
    this.#complain("");
    this.#options = this.#matching(this.input.value.trimStart()).slice(0, MAX_OPTIONS);
    this.#highlighted = -1;
    const elements = this.#options.map(({ label, value, note }, index) =>
      el(
        "li",
        { role: "option", id: `option-${index}`, "data-index": index, "aria-selected": "false" },
        el("span", { class: "chip-name" }, label),
        value === undefined ? "" : el("bdi", {}, visible(value, 80)),
        el("span", { class: "note" }, note),
      ),
    );
    this.options.replaceChildren(...elements);
    this.#open(elements.length > 0 && document.activeElement === this.input);
  }

  #matching(typed) {
    const [, name, text = ""] = /^([a-z_]+)\s*[=:]\s*(.*)$/s.exec(typed) ?? [];
    if (name !== undefined) return this.#values(name, text);
    const fields = FILTERS.filter(([field]) => field.includes(typed)).map(([field, note]) => ({
      label: field,
      complete: `${field}=`,
      note,
    }));
    if (typed.length < 2) return fields;
    return [...fields, ...FILTERS.flatMap(([field]) => this.#values(field, typed).slice(0, 4))];
  }

  #values(name, text) {
    const seen = name === "valid" ? [["true"], ["false"]] : this.seen.of(name);
    const wanted = text.toLowerCase();
    return seen
      .filter(([value]) => value.toLowerCase().includes(wanted))
      .map(([value, times]) => ({
        label: name,
        value,
        filter: [name, value],
        note: times ? `${count(times)} seen` : "",
      }));
  }

  #highlight(index) {
    if (this.#options.length === 0) return;
    const last = this.#options.length - 1;
    this.#highlighted = index < 0 ? last : index > last ? 0 : index;
    [...this.options.children].forEach((option, position) => {
      option.setAttribute("aria-selected", String(position === this.#highlighted));
    });
    this.options.children[this.#highlighted].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", `option-${this.#highlighted}`);
  }

  #open(open) {
    this.options.hidden = !open;
    this.input.setAttribute("aria-expanded", String(open));
    this.input.removeAttribute("aria-activedescendant");
  }

  #close() {
    this.#open(false);
  }
}

/** A time as the clock here says it; other text as it is. */
function localTime(text) {
  if (!/^\d{4}-\d{2}-\d{2}T.*Z$/.test(text) || Number.isNaN(Date.parse(text))) return text;
  return dayAndClock(Date.parse(text)).replace(/\.000$/, "");
}

function group(filters) {
  const groups = new Map();
  for (const filter of filters) groups.set(filter[0], [...(groups.get(filter[0]) ?? []), filter]);
  return groups;
}
