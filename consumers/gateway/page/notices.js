// What the page says of itself: quiet lines, empty lists, and words for screen readers.

import { eventsAddress } from "./connection.js";
import { copyText } from "./copy.js";
import { el, icon, untrusted } from "./dom.js";
import { ingest } from "./ingest.js";
import { noMatch } from "./no_match.js";
import { duration, plural } from "./text.js";

const QUIET_LINE_MS = 8000;
const ANNOUNCE_EVERY_MS = 10_000;

/** One line below the bar that comes, says something, and goes. */
export class QuietLine {
  #timer;

  constructor(element) {
    this.element = element;
  }

  /** Say something; it goes after a while, unless it `stays`. */
  say(text, { stays = false, action } = {}) {
    clearTimeout(this.#timer);
    this.element.replaceChildren(
      el("span", {}, text),
      action ? el("button", { type: "button", click: action.run }, action.label) : "",
    );
    this.element.hidden = false;
    if (!stays) this.#timer = setTimeout(() => this.clear(), QUIET_LINE_MS);
  }

  clear() {
    clearTimeout(this.#timer);
    this.element.hidden = true;
    this.element.replaceChildren();
  }
}

/** Tells screen readers how much came, at most every ten seconds; `say` is told at once. */
export class Announcer {
  #events = 0;
  #invalid = 0;

  constructor(element) {
    this.element = element;
    setInterval(() => this.#tellArrivals(), ANNOUNCE_EVERY_MS);
  }

  arrived(rows) {
    for (const { type, validity } of rows) {
      this.#events += type === "event";
      this.#invalid += validity === "invalid";
    }
  }

  say(text) {
    this.element.textContent = text;
  }

  #tellArrivals() {
    if (this.#events === 0) return;
    this.say(`${plural(this.#events, "new event")}${this.#invalid ? `, ${this.#invalid} invalid` : ""}`);
    this.#events = this.#invalid = 0;
  }
}

/**
 * What stands in the place of an empty list. `actions`: onRetry(), onToken(token), onRemove(part), onWiden(), onLive(),
 * and rowsToCount(), a promise of the rows among which it is counted what a filter lets through.
 */
export class EmptyBox {
  #drawn;

  constructor(box, actions) {
    this.box = box;
    this.actions = actions;
  }

  /** Draw what a `{phase, view, cleared}` calls for; without one, hide. What did not change is left alone. */
  draw(state) {
    this.box.hidden = !state;
    const { filters, q, hidden, from, until } = state?.view ?? {};
    const drawn = state ? JSON.stringify([state.phase, filters, q, hidden, from, until, state.cleared, ingest()]) : undefined;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    if (state) this.box.replaceChildren(...emptyState(state, this.actions));
  }
}

function emptyState({ phase, view, cleared }, actions) {
  if (phase.name === "refused")
    return phase.status === 401 || phase.status === 403 ? tokenForm(phase, actions) : refused(phase);
  if (phase.name === "lost") return notConnected(phase, actions);
  if (phase.name === "connecting") return [heading("Connecting …")];
  if (cleared)
    return [
      heading("Cleared"),
      el(
        "p",
        {},
        "The next event appears here. What was cleared is still on the log: reload the page to see it again.",
      ),
    ];
  const isFile = phase.name === "halted";
  if (isFile || view.filters.length || view.q || view.hidden.length || view.from) return noMatch(view, isFile, actions);
  return noEvents();
}

function heading(text) {
  return el("h2", {}, text);
}

function refused({ reason }) {
  return [
    heading("The gateway refused this view"),
    el("p", { class: "error-note" }, icon("invalid"), untrusted(reason)),
    el("p", {}, "Change or remove what it names in the bar above."),
  ];
}

function tokenForm({ reason }, { onToken }) {
  const input = el("input", {
    type: "password",
    name: "token",
    autocomplete: "off",
    required: true,
    "aria-label": "Token",
  });
  const form = el("form", { class: "token" }, input, el("button", { type: "submit", class: "action" }, "Connect"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value.trim()) onToken(input.value.trim());
  });
  return [
    heading("This gateway asks for a token"),
    el("p", { class: "error-note" }, icon("invalid"), untrusted(reason)),
    el("p", {}, "Paste one here; it stays in this tab and never becomes part of the page's address."),
    form,
  ];
}

function notConnected({ reason, unreachable, retryAt }, { onRetry }) {
  const wait = Math.max(0, retryAt - Date.now());
  return [
    heading("Not connected"),
    el("p", { class: "reason" }, icon("lost"), untrusted(reason)),
    el("p", {}, `The page tries again by itself${wait > 1500 ? `, next in ${duration(wait)}` : ""}.`),
    unreachable
      ? el(
          "p",
          {},
          "Is the gateway running? ",
          el("code", {}, "snowbus gateway"),
          " or ",
          el("code", {}, "snowbus up"),
          " starts it.",
        )
      : "",
    el("button", { type: "button", class: "action", click: onRetry }, "Try now"),
  ];
}

function noEvents() {
  const { url, isGuess } = ingest();
  const publish = [
    `curl ${url}/tracking \\`,
    "  -H 'Content-Type: application/json' \\",
    `  -d '{"event": "page_view", "app_id": "shop", "page_url": "http://localhost/cart"}'`,
  ].join("\n");
  return [
    heading("No events yet"),
    el("p", {}, "Publish one; it appears here at once:"),
    snippet(publish),
    el(
      "p",
      {},
      "Any Snowplow tracker can point at ",
      el("code", {}, url),
      isGuess ? ", if ingest is there: this gateway does not know (gateway_ingest_url tells it)." : ", which is ingest.",
      " Programs read the same events at:",
    ),
    snippet(eventsAddress()),
  ];
}

function snippet(text) {
  const button = el("button", { type: "button", class: "action" }, icon("copy"), "Copy");
  button.addEventListener("click", async () => {
    button.lastChild.textContent = (await copyText(text)) ? "Copied" : "Not allowed";
    setTimeout(() => (button.lastChild.textContent = "Copy"), 1500);
  });
  return el("div", { class: "snippet" }, el("pre", {}, text), button);
}
