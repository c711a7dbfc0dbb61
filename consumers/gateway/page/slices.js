// Work in slices: the browser has its turn after some milliseconds, however much there is to do.

const SLICE_MS = 8;
const MOST_WAITING = 4000; // beyond, what comes is worked on at once, and who sends it has to wait

/** Hands what is pushed to `work(item)`, in order, soon. */
export class Slices {
  #waiting = [];
  #at = 0;
  #isScheduled = false;
  #channel = new MessageChannel(); // unlike a timer, it is not slowed down in a page that is hidden

  constructor(work) {
    this.work = work;
    this.#channel.port1.onmessage = () => {
      this.#isScheduled = false;
      this.#go(performance.now() + SLICE_MS);
    };
  }

  push(item) {
    this.#waiting.push(item);
    if (this.#waiting.length - this.#at > MOST_WAITING) this.#go(Infinity);
    else this.#schedule();
  }

  /** Forget what waits. */
  clear() {
    this.#waiting = [];
    this.#at = 0;
  }

  /** Work on nothing more. */
  close() {
    this.clear();
    this.#channel.port1.close();
  }

  #schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#channel.port2.postMessage(undefined);
  }

  #go(until) {
    while (this.#at < this.#waiting.length && performance.now() < until) this.work(this.#waiting[this.#at++]);
    if (this.#at < this.#waiting.length) this.#schedule();
    else this.clear();
  }
}

/** What `write(item, index)` makes of each of some items, with turns for the browser in between. */
export async function mapInSlices(items, write) {
  const made = [];
  let until = performance.now() + SLICE_MS;
  for (const item of items) {
    if (performance.now() > until) {
      await turn();
      until = performance.now() + SLICE_MS;
    }
    made.push(write(item, made.length));
  }
  return made;
}

function turn() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
