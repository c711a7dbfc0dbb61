// What each tab of the details shows of an event.

import { el, icon, untrusted } from "./dom.js";
import { parseJson } from "./json.js";
import { asText } from "./messages.js";
import { decodeBase64, inWords, parameter, typeOfField } from "./parameters.js";
import { schemaName } from "./schema_links.js";
import { count, dayAndClock, duration } from "./text.js";
import { fieldRow, scalar, tree } from "./tree.js";

const GROUPS = [
  ["What", /^(event|event_.*|app_id|platform|name_tracker|v_tracker|txn_id|se_.*|tr_.*|ti_.*|pp_.*)$/],
  ["Who", /^(user_.*|domain_.*|network_userid)$/],
  ["When", /_tstamp$/],
  ["Page", /^(page_.*|doc_.*|refr_.*|mkt_.*)$/],
  ["Device", /^(useragent|br_.*|dvce_.*|os_.*|geo_.*|ip_.*)$/],
  ["Other", /^/],
];
const FIELD_FILTERS = new Set(["app_id", "platform", "event", "event_name", "user_id", "domain_userid", "event_id"]);
const SHOWN_ELSEWHERE = /^unstruct_event$|^contexts/;

/** The number that stands beside a tab's name, or undefined. */
export function tabCount(tab, model) {
  return tab === "entities" && model.entities.length > 0 ? model.entities.length : undefined;
}

/** The content of a tab. `onFilter([name, value])` is called when somebody wants only events like this. */
export function tabContent(tab, model, onFilter) {
  switch (tab) {
    case "entities":
      return entitiesTab(model);
    case "payload":
      return payloadTab(model);
    case "source":
      return sourceTab(model);
    default:
      return eventTab(model, onFilter);
  }
}

function section(title, ...content) {
  return el("section", {}, el("h3", {}, title), ...content);
}

function eventTab({ fields, data, fieldErrors }, onFilter) {
  const sections = [];
  if (data) sections.push(section("Data", tree(data.value, data.errors)));
  const undecoded = fieldErrors.get("unstruct_event");
  if (!data && undecoded) {
    const value = el("span", { class: "absent" }, "could not be decoded");
    sections.push(
      section(
        "Data",
        el("div", { class: "fields" }, fieldRow({ name: "unstruct_event", value, errors: undecoded })),
      ),
    );
  }
  const names = new Set(Object.keys(fields));
  const ghosts = [...fieldErrors.keys()].filter((name) => !names.has(name) && !SHOWN_ELSEWHERE.test(name));
  const left = new Set([...names, ...ghosts]);
  for (const [title, pattern] of GROUPS) {
    const members = [...left].filter((name) => pattern.test(name));
    if (members.length === 0) continue;
    members.forEach((name) => left.delete(name));
    const rows = members.map((name) => atomicRow(name, fields, fieldErrors.get(name) ?? [], onFilter));
    sections.push(section(title, el("div", { class: "fields" }, rows)));
  }
  if (sections.length === 0) sections.push(nothing("No field of this event could be decoded."));
  return sections;
}

function atomicRow(name, fields, errors, onFilter) {
  if (!Object.hasOwn(fields, name)) {
    return fieldRow({ name: name || "event", value: el("span", { class: "absent" }, "missing"), errors });
  }
  const value = fields[name];
  const isPlain = value === null || typeof value !== "object";
  const filter = FIELD_FILTERS.has(name) && typeof value === "string" && value !== "" && onFilter;
  const action = filter ? filterButton(name, value, onFilter) : undefined;
  const type = typeOfField(name) ?? (isPlain ? typeof value : "");
  const isText = ["text", "event", "platform"].includes(type);
  const shown = isPlain ? scalar(value) : tree(value);
  return fieldRow({ name, value: shown, type: isText ? "string" : type, errors, note: lagNote(name, fields), action });
}

/** A small button that filters by a field. */
export function filterButton(name, value, onFilter) {
  const label = `Only events with this ${name}`;
  return el(
    "button",
    { type: "button", class: "quiet", title: label, "aria-label": label, click: () => onFilter([name, value]) },
    icon("filter"),
  );
}

function lagNote(name, fields) {
  if (!name.endsWith("_tstamp") || name === "collector_tstamp") return undefined;
  const lag = Date.parse(asText(fields.collector_tstamp)) - Date.parse(asText(fields[name]));
  if (!Number.isFinite(lag)) return undefined;
  if (lag === 0) return "the moment it was received";
  return lag > 0 ? `${duration(lag)} before it was received` : `${duration(lag)} after it was received`;
}

function entitiesTab({ entities, fieldErrors }) {
  const whole = [...fieldErrors].filter(([field]) => field.startsWith("contexts"));
  const broken = whole.map(([field, errors]) =>
    el(
      "div",
      { class: "fields" },
      fieldRow({ name: field, value: el("span", { class: "absent" }, "could not be decoded"), errors }),
    ),
  );
  const cards = entities.map(({ column, schema, value, errors }) => {
    const name = /^iglu:[^/]+\/([^/]+)/.exec(schema)?.[1] ?? (column || "not self-describing");
    const heading = el(
      "h3",
      {},
      untrusted(name),
      errors.length ? el("span", { class: "validity invalid" }, icon("invalid"), "invalid") : "",
      schema ? schemaName(schema) : "",
    );
    return el("section", { class: "entity" }, heading, tree(value, errors));
  });
  if (broken.length + cards.length === 0) return [nothing("This event was sent without entities.")];
  return [...broken, ...cards];
}

function payloadTab({ payload, fieldErrors }) {
  const codes = Object.keys(payload);
  if (codes.length === 0) return [nothing("The payload is empty.")];
  const header = el(
    "div",
    { class: "parameter head" },
    el("span", {}, "Code"),
    el("span", {}, "Name"),
    el("span", {}, "Value"),
  );
  const rows = codes.map((code) => {
    const known = parameter(code);
    const errors = (known?.names ?? []).flatMap((name) => fieldErrors.get(name) ?? []);
    const name = known ? known.names.join(", ") : el("span", { class: "absent" }, "not in the protocol");
    const kind = `parameter${known?.type.endsWith("json") ? " wide" : ""}${errors.length ? " wrong" : ""}`;
    return el(
      "div",
      { class: kind },
      untrusted(code, { class: "code" }),
      el("span", { class: "parameter-name" }, name),
      parameterValue(code, asText(payload[code]), known?.type),
    );
  });
  return [el("div", { class: "parameters" }, header, rows)];
}

function parameterValue(code, text, type) {
  if (text === "") return el("div", { class: "parameter-value" }, el("span", { class: "absent" }, "empty text"));
  if (type?.endsWith("json")) return decodedJson(text, type === "base64 json");
  const words = inWords(code, text);
  return el(
    "div",
    { class: "parameter-value" },
    untrusted(text, { class: "scalar" }),
    words === undefined ? "" : el("span", { class: "decoded" }, words),
  );
}

function decodedJson(text, isBase64) {
  const raw = untrusted(text, { class: "scalar" });
  try {
    const value = parseJson(isBase64 ? decodeBase64(text) : text);
    const title = isBase64
      ? `As sent: base64, ${count(text.length)} characters`
      : `As sent: JSON, ${count(text.length)} characters`;
    return el("div", { class: "parameter-value" }, tree(value), el("details", {}, el("summary", {}, title), raw));
  } catch (error) {
    const problem = isBase64 && !(error instanceof SyntaxError) ? "not base64 of UTF-8 text" : "not JSON";
    return el("div", { class: "parameter-value" }, raw, el("div", { class: "error-note" }, icon("invalid"), problem));
  }
}

function sourceTab({ source, message }) {
  const log = {};
  for (const name of ["topic", "partition", "offset", "key"])
    if (message[name] !== undefined) log[name] = message[name];
  if (Number.isFinite(message.timestamp)) log.timestamp = dayAndClock(message.timestamp);
  if (message.producer) log.producer = message.producer;
  if (message.cursor) log.cursor = message.cursor;
  const client = Object.keys(source).length ? tree(source) : nothing("Nothing is known of who sent this event.");
  return [section("Request", client), section("Log", tree(log))];
}

function nothing(text) {
  return el("p", { class: "nothing" }, text);
}
