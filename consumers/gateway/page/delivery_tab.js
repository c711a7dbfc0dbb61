// The way of one event as a time line: tracked, received, on the log, and then each attempt to deliver it.

import { el, icon, untrusted } from "./dom.js";
import { asText } from "./messages.js";
import { clock, count, day, dayAndClock, duration, plural, visible } from "./text.js";

const SILENT_MS = 10_000;
const STATES = { untried: "queued", up: "valid", down: "lost", refusing: "refused" };
const STANDING = { untried: "untried: it has not answered yet", refusing: "refusing events" };
const WORDS = {
  queued: ["Queued", "The collector consumer has not told of it yet."],
  done: ["Done", "Delivered or dead: the consumer has finished with it, and nobody can tell any more which."],
};
const DEAD = "The collector will not take it. It is on snowbus.dead, and is not tried again by itself.";

/** What of `Deliveries.of` is shown: a group's silence matters while an event waits for it. */
export function deliveryFacts(groups, now) {
  return groups.map(({ heard, ...group }) => ({
    ...group,
    silentSince: group.state === "queued" && now - heard > SILENT_MS ? heard : undefined,
  }));
}

/** The content of the tab; `groups` are as `deliveryFacts` gives them. */
export function deliveryTab(row, { event, message }, groups) {
  const line = new TimeLine(day(row.timestamp));
  const tracked = Date.parse(asText(event.dvce_created_tstamp));
  line.add({ title: "Tracked", time: tracked, detail: "by the client's clock" });
  line.add({ title: "Received", time: Date.parse(asText(event.collector_tstamp)), detail: asText(message.producer) });
  const place = `${asText(message.topic)}, partition ${asText(message.partition)}, offset ${asText(message.offset)}`;
  line.add({ title: "On the log", time: row.timestamp, detail: place });
  const way = el("section", {}, el("h3", {}, "To the log"), line.element);
  if (groups.length === 0) return [way, nobodyDelivers()];
  const note = "An attempt is timed when its consumer tells of it, up to a quarter of a second later.";
  return [way, ...groups.map((group) => deliveries(row, group)), el("p", { class: "footnote" }, note)];
}

function nobodyDelivers() {
  return el(
    "section",
    {},
    el("h3", {}, "To the collector"),
    el(
      "p",
      { class: "nothing" },
      "Nobody has told of deliveries on this log. ",
      el("code", {}, "snowbus collect --collector URL"),
      " forwards its events, and tells.",
    ),
  );
}

function deliveries(row, { group, state, story, silentSince, collectors }) {
  const line = new TimeLine(day(row.timestamp), row.timestamp);
  let before;
  for (const step of story) {
    line.addSkipped(skipped(before, step), before ? "more" : "earlier");
    line.add(attempt(step, before));
    before = step;
  }
  if (state in WORDS) {
    const [title, sentence] = WORDS[state];
    const silence = silentSince
      ? ` Nothing was heard of it since ${at(silentSince, day(row.timestamp))}. Is it running?`
      : "";
    line.add({ sign: state, title, detail: sentence + silence });
  } else if (state === "retrying") {
    const next = collectors.map(({ nextTry }) => nextTry).filter((time) => time > before.time);
    const detail = next.length ? `Next try at ${clock(Math.min(...next))}.` : "It is tried again until it is delivered.";
    line.add({ sign: "queued", title: "Waiting", detail });
  }
  return el(
    "section",
    {},
    el("h3", {}, el("span", {}, "By group ", untrusted(group))),
    collectors.map((collector) => collectorLine(collector, row)),
    line.element,
  );
}

/** How many attempts nobody told of, between two steps. */
function skipped(before, { attempts }) {
  const goesOn = before?.status === "retrying" && before.attempts < attempts;
  return attempts - 1 - (goesOn ? before.attempts : 0);
}

function attempt({ status, attempts, httpStatus, error, time }, before) {
  const again = before !== undefined && before.status === status && status !== "retrying";
  const answer = httpStatus === undefined ? "no answer" : `status ${httpStatus}`;
  const facts = [
    status !== "retrying" && attempts > 1 ? `attempt ${count(attempts)}` : "",
    error && (httpStatus === undefined || error.includes(httpStatus)) ? "" : answer,
    again ? "told again" : "",
  ];
  const failed = attempts > 0 ? `Attempt ${count(attempts)} failed` : "An attempt failed";
  return {
    sign: status,
    title: { retrying: failed, delivered: "Delivered", dead: "Dead" }[status],
    time,
    facts: facts.filter(Boolean).join(", "),
    problem: error,
    detail: status === "dead" ? DEAD : "",
  };
}

/** How a collector stands, in one line. */
export function collectorLine({ url, state, since, error, nextTry }, row) {
  const today = row ? day(row.timestamp) : day(Date.now());
  return el(
    "p",
    { class: "collector", "data-state": state },
    icon(STATES[state]),
    el(
      "span",
      {},
      untrusted(url, { class: "url" }),
      ` is ${STANDING[state] ?? state}`,
      state !== "untried" && Number.isFinite(since) ? ` since ${at(since, today)}` : "",
      error && state !== "up" ? [": ", untrusted(visible(error, 300))] : "",
      state !== "up" && Number.isFinite(nextTry) ? `. Next try at ${at(nextTry, today)}.` : "",
    ),
  );
}

function at(ms, today) {
  return day(ms) === today ? clock(ms) : dayAndClock(ms);
}

/** Steps below each other, each with its time and how long after the one before. */
class TimeLine {
  constructor(today, before) {
    this.today = today;
    this.before = before;
    this.element = el("ol", { class: "timeline" });
  }

  add({ sign = "point", title, time, facts = "", problem = "", detail = "" }) {
    const timed = Number.isFinite(time);
    const lag = timed && this.before !== undefined ? time - this.before : undefined;
    if (timed) this.before = time;
    this.element.append(
      el(
        "li",
        { class: `step ${sign}` },
        icon(sign),
        el(
          "div",
          { class: "step-what" },
          el("span", { class: "step-title" }, title),
          facts ? el("span", { class: "step-facts" }, facts) : "",
          problem ? el("div", { class: "step-problem" }, untrusted(problem)) : "",
          detail ? el("div", { class: "step-detail" }, untrusted(detail)) : "",
        ),
        el(
          "div",
          { class: "step-when" },
          lag === undefined ? "" : el("span", { class: "step-lag" }, `${lag < 0 ? "−" : "+"}${duration(lag)}`),
          timed ? el("span", {}, at(time, this.today)) : "",
        ),
      ),
    );
  }

  addSkipped(number, word) {
    if (number > 0) this.add({ sign: "skipped", title: plural(number, `${word} attempt`) });
  }
}
