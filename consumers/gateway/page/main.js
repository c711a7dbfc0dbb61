// The page: puts its parts together and keeps them to the state that the URL describes.

import { CollectorSign } from "./collectors.js";
import { Deliveries } from "./deliveries.js";
import { Details } from "./details.js";
import { byId } from "./dom.js";
import { ExportMenu } from "./export_menu.js";
import { FileView } from "./file_view.js";
import { FilterBar } from "./filters.js";
import { askForIngest } from "./ingest.js";
import { Jump } from "./jump.js";
import { EventList } from "./list.js";
import { matches, passes } from "./matching.js";
import { Announcer, EmptyBox, QuietLine } from "./notices.js";
import { Older } from "./older.js";
import { latestRows } from "./probe.js";
import { Minutes, Rows, SeenValues, spanOf } from "./rows.js";
import { Selection } from "./selection.js";
import { drawStatus } from "./status.js";
import { Stream } from "./stream.js";
import { Strip } from "./strip.js";
import { day, duration, visible } from "./text.js";
import { bindKeys, Toolbar } from "./toolbar.js";
import * as views from "./view_state.js";

const rows = new Rows();
const minutes = new Minutes();
const seen = new SeenValues();
const deliveries = new Deliveries();
const quietLine = new QuietLine(byId("quiet-line"));
const announcer = new Announcer(byId("announcer"));

const stream = new Stream({
  token: views.takeToken(),
  on: {
    rows: (arrivals) => onRows(arrivals),
    delivery: onDelivery,
    restarted: () => deliveries.clear(),
    began: onBegan,
    phase: onPhase,
    trouble: onTrouble,
    well: endTrouble,
    state: drawState,
  },
});
const token = () => stream.connection.token;
let view = views.readView(window.location.search);
let cleared = false;
let trouble = false;

const list = new EventList({
  scroller: byId("scroller"),
  canvas: byId("rows"),
  foot: byId("foot"),
  newer: byId("newer"),
  rows,
  deliveries,
  older: () => older.state,
  onSelect: (row) => selection.select(row),
  onMore: () => stream.more(),
  onOlder: () => older.read(),
});
const older = new Older({
  rows,
  view: () => view,
  isWhole: () => stream.isWhole,
  token,
  onDelivery,
  onFound: onOlder,
  onChange: drawState,
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
    say: (text) => quietLine.say(text),
    token,
    fileRows: () => fileView.rows,
  },
});
const selection = new Selection({
  rows,
  list,
  details,
  view: () => view,
  go,
  token,
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
const emptyBox = new EmptyBox(byId("empty"), {
  onRetry: () => stream.connection.retryNow(),
  onRemove: (part) => filterBar.without(part),
  onWiden: () => go({ from: "earliest", until: "" }),
  onLive: backToLive,
  rowsToCount: async () => fileView.rows ?? latestRows(token()),
  onToken: (given) => {
    views.keepToken(given);
    stream.connection.token = given;
    subscribe();
  },
});
const strip = new Strip({
  bars: byId("bars"),
  axis: byId("axis"),
  title: byId("strip-title"),
  legend: byId("legend"),
  minutes,
  isWhole: () => stream.isWhole || older.state === "all",
  onBar: showBar,
  onValid: (value) => filterBar.only("valid", value),
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
  server: () => stream.server,
  say: (text) => quietLine.say(text),
});
const fileView = new FileView({
  banner: byId("file-banner"),
  onOpen: () => enterFile({ selected: "", from: "", until: "" }),
  onLeave: () => enterFile({ selected: "" }),
  say: (text) => quietLine.say(text),
});
const actions = {
  onSearch: (q, options) => go({ q }, options),
  pause: () => stream.togglePause(),
  clear,
  save: () => exportMenu.open(),
  open: () => fileView.pick(),
  live: backToLive,
};
const toolbar = new Toolbar(actions);

// The state and the URL

/** Change the view: the URL first, then what shows it. */
function go(changes, { replace = false } = {}) {
  const before = view;
  view = { ...view, ...changes };
  const address = `${window.location.pathname}${views.writeView(view)}`;
  window.history[replace ? "replaceState" : "pushState"](null, "", address);
  show(before);
}

function show(before) {
  filterBar.draw(view);
  drawToolbar();
  if (!before || !views.sameStream(before, view)) subscribe();
  else if (!views.sameHidden(before, view)) hideMore(before);
  selection.show();
}

function subscribe() {
  if (stream.paused) quietLine.say("No longer paused: another part of the stream is shown.");
  else quietLine.clear();
  rows.clear();
  minutes.clear(fileView.isOpen ? spanOf(fileView.rows) : views.stripSpan(view, Date.now()));
  strip.update();
  list.reset({ atEnd: views.isPast(view) && !view.until });
  older.reset(fileView.isOpen || view.until ? "none" : view.from === "earliest" ? "all" : "idle");
  deliveries.suspended = fileView.isOpen;
  cleared = false;
  if (fileView.isOpen) {
    stream.halt();
    onRows(fileView.rows.filter((row) => passes(row, view) && views.isWithin(row, view)));
  } else stream.open(view);
  drawToolbar();
  drawEmpty();
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

function onBegan() {
  selection.began();
  drawEmpty();
}

function onTrouble(text) {
  trouble = true;
  quietLine.say(`The gateway says: ${visible(text, 300)}`, { stays: true });
}

function onDelivery(message) {
  deliveries.take(message);
  list.tell();
  details.tell();
}

function endTrouble() {
  if (!trouble) return;
  trouble = false;
  quietLine.clear();
}

function onRows(arrivals, { again = false } = {}) {
  for (const row of arrivals) {
    if (row.type === "event" && view.hidden.some((filter) => matches(row, filter))) continue;
    if (rows.isFull && list.isNearEnd) {
      stream.holdAt(rows.cursor); // nobody loses the rows that they look at
      break;
    }
    if (rows.append(row)) count(row, { again });
  }
  if (!again) announcer.arrived(arrivals);
  list.draw();
  strip.update();
  selection.arrived(arrivals);
  drawEmpty();
}

function count(row, { again = false } = {}) {
  if (row.type !== "event") return;
  minutes.add(row);
  if (!again) seen.add(row.values);
  rows.otherDays ||= Number.isFinite(row.timestamp) && day(row.timestamp) !== day(Date.now());
}

function onOlder(found) {
  const newest = rows.last;
  for (const row of rows.prepend(found)) count(row);
  if (rows.last < newest) stream.holdAt(rows.cursor);
  strip.update();
}

function onPhase(phase) {
  const retry = { label: "Try now", run: () => stream.connection.retryNow() };
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
  drawStatus(byId("status"), stream.phase, stream.state);
  drawToolbar();
  jump.draw({ past: views.isPast(view) || stream.isHeld });
  list.hasMore = stream.reach.stopped && !stream.reach.ended;
  list.isPast = stream.reach.bounded && stream.reach.until === Infinity;
  strip.update();
  list.update();
  collectorSign.draw();
  details.tell();
}

function drawToolbar() {
  toolbar.draw({ q: view.q, paused: stream.paused });
}

function clear() {
  rows.empty();
  list.reset();
  cleared = true;
  drawEmpty();
}

function drawEmpty() {
  byId("columns").hidden = rows.events === 0;
  const wanted = rows.events === 0 || stream.phase.name === "refused";
  emptyBox.draw(wanted && { phase: stream.phase, view, cleared });
}

// Time

function showBar({ start, end }) {
  const row = rows.find(({ timestamp }) => timestamp >= start && timestamp < end);
  if (row) list.activate(row.seq, { reveal: true });
  else if (start < Date.now()) go({ from: isoTime(start), until: "" });
}

function backToLive() {
  if (view.from) go({ from: "", until: "" });
  else if (stream.isHeld) subscribe();
}

function isoTime(ms) {
  return new Date(ms).toISOString();
}

window.addEventListener("popstate", () => {
  const before = view;
  view = views.readView(window.location.search);
  show(before);
});
bindKeys(actions, selection, jump);
show(undefined);
askForIngest().then(drawEmpty);
