"""Speaks to Kafka: the only package that imports aiokafka.

Appending and asking (`driver`) are done here with aiokafka's connections and requests, each within its own time,
because its producer and admin client have no bounds: an idempotent producer keeps what it could not send for ever,
gives wrong sequence numbers after a refused batch, and makes missing topics. Reading (`consumer`) is done with its
consumer, but for the records themselves (`fetched`).
"""

from .batches import ProducerId, pack
from .begins import begins_of
from .consumer import Consumer
from .driver import EARLIEST, LATEST, METADATA_SECONDS, Driver
from .looks import describe, timestamps
from .topic_tags import tagged

__all__ = [
    "EARLIEST",
    "LATEST",
    "METADATA_SECONDS",
    "Consumer",
    "Driver",
    "ProducerId",
    "begins_of",
    "describe",
    "pack",
    "tagged",
    "timestamps",
]
