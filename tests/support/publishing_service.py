"""A service that publishes until it is killed: each line of input starts one, as a fork, whose process id is printed.

What it has tracked, and what it was told is delivered, stands in journals, written before it goes on: a line an event,
with its `eid` and for the tracked when that began, in seconds of `time.monotonic`.
"""

import logging
import os
import sys
import time

from snowplow_tracker import PageView, Subject, Tracker

from snowbus.producers.emitters import BusEmitter, CollectorEmitter
from snowbus.producers.emitters import to_collector as _heavy  # noqa: F401 - imported once, not in every fork


def serve(url: str, spool: str, durability: str, every: float) -> None:
    """Publish for ever, an event each so many seconds, to a collector or to a log on Kafka."""
    tracked = os.open(f"{spool}.tracked", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    delivered = os.open(f"{spool}.delivered", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def hear(outcome):
        if outcome.kind == "delivered":
            os.write(delivered, "".join(f"{payload['eid']}\n" for payload in outcome.payloads).encode())

    kind = BusEmitter if url.startswith("kafka:") else CollectorEmitter
    emitter = kind(url, spool=spool, durability=durability, max_queued=100, on_outcome=hear)
    subject = Subject().set_user_id(str(os.getpid()))
    tracker = Tracker("ns", [emitter], subject=subject)
    while True:
        began = time.monotonic()
        event_id = tracker.track(PageView("https://shop.example/"))
        os.write(tracked, f"{event_id} {began}\n".encode())
        time.sleep(every)


if __name__ == "__main__":
    logging.disable()
    url, spool, durability, every = sys.argv[1:]
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            serve(url, spool, durability, float(every))
        print(child, flush=True)
