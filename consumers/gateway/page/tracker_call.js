// An event as a call of the official Python tracker. Pure: whatever the event holds, it ends up inside literals.

import { ExactNumber, memberText, parseJson } from "./json.js";
import { asObject, asText } from "./messages.js";
import { decodeBase64 } from "./parameters.js";

const SUBJECT = [
  ["p", "platform"],
  ["uid", "user_id"],
  ["duid", "domain_user_id"],
  ["sid", "domain_session_id"],
  ["ua", "useragent"],
  ["ip", "ip_address"],
  ["lang", "lang"],
];
const PLATFORMS = new Set(["pc", "tv", "mob", "cnsl", "iot", "web", "srv", "app"]);
const PAGE = [["page_url", "url"], ["page_title", "page"], ["referrer", "refr"]];
const SCROLL = [["min_x", "pp_mix"], ["max_x", "pp_max"], ["min_y", "pp_miy"], ["max_y", "pp_may"]];
const STRUCT = [["category", "se_ca"], ["action", "se_ac"], ["label", "se_la"], ["property_", "se_pr"]];
const IMPORTS = ["Emitter", "PagePing", "PageView", "SelfDescribing", "SelfDescribingJson", "StructuredEvent", "Subject", "Tracker"];

/** A Python program that tracks the event of a message's text again, by an ingest, `{url}`. */
export function asPython(text, { url }) {
  const payload = asObject(parseJson(memberText(text, "payload") ?? "{}"));
  const call = eventCall(payload);
  if (call === undefined)
    return `# The Python tracker has no call for events of the type ${literal(asText(payload.e))}. Send the payload as it is: "Copy curl".\n`;
  const body = [
    `emitter = ${emitter(new URL(url))}`,
    `subject = ${subject(payload)}`,
    `tracker = Tracker("snowbus", [emitter], subject=subject, app_id=${literal(asText(payload.aid))}, encode_base64=False)`,
    `tracker.track(${call})`,
    "tracker.flush()",
  ].join("\n");
  const used = IMPORTS.filter((name) => new RegExp(`\\b${name}\\(`).test(body));
  return `from snowplow_tracker import ${used.join(", ")}\n\n${body}\n`;
}

function emitter({ hostname, protocol, port }) {
  return `Emitter(${literal(hostname)}, protocol=${literal(protocol.slice(0, -1))}${port && `, port=${port}`})`;
}

function subject(payload) {
  const given = SUBJECT.filter(([code]) => asText(payload[code]) !== "" && (code !== "p" || PLATFORMS.has(payload.p)));
  return `Subject()${given.map(([code, name]) => `.set_${name}(${literal(asText(payload[code]))})`).join("")}`;
}

function eventCall(payload) {
  const given = (pairs, asNumber = false) =>
    pairs
      .filter(([, code]) => asText(payload[code]) !== "" && (!asNumber || isNumber(asText(payload[code]))))
      .map(([name, code]) => [name, asNumber ? asText(payload[code]) : literal(asText(payload[code]))]);
  const entities = entitiesArgument(payload);
  switch (payload.e) {
    case "pv":
      return call("PageView", [...given(PAGE), ...entities]);
    case "pp":
      return call("PagePing", [...given(PAGE), ...given(SCROLL, true), ...entities]);
    case "se":
      return call("StructuredEvent", [...given(STRUCT), ...given([["value", "se_va"]], true), ...entities]);
    case "ue": {
      const { schema, data } = asObject(asObject(decoded(payload.ue_pr, payload.ue_px)).data);
      if (typeof schema !== "string") return undefined;
      return call("SelfDescribing", [["event_json", selfDescribing(schema, data, 1)], ...entities]);
    }
    default:
      return undefined;
  }
}

function call(name, members) {
  return `${name}(\n${members.map(([key, value]) => `    ${key}=${value},\n`).join("")})`;
}

function entitiesArgument(payload) {
  const { data } = asObject(decoded(payload.co, payload.cx));
  const entities = (Array.isArray(data) ? data : []).map(asObject).filter(({ schema }) => typeof schema === "string");
  if (entities.length === 0) return [];
  const items = entities.map(({ schema, data: value }) => `        ${selfDescribing(schema, value, 2)},\n`);
  return [["context", `[\n${items.join("")}    ]`]];
}

function selfDescribing(schema, data, depth) {
  return `SelfDescribingJson(${literal(schema)}, ${literal(data ?? {}, depth)})`;
}

function decoded(plain, base64) {
  try {
    const text = asText(plain) || decodeBase64(asText(base64));
    return text ? parseJson(text) : undefined;
  } catch {
    return undefined;
  }
}

function isNumber(text) {
  return /^-?\d{1,15}(\.\d{1,15})?$/.test(text);
}

/** A JSON value as a Python literal, in ASCII. */
export function literal(value, depth = 0) {
  if (value === null || value === undefined) return "None";
  if (value === true || value === false) return value ? "True" : "False";
  if (typeof value === "string") return textLiteral(value);
  if (value instanceof ExactNumber) return value.source;
  if (typeof value !== "object") return String(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const members = Array.isArray(value)
    ? value.map((item) => literal(item, depth + 1))
    : Object.entries(value).map(([name, item]) => `${textLiteral(name)}: ${literal(item, depth + 1)}`);
  if (members.length === 0) return open + close;
  const indent = "    ".repeat(depth + 1);
  return `${open}\n${members.map((member) => `${indent}${member},\n`).join("")}${"    ".repeat(depth)}${close}`;
}

function textLiteral(text) {
  return JSON.stringify(text).replaceAll(/[^\x20-\x7e]/gu, (character) => {
    const code = character.codePointAt(0).toString(16);
    return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}
