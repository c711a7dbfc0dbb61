// A JSON document as lines, each with the JSON pointer of what stands on it. Pure.

import { escapePointer } from "./event_model.js";
import { ExactNumber, scalarText } from "./json.js";

const INLINE = 80;

/** `{at, text}` a line, indented by two spaces a level; short arrays of scalars take one line. */
export function linesOf(value) {
  const lines = [];
  write(value, { at: "", indent: "", name: "", end: "", lines });
  return lines;
}

function write(value, { at, indent, name, end, lines }) {
  const [before, after] = Array.isArray(value) ? "[]" : "{}";
  const members = isContainer(value) ? Object.entries(value) : [];
  const short = members.length === 0 || Array.isArray(value) ? inline(value) : undefined;
  if (short !== undefined) {
    lines.push({ at, text: `${indent}${name}${short}${end}` });
    return;
  }
  lines.push({ at, text: `${indent}${name}${before}` });
  members.forEach(([key, member], index) =>
    write(member, {
      at: `${at}/${escapePointer(key)}`,
      indent: `${indent}  `,
      name: Array.isArray(value) ? "" : `${JSON.stringify(key)}: `,
      end: index < members.length - 1 ? "," : "",
      lines,
    }),
  );
  lines.push({ at, text: `${indent}${after}${end}` });
}

/** What fits on one line, or undefined. */
function inline(value) {
  if (!isContainer(value)) return scalarText(value);
  const items = Object.values(value);
  if (items.some(isContainer)) return undefined;
  const text = items.map(scalarText).join(", ");
  return text.length > INLINE ? undefined : Array.isArray(value) ? `[${text}]` : "{}";
}

function isContainer(value) {
  return value !== null && typeof value === "object" && !(value instanceof ExactNumber);
}

/** The pointer among those of the lines that is nearest to one: itself, or what holds it. */
export function placeOfPointer(lines, pointer) {
  const known = new Set(lines.map(({ at }) => at));
  let place = pointer;
  while (!known.has(place)) place = place.slice(0, place.lastIndexOf("/"));
  return place;
}
