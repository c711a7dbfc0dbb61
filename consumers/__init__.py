"""Consumers: whatever takes events off the log. `@consumer` declares one of your own."""

from .adaptive import Adaptive
from .declare import Consumer, consumer
from .dedupe import Dedupe
from .intents import DeadLetter, Hold, Retry, Skip
from .record import Record
from .streaming.client import EventStream
from .streaming.messages import DeliveryMessage, EventMessage, GapMessage
from .streaming.opening import stream

__all__ = [
    "Adaptive",
    "Consumer",
    "DeadLetter",
    "Dedupe",
    "DeliveryMessage",
    "EventMessage",
    "EventStream",
    "GapMessage",
    "Hold",
    "Record",
    "Retry",
    "Skip",
    "consumer",
    "stream",
]
