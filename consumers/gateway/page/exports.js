// Events as files: NDJSON of the gateway's messages, CSV for spreadsheets, HAR for Snowplow Inspector. Pure.

import { noEvent, safePayload, safeText } from "./inspector.js";
import { memberText, parseQuickly } from "./json.js";
import { asObject, asText } from "./messages.js";
import { mapInSlices } from "./slices.js";

const PAYLOAD_DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4";
const COLLECTOR = "https://websocket/com.snowplowanalytics.snowplow/tp2"; // as in the gateway's own HAR files: none is asked
const LATEST_MS = 253_402_300_799_999; // the last with four digits for its year
const FIRST = [
  "collector_tstamp",
  "app_id",
  "platform",
  "event",
  "event_name",
  "validation",
  "errors",
  "user_id",
  "domain_userid",
  "event_id",
];

/**
 * `{name, type, write(rows, server)}` by format; `write` gives the parts of the file, and lets others have their turn.
 * `server` is what the gateway calls itself, such as `snowbus/0.1.0`.
 */
export const FORMATS = {
  ndjson: { name: "NDJSON", note: "whole messages, one a line", type: "application/x-ndjson", write: ndjson },
  csv: { name: "CSV", note: "fields as columns, for spreadsheets", type: "text/csv", write: csv },
  har: { name: "HAR", note: "requests, for Snowplow Inspector", type: "application/json", write: har },
};

async function ndjson(rows) {
  return mapInSlices(rows, (row) => `${row.text.replaceAll(/[\r\n]+/g, " ")}\n`);
}

async function csv(rows) {
  const columns = new Set(FIRST);
  await mapInSlices(rows, (row) => {
    for (const name in asObject(parseQuickly(row.text).event)) columns.add(name);
    return "";
  });
  const names = [...FIRST, ...[...columns].filter((name) => !FIRST.includes(name)).sort()];
  const lines = await mapInSlices(rows, (row) => {
    const { event, validation } = parseQuickly(row.text);
    const values = { ...asObject(event), validation: row.validity, errors: errorsInWords(validation) };
    return `${names.map((name) => cell(values[name])).join(",")}\r\n`;
  });
  return [`${names.map(cell).join(",")}\r\n`, ...lines];
}

function errorsInWords(validation) {
  const errors = asObject(validation).errors;
  return (Array.isArray(errors) ? errors : [])
    .map(asObject)
    .map(({ field, path, expected, got }) => `${asText(field)}${asText(path)}: expected ${asText(expected)}, got ${asText(got)}`)
    .join("; ");
}

/** One cell, as tables.py writes it; text that a spreadsheet would take for a formula is kept from it. */
function cell(value) {
  const text = safeText(asText(value));
  const isFormula = typeof value === "string" && /^[=+\-@]/.test(text) && !/^[+-]?\d+(\.\d+)?$/.test(text);
  const safe = isFormula ? `'${text}` : text;
  return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

async function har(rows, server) {
  const entries = await mapInSlices(rows, (row, index) => `${index ? "," : ""}\n${JSON.stringify(entry(row))}`);
  const [name, version] = server.split("/");
  const head = JSON.stringify({ version: "1.2", creator: { name, version }, comment: "" });
  return [`{"log":${head.slice(0, -1)},"entries":[`, ...entries, "\n]}}\n"];
}

function entry(row) {
  const { source, validation } = parseQuickly(row.text);
  const payload = asObject(JSON.parse(memberText(row.text, "payload") ?? "{}"));
  const isEvent = Object.keys(payload).length > 0;
  const text = JSON.stringify({ schema: PAYLOAD_DATA, data: [isEvent ? safePayload(payload) : noEvent(row)] });
  const userAgent = isEvent ? safeText(asText(asObject(source).user_agent)) : "";
  const time = Number.isFinite(row.timestamp) ? Math.min(Math.max(0, row.timestamp), LATEST_MS) : 0;
  return {
    startedDateTime: new Date(time).toISOString(),
    time: 0,
    request: {
      method: "POST",
      url: COLLECTOR,
      httpVersion: "HTTP/1.1",
      cookies: [],
      headers: userAgent ? [{ name: "User-Agent", value: userAgent }] : [],
      queryString: [],
      postData: { mimeType: "application/json; charset=utf-8", params: [], text },
      headersSize: -1,
      bodySize: new TextEncoder().encode(text).length,
    },
    response: {
      status: 200,
      statusText: "OK",
      httpVersion: "HTTP/1.1",
      cookies: [],
      headers: [],
      content: { size: 0, mimeType: "text/plain" },
      redirectURL: "",
      headersSize: -1,
      bodySize: 0,
    },
    cache: {},
    timings: { send: 0, wait: 0, receive: 0 },
    _snowbus: { validation: asObject(validation) },
  };
}
