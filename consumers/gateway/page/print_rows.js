// The list on paper: the newest rows one after the other, without a scroller.

import { RowElement } from "./row.js";

const PRINTED_ROWS = 100;

/** Elements of the rows from `newest` on, newest first. */
export function printedRows(rows, newest, deliveries) {
  const oldest = Math.max(rows.first, newest - PRINTED_ROWS + 1);
  const elements = [];
  for (let seq = newest; seq >= oldest; seq -= 1) {
    const row = new RowElement(deliveries);
    row.fill(rows.at(seq), rows.otherDays);
    elements.push(row.element);
  }
  return elements;
}
