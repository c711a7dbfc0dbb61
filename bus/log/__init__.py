"""The log: one interface over Kafka and over an embedded file, opened by its URL."""

from .interface import Assignment, GroupReader, Log, LogOptions, Reader, TopicInfo
from .open import open_log

__all__ = ["Assignment", "GroupReader", "Log", "LogOptions", "Reader", "TopicInfo", "open_log"]
