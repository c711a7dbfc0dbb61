// The top of the details: what happened, how it stands, what is wrong with it, and what one can do with it.

import { asCurl, asJson, asPayload, copyText } from "./copy.js";
import { el, icon, untrusted } from "./dom.js";
import { ingest } from "./ingest.js";
import { validity } from "./row.js";
import { schemaName } from "./schema_links.js";
import { count, dayAndClock, visible } from "./text.js";
import { asPython } from "./tracker_call.js";

const COPIES = [
  ["JSON", "Copy the whole message as JSON", asJson],
  ["payload", "Copy the tracker-protocol parameters", asPayload],
  ["curl", "Copy a curl command that sends this event again", asCurl, { sends: true }],
  ["Python", "Copy a call of the official Python tracker that sends such an event", asPython, { sends: true }],
];

/** The header of a row's event; `sign` is its delivery. `actions` are onFilter, onHide, announce, say and jump(error). */
export function detailsHead(row, model, sign, actions) {
  const schema = model.data?.schema || (row.values.schema ?? "");
  return el(
    "header",
    { class: "details-head" },
    el("h2", {}, untrusted(row.name), row.hint && !model.data ? [" ", untrusted(row.hint, { class: "hint" })] : ""),
    schema ? schemaName(schema) : "",
    el(
      "p",
      { class: "facts" },
      validity(row),
      sign.element,
      el("span", {}, dayAndClock(row.timestamp)),
      row.app ? untrusted(row.app) : "",
      row.who ? untrusted(row.who) : "",
    ),
    errorSummary(model, actions.jump),
    row.validity === "unchecked" ? el("p", { class: "field-note" }, whyUnchecked(model)) : "",
    el("div", { class: "actions" }, likeButtons(row, actions), copyButtons(row, actions)),
  );
}

function errorSummary({ errors }, jump) {
  if (errors.length === 0) return "";
  const items = errors.map((error) =>
    el(
      "li",
      {},
      el(
        "button",
        { type: "button", click: () => jump(error) },
        icon("invalid"),
        untrusted(whereIs(error), { class: "where" }),
        el("span", { class: "why" }, "expected ", untrusted(visible(error.expected, 120))),
      ),
    ),
  );
  return el("ul", { class: "error-summary", "aria-label": `${count(errors.length)} validation errors` }, items);
}

function whyUnchecked({ data, entities }) {
  if (!data && entities.length === 0) return "It names no schema that it could be checked against.";
  return "Nothing wrong was found, but not every schema that it names was known when it was checked.";
}

function likeButtons(row, { onFilter, onHide }) {
  const like = filterLike(row.values);
  if (!like) return "";
  const words = visible(like[1], 40);
  return [
    actionButton("filter", `Only ${words}`, "Only events like this", () => onFilter(like)),
    actionButton("hide", "Hide", `Hide events like this: ${words}`, () => onHide(like)),
  ];
}

function copyButtons(row, { announce, say }) {
  const copies = COPIES.map(([label, title, write, { sends = false } = {}]) => {
    const button = el("button", { type: "button", title, "aria-label": `Copy ${label}` }, label);
    button.addEventListener("click", async () => {
      const copied = await copyText(write(row.text, ingest()));
      button.textContent = copied ? "Copied" : "Not allowed";
      announce(copied ? `Copied ${label}` : "The browser did not allow copying");
      const { url, isGuess } = ingest();
      if (copied && sends && isGuess) say(`That ingest is at ${url} is a guess; the setting gateway_ingest_url tells where it is.`);
      setTimeout(() => (button.textContent = label), 1500);
    });
    return button;
  });
  return el("span", { class: "copies", role: "group", "aria-label": "Copy as" }, icon("copy"), el("span", {}, "Copy"), copies);
}

function actionButton(iconName, label, title, onClick) {
  return el("button", { type: "button", class: "action", title, click: onClick }, icon(iconName), el("span", {}, label));
}

function whereIs({ field, path }) {
  const place = field.startsWith("unstruct_event") || field === "" ? "" : field;
  return visible(`${place}${place ? path : path.slice(1)}`, 120) || "the whole event";
}

/** The filter for events of the same kind: the name of a self-describing one, the type of any other. */
function filterLike({ event, event_name: name }) {
  if (event === "unstruct" && name) return ["event_name", name];
  return event && ["event", event];
}
