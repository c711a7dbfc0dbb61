"""Consumers: whatever takes events off the log. `@consumer` declares one of your own."""

from .adaptive import Adaptive
from .declare import Consumer, consumer
from .dedupe import Dedupe
from .intents import DeadLetter, Hold, Retry, Skip
from .record import Record

__all__ = ["Adaptive", "Consumer", "DeadLetter", "Dedupe", "Hold", "Record", "Retry", "Skip", "consumer"]
