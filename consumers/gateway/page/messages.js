// Messages of the stream → what the page keeps of them. Pure; no message, however wrong, makes it throw.

import { placeOf } from "./deliveries.js";
import { ExactNumber, parseQuickly } from "./json.js";

const STATUSES = new Set(["valid", "invalid", "unchecked"]);
const DELIVERY_STATUSES = new Set(["delivered", "retrying", "dead", "done"]);
const HINT_FIELDS = 3;
const MAX_RECEIPTS = 5000;
const MAX_RANGES = 50_000;
const MAX_COLLECTORS = 20;

/** An object, or an empty one. */
export function asObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
}

/** A string, or what JSON makes of the value; an empty string for nothing. */
export function asText(value) {
  if (typeof value === "string") return value;
  return value === undefined || value === null ? "" : (JSON.stringify(value) ?? "");
}

/**
 * One message as the page keeps it. `type` is the message's, or `unreadable`; events and gaps become rows. An event
 * keeps its text, and is decoded again when somebody looks at it: that takes a fraction of the memory.
 */
export function readMessage(text) {
  try {
    const message = asObject(parseQuickly(text));
    if (message.type === "event") return eventRow(message, text);
    if (message.type === "gap") return gapRow(message);
    if (message.type === "delivery") return typeof message.group === "string" ? delivery(message) : {};
    return message;
  } catch (error) {
    return { type: "unreadable", reason: String(error), text };
  }
}

function eventRow(message, text) {
  const event = asObject(message.event);
  const validation = asObject(message.validation);
  const [name, hint] = whatHappened(event);
  const [who, whoField] = whoDidIt(event);
  return {
    type: "event",
    cursor: message.cursor,
    topic: asText(message.topic),
    partition: message.partition,
    offset: message.offset,
    timestamp: typeof message.timestamp === "number" ? message.timestamp : Date.parse(asText(event.collector_tstamp)),
    eventId: asText(event.event_id),
    app: asText(event.app_id).slice(0, 200),
    name: name.slice(0, 200),
    hint: hint.slice(0, 200),
    who: who.slice(0, 100),
    whoField,
    validity: STATUSES.has(validation.status) ? validation.status : "unchecked",
    errors: Array.isArray(validation.errors) ? validation.errors.length : 0,
    values: filterValues(event),
    text,
  };
}

function gapRow(message) {
  const count = Number.isInteger(message.count) && message.count > 0 ? message.count : undefined;
  return { type: "gap", cursor: message.cursor, count, reason: asText(message.reason), text: "" };
}

/**
 * What became of events: `{group, time, receipts: [{place, offsets, step}], collectors}`. Times are in ms, NaN for none;
 * what is no receipt is left out.
 */
function delivery(message) {
  const receipts = asArray(message.receipts).slice(0, MAX_RECEIPTS).map(asObject);
  const collectors = asArray(message.collectors).slice(0, MAX_COLLECTORS).map(asObject);
  return {
    type: "delivery",
    group: asText(message.group).slice(0, 200),
    time: Date.parse(asText(message.time)),
    receipts: receipts.filter(({ status }) => DELIVERY_STATUSES.has(status)).map(receipt).filter(hasOffsets),
    collectors: collectors.map((each) => ({
      url: asText(each.url).slice(0, 500),
      state: ["untried", "up", "down", "refusing"].includes(each.state) ? each.state : "down",
      since: Date.parse(asText(each.since)),
      error: asText(each.error).slice(0, 500),
      nextTry: Date.parse(asText(each.next_try)),
    })),
  };
}

function receipt({ topic, partition, offsets, status, attempts, http_status: httpStatus, error, time }) {
  return {
    place: placeOf(asText(topic), asText(partition)),
    offsets: asArray(offsets).slice(0, MAX_RANGES).filter(isRange),
    step: {
      status,
      attempts: Number.isSafeInteger(attempts) ? attempts : 0,
      httpStatus: Number.isSafeInteger(httpStatus) ? httpStatus : undefined,
      error: asText(error).slice(0, 500),
      time: Date.parse(asText(time)),
    },
  };
}

function hasOffsets({ offsets }) {
  return offsets.length > 0;
}

function isRange(range) {
  return Array.isArray(range) && range.length === 2 && range.every(Number.isSafeInteger) && 0 <= range[0] && range[0] <= range[1];
}

function asArray(value) {
  return Array.isArray(value) ? value : [];
}

/** What happened, as `[name, hint]`: the words people use for the event, and what tells it from its like. */
function whatHappened(event) {
  const type = asText(event.event);
  switch (type) {
    case "page_view":
      return [type, pathOf(event.page_url) || asText(event.page_title)];
    case "page_ping":
      return [type, pathOf(event.page_url)];
    case "struct":
      return [
        [event.se_category, event.se_action].map(asText).filter(Boolean).join(" ") || type,
        [event.se_label, event.se_property, event.se_value].map(asText).filter(Boolean).join(" · "),
      ];
    case "transaction":
      return [type, joined([event.tr_orderid, joined([event.tr_total, event.tr_currency], " ")])];
    case "transaction_item":
      return [type, joined([event.ti_sku, event.ti_name, event.ti_quantity && `× ${asText(event.ti_quantity)}`])];
    default:
      return [asText(event.event_name) || type || "not an event", tellingFields(dataOf(event))];
  }
}

function joined(values, separator = " · ") {
  return values.map(asText).filter(Boolean).join(separator);
}

function dataOf(event) {
  for (const column in event) {
    if (column.startsWith("unstruct_event_")) return asObject(event[column]);
  }
  return {};
}

function tellingFields(data) {
  const found = [];
  for (const name in data) {
    const value = data[name];
    const isScalar = typeof value !== "object" || value instanceof ExactNumber;
    if (!isScalar || value === "") continue;
    found.push(`${name} ${asText(value).slice(0, 60)}`);
    if (found.length === HINT_FIELDS) break;
  }
  return found.join(" · ");
}

function pathOf(url) {
  const text = asText(url);
  const parts = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*([^?#]*)/i.exec(text);
  return parts ? parts[1] || "/" : text;
}

function whoDidIt(event) {
  if (event.user_id) return [asText(event.user_id), "user_id"];
  for (const field of ["domain_userid", "network_userid"]) {
    if (event[field]) return [asText(event[field]).slice(0, 8), field];
  }
  return ["", ""];
}

function filterValues(event) {
  const values = {};
  for (const name of ["app_id", "platform", "event", "event_name", "user_id", "domain_userid"]) {
    if (typeof event[name] === "string" && event[name].length <= 100) values[name] = event[name];
  }
  const schema = schemaOf(event);
  if (schema) values.schema = schema;
  return values;
}

/** The Iglu URI of what happened, from an event's canonical view; an empty string when it has none. */
export function schemaOf(event) {
  const parts = [event.event_vendor, event.event_name, event.event_format, event.event_version];
  return parts.every((part) => typeof part === "string" && part) ? `iglu:${parts.join("/")}` : "";
}
