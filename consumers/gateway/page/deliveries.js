// What became of events on their way to collectors: for each group and partition, ranges of offsets with what was told
// of them. Pure and bounded; no message, however wrong, makes it throw.

const MAX_RANGES = 20_000;
const MAX_STEPS = 8;
const MAX_GROUPS = 100;
const ENDS = new Set(["delivered", "dead"]);
const WORST_FIRST = ["dead", "retrying", "queued", "done", "delivered"];

/** What is known of deliveries; `take` messages as `readMessage` gives them, and ask for a row's state. */
export class Deliveries {
  constructor({ maxRanges = MAX_RANGES } = {}) {
    this.maxRanges = maxRanges;
    this.suspended = false; // while events are shown that are of no log
    this.clear();
  }

  /** Forget everything: the log is another one. */
  clear() {
    this.groups = new Map(); // name → {heard, collectors, lanes: Map(place → {told, committed})}
    this.size = 0;
  }

  /** Whether anybody delivers events, so that there are states. */
  get known() {
    return this.groups.size > 0 && !this.suspended;
  }

  /** Take one message. */
  take({ group: name, time, receipts, collectors }) {
    const group = this.#group(name);
    if (!Number.isNaN(time)) group.heard = time;
    if (collectors.length > 0) group.collectors = collectors;
    for (const { place, offsets, step } of receipts) {
      if (!group.lanes.has(place)) group.lanes.set(place, { told: [], committed: 0 });
      const lane = group.lanes.get(place);
      if (step.status === "done") lane.committed = Math.max(...offsets.map(([, last]) => last + 1));
      else this.#tell(lane, offsets, step);
    }
    this.#forget();
  }

  /** How a row's event stands with each group: `{group, state, story, heard, collectors}`. A story has steps in order. */
  of({ topic, partition, offset }) {
    if (this.suspended) return [];
    return [...this.groups].map(([group, { heard, collectors, lanes }]) => {
      const lane = lanes.get(placeOf(topic, partition));
      const story = lane ? storyAt(lane.told, offset) : [];
      let state = story.at(-1)?.status ?? "queued";
      if (!ENDS.has(state) && lane && offset < lane.committed) state = "done";
      return { group, state, story, heard, collectors };
    });
  }

  /**
   * How a row's event stands, in all: `{state, attempts, by}`, undefined when nobody delivers events. Of several groups
   * the one counts that is worst off; but not one that is silent since the event came, when another one has told of it.
   */
  stateOf(row) {
    if (!this.known) return undefined;
    const by = this.of(row);
    const someTold = by.some(({ state }) => state !== "queued");
    const counting = by.filter(({ state, heard }) => state !== "queued" || !someTold || heard >= row.timestamp);
    const worst = WORST_FIRST.find((wanted) => counting.some(({ state }) => state === wanted));
    const { state, story } = counting.find((each) => each.state === worst);
    return { state, attempts: story.at(-1)?.attempts ?? 0, by };
  }

  /** The collectors that do not take events now: `{group, url, state, since, error, nextTry}`, longest first. */
  get troubles() {
    const all = [...this.groups].flatMap(([group, { collectors }]) => collectors.map((each) => ({ group, ...each })));
    return all.filter(({ state }) => state === "down" || state === "refusing").sort((one, other) => one.since - other.since);
  }

  #group(name) {
    if (!this.groups.has(name)) {
      if (this.groups.size >= MAX_GROUPS) this.#drop([...this.groups.keys()][0]);
      this.groups.set(name, { heard: 0, collectors: [], lanes: new Map() });
    }
    return this.groups.get(name);
  }

  #drop(name) {
    for (const { told } of this.groups.get(name).lanes.values()) this.size -= told.length;
    this.groups.delete(name);
  }

  #tell(lane, offsets, step) {
    this.size -= lane.told.length;
    for (const [first, last] of offsets) addStep(lane.told, first, last, step);
    this.size += lane.told.length;
  }

  #forget() {
    while (this.size > this.maxRanges) {
      const lanes = [...this.groups.values()].flatMap(({ lanes: each }) => [...each.values()]);
      const { told } = lanes.reduce((most, lane) => (lane.told.length > most.told.length ? lane : most));
      this.size -= told.splice(0, Math.min(told.length, this.size - this.maxRanges)).length;
    }
  }
}

/** The name of a partition of a topic. */
export function placeOf(topic, partition) {
  return `${topic}/${partition}`;
}

/** The index of the first range that ends at or after an offset. */
function indexOf(told, offset) {
  let low = 0;
  let high = told.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (told[middle].last < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

function storyAt(told, offset) {
  const range = told[indexOf(told, offset)];
  return range !== undefined && range.first <= offset ? range.story : [];
}

/** Add a step to the stories of all offsets from `first` to `last`. */
function addStep(told, first, last, step) {
  const start = indexOf(told, first - 1); // a neighbour may turn out to have the same story
  let stop = start;
  const pieces = [];
  let at = first;
  for (; stop < told.length && told[stop].first <= last + 1; stop += 1) {
    const range = told[stop];
    const [from, to] = [Math.max(range.first, first), Math.min(range.last, last)];
    if (range.first < first) pieces.push({ ...range, last: Math.min(range.last, first - 1) });
    if (from <= to) {
      if (at < from) pieces.push({ first: at, last: from - 1, story: [step] });
      pieces.push({ first: from, last: to, story: andThen(range.story, step) });
      at = to + 1;
    }
    if (range.last > last) {
      if (at <= last) pieces.push({ first: at, last, story: [step] });
      at = last + 1;
      pieces.push({ ...range, first: Math.max(range.first, last + 1) });
    }
  }
  if (at <= last) pieces.push({ first: at, last, story: [step] });
  told.splice(start, stop - start, ...joined(pieces));
}

function andThen(story, step) {
  if (story.some((known) => sameStep(known, step))) return story; // what is told twice is told once
  const late = step.status === "retrying" && ENDS.has(story.at(-1).status) && step.time < story.at(-1).time;
  const longer = late ? [...story.slice(0, -1), step, story.at(-1)] : [...story, step];
  return longer.length > MAX_STEPS ? [longer[0], ...longer.slice(1 - MAX_STEPS)] : longer;
}

function sameStep(one, other) {
  return (
    Object.is(one.time, other.time) &&
    one.status === other.status &&
    one.attempts === other.attempts &&
    one.httpStatus === other.httpStatus
  );
}

function joined(pieces) {
  const ranges = [];
  for (const piece of pieces) {
    const before = ranges.at(-1);
    if (before && before.last + 1 === piece.first && sameStory(before.story, piece.story)) before.last = piece.last;
    else ranges.push({ ...piece });
  }
  return ranges;
}

function sameStory(one, other) {
  return one.length === other.length && one.every((step, index) => sameStep(step, other[index]));
}
