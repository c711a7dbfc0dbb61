// Elements without markup: text from events only ever becomes text nodes.

import { count, pieces } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id; the page's own, so it exists. */
export const byId = (id) => document.getElementById(id);

/** An element. In `props`, `class` and attributes are set, a function is a listener; children are nodes or text. */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false && child !== ""));
  return element;
}

/** One of the icons that index.html defines. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** Make an icon another one. */
export function setIcon(svg, name) {
  svg.firstChild.setAttribute("href", `#i-${name}`);
}

const SHOWN_CHARACTERS = 400;
const MORE_CHARACTERS = 20_000;

/** Text from an event: isolated from its neighbours, hidden characters as escapes, long ones behind a button. */
export function untrusted(text, props = {}) {
  const box = el("bdi", props);
  appendPieces(box, text, 0, SHOWN_CHARACTERS);
  return box;
}

function appendPieces(box, text, start, limit) {
  const end = safeEnd(text, start + limit);
  for (const [piece, isEscape] of pieces(text.slice(start, end))) {
    box.append(isEscape ? el("span", { class: "escape" }, piece) : piece);
    if (isEscape && piece === "\\n") box.append("\n"); // lines stay lines
  }
  if (end >= text.length) return;
  const left = text.length - end;
  const more = el(
    "button",
    { type: "button", class: "more" },
    left > MORE_CHARACTERS ? `show more of ${count(left)} characters` : `show all, ${count(left)} more characters`,
  );
  more.addEventListener("click", () => {
    more.remove();
    appendPieces(box, text, end, MORE_CHARACTERS);
  });
  box.append(more);
}

function safeEnd(text, end) {
  if (end >= text.length) return text.length;
  const unit = text.charCodeAt(end - 1);
  return unit >= 0xd800 && unit <= 0xdbff ? end + 1 : end; // never between the halves of a pair
}
