// Events as files: NDJSON of the gateway's messages, CSV for spreadsheets, HAR for Snowplow Inspector. Pure.

import { memberText, parseQuickly } from "./json.js";
import { asObject, asText } from "./messages.js";
import { decodeBase64 } from "./parameters.js";
import { mapInSlices } from "./slices.js";

const PAYLOAD_DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4";
const COLLECTOR = "https://websocket/com.snowplowanalytics.snowplow/tp2"; // as in the gateway's own HAR files: none is asked
const UNKNOWN_HOST = "https://host-unknown.invalid/";
const DANGEROUS =
  /[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]/gu;
const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
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

/** `{name, type, write(rows)}` by format; `write` gives the parts of the file, and lets others have their turn. */
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
  const text = asText(value).replaceAll(DANGEROUS, escape);
  const isFormula = typeof value === "string" && /^[=+\-@]/.test(text) && !/^[+-]?\d+(\.\d+)?$/.test(text);
  const safe = isFormula ? `'${text}` : text;
  return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function escape(character) {
  return SHORT[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

async function har(rows) {
  let first = true;
  const entries = await mapInSlices(rows, (row) => {
    const payload = sanitised(asObject(JSON.parse(memberText(row.text, "payload") ?? "{}")));
    if (!payload.e) return "";
    const comma = first ? "" : ",";
    first = false;
    return `${comma}\n${JSON.stringify(entry(row, payload))}`;
  });
  return ['{"log":{"version":"1.2","creator":{"name":"Snowbus","version":"1"},"entries":[', ...entries, "\n]}}\n"];
}

function entry(row, payload) {
  const text = JSON.stringify({ schema: PAYLOAD_DATA, data: [payload] });
  const { source, validation } = parseQuickly(row.text);
  const userAgent = asText(asObject(source).user_agent);
  return {
    startedDateTime: new Date(Number.isFinite(row.timestamp) ? row.timestamp : 0).toISOString(),
    time: 0,
    request: {
      method: "POST",
      url: COLLECTOR,
      httpVersion: "HTTP/1.1",
      headers: userAgent ? [{ name: "User-Agent", value: userAgent }] : [],
      queryString: [],
      cookies: [],
      headersSize: -1,
      bodySize: -1,
      postData: { mimeType: "application/json; charset=utf-8", text },
    },
    response: {
      status: 200,
      statusText: "OK",
      httpVersion: "HTTP/1.1",
      headers: [],
      cookies: [],
      content: { size: 0, mimeType: "text/plain" },
      redirectURL: "",
      headersSize: -1,
      bodySize: -1,
    },
    cache: {},
    timings: { send: 0, wait: 0, receive: 0 },
    _snowbus: { validation: asObject(validation) },
  };
}

/** A payload that readers of HAR files can take: texts only, absolute addresses, JSON where JSON must be. */
function sanitised(payload) {
  const clean = {};
  for (const [code, value] of Object.entries(payload)) {
    const text = asText(value);
    const kept = ["url", "refr"].includes(code) ? absolute(text) : isBroken(code, text) ? undefined : text;
    if (kept !== undefined) clean[code] = kept;
  }
  return clean;
}

function absolute(text) {
  if (URL.canParse(text)) return text;
  return URL.canParse(text, UNKNOWN_HOST) ? new URL(text, UNKNOWN_HOST).href : undefined;
}

function isBroken(code, text) {
  if (!["ue_pr", "co", "ue_px", "cx"].includes(code)) return false;
  try {
    const value = JSON.parse(code.endsWith("x") ? decodeBase64(text) : text);
    return value === null || typeof value !== "object";
  } catch {
    return true;
  }
}
