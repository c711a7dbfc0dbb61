// Why a view shows nothing: how many of the latest events each part of its filter lets through.

import { matches } from "./matching.js";
import { readOnce } from "./read_once.js";

const LATEST = 1000;
const LONGEST_MS = 4000;
const QUIET_MS = 700; // after so long a silence the log has no more for now

/** A view's parts: `{kind, name, filters}`, where `kind` is `filter`, `q` or `hide`; filters of a name are one part. */
export function partsOf({ filters, q, hidden }) {
  const names = [...new Set(filters.map(([name]) => name))];
  return [
    ...names.map((name) => ({ kind: "filter", name, filters: filters.filter((filter) => filter[0] === name) })),
    ...(q ? [{ kind: "q", name: "text", filters: [["q", q]] }] : []),
    ...hidden.map((filter) => ({ kind: "hide", name: `not ${filter[0]}`, filters: [filter] })),
  ];
}

/** Of some rows, how many each part lets through (`alone`), and how many the others together do (`without`). */
export function countParts(parts, rows) {
  const counts = parts.map(() => ({ alone: 0, without: 0 }));
  for (const row of rows) {
    const passed = parts.map(({ kind, filters }) => filters.some((filter) => matches(row, filter)) !== (kind === "hide"));
    const failed = passed.filter((each) => !each).length;
    passed.forEach((each, index) => {
      counts[index].alone += each;
      counts[index].without += failed === (each ? 0 : 1);
    });
  }
  return counts;
}

/** The latest events of the log, whatever the filter; as many as come within a moment. */
export async function latestRows(token) {
  const rows = [];
  const take = (message) => {
    if (message.type === "event") rows.push(message);
    return rows.length >= LATEST || message.type === "heartbeat";
  };
  await readOnce({ from: `-${LATEST}`, deliveries: "false" }, { token, take, longestMs: LONGEST_MS, quietMs: QUIET_MS });
  return rows;
}
