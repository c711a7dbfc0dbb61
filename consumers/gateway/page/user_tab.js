// The events of one person as a time line: each side marked, and how long after the one before each of them was.

import { el, icon, untrusted } from "./dom.js";
import { validity } from "./row.js";
import { filterButton } from "./tabs.js";
import { clock, count, day, duration, minuteOfDay, plural, visible } from "./text.js";
import { keyOf } from "./user_feed.js";

const QUIET_MS = 60_000;
const SIDE_ICONS = { browser: "browser", server: "server" };

/** The content of the tab: what `feed` (see user_feed.js) has, `selected` marked; `onSelect(row)` is called. */
export function userTab(feed, selected, { onSelect, onFilter }) {
  if (feed.identities.length === 0) {
    const text = "This event does not say who it is of: it has no user_id, no domain_userid and no session.";
    return [el("p", { class: "nothing" }, text)];
  }
  const items = feed.items;
  return [
    el("ul", { class: "identities" }, feed.identities.map((identity) => identityLine(identity, onFilter))),
    el(
      "p",
      { class: "user-span" },
      el("span", {}, inWords(feed, items.length)),
      feed.canLookBack
        ? el("button", { type: "button", class: "more", click: () => feed.lookBack() }, "look further back")
        : "",
    ),
    el("ol", { class: "user-line" }, lines(items, selected, onSelect)),
    el(
      "p",
      { class: "footnote" },
      "In the order in which it happened: by the tracker's clock, corrected by what that clock is wrong by.",
    ),
  ];
}

function inWords(feed, number) {
  const what = feed.isFull ? `the ${count(number)} nearest events` : plural(number, "event");
  if (feed.fileRows()) return `${what} of the file`;
  const [from, to] = feed.span;
  const date = day(from) === day(feed.centre) ? "" : `${day(from)} `;
  return `${what} from ${date}${minuteOfDay(from)} ${to > Date.now() ? "on" : `to ${minuteOfDay(to)}`}`;
}

function identityLine({ name, value, linked, phase }, onFilter) {
  return el(
    "li",
    {},
    el("span", { class: "chip-name" }, name),
    untrusted(value, { class: "scalar" }),
    linked ? el("span", { class: "field-note" }, "named by their other events") : "",
    phase === "live" ? "" : el("span", { class: "field-note" }, phase === "connecting" ? "connecting …" : phase),
    name === "session" ? "" : filterButton(name, value, onFilter),
  );
}

const drawn = new WeakMap(); // item → its line: most lines stay what they are

function lines(items, selected, onSelect) {
  const shown = [];
  let before;
  for (const item of items) {
    if (before && Number.isFinite(item.at - before.at)) shown.push(gapLine(before, item));
    if (!drawn.has(item)) drawn.set(item, eventLine(item, onSelect));
    const line = drawn.get(item);
    const isSelected = keyOf(item.row) === keyOf(selected);
    if (isSelected) line.firstChild.setAttribute("aria-current", "true");
    else line.firstChild.removeAttribute("aria-current");
    shown.push(line);
    before = item;
  }
  return shown;
}

function gapLine(before, { at, side }) {
  const gap = at - before.at;
  const crosses = before.side !== side;
  const words = crosses ? `${duration(gap)} from ${before.side} to ${side}` : duration(gap);
  const kind = crosses ? " crosses" : gap >= QUIET_MS ? " long" : "";
  return el("li", { class: `user-gap${kind}` }, el("span", {}, visible(words)));
}

function eventLine({ row, at, side }, onSelect) {
  const mark = SIDE_ICONS[side] ?? "client";
  return el(
    "li",
    { class: `user-event ${SIDE_ICONS[side] ?? "client"}` },
    el(
      "button",
      { type: "button", "data-key": keyOf(row), click: () => onSelect(row) },
      el("span", { class: "time" }, clock(at)),
      el("span", { class: "side" }, icon(mark), el("span", {}, visible(side))),
      el("span", { class: "what" }, el("bdi", { class: "name" }, visible(row.name)), " ", el("bdi", { class: "hint" }, visible(row.hint))),
      validity(row),
    ),
  );
}
