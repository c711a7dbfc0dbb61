// The stream of one view: the connection, how far into the past it reads, and what waits while it is paused.

import { Connection } from "./connection.js";
import { Inbox } from "./inbox.js";
import { asText } from "./messages.js";
import { Reach } from "./reach.js";
import { Rate } from "./status.js";
import { isPast, startOf, subscriptionOf } from "./view_state.js";
import { timeOfStart } from "./when.js";

const RECORDS = new Set(["event", "gap", "unreadable"]);

/**
 * Hands on what comes. `on` are functions: `rows(rows)` once a frame, `delivery(message)`, `restarted()` when the log
 * began anew, `began()`, `phase(phase)` (see connection.js), `trouble(text)` with what the gateway says is wrong, `well()`
 * when something came, and `state()` when what `state` says may have changed.
 */
export class Stream {
  #heldAt; // a cursor
  #latest; // with how many of the latest records it began, where nothing is filtered; else NaN
  #received = 0;

  constructor({ token, on }) {
    this.on = on;
    this.server = "snowbus/unknown"; // until it says hello
    this.connection = new Connection({
      token,
      onMessage: (message) => this.#receive(message),
      onPhase: (phase) => on.phase(phase),
    });
    this.inbox = new Inbox({ onRows: on.rows, onReread: (cursor) => this.connection.resume(cursor) });
    this.reach = new Reach({ send: (message) => this.connection.send(message), onChange: () => on.state() });
    this.rate = new Rate(() => on.state());
  }

  /** What the status shows. */
  get state() {
    const { paused, waiting } = this.inbox;
    return { paused, waiting, history: this.reach.stopped, rate: this.rate };
  }

  get phase() {
    return this.connection.phase;
  }

  get paused() {
    return this.inbox.paused;
  }

  /** Read a view, from where it starts. */
  open(view) {
    this.#reset();
    this.reach.reset({ bounded: isPast(view), until: timeOfStart(view.until, Date.now()) });
    this.connection.open(subscriptionOf(view), startOf(view));
  }

  /** Read nothing, until the next `open`. */
  halt() {
    this.#reset();
    this.reach.reset({ bounded: false });
    this.connection.halt();
  }

  /** Whether it was left behind at a place of the log, from where `more` reads on. */
  get isHeld() {
    return this.#heldAt !== undefined;
  }

  /** Whether it is known to have begun with the log's first record: fewer came than it began with. */
  get isWhole() {
    return this.#received < this.#latest;
  }

  /** Read nothing that comes after a cursor, until it is asked for `more`. */
  holdAt(cursor) {
    this.inbox.reset();
    this.#heldAt = cursor;
    this.reach.hold();
  }

  /** Read on, a part. */
  more() {
    const cursor = this.#heldAt;
    this.#heldAt = undefined;
    this.reach.more();
    if (cursor !== undefined) this.connection.resume(cursor);
  }

  togglePause() {
    if (this.inbox.paused) this.inbox.play();
    else this.inbox.pause();
    this.on.state();
  }

  #reset() {
    this.#heldAt = undefined;
    this.#latest = undefined;
    this.#received = 0;
    this.inbox.reset();
  }

  #receive(message) {
    if (this.isHeld && RECORDS.has(message.type)) return; // to be read again
    if (RECORDS.has(message.type)) this.#received += 1;
    switch (message.type) {
      case "event":
        this.rate.add();
        this.on.well();
        if (this.reach.takes(message)) this.inbox.push(message);
        break;
      case "delivery":
        this.on.delivery(message);
        break;
      case "gap":
        if (message.reason === "log restarted") this.on.restarted();
        this.inbox.push(message);
        break;
      case "unreadable":
        this.inbox.push(message);
        break;
      case "hello":
        this.server = asText(message.server);
        this.#latest ??= latestAsked(message.subscription ?? {});
        this.rate.start();
        this.reach.began();
        this.on.began();
        break;
      case "subscription":
        this.reach.told(message.subscription ?? {});
        break;
      case "error":
        this.on.trouble(String(message.message ?? message.code));
        break;
      case "heartbeat":
        this.on.well();
        break;
      default: // what later gateways may send
    }
  }
}

function latestAsked({ from, filters }) {
  const isFiltered = !filters || Object.keys(filters).length > 0; // a token may filter, too
  const [last] = /^-\d+$/.exec(from) ?? [];
  return isFiltered ? NaN : -Number(last);
}
