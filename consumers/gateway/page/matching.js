// Which rows a filter lets through, decided in the page as the gateway decides it. Pure.

import { parseQuickly } from "./json.js";

/** Whether a row matches one filter, `[name, value]`; `q` is text that is somewhere in it, in whatever case. */
export function matches(row, [name, value]) {
  switch (name) {
    case "q":
      return JSON.stringify(parseQuickly(row.text).event ?? "").toLowerCase().includes(value.toLowerCase());
    case "event":
      return row.values.event === value || row.values.event_name === value;
    case "event_id":
      return row.eventId === value;
    case "valid":
      return row.validity === (value === "true" ? "valid" : "invalid");
    case "schema":
      return schemaMatches(row.values.schema ?? "", value);
    default:
      return row.values[name] === value;
  }
}

/** Whether a row passes a view's filters and text: filters of one name are alternatives, different names must all hold. */
export function passes(row, { filters, q }) {
  const names = new Set(filters.map(([name]) => name));
  for (const name of names) {
    if (!filters.some((filter) => filter[0] === name && matches(row, filter))) return false;
  }
  return q === "" || matches(row, ["q", q]);
}

function schemaMatches(schema, pattern) {
  const versions = (text) => text.slice(text.lastIndexOf("/") + 1).split("-");
  const path = (text) => text.slice(0, text.lastIndexOf("/"));
  if (path(schema) !== path(pattern)) return false;
  const [have, want] = [versions(schema), versions(pattern)];
  return have.length === want.length && want.every((part, index) => part === "*" || part === have[index]);
}
