// What Snowplow Inspector can take of an event: as gateway/inspector.py does, which says why. Pure.

import { ExactNumber, parseJson } from "./json.js";
import { asText } from "./messages.js";
import { decodeBase64 } from "./parameters.js";

const CHANGED = "snowbus_changed";
const NOT_SELF_DESCRIBING = "iglu:dev.snowbus/not_self_describing/jsonschema/1-0-0";
const NO_EVENT = "iglu:dev.snowbus/no_event/jsonschema/1-0-0";
const UNSTRUCT_EVENT = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0";
const CONTEXTS = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1";
const UNKNOWN_HOST = "https://host-unknown.invalid/";
const URLS = new Set(["url", "dl"]);
const TIMES = new Set(["dtm", "stm", "ttm"]);
const IS_BASE64 = new Map([["ue_pr", false], ["ue_px", true], ["co", false], ["cx", true]]);
const TIME = /^[0-9]{1,14}$/;
const DANGEROUS =
  /[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]/gu;
const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
const DEEPEST = 40;
const MOST_VALUES = 5000;
const MOST_BRACKETS = 900;
const LONGEST_QUOTE = 1000;

/** Why a value cannot be shown as it is, and what can `instead`: undefined for nothing. */
class Unsafe extends Error {
  constructor(reason, instead) {
    super(reason);
    this.instead = instead;
  }
}

/** JSON that is too deep, or too large, to be drawn. */
class TooMuch extends Error {}

/** A text in which control characters, and those that turn what stands around them, are written out. */
export function safeText(text) {
  return text.replaceAll(DANGEROUS, escape);
}

function escape(character) {
  return SHORT[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** The parameters of an event as the Inspector can take them. */
export function safePayload(payload) {
  const changed = [];
  const safe = Object.create(null); // a parameter may have any name
  for (const [code, value] of Object.entries(payload)) {
    const name = safeText(code);
    const kept = orInstead(() => parameter(code, asText(value)), (reason) => changed.push([name, reason]));
    if (kept !== undefined) safe[name] = kept;
  }
  if (safe.e === "ue" && !safe.ue_pr && !safe.ue_px) {
    changed.push(["ue_pr", "there was none"]);
    safe.ue_pr = explanation("ue_pr", "there was none", "");
  }
  if (changed.length > 0) safe[CHANGED] = changed.map(([name, reason]) => `${name}: ${reason}`).join("; ");
  return safe;
}

/** An event that stands for a record that holds none. */
export function noEvent({ topic, partition, offset }) {
  const described = { schema: NO_EVENT, data: { topic, partition, offset } };
  const eid = `${partition}-${offset}`;
  const text = JSON.stringify({ schema: UNSTRUCT_EVENT, data: described });
  return { e: "ue", p: "srv", tv: "snowbus", aid: "snowbus", eid, ue_pr: text };
}

function orInstead(make, told) {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof Unsafe)) throw error;
    told(error.message);
    return error.instead;
  }
}

function parameter(code, text) {
  if (text === "") return text;
  if (IS_BASE64.has(code)) return describing(code, text);
  if (TIMES.has(code) && !TIME.test(text)) throw new Unsafe(`not a time in ms: ${quote(text)}`, undefined);
  if (code === "_gid") throw new Unsafe(`left out: ${quote(text)}`, undefined);
  const clean = safeText(text);
  if (URLS.has(code) && !URL.canParse(clean))
    throw new Unsafe("not an absolute URL", UNKNOWN_HOST + clean.replace(/^[/\\ ]+/, ""));
  const drawn = URLS.has(code) ? clean : new Drawing().text(clean);
  if (drawn !== clean) throw new Unsafe("JSON that cannot be drawn", drawn);
  if (clean !== text) throw new Unsafe("control characters are written out", clean);
  return text;
}

/** Self-describing JSON, written anew. */
function describing(code, text) {
  const refuse = (reason) => new Unsafe(reason, explanation(code, reason, text));
  const outer = parsed(code, text, refuse);
  if (!isSelfDescribing(outer)) throw refuse("not a self-describing JSON, which has a schema (a string) and data");
  const items = isOfContexts(code) ? outer.data : [outer.data];
  if (!Array.isArray(items) || !items.every(isSelfDescribing)) throw refuse("what it holds is not self-describing JSON");
  const drawing = new Drawing();
  let safe;
  try {
    safe = drawing.value(outer);
  } catch (error) {
    throw error instanceof TooMuch ? refuse(error.message) : error;
  }
  if (drawing.changed) throw new Unsafe("what it holds was written out", written(code, safe));
  return written(code, safe);
}

function parsed(code, text, refuse) {
  let json = text;
  try {
    if (IS_BASE64.get(code)) json = decodeBase64(text);
  } catch {
    throw refuse("not base64 of UTF-8 text");
  }
  try {
    return parseJson(json);
  } catch (error) {
    throw refuse(`not JSON: ${error.message}`);
  }
}

/** Goes through JSON as the Inspector draws it; `left` is how many values it may still draw. */
class Drawing {
  constructor(left = MOST_VALUES) {
    this.changed = false;
    this.left = left;
  }

  /** The value without what would harm. Throws TooMuch. */
  value(value, depth = 0) {
    this.left -= 1;
    if (this.left < 0) throw new TooMuch(`more than ${MOST_VALUES} values`);
    if (depth > DEEPEST) throw new TooMuch(`nested more than ${DEEPEST} times`);
    if (typeof value === "string") return this.text(value, depth);
    if (Array.isArray(value)) return value.map((item) => this.value(item, depth + 1));
    if (!isObject(value)) return value;
    const found = Object.create(null);
    for (const [name, item] of Object.entries(value)) found[this.#clean(name)] = this.value(item, depth + 1);
    if ("data" in found && "schema" in found && typeof found.schema !== "string") {
      this.changed = true;
      found.schema = JSON.stringify(found.schema);
    }
    return found;
  }

  /** The text without what would harm. */
  text(text, depth = 0) {
    const clean = this.#clean(text);
    if (!/^ *[{[]/.test(clean) || !this.#isHarmful(clean, depth)) return clean;
    this.changed = true;
    return `JSON: ${clean}`;
  }

  #clean(text) {
    const clean = safeText(text);
    this.changed ||= clean !== text;
    return clean;
  }

  /** Whether a text is JSON that may not be drawn. */
  #isHarmful(text, depth) {
    if (text.split(/[{[]/).length - 1 > MOST_BRACKETS) return true;
    const inner = new Drawing(this.left);
    try {
      inner.value(parseJson(text), depth + 1);
    } catch (error) {
      return error instanceof TooMuch; // else it is no JSON
    }
    this.left = inner.left;
    return inner.changed;
  }
}

function isObject(value) {
  return value !== null && typeof value === "object" && !(value instanceof ExactNumber);
}

function isSelfDescribing(value) {
  return isObject(value) && typeof value.schema === "string" && Object.hasOwn(value, "data");
}

function isOfContexts(code) {
  return code === "co" || code === "cx";
}

/** What stands where no self-describing JSON was: one that says so. */
function explanation(code, reason, sent) {
  const data = { parameter: code, problem: safeText(reason), sent: `text: ${quote(sent)}` };
  const described = { schema: NOT_SELF_DESCRIBING, data };
  if (isOfContexts(code)) return written(code, { schema: CONTEXTS, data: [described] });
  return written(code, { schema: UNSTRUCT_EVENT, data: described });
}

/** JSON as a parameter holds it; in base64 it is pure ASCII. */
function written(code, value) {
  const text = JSON.stringify(value);
  if (!IS_BASE64.get(code)) return text;
  return btoa(text.replaceAll(/[\u0080-\uffff]/g, escape)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function quote(text) {
  const beginning = [...text.slice(0, 2 * LONGEST_QUOTE)].slice(0, LONGEST_QUOTE).join("");
  return safeText(beginning) + (beginning.length < text.length ? "…" : "");
}
