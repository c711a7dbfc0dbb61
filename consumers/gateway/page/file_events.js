// The events in a file, as messages: HAR, NDJSON or JSON of the gateway's messages, dead letters, payloads, bad rows. Pure.

import { decode } from "./decode.js";
import { parseQuickly } from "./json.js";
import { asObject, asText } from "./messages.js";

export const MAX_EVENTS = 20_000;
const PAYLOAD_DATA = /^iglu:com\.snowplowanalytics\.snowplow\/payload_data\//;
const BAD_ROW = /^iglu:com\.snowplowanalytics\.snowplow\.badrows\/([^/]+)\//;

/**
 * What a file's text holds: `{messages, skipped, kind}`, the messages as the gateway's, `skipped` what was no event.
 * Throws an Error that says what is wrong when it is none of these files.
 */
export function eventsOfFile(text, name) {
  const values = parseFile(text);
  const found = values.map((value) => [...eventsOf(value)]);
  const messages = found.flat().slice(0, MAX_EVENTS);
  if (messages.length === 0)
    throw new Error("it holds no events: a HAR file, and lines of messages, payloads, dead letters or bad rows are read");
  const skipped = found.filter((events) => events.length === 0).length + found.flat().length - messages.length;
  return { messages: messages.map((message, index) => ({ ...message, topic: name, offset: index })), skipped };
}

function parseFile(text) {
  const start = text.replace(/^\ufeff/, "").trim();
  const whole = tryJson(start);
  if (whole !== undefined) {
    const entries = asObject(asObject(whole).log).entries;
    return Array.isArray(entries) ? entries.map((entry) => ({ har: entry })) : [whole].flat();
  }
  return start.split(/\r?\n/).filter((line) => line.trim() !== "").map(tryJson);
}

function tryJson(text) {
  try {
    return parseQuickly(text);
  } catch {
    return undefined;
  }
}

function* eventsOf(value) {
  const object = asObject(value);
  if (object.har) yield* ofHar(asObject(object.har));
  else if (Object.hasOwn(object, "event") && typeof object.event === "object") yield ofMessage(object);
  else if (BAD_ROW.test(asText(object.schema))) yield* ofBadRow(object);
  else if (PAYLOAD_DATA.test(asText(object.schema))) yield* ofPayloadData(object, {});
  else if (typeof object.e === "string") yield ofPayload(object, {});
  else if (typeof object.event_id === "string" && typeof object.event === "string") yield ofCanonical(object);
}

/** A message of the gateway, or a dead letter, which has more beside it. */
function ofMessage({ event, payload, source, validation, timestamp, producer, key, cursor, type, ...rest }) {
  const letter = type === undefined ? rest : {};
  return {
    type: "event",
    timestamp: Number.isFinite(timestamp) ? timestamp : Date.parse(asText(asObject(event).collector_tstamp)),
    event: asObject(event),
    payload: asObject(payload),
    source: { ...asObject(source), ...letter },
    validation: asObject(validation),
    producer,
    key,
  };
}

function ofCanonical(event) {
  return message({ event, payload: {}, time: event.collector_tstamp });
}

function ofPayload(payload, { time, source, errors = [] }) {
  const decoded = decode(payload);
  const sent = decoded.event.dvce_sent_tstamp ?? decoded.event.dvce_created_tstamp;
  return message({
    event: decoded.event,
    payload,
    time: time ?? sent,
    source,
    errors: [...errors, ...decoded.errors],
  });
}

function* ofPayloadData({ data }, context) {
  for (const payload of Array.isArray(data) ? data : []) {
    if (typeof asObject(payload).e === "string") yield ofPayload(payload, context);
  }
}

/** What a request held; one of our own files says, too, what came of its validation. */
function* ofHar({ _snowbus: ours, ...entry }) {
  const { validation } = asObject(ours);
  for (const message of ofRequest(entry)) yield validation === undefined ? message : { ...message, validation: asObject(validation) };
}

function* ofRequest({ request, response, startedDateTime: time }) {
  const { method, url, headers, postData } = asObject(request);
  const source = { method: asText(method), url: asText(url), status: asObject(response).status };
  for (const { name, value } of Array.isArray(headers) ? headers.map(asObject) : []) {
    if (/^user-agent$/i.test(asText(name))) source.user_agent = asText(value);
  }
  const body = tryJson(asText(asObject(postData).text));
  if (PAYLOAD_DATA.test(asText(asObject(body).schema))) yield* ofPayloadData(body, { time, source });
  else if (method === "GET" && URL.canParse(asText(url))) {
    const query = Object.fromEntries(new URL(url).searchParams);
    if (query.e && query.tv) yield ofPayload(query, { time, source });
  }
}

function* ofBadRow({ schema, data }) {
  const { failure, payload, processor } = asObject(data);
  const { enriched, raw } = asObject(payload);
  const [, kind] = BAD_ROW.exec(schema);
  const { timestamp: time, messages } = asObject(failure);
  const errors = failuresOf(failure, messages, kind);
  const source = { bad_row: kind, processor: asText(asObject(processor).artifact), payload: enriched || raw ? "" : payload };
  const parameters = asObject(raw).parameters ?? asObject(payload).querystring ?? [];
  const sent = Array.isArray(parameters)
    ? Object.fromEntries(parameters.map(asObject).map(({ name, value }) => [asText(name), asText(value)]))
    : asObject(parameters);
  if (sent.e) yield ofPayload(sent, { time, source, errors });
  else {
    const event = Object.fromEntries(Object.entries(asObject(enriched)).filter(([, value]) => value !== null));
    yield message({ event: { event_name: kind, ...event }, payload: sent, time, source, errors });
  }
}

function failuresOf(failure, messages, kind) {
  const list = Array.isArray(messages) ? messages : [asObject(failure).message ?? asObject(failure).error ?? failure];
  const errors = list.flatMap((each) => {
    const { schemaKey, error, field } = asObject(each);
    const reports = asObject(error).dataReports;
    const known = { field: asText(field), schema: asText(schemaKey), path: "", expected: "", got: "" };
    if (!Array.isArray(reports)) return [{ ...known, expected: `no ${kind}: ${asText(each).slice(0, 500)}` }];
    return reports.map(asObject).map(({ path, message: words }) => ({
      ...known,
      path: asText(path).replace(/^\$/, "").replaceAll(/\.|\[(\d+)\]/g, (_, index) => `/${index ?? ""}`),
      ...expectation(asText(words)),
    }));
  });
  return errors.slice(0, 100);
}

/** What a validator of bad rows says, such as `$.quantity: string found, integer expected`, in two. */
function expectation(words) {
  const text = words.replace(/^\$[^:\s]*:\s*/, "");
  const [, got, expected] = /^(.+) found, (.+) expected$/.exec(text) ?? [];
  return expected ? { expected, got } : { expected: text };
}

function message({ event, payload, time, source = {}, errors = [] }) {
  const known = typeof time === "number" ? time : Date.parse(asText(time));
  return {
    type: "event",
    timestamp: known,
    event: { ...event, collector_tstamp: event.collector_tstamp ?? (known > 0 ? new Date(known).toISOString() : undefined) },
    payload,
    source: Object.fromEntries(Object.entries(source).filter(([, value]) => value !== "" && value !== undefined)),
    validation: { status: errors.length ? "invalid" : "unchecked", errors },
  };
}
