// What stands in the place of the list when its filter, or its time, lets nothing through.

import { el, untrusted } from "./dom.js";
import { countParts, partsOf } from "./probe.js";
import { count, plural, visible } from "./text.js";
import { latestRecords } from "./view_state.js";

const PATIENCE_MS = 800; // most lists are empty for a moment only

/** The elements for a view that shows nothing. `actions` are those of EmptyBox; `isFile` when it is a file's. */
export function noMatch(view, isFile, { onRemove, onWiden, onLive, rowsToCount }) {
  const parts = partsOf(view);
  const lines = parts.map((part) => partLine(part, onRemove));
  const looked = el("p", { class: "field-note" });
  const wonder = async () => looked.isConnected && tell(await rowsToCount(), parts, lines, looked, isFile);
  if (parts.length) setTimeout(wonder, isFile ? 0 : PATIENCE_MS);
  return [
    el("h2", {}, parts.length ? "No event matches" : "No events in this time"),
    el("p", {}, wherein(view, isFile), parts.length ? " An event must pass every part:" : ""),
    parts.length ? el("ul", { class: "parts" }, lines.map(({ element }) => element)) : "",
    looked,
    el(
      "div",
      { class: "ways" },
      isFile || view.from === "earliest" ? "" : button("Search the whole log", onWiden),
      view.from ? button(isFile ? "Show the whole file" : "Back to live", onLive) : "",
    ),
  ];
}

function wherein(view, isFile) {
  if (isFile) return view.from ? "The file holds nothing in this time that passes." : "Nothing in the file passes.";
  if (view.from && view.until) return "The log holds nothing of this time that passes.";
  if (view.from) return `The page reads the log from ${visible(view.from, 40)} on, and waits for new events.`;
  return `The page looked at the latest events, ${count(latestRecords(view))} at most, and waits for new ones.`;
}

function partLine(part, onRemove) {
  const note = el("span", { class: "field-note" });
  const values = part.filters.flatMap(([, value], index) => [index > 0 ? el("span", { class: "or" }, " or ") : "", untrusted(value)]);
  const element = el(
    "li",
    {},
    el("span", { class: "chip-name" }, part.name),
    el("span", { class: "part-values" }, values),
    note,
    button("Remove", () => onRemove(part)),
  );
  return { element, note };
}

function tell(rows, parts, lines, looked, isFile) {
  if (rows.length === 0) return;
  const counts = countParts(parts, rows);
  const most = Math.max(...counts.map(({ without }) => without));
  lines.forEach(({ element, note }, index) => {
    const { alone, without } = counts[index];
    const rest = parts.length > 1 && without > 0 ? `; without it ${plural(without, "event")} would pass` : "";
    note.textContent = `lets ${alone ? count(alone) : "none"} through${rest}`;
    element.classList.toggle("excludes", parts.length === 1 || (most > 0 && without === most));
  });
  looked.textContent = `Counted among ${isFile ? "" : "the latest "}${plural(rows.length, "event")}${isFile ? " of the file" : " of the log"}.`;
}

function button(label, click) {
  return el("button", { type: "button", class: "action", click }, label);
}
