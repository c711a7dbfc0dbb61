// The websocket to the gateway: one subscription, resumed by its cursor after every cut.

import { readMessage } from "./messages.js";
import { Slices } from "./slices.js";

const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 15_000;
const SILENCE_MS = 35_000; // the gateway sends a heartbeat every 10 s
const SKEW_MS = 60_000; // how far the clocks of those who deliver may be apart
const POLICY_VIOLATION = 1008;
const RETRY_STATUSES = new Set([408, 425, 426, 429]);

/** The address of the gateway's events, for example `ws://127.0.0.1:8081/v1/events`. */
export function eventsAddress(scheme = "ws") {
  const secure = window.location.protocol === "https:" ? "s" : "";
  return `${scheme}${secure}://${window.location.host}/v1/events`;
}

/**
 * Calls `onMessage(message)` for each message and `onPhase(phase)` when the state changes. A phase is
 * `{name: "connecting" | "live" | "lost" | "refused" | "halted", …}`: `live` has `awayMs` when it was lost before, `lost` has
 * `retryAt` (ms, as Date.now()), `reason` and `unreachable` (no answer at all),
 * `refused` has `status` and `reason` and stays until the next `open`.
 */
export class Connection {
  toldAt; // since when, as ISO text, a resumed stream is to tell of deliveries
  #socket;
  #generation = 0;
  #timer;
  #attempts = 0;
  #lostAt;
  #heardAt = 0;
  #closing = new AbortController();
  #received = new Slices((data) => this.#read(data));

  constructor({ onMessage, onPhase, token = "" }) {
    this.onMessage = onMessage;
    this.onPhase = onPhase;
    this.token = token;
    this.phase = { name: "connecting" };
    const { signal } = this.#closing;
    window.addEventListener("online", () => this.retryNow(), { signal });
    document.addEventListener("visibilitychange", () => !document.hidden && this.retryNow(), { signal });
    const watching = setInterval(() => this.#checkAlive(), SILENCE_MS / 7);
    signal.addEventListener("abort", () => clearInterval(watching));
  }

  /** Start a subscription anew, `from` a position the gateway knows. */
  open(query, from) {
    this.query = query;
    this.from = from;
    this.cursor = undefined;
    this.#lostAt = undefined;
    this.#attempts = 0;
    this.#connect();
  }

  /** Read the same subscription again from a cursor. */
  resume(cursor) {
    this.cursor = cursor;
    this.#connect();
  }

  /** Say something to the gateway; what is said while there is no connection is lost. */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Be without a connection, until the next `open`. */
  halt() {
    this.#disconnect();
    this.#lostAt = undefined;
    this.#enter({ name: "halted" });
  }

  /** End it for good; nothing is called any more. */
  close() {
    this.#closing.abort();
    this.#disconnect();
    this.#received.close();
  }

  #disconnect() {
    clearTimeout(this.#timer);
    this.#generation += 1;
    this.#socket?.close();
    this.#received.clear(); // the cursor is before it, so it comes again
  }

  /** Try at once when waiting for the next attempt. */
  retryNow() {
    if (this.phase.name === "lost") this.#connect();
  }

  #url(scheme) {
    const query = new URLSearchParams(this.query);
    query.set("from", this.cursor ?? this.from);
    if (this.cursor !== undefined && this.toldAt !== undefined) query.set("deliveries", this.toldAt);
    if (this.token) query.set("token", this.token);
    return `${eventsAddress(scheme)}?${query}`;
  }

  #connect() {
    this.#disconnect();
    const generation = this.#generation;
    const current = (handler) => (event) => generation === this.#generation && handler(event);
    if (this.#lostAt === undefined) this.#enter({ name: "connecting" });
    const socket = new WebSocket(this.#url("ws"));
    this.#socket = socket;
    let opened = false;
    socket.onopen = current(() => {
      opened = true;
      this.#heardAt = Date.now();
      const awayMs = this.#lostAt === undefined ? undefined : Date.now() - this.#lostAt;
      this.#lostAt = undefined;
      this.#enter({ name: "live", awayMs });
    });
    socket.onmessage = current(({ data }) => this.#receive(data));
    socket.onclose = current((event) => {
      if (opened && event.code !== POLICY_VIOLATION) this.#lost(closeReason(event));
      else this.#askWhy(generation, opened ? closeReason(event) : "the websocket was not opened");
    });
  }

  #receive(data) {
    this.#heardAt = Date.now();
    if (typeof data === "string") this.#received.push(data); // many may come in one go
  }

  #read(data) {
    const message = readMessage(data);
    if (typeof message.cursor === "string") this.cursor = message.cursor;
    if (message.type === "delivery") this.toldAt = isoTime(message.time - SKEW_MS) ?? this.toldAt;
    if (message.type !== "error") this.#attempts = 0;
    this.onMessage(message);
  }

  /** A browser hides why a handshake failed, so the same address is asked over HTTP. */
  async #askWhy(generation, otherwise) {
    let refusal;
    let unreachable = false;
    let reason = "the gateway does not answer";
    try {
      const answer = await fetch(this.#url("http"), { cache: "no-store", signal: AbortSignal.timeout(5000) });
      const text = answer.status === 426 ? "" : (await answer.text()).trim().slice(0, 500);
      reason = text || (answer.status === 426 ? otherwise : `the gateway answered ${answer.status}`);
      if (answer.status >= 400 && answer.status < 500 && !RETRY_STATUSES.has(answer.status)) refusal = answer.status;
    } catch {
      unreachable = true;
    }
    if (generation !== this.#generation) return;
    if (refusal === undefined) this.#lost(reason, unreachable);
    else this.#enter({ name: "refused", status: refusal, reason });
  }

  #lost(reason, unreachable = false) {
    this.#lostAt ??= Date.now();
    const ceiling = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#attempts);
    const delay = ceiling * (0.5 + Math.random() / 2);
    this.#attempts += 1;
    this.#enter({ name: "lost", reason, unreachable, retryAt: Date.now() + delay });
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  /** After sleep or a silent cut no close arrives: too long a silence counts as one. */
  #checkAlive() {
    if (this.phase.name !== "live" || Date.now() - this.#heardAt < SILENCE_MS) return;
    this.#lostAt = this.#heardAt;
    this.#connect();
  }

  #enter(phase) {
    this.phase = phase;
    this.onPhase(phase);
  }
}

function closeReason({ code, reason }) {
  if (reason) return reason.slice(0, 200);
  if (code === 1001 || code === 1012) return "the gateway is restarting";
  return code === 1006 ? "the connection was cut" : `the gateway closed the connection (${code})`;
}

function isoTime(ms) {
  return ms >= 0 && ms < 253_402_300_800_000 ? new Date(ms).toISOString() : undefined;
}
