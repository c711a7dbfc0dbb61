// Names of schemas that lead to what they say, where the gateway has them: each error to the line that it broke.

import { byId, el, icon, untrusted } from "./dom.js";
import { parseJson } from "./json.js";
import { linesOf, placeOfPointer } from "./schema_lines.js";

const ASK_AGAIN_MS = 30_000;
const PATH = "/schemas";

let listed = new Set();
let asking;
let askedAt = -Infinity;

/** The name of a schema; it becomes a link once the gateway is known to have it. `pointer` says which line is meant. */
export function schemaName(uri, { pointer = "" } = {}) {
  const name = untrusted(uri, { class: "schema" });
  has(uri).then((isThere) => isThere && name.replaceWith(link(uri, pointer)));
  return name;
}

async function has(uri) {
  if (!listed.has(uri) && performance.now() - askedAt > ASK_AGAIN_MS) {
    askedAt = performance.now();
    asking = list();
  }
  await asking;
  return listed.has(uri);
}

async function list() {
  try {
    const answer = await fetch(PATH);
    if (answer.ok) listed = new Set(await answer.json());
  } catch {
    // then there are names, without links
  }
}

/** An address of its own, so that it can be copied or opened beside; a plain press shows it here. */
function link(uri, pointer) {
  const parts = uri.split(/(?<=\/)/);
  return el(
    "a",
    {
      href: addressOf(uri),
      class: "schema",
      title: pointer ? "What the schema says" : "The schema",
      click: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        show(uri, pointer);
      },
    },
    parts.slice(0, -1).flatMap((part) => [part, el("wbr")]),
    el("span", { class: "version" }, parts.at(-1)),
  );
}

function addressOf(uri) {
  return `${PATH}/${uri.slice("iglu:".length).split("/").map(encodeURIComponent).join("/")}`;
}

async function show(uri, pointer) {
  const dialog = byId("schema-dialog");
  const body = el("div", { class: "schema-lines", tabindex: "0", role: "group", "aria-label": "The schema" }, "Reading …");
  const close = el("button", { type: "button", class: "plain", "aria-label": "Close", title: "Close (Esc)", click: () => dialog.close() }, icon("close"));
  const title = el("h2", { id: "schema-title" }, untrusted(uri, { class: "schema" }));
  const raw = el("a", { href: addressOf(uri), target: "_blank" }, "as JSON");
  dialog.replaceChildren(el("header", {}, title, raw, close), body);
  dialog.showModal();
  try {
    const answer = await fetch(addressOf(uri));
    if (!answer.ok) throw new Error(await answer.text());
    body.replaceChildren(...drawn(parseJson(await answer.text()), pointer));
    body.querySelector(".marked")?.scrollIntoView({ block: "center" });
  } catch (error) {
    body.replaceChildren(el("p", { class: "nothing" }, "The schema could not be read: ", untrusted(String(error))));
  }
  body.focus();
}

function drawn(schema, pointer) {
  const lines = linesOf(schema);
  const place = placeOfPointer(lines, pointer);
  return lines.map(({ at, text }) => {
    const isMarked = place !== "" && (at === place || at.startsWith(`${place}/`));
    return el(isMarked ? "mark" : "div", { class: `schema-line${isMarked ? " marked" : ""}` }, untrusted(text));
  });
}
