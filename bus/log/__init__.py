"""The log: one interface over Kafka and over an embedded file, opened by its URL."""

from .interface import (
    METADATA_LIMIT,
    Assignment,
    Committed,
    Disk,
    GroupReader,
    Log,
    LogOptions,
    Reader,
    TopicDetails,
    TopicInfo,
)
from .open import open_log

__all__ = [
    "METADATA_LIMIT",
    "Assignment",
    "Committed",
    "Disk",
    "GroupReader",
    "Log",
    "LogOptions",
    "Reader",
    "TopicDetails",
    "TopicInfo",
    "open_log",
]
