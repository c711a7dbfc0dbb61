// Everything of one person around a moment: a subscription for each identity, put together in the order of time.

import { Connection } from "./connection.js";
import { happenedAt, identitiesOf, queryOf, sideOf } from "./identity.js";
import { asObject } from "./messages.js";

const BEFORE_MS = 5 * 60_000;
const AFTER_MS = 30 * 60_000;
const MAX_IDENTITIES = 4;
const MAX_EVENTS = 400;
const LONGEST_BEFORE_MS = 7 * 24 * 3_600_000;

/**
 * Follows one person at a time. `identities` are `{name, value, linked, phase}`, `linked` when another event of
 * the person told of it; `items` are `{row, at, side, distance}`. `onChange()` is called when any of that changed. While a file is
 * looked at, `fileRows()` are all there is; else it returns undefined.
 */
export class UserFeed {
  #items = new Map(); // place and offset → item
  #connections = [];

  constructor({ onChange, token, fileRows }) {
    Object.assign(this, { onChange, token, fileRows });
    this.identities = [];
    this.isFull = false; // there are more, further off
  }

  get size() {
    return this.#items.size;
  }

  /** The events, oldest first. */
  get items() {
    return [...this.#items.values()].sort((one, other) => one.at - other.at || one.row.offset - other.row.offset);
  }

  /** Follow whoever an event is of; an event that is among the items already changes nothing. */
  follow(row, event) {
    if (this.follows(row)) return;
    this.stop();
    this.centre = row.timestamp;
    this.before = BEFORE_MS;
    this.#begin(identitiesOf(event).map(([name, value]) => ({ name, value, linked: false })));
    this.#take(row, event);
  }

  /** Whether an event is among the items. */
  follows(row) {
    return this.#items.has(keyOf(row));
  }

  /** Look further back. */
  lookBack() {
    this.before = Math.min(LONGEST_BEFORE_MS, this.before * 6);
    this.#begin(this.identities);
  }

  get canLookBack() {
    return !this.fileRows() && this.identities.length > 0 && this.before < LONGEST_BEFORE_MS;
  }

  /** From when to when it looks, in ms. */
  get span() {
    return [this.centre - this.before, this.centre + AFTER_MS];
  }

  stop() {
    for (const connection of this.#connections.splice(0)) connection.close();
    this.#items.clear();
    this.identities = [];
    this.isFull = false;
  }

  #begin(identities) {
    for (const connection of this.#connections.splice(0)) connection.close();
    this.identities = [];
    this.isFull = false;
    identities.forEach((identity) => this.#add(identity));
    this.onChange();
  }

  #add({ name, value, linked }) {
    const identity = { name, value, linked, phase: "connecting" };
    this.identities.push(identity);
    const connection = new Connection({
      token: this.token(),
      onMessage: (message) => message.type === "event" && this.#arrived(message, identity),
      onPhase: (phase) => {
        identity.phase = phase.name;
        this.onChange();
      },
    });
    const file = this.fileRows();
    if (file) {
      identity.phase = "live";
      this.#search(file, identity);
      connection.close();
      return;
    }
    this.#connections.push(connection);
    connection.open(queryOf([name, value]), new Date(this.span[0]).toISOString());
  }

  #search(rows, identity) {
    for (const row of rows) {
      if (row.text.includes(JSON.stringify(identity.value))) this.#arrived(row, identity);
    }
  }

  #arrived(row, identity) {
    if (row.timestamp > this.span[1] && !this.fileRows()) return;
    const event = asObject(JSON.parse(row.text).event);
    const isTheirs = ([name, value]) => name === identity.name && value === identity.value;
    if (!identitiesOf(event).some(isTheirs)) return; // a search in texts finds the value anywhere
    this.#take(row, event);
    if (!identity.linked) this.#link(event);
    this.onChange();
  }

  #take(row, event) {
    const key = keyOf(row);
    if (this.#items.has(key)) return;
    const distance = Math.abs(row.timestamp - this.centre);
    if (this.#items.size >= MAX_EVENTS) {
      this.isFull = true;
      const [farthest, item] = this.#farthest();
      if (distance >= item.distance) return;
      this.#items.delete(farthest);
    }
    this.#items.set(key, { row, at: happenedAt(event, row.timestamp), side: sideOf(event), distance });
  }

  #farthest() {
    let most;
    for (const entry of this.#items) {
      if (most === undefined || entry[1].distance > most[1].distance) most = entry;
    }
    return most;
  }

  /** An event of the person may tell who else they are: the user behind a browser, another browser of the user. */
  #link(event) {
    for (const [name, value] of identitiesOf(event)) {
      if (name === "session" || this.identities.length >= MAX_IDENTITIES) continue;
      if (this.identities.some((known) => known.name === name && known.value === value)) continue;
      this.#add({ name, value, linked: true });
    }
  }
}

/** Which record an event is: the same one in every subscription. */
export function keyOf({ topic, partition, offset }) {
  return `${topic}/${partition}/${offset}`;
}
