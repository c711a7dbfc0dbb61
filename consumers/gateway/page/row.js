// One row of the list: an element that is filled again and again, as rows scroll by.

import { el, icon, setIcon } from "./dom.js";
import { clock, count, dayAndClock, duration, plural, visible } from "./text.js";

const MANY = 99;

/** An element for a row; `fill(row, withDay)` makes it show one, `tell(row)` what has become of it by now. */
export class RowElement {
  constructor(deliveries) {
    this.deliveries = deliveries;
    this.time = el("span", { class: "time" });
    this.app = el("bdi", { class: "app" });
    this.name = el("bdi", { class: "name" });
    this.hint = el("bdi", { class: "hint" });
    this.who = el("bdi", { class: "who" });
    this.word = el("span");
    this.icon = icon("unchecked");
    this.state = el("span", {}, this.icon, this.word);
    this.what = el("span", { class: "what" }, this.name, " ", this.hint);
    this.delivery = new DeliverySign();
    this.gap = el("span", { class: "gap-text" });
    this.cells = [this.time, this.app, this.what, this.who, this.state, this.delivery.element];
    this.element = el("div", { role: "option" }, this.cells);
  }

  fill(row, withDay) {
    const { element } = this;
    const isEvent = row.type === "event";
    element.dataset.seq = row.seq;
    element.id = `row-${row.seq}`;
    element.className = `row ${row.type}`;
    element.setAttribute("aria-selected", "false");
    if (isEvent !== (element.firstChild === this.time)) {
      element.replaceChildren(...(isEvent ? this.cells : [this.gap]));
      element.toggleAttribute("aria-disabled", !isEvent);
    }
    if (isEvent) this.#fillEvent(row, withDay);
    else {
      this.gap.title = gapText(row);
      this.gap.replaceChildren(icon("gap"), gapText(row));
    }
  }

  #fillEvent(row, withDay) {
    this.time.textContent = withDay ? dayAndClock(row.timestamp, { year: false }) : clock(row.timestamp);
    this.app.textContent = visible(row.app);
    this.name.textContent = visible(row.name);
    this.hint.textContent = visible(row.hint);
    this.who.textContent = visible(row.who);
    this.state.className = `validity ${row.validity}`;
    setIcon(this.icon, row.validity);
    this.word.textContent = validityWord(row);
    for (const cell of this.cells) if (cell.title) cell.title = "";
    this.tell(row);
  }

  tell(row) {
    if (row.type === "event" && this.delivery.show(this.deliveries.stateOf(row))) this.delivery.element.title = "";
  }

  /** What does not fit in the cell is told when it is pointed at. */
  explain(row, cell) {
    if (cell === this.time) cell.title = timesOf(row);
    else if (cell === this.who) cell.title = row.whoField ? `${row.whoField} ${visible(row.who)}` : "";
    else if (cell === this.what) cell.title = visible(`${row.name} ${row.hint}`);
    else if (cell === this.app) cell.title = visible(row.app);
    else if (cell === this.delivery.element) cell.title = deliveryInWords(this.deliveries.stateOf(row));
  }
}

/** The state of an event's delivery: a shape and a word. `show(state)` returns whether it was another one before. */
export class DeliverySign {
  constructor() {
    this.word = el("span");
    this.icon = icon("queued");
    this.element = el("span", { class: "delivery" }, this.icon, this.word);
    this.shown = "";
    this.element.hidden = true;
  }

  show({ state, attempts } = { state: "" }) {
    const times = attempts > MANY ? `${MANY}+` : attempts;
    const word = state === "retrying" && attempts > 0 ? `retrying ${times}` : state;
    if (word === this.shown) return false;
    this.shown = word;
    this.element.hidden = word === "";
    this.element.className = `delivery ${state}`;
    this.word.textContent = word;
    if (state) setIcon(this.icon, state);
    return true;
  }
}

function deliveryInWords(known) {
  const lines = (known?.by ?? []).map(({ group, state, story }) => {
    const { attempts, httpStatus, error, time } = story.at(-1) ?? {};
    const facts = [
      attempts > 0 ? `attempt ${count(attempts)}` : "",
      httpStatus === undefined ? "" : `status ${httpStatus}`,
      visible(error ?? "", 200),
      Number.isFinite(time) ? `at ${clock(time)}` : "",
    ];
    return [`${visible(group)}: ${state}`, ...facts.filter(Boolean)].join(", ");
  });
  return lines.join("\n");
}

/** The state of an event's validity: a shape and a word. */
export function validity(row) {
  return el("span", { class: `validity ${row.validity}` }, icon(row.validity), el("span", {}, validityWord(row)));
}

function validityWord({ validity: state, errors }) {
  return state === "invalid" && errors > 1 ? `${count(errors)} errors` : state;
}

/** What a gap says of itself. */
export function gapText({ count: missing, reason, type, text }) {
  if (type === "unreadable") return `A message could not be read: ${visible(text, 200)}`;
  const what = missing === undefined ? "Events are missing here" : `${plural(missing, "event")} missing here`;
  return reason ? `${what}: ${visible(reason, 300)}` : what;
}

const TIMES = [
  ["dvce_created_tstamp", "tracked"],
  ["dvce_sent_tstamp", "sent"],
  ["collector_tstamp", "received"],
];

function timesOf(row) {
  const { event = {} } = JSON.parse(row.text);
  const lines = [];
  let before;
  for (const [field, word] of [...TIMES, [undefined, "on the log"]]) {
    const ms = field ? Date.parse(event[field]) : row.timestamp;
    if (!Number.isFinite(ms)) continue;
    const lag = before === undefined ? "" : `  ${ms < before ? "−" : "+"}${duration(ms - before)}`;
    lines.push(`${word}: ${dayAndClock(ms)}${lag}`);
    before = ms;
  }
  return lines.join("\n");
}
