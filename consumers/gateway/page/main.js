// The page: puts its parts together and keeps them to the state that the URL describes.

import { CollectorSign } from "./collectors.js";
import { Connection } from "./connection.js";
import { Deliveries } from "./deliveries.js";
import { Details } from "./details.js";
import { byId, el, icon } from "./dom.js";
import { ExportMenu } from "./export_menu.js";
import { FileView } from "./file_view.js";
import { FilterBar } from "./filters.js";
import { Inbox } from "./inbox.js";
import { Jump } from "./jump.js";
import { listenToKeys } from "./keyboard.js";
import { EventList } from "./list.js";
import { matches, passes } from "./matching.js";
import { Announcer, EmptyBox, QuietLine } from "./notices.js";
import { Reach } from "./reach.js";
import { Minutes, Rows, SeenValues, spanOf } from "./rows.js";
import { Selection } from "./selection.js";
import { drawStatus, Rate } from "./status.js";
import { Strip } from "./strip.js";
import { day, duration, visible } from "./text.js";
import { isPast, isWithin, keepToken, readView, sameHidden, sameStream, startOf, stripSpan, subscriptionOf, takeToken, writeView } from "./view_state.js";
import { timeOfStart } from "./when.js";

const TYPING_PAUSE_MS = 300;
const LEAST_BACK = 200;
const MOST_BACK = 100_000; // what the gateway takes

const rows = new Rows();
const minutes = new Minutes();
const seen = new SeenValues();
const deliveries = new Deliveries();
const quietLine = new QuietLine(byId("quiet-line"));
const announcer = new Announcer(byId("announcer"));

const token = takeToken();
let view = readView(window.location.search);
let cleared = false;
let readsOlder = false; // the next subscription goes on where the rows end, and its newest are the ones to see

const connection = new Connection({ onMessage, onPhase, token });
const inbox = new Inbox({ onRows, onReread: (cursor) => connection.resume(cursor) });
const reach = new Reach({ send: (message) => connection.send(message), onChange: drawReach });
const list = new EventList({
  scroller: byId("scroller"),
  canvas: byId("rows"),
  foot: byId("foot"),
  newer: byId("newer"),
  rows,
  deliveries,
  onSelect: (row) => selection.select(row),
  onMore: () => reach.more(),
  onOlder: showOlder,
});
const details = new Details({
  pane: byId("details"),
  deliveries,
  actions: {
    onTab: (tab) => go({ tab }, { replace: true }),
    onClose: () => selection.close(),
    onFilter: (filter) => filterBar.add(filter),
    onHide: (filter) => filterBar.hide(filter),
    onSelect: (row) => selection.select(row),
    announce: (text) => announcer.say(text),
    token: () => connection.token,
    fileRows: () => fileView.rows,
  },
});
const selection = new Selection({
  rows,
  list,
  details,
  scroller: byId("scroller"),
  view: () => view,
  go,
  token: () => connection.token,
  onDelivery,
});
const filterBar = new FilterBar({
  chips: byId("chips"),
  input: byId("filter"),
  options: byId("filter-options"),
  problem: byId("filter-problem"),
  seen,
  onChange: (changes) => go(changes),
});
const collectorSign = new CollectorSign({ button: byId("collectors"), panel: byId("collectors-panel"), deliveries });
const rate = new Rate(drawState);
const emptyBox = new EmptyBox(byId("empty"), {
  onRetry: () => connection.retryNow(),
  onRemove: (filter) =>
    go(filter[0] === "q" ? { q: "" } : { filters: view.filters.filter((other) => other !== filter) }),
  onWiden: () => go({ from: "earliest" }),
  onToken: (given) => {
    keepToken(given);
    connection.token = given;
    subscribe();
  },
});
const strip = new Strip({
  bars: byId("bars"),
  title: byId("strip-title"),
  legend: byId("legend"),
  minutes,
  onBar: showBar,
  onRange: ({ start, end }) => go({ from: isoTime(start), until: isoTime(end) }),
});
const jump = new Jump({
  box: byId("jump"),
  onJump: (ms) => go({ from: isoTime(ms), until: "" }),
  onLive: backToLive,
});

const exportMenu = new ExportMenu({
  button: byId("export"),
  panel: byId("export-panel"),
  rows: () => rows.all(),
  say: (text) => quietLine.say(text),
});
const fileView = new FileView({
  banner: byId("file-banner"),
  onOpen: () => enterFile({ selected: "", from: "", until: "" }),
  onLeave: () => enterFile({ selected: "" }),
  say: (text) => quietLine.say(text),
});

// The state and the URL

/** Change the view: the URL first, then what shows it. */
function go(changes, { replace = false } = {}) {
  const before = view;
  view = { ...view, ...changes };
  const address = `${window.location.pathname}${writeView(view)}`;
  window.history[replace ? "replaceState" : "pushState"](null, "", address);
  show(before);
}

function show(before) {
  filterBar.draw(view);
  jump.draw({ past: view.from !== "" });
  if (document.activeElement !== byId("search")) byId("search").value = view.q;
  if (!before || !sameStream(before, view)) subscribe();
  else if (!sameHidden(before, view)) hideMore(before);
  selection.show();
}

function subscribe() {
  if (inbox.paused) quietLine.say("Playing again: the filter changed.");
  else quietLine.clear();
  inbox.reset();
  rows.clear();
  minutes.clear(fileView.isOpen ? spanOf(fileView.rows) : stripSpan(view, Date.now()));
  strip.update();
  list.reset({ atEnd: isPast(view) && !readsOlder && !view.until });
  readsOlder = false;
  cleared = false;
  if (fileView.isOpen) {
    reach.reset({ bounded: false });
    connection.halt();
    onRows(fileView.rows.filter((row) => passes(row, view) && isWithin(row, view)));
  } else openStream();
  drawPause();
  drawEmpty();
}

function openStream() {
  reach.reset({ bounded: isPast(view), until: timeOfStart(view.until, Date.now()) });
  connection.open(subscriptionOf(view), startOf(view));
}

/** Into a file, or out of it: the list is another one, with the same filters. */
function enterFile(changes) {
  details.hide();
  view = { ...view, ...changes };
  subscribe();
  go({}, { replace: true });
}

/** What is hidden now leaves the list in place; what is hidden no more is read from the log again. */
function hideMore(before) {
  if (before.hidden.some((filter) => !view.hidden.some((other) => other.join("=") === filter.join("=")))) {
    subscribe();
    return;
  }
  const held = rows.all();
  rows.clear();
  minutes.recount();
  list.reset();
  onRows(held, { again: true });
}

// The stream

function onMessage(message) {
  switch (message.type) {
    case "event":
      rate.add();
      endTrouble();
      if (reach.takes(message)) inbox.push(message);
      break;
    case "subscription":
      reach.told(message.subscription ?? {});
      break;
    case "delivery":
      onDelivery(message);
      break;
    case "gap":
      if (message.reason === "log restarted") deliveries.clear();
      inbox.push(message);
      break;
    case "unreadable":
      inbox.push(message);
      break;
    case "hello":
      rate.start();
      reach.began();
      selection.began();
      drawEmpty();
      break;
    case "error":
      trouble = true;
      quietLine.say(`The gateway says: ${visible(String(message.message ?? message.code), 300)}`, { stays: true });
      break;
    case "heartbeat":
      endTrouble();
      break;
    default: // what later gateways may send
  }
}

function onDelivery(message) {
  deliveries.take(message);
  list.tell();
  details.tell();
}

let trouble = false;

function endTrouble() {
  if (!trouble) return;
  trouble = false;
  quietLine.clear();
}

function onRows(arrivals, { again = false } = {}) {
  const today = day(Date.now());
  for (const row of arrivals) {
    if (row.type === "event" && view.hidden.some((filter) => matches(row, filter))) continue;
    rows.append(row);
    if (row.type !== "event") continue;
    minutes.add(row);
    if (!again) seen.add(row.values);
    rows.otherDays ||= day(row.timestamp) !== today;
  }
  if (!again) announcer.arrived(arrivals);
  list.update();
  strip.update();
  selection.arrived();
  drawEmpty();
}

function onPhase(phase) {
  const retry = { label: "Try now", run: () => connection.retryNow() };
  if (phase.name === "lost" && rows.size > 0)
    quietLine.say(`Not connected: ${phase.reason}. Trying again …`, { stays: true, action: retry });
  else if (phase.name === "refused") quietLine.clear();
  else if (phase.name === "live" && phase.awayMs !== undefined) {
    const wentOn = rows.size > 0 ? "; the stream goes on where it stopped" : "";
    quietLine.say(`Connected again after ${duration(phase.awayMs)}${wentOn}.`);
  }
  drawEmpty();
  drawState();
}

function drawState() {
  drawStatus(byId("status"), connection.phase, {
    paused: inbox.paused,
    waiting: inbox.waiting,
    history: reach.stopped,
    rate,
  });
  collectorSign.draw();
  details.tell();
}

// Time

function showBar({ start, end }) {
  const row = rows.find(({ timestamp }) => timestamp >= start && timestamp < end);
  if (row) list.activate(row.seq, { reveal: true });
  else if (start < Date.now()) go({ from: isoTime(start), until: "" });
}

function backToLive() {
  if (view.from) go({ from: "", until: "" });
}

/** Read what is older than the rows that are held. */
function showOlder() {
  readsOlder = true;
  const { olderCursor } = rows;
  const more = Math.min(MOST_BACK, 10 * Math.max(LEAST_BACK, rows.events));
  go({ from: olderCursor ?? (view.from === "" || view.from.startsWith("-") ? `-${more}` : "earliest"), until: "" });
}

function drawReach() {
  list.hasMore = reach.stopped && !reach.ended;
  list.update();
  drawState();
}

function isoTime(ms) {
  return new Date(ms).toISOString();
}

// The bar

function togglePause() {
  if (inbox.paused) inbox.play();
  else inbox.pause();
  drawPause();
  drawState();
}

function drawPause() {
  const button = byId("pause");
  const word = inbox.paused ? "Play" : "Pause";
  button.replaceChildren(icon(inbox.paused ? "play" : "paused"), el("span", {}, word));
  button.title = `${word} (p)`;
  button.setAttribute("aria-label", word);
  button.classList.toggle("on", inbox.paused);
}

function clear() {
  rows.clear();
  list.reset();
  cleared = true;
  drawEmpty();
}

function drawEmpty() {
  byId("columns").hidden = rows.events === 0;
  const wanted = rows.events === 0 || connection.phase.name === "refused";
  emptyBox.draw(wanted && { phase: connection.phase, view, cleared });
}

let typing;
function search() {
  clearTimeout(typing);
  const q = byId("search").value.trim();
  if (q !== view.q) go({ q }, { replace: true });
}
byId("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, TYPING_PAUSE_MS);
});
byId("search").addEventListener("blur", search);
byId("search").addEventListener("keydown", ({ key, target }) => {
  if (key === "Enter" || key === "Escape") target.blur();
});
byId("pause").addEventListener("click", togglePause);
byId("clear").addEventListener("click", clear);
byId("import").addEventListener("click", () => fileView.pick());
byId("help").addEventListener("click", () => byId("help-dialog").showModal());
byId("help-close").addEventListener("click", () => byId("help-dialog").close());
window.addEventListener("popstate", () => {
  const before = view;
  view = readView(window.location.search);
  show(before);
});

listenToKeys({
  j: () => selection.move(1),
  ArrowDown: () => selection.move(1),
  k: () => selection.move(-1),
  ArrowUp: () => selection.move(-1),
  Enter: () => selection.enter(),
  Escape: () => selection.close(),
  "/": () => byId("search").focus(),
  f: () => byId("filter").focus(),
  p: togglePause,
  e: () => exportMenu.open(),
  o: () => fileView.pick(),
  t: () => jump.focus(),
  l: backToLive,
  "?": () => byId("help-dialog").showModal(),
});

show(undefined);
