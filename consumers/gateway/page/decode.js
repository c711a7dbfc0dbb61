// A payload → the canonical view, for what did not come through the gateway: as bus/canonical.py does. Pure.

import { parseQuickly } from "./json.js";
import { asObject, asText } from "./messages.js";
import { columnOf, decodeBase64, eventOf, isPlatform, parameter } from "./parameters.js";

const SNOWPLOW = "com.snowplowanalytics.snowplow";
const UNTYPED = new Map([
  ["pv", [SNOWPLOW, "page_view"]],
  ["pp", [SNOWPLOW, "page_ping"]],
  ["se", ["com.google.analytics", "event"]],
  ["tr", [SNOWPLOW, "transaction"]],
  ["ti", [SNOWPLOW, "transaction_item"]],
]);
const URI = /^iglu:([^/]+)\/([^/]+)\/([^/]+)\/(\d+-\d+-\d+)$/;
const EXPECTED = {
  event: "one of pv, pp, ue, se, tr, ti",
  platform: "one of web, mob, pc, srv, app, tv, cnsl, iot, headset",
  uuid: "a hyphenated UUID",
  time: "milliseconds since 1970, in the years 1 to 9999",
  integer: "an integer",
  number: "a number",
  boolean: "1 or 0",
  size: "WIDTHxHEIGHT",
};
const YEAR_1 = -62_135_596_800_000;
const YEAR_10000 = 253_402_300_800_000;
const INTEGER = /^[+-]?\d{1,19}$/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Kinds of which "null", which an old JavaScript tracker sent, says that there is nothing. */
const NULLABLE = new Set(["integer", "number"]);

/** The canonical `event` of a payload (an object of strings), and the `errors` of what could not be decoded. */
export function decode(payload) {
  const event = {};
  const errors = [];
  for (const [code, value] of Object.entries(payload)) {
    const known = parameter(code);
    const text = asText(value);
    if (!known || known.type.endsWith("json") || text === "" || (code === "nuid" && payload.tnuid)) continue;
    const typed = convert(text, known.type);
    if (typed === undefined) {
      if (NULLABLE.has(known.type) && text.toLowerCase() === "null") continue;
      errors.push({ field: known.names[0], schema: "", path: "", expected: EXPECTED[known.type], got: text });
      event[known.names[0]] = text;
    } else known.names.forEach((name, index) => (event[name] = known.names.length > 1 ? typed[index] : typed));
  }
  if (payload.e === "ue") decodeUnstruct(payload, event, errors);
  else if (UNTYPED.has(payload.e)) named(event, ...UNTYPED.get(payload.e), "jsonschema", "1-0-0");
  decodeContexts(payload, event, errors);
  return { event, errors };
}

/** A parameter's text as its type, undefined when it is none. */
function convert(text, type) {
  switch (type) {
    case "event":
      return eventOf(text);
    case "platform":
      return isPlatform(text) ? text : undefined;
    case "ip":
      return text.split(/[,| ]/, 1)[0];
    case "uuid":
      return UUID.test(text) ? text.toLowerCase() : undefined;
    case "time":
      return INTEGER.test(text) && YEAR_1 <= Number(text) && Number(text) < YEAR_10000
        ? new Date(Number(text)).toISOString()
        : undefined;
    case "integer":
      return INTEGER.test(text) ? Number(text) : undefined;
    case "number":
      return NUMBER.test(text) && Number.isFinite(Number(text)) ? Number(text) : undefined;
    case "boolean":
      return { 1: true, 0: false }[text];
    case "size":
      return /^\d{1,19}x\d{1,19}$/.test(text) ? text.split("x").map(Number) : undefined;
    default:
      return text;
  }
}

function decodeUnstruct(payload, event, errors) {
  const { data, schema: envelope, problem } = selfDescribing(payload.ue_pr, payload.ue_px);
  checkEnvelope(envelope, "unstruct_event", errors);
  const { schema, data: value } = asObject(data);
  const [, vendor, name, format, version] = URI.exec(asText(schema)) ?? [];
  if (vendor === undefined || value === undefined) {
    errors.push(undecoded("unstruct_event", problem ?? "no self-describing event with an Iglu URI"));
    return;
  }
  named(event, vendor, name, format, version);
  event[columnOf("unstruct_event", schema)] = value;
}

function decodeContexts(payload, event, errors) {
  const { data, schema: envelope, problem } = selfDescribing(payload.co, payload.cx);
  checkEnvelope(envelope, "contexts", errors);
  if (problem) errors.push(undecoded("contexts", problem));
  if (!Array.isArray(data)) return;
  data.forEach((item, position) => {
    const { schema, data: value } = asObject(item);
    if (!URI.test(asText(schema)) || value === undefined)
      errors.push(undecoded(`contexts[${position}]`, "no self-describing JSON"));
    else (event[columnOf("contexts", schema)] ??= []).push(value);
  });
}

function named(event, vendor, name, format, version) {
  Object.assign(event, { event_vendor: vendor, event_name: name, event_format: format, event_version: version });
}

/** The `data` of a parameter in either of its forms; nothing of both absent, and a `problem` when it is not JSON. */
function selfDescribing(plain, base64) {
  if (!plain && !base64) return {};
  try {
    const { schema, data } = asObject(parseQuickly(asText(plain) || decodeBase64(asText(base64))));
    return { schema: asText(schema), data };
  } catch (error) {
    return { problem: String(error.message ?? error).slice(0, 200) };
  }
}

/** Enrich takes any version of the envelope's model, and no other schema for it. */
function checkEnvelope(schema, name, errors) {
  const beginning = `iglu:${SNOWPLOW}/${name}/jsonschema/1-0-`;
  if (schema && !schema.startsWith(beginning))
    errors.push({ field: name, schema: "", path: "/schema", expected: `${beginning}*`, got: schema.slice(0, 200) });
}

function undecoded(field, got) {
  return { field, schema: "", path: "", expected: "a self-describing JSON", got };
}
