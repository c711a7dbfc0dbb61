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
from .open import check_log_url, open_log

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
    "check_log_url",
    "open_log",
]
