// How far a view of the past reads: a part of the history at a time, until it has caught up and runs on into live.

export const PART = 1000;
const CAUGHT_UP_MS = 5000;
const BEYOND = 100; // partitions are not quite in step: so many events beyond the end of a view say that it is whole

/**
 * Permits the gateway to send one part after the other. `send(message)` speaks to the gateway; `onChange()` is called
 * when `stopped` has changed: whether there is more that was not asked for, or `ended`: the view has an end, and is there.
 */
export class Reach {
  #left = Infinity;
  #beyond = 0;

  constructor({ send, onChange }) {
    Object.assign(this, { send, onChange, bounded: false, stopped: false, ended: false, until: Infinity });
  }

  /** Another subscription is asked for: `bounded` when it starts in the past; it may end, `until` a time in ms. */
  reset({ bounded, until = Infinity }) {
    Object.assign(this, { bounded, until, stopped: false, ended: false });
    this.#left = PART;
    this.#beyond = 0;
    this.onChange();
  }

  /** The stream began, or began again after a cut. */
  began() {
    if (!this.bounded) return;
    this.send(this.stopped ? { type: "pause" } : { type: "permit", n: Math.max(1, this.#left) });
  }

  /** The gateway says what is in force from here on. */
  told({ permits }) {
    if (this.bounded && !this.stopped && Number.isInteger(permits)) this.#left = permits;
  }

  /** Whether a row is within the view; it is counted. */
  takes({ type, timestamp }) {
    if (!this.bounded || type !== "event") return true;
    this.#left -= 1;
    const within = timestamp <= this.until;
    if (!within) this.#beyond += 1;
    if (this.until === Infinity && timestamp > Date.now() - CAUGHT_UP_MS) this.follow();
    else if (this.#beyond >= BEYOND) this.#stop({ ended: true });
    else if (this.#left <= 0) this.#stop({ ended: false });
    return within;
  }

  /** Read on, a part. */
  more() {
    if (!this.stopped || this.ended) return;
    this.#left = PART;
    this.stopped = false;
    this.send({ type: "resume" });
    this.send({ type: "permit", n: PART });
    this.onChange();
  }

  /** Read no further: what was read is not the end any more. */
  hold() {
    Object.assign(this, { bounded: true, until: Infinity });
    this.#beyond = 0;
    this.#stop({ ended: false });
    this.send({ type: "pause" });
  }

  /** Everything from here on, into live. */
  follow() {
    this.bounded = false;
    this.stopped = false;
    this.send({ type: "permit", n: null });
    this.onChange();
  }

  #stop({ ended }) {
    if (this.stopped) return;
    this.stopped = true;
    this.ended = ended;
    if (ended) this.send({ type: "pause" });
    this.onChange();
  }
}
