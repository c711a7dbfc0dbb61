// JSON as rows of name, value and type, opened as far as is useful; each error stands at its node.

import { el, icon, untrusted } from "./dom.js";
import { escapePointer, placeInTree } from "./event_model.js";
import { ExactNumber, scalarText, typeOf } from "./json.js";
import { schemaName } from "./schema_links.js";
import { count, plural } from "./text.js";

const CHUNK = 100;
const OPEN_DEPTH = 2;
const OPEN_CHILDREN = 30;
const MAX_INDENT = 8;

/** The rows of a value's members, each error at the node that its path names. */
export function tree(value, errors = []) {
  const places = placeInTree(value, errors);
  const box = el("div", { class: "fields" });
  if (isContainer(value) && Object.keys(value).length > 0) fillMembers(box, value, { pointer: "", depth: 0, places });
  else box.append(fieldRow({ name: "", value: untrusted(shown(value)), type: typeOf(value ?? null) }));
  const here = places.get("");
  if (here) box.prepend(...here.errors.map((error) => errorNote(error)));
  if (here && !box.querySelector(":scope > .missing")) box.append(...missingRows(here, 0));
  return box;
}

/** One row: a name, a value (a node) and its type; `errors` are shown below the value. */
export function fieldRow({ name, value, type, errors = [], depth = 0, toggle, note, action }) {
  const row = el(
    "div",
    { class: `field${errors.length ? " wrong" : ""}` },
    el("div", { class: "field-name" }, toggle, name === "" ? "" : untrusted(name)),
    el(
      "div",
      { class: "field-value" },
      value,
      note ? el("span", { class: "field-note" }, note) : "",
      errors.map((error) => errorNote(error)),
    ),
    el("div", { class: "field-type" }, action, type ?? ""),
  );
  if (depth) row.style.setProperty("--depth", Math.min(depth, MAX_INDENT));
  return row;
}

/** What is wrong here: what was expected, what came, where, by which schema. */
export function errorNote(error) {
  const note = el(
    "div",
    { class: "error-note" },
    icon("invalid"),
    el(
      "div",
      {},
      el(
        "span",
        { class: "error-text" },
        "expected ",
        untrusted(error.expected || "something else"),
        error.got ? [", got ", untrusted(error.got, { class: "got" })] : "",
      ),
      el(
        "span",
        { class: "error-where" },
        error.path ? ["at ", untrusted(error.path), " "] : "",
        error.schema ? ["by ", schemaName(error.schema, { pointer: error.schemaPath })] : "",
      ),
    ),
  );
  error.element = note;
  return note;
}

function fillMembers(box, value, context) {
  const names = Array.isArray(value) ? null : Object.keys(value);
  const total = names ? names.length : value.length;
  const nameAt = (index) => (names ? names[index] : index);
  const show = (index) => memberRows(nameAt(index), value[nameAt(index)], context);
  const wrongBeyond = wrongMembers(nameAt, total, context).filter((index) => index >= CHUNK);
  let next = Math.min(CHUNK, total);
  for (let index = 0; index < next; index += 1) box.append(...show(index));
  const early = new Set(wrongBeyond);
  const later = wrongBeyond.flatMap(show);
  const remaining = () => total - next - [...early].filter((index) => index >= next).length;
  if (next < total && remaining() > 0) {
    const more = el("button", { type: "button", class: "more" });
    const label = () =>
      (more.textContent = `show ${remaining() > CHUNK ? `${CHUNK} of ` : ""}${count(remaining())} more`);
    more.addEventListener("click", () => {
      const end = Math.min(total, next + CHUNK);
      for (; next < end; next += 1) if (!early.has(next)) more.before(...show(next));
      if (remaining() > 0) label();
      else more.remove();
    });
    label();
    box.append(more);
  }
  box.append(...later);
  const here = context.places.get(context.pointer);
  if (here) box.append(...missingRows(here, context.depth));
}

function wrongMembers(nameAt, total, { pointer, places }) {
  if (total <= CHUNK || !places.get(pointer)?.within) return [];
  return Array.from({ length: total }, (_, index) => index).filter((index) =>
    places.has(`${pointer}/${escapePointer(nameAt(index))}`),
  );
}

function missingRows({ missing }, depth) {
  return [...missing].map(([name, errors]) => {
    const row = fieldRow({ name, value: el("span", { class: "absent" }, "missing"), type: "", errors, depth });
    row.classList.add("missing");
    return row;
  });
}

function memberRows(name, value, { pointer, depth, places }) {
  const path = `${pointer}/${escapePointer(name)}`;
  const place = places.get(path);
  const errors = place?.errors ?? [];
  const label = String(name);
  if (!isContainer(value)) {
    return [fieldRow({ name: label, value: scalar(value), type: typeOf(value), errors, depth })];
  }
  const size = Array.isArray(value) ? value.length : Object.keys(value).length;
  const summary = Array.isArray(value) ? plural(size, "item") : plural(size, "member");
  if (size === 0 && !place?.missing.size)
    return [
      fieldRow({
        name: label,
        value: el("span", { class: "field-note" }, summary),
        type: typeOf(value),
        errors,
        depth,
      }),
    ];
  const members = el("div", { class: "members" });
  let filled = false;
  const toggle = el(
    "button",
    { type: "button", class: "toggle", "aria-label": `Members of ${label}` },
    icon("chevron"),
  );
  const open = (isOpen) => {
    if (isOpen && !filled) fillMembers(members, value, { pointer: path, depth: depth + 1, places });
    filled ||= isOpen;
    members.hidden = !isOpen;
    toggle.setAttribute("aria-expanded", String(isOpen));
  };
  toggle.addEventListener("click", () => open(members.hidden));
  open(Boolean(place?.within || place?.missing.size) || (depth < OPEN_DEPTH && size <= OPEN_CHILDREN));
  return [
    fieldRow({
      name: label,
      value: el("span", { class: "field-note" }, summary),
      type: typeOf(value),
      errors,
      depth,
      toggle,
    }),
    members,
  ];
}

/** A scalar as an element: text as it is, everything else as JSON writes it. */
export function scalar(value) {
  if (value === "") return el("span", { class: "absent" }, "empty text");
  return untrusted(shown(value), { class: `scalar ${typeOf(value ?? null)}` });
}

function shown(value) {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return value;
  if (isContainer(value)) return Array.isArray(value) ? "no items" : "no members";
  return scalarText(value);
}

function isContainer(value) {
  return value !== null && typeof value === "object" && !(value instanceof ExactNumber);
}
