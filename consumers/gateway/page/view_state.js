// The page's state as its URL: filters, text, starting point, selected event and tab. Pure, but for the last function.

import { STRIP_BARS } from "./rows.js";
import { timeOfStart } from "./when.js";

const MINUTE_MS = 60_000;

export const FILTERS = [
  ["app_id", "the application"],
  ["event_name", "the event's name, such as add_to_cart"],
  ["event", "the event's type or name"],
  ["platform", "web, mob, srv, …"],
  ["schema", "iglu:vendor/name/jsonschema/1-*-*"],
  ["user_id", "the user, as your services know them"],
  ["domain_userid", "the browser"],
  ["event_id", "one event"],
  ["valid", "true or false"],
];
const FILTER_NAMES = new Set(FILTERS.map(([name]) => name));

export const TABS = ["event", "entities", "payload", "source", "delivery", "user"];

// How far back a view looks when it does not say: records, before they are filtered.
const LATEST = 200;
const LATEST_FILTERED = 10_000;

/** The view that a query string describes; what it does not know is left out. */
export function readView(search) {
  const query = new URLSearchParams(search);
  const tab = query.get("tab");
  return {
    filters: [...query].filter(([name, value]) => FILTER_NAMES.has(name) && value !== ""),
    hidden: query.getAll("hide").map((text) => parseFilter(text).filter).filter(Boolean),
    q: query.get("q") ?? "",
    from: query.get("from") ?? "",
    until: timeOfStart(query.get("until") ?? "", Date.now()) === undefined ? "" : query.get("until"),
    selected: query.get("selected") ?? "",
    tab: TABS.includes(tab) ? tab : "event",
  };
}

/** The query string of a view: never a token. */
export function writeView(view) {
  const query = subscriptionOf(view);
  for (const filter of view.hidden) query.append("hide", filter.join("="));
  if (view.from) query.set("from", view.from);
  if (view.from && view.until) query.set("until", view.until);
  if (view.selected) query.set("selected", view.selected);
  if (view.selected && view.tab !== "event") query.set("tab", view.tab);
  const text = query.toString();
  return text ? `?${text}` : "";
}

/** The filters of a view as the gateway's query parameters. */
export function subscriptionOf({ filters, q }) {
  const query = new URLSearchParams(filters);
  if (q) query.append("q", q);
  return query;
}

/** How many of the latest records a view looks at that does not say where it starts. */
export function latestRecords({ filters, q }) {
  return filters.length || q ? LATEST_FILTERED : LATEST;
}

/** Where a view's stream starts, as the gateway's `from`. */
export function startOf(view) {
  return view.from || `-${latestRecords(view)}`;
}

/** Whether a view starts at a place in the past, from where it is read a part at a time. */
export function isPast({ from }) {
  return !/^(|latest|earliest|-\d+)$/.test(from);
}

/** Whether a row is of the time that a view shows. */
export function isWithin({ timestamp }, { from, until }) {
  const now = Date.now();
  const [start, end] = [timeOfStart(from, now) ?? -Infinity, timeOfStart(until, now) ?? Infinity];
  return !(timestamp < start || timestamp > end);
}

/** What the strip shows of a view, `{start, width}` in ms, or undefined for the last half hour. */
export function stripSpan({ from, until }, now) {
  const start = timeOfStart(from, now);
  const end = timeOfStart(until, now);
  if (start === undefined) return undefined;
  if (end > start) return { start, width: Math.max(100, Math.ceil((end - start) / STRIP_BARS)) };
  const minute = Math.floor(start / MINUTE_MS) * MINUTE_MS;
  return minute > now - (STRIP_BARS - 1) * MINUTE_MS ? undefined : { start: minute, width: MINUTE_MS };
}

/** Whether two views show the same part of the stream. */
export function sameStream(one, other) {
  return one.from === other.from && one.until === other.until && subscriptionOf(one).toString() === subscriptionOf(other).toString();
}

/** Whether two views hide the same events. */
export function sameHidden(one, other) {
  return JSON.stringify(one.hidden) === JSON.stringify(other.hidden);
}

/**
 * A filter as people type it, `name=value`, or `name!=value` for what is hidden: `{filter: [name, value]}`,
 * `{hide: [name, value]}`, `{from}` or `{problem}`.
 */
export function parseFilter(text) {
  const [, name, not, value] = /^\s*([^=:!\s]+)\s*(!?)[=:]\s*(.*?)\s*$/s.exec(text) ?? [];
  const names = FILTERS.map(([known]) => known).join(", ");
  if (name === undefined) return { problem: `write a filter as name=value; names are ${names}` };
  if (name === "from") return value ? { from: value } : { problem: "from what? latest, earliest, -500 or a time" };
  if (!FILTER_NAMES.has(name)) return { problem: `${name} is not a filter; filters are ${names}` };
  if (!value) return { problem: `${name} needs a value` };
  return not ? { hide: [name, value] } : { filter: [name, value] };
}

const TOKEN_KEY = "snowbus-token";

/** The token in the page's own address, kept for this tab only; the address is cleaned, so that it can be shared. */
export function takeToken() {
  const address = new URL(window.location.href);
  const fragment = new URLSearchParams(address.hash.slice(1));
  const token = address.searchParams.get("token") ?? fragment.get("token");
  if (token !== null) {
    keepToken(token);
    address.searchParams.delete("token");
    fragment.delete("token");
    address.hash = fragment.toString();
    window.history.replaceState(window.history.state, "", address);
  }
  try {
    return token ?? window.sessionStorage.getItem(TOKEN_KEY) ?? "";
  } catch {
    return token ?? ""; // storage is switched off
  }
}

/** Remember a token for this tab. */
export function keepToken(token) {
  try {
    window.sessionStorage.setItem(TOKEN_KEY, token);
  } catch {
    // storage is switched off: the token lives until the page is left
  }
}
