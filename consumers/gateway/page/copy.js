// An event as text to take elsewhere: the message as JSON, its payload, or a curl command that sends it again.

import { indentJson, memberText } from "./json.js";

const PAYLOAD_DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4";

/** The whole message, indented, every value as it was written. */
export function asJson(text) {
  return indentJson(text);
}

/** The tracker-protocol parameters, as they were sent. */
export function asPayload(text) {
  return indentJson(memberText(text, "payload") ?? "{}");
}

/** A command that sends the event to an ingest, `{url}`, safe to paste: one argument, nothing hidden in it. */
export function asCurl(text, { url }) {
  const payload = memberText(text, "payload") ?? "{}";
  const body = plainAscii(`{"schema":"${PAYLOAD_DATA}","data":[${payload}]}`);
  return [
    `curl '${url}/com.snowplowanalytics.snowplow/tp2' \\`,
    "  -H 'Content-Type: application/json' \\",
    `  --data-raw '${body.replaceAll("'", "\\u0027")}'`,
  ].join("\n");
}

function plainAscii(json) {
  return json.replaceAll(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Put text on the clipboard; false when the browser refuses. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // pages that are neither https nor loopback have no clipboard API
  }
}

function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "offscreen";
  const focused = document.activeElement;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return copied;
}
