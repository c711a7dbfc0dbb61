"""What topics are created with on Kafka, and the lines for Kafka's own tools that do what we cannot, or may not."""

import shlex
from collections.abc import Mapping

from .interface import LogOptions

_BATCH_OVERHEAD = 65_536
"""Bytes of a batch beside its records, at most."""


def least_message_bytes(options: LogOptions) -> int:
    """The least `max.message.bytes` with which a topic takes the largest record."""
    return options.max_record_bytes + _BATCH_OVERHEAD


def topic_settings(options: LogOptions) -> dict[str, str]:
    """The settings of a topic that we create, by Kafka's names. Kafka's limit in bytes is for each partition."""
    settings = {"max.message.bytes": str(least_message_bytes(options))}
    if options.retention_seconds is not None:
        settings["retention.ms"] = str(round(options.retention_seconds * 1000) or -1)
    if options.retention_bytes is not None:
        settings["retention.bytes"] = str(-(-options.retention_bytes // options.partitions) or -1)
    if options.min_insync_replicas is not None:
        settings["min.insync.replicas"] = str(options.min_insync_replicas)
    return settings


class Tools:
    """Writes the lines for one cluster."""

    def __init__(self, servers: str, options: LogOptions) -> None:
        secure = options.security_protocol != "PLAINTEXT"
        self._where = ["--bootstrap-server", servers, *(["--command-config", "admin.properties"] if secure else [])]
        self._options = options

    def create(self, topic: str) -> str:
        """Create a topic as we would."""
        counts = ["--partitions", str(self._options.partitions)]
        counts += ["--replication-factor", str(self._options.replication_factor)]
        settings = [word for each in topic_settings(self._options).items() for word in ("--config", "=".join(each))]
        return self._line("kafka-topics.sh", "--create", "--topic", topic, *counts, *settings)

    def add_partitions(self, topic: str, partitions: int) -> str:
        """Let a topic have so many partitions."""
        return self._line("kafka-topics.sh", "--alter", "--topic", topic, "--partitions", str(partitions))

    def set(self, topic: str, settings: Mapping[str, str]) -> str:
        """Change settings of a topic."""
        added = ",".join(map("=".join, settings.items()))
        words = ("--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", added)
        return self._line("kafka-configs.sh", *words)

    def _line(self, tool: str, *words: str) -> str:
        return shlex.join([tool, *self._where, *words])
