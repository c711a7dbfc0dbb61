"""Consumers: whatever takes events off the log. `@consumer` declares one of your own."""

from .declare import Consumer, consumer
from .dedupe import Dedupe
from .intents import DeadLetter, Retry, Skip
from .record import Record

__all__ = ["Consumer", "DeadLetter", "Dedupe", "Record", "Retry", "Skip", "consumer"]
