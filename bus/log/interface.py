"""What a log does. Kafka's words mean here what they mean in Kafka; a committed offset is the next one to read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from ..event import ProducerRecord, Record, TopicPartition

Offsets = Mapping[TopicPartition, int]
AutoOffsetReset = Literal["earliest", "latest"]
Assignment = frozenset[TopicPartition]
OnRevoked = Callable[[Assignment], Awaitable[None]]
OnAssigned = Callable[[Assignment], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What a log is opened with; a log ignores what is not its own.

    Times are in seconds, sizes in bytes. `partitions` and `replication_factor` are for the topics that it creates.
    Retention is the embedded log's (Kafka has its own): 0 keeps everything, None leaves what the topic was created
    with, which is seven days. From `client_id` on, they are Kafka's.
    """

    partitions: int = 4
    replication_factor: int = 1
    append_timeout: float = 10.0
    max_record_bytes: int = 1_048_576
    retention_seconds: float | None = None
    retention_bytes: int | None = None
    session_timeout: float = 10.0
    client_id: str = "snowbus"
    security_protocol: str = "PLAINTEXT"
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = ""


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic and how many partitions it has."""

    name: str
    partitions: int


class Reader(ABC):
    """Reads records from where it stands, in the order of offsets within each partition.

    It follows the log live: a poll that finds nothing waits for the next record. An offset that has expired
    (retention) or lies beyond the end goes to the earliest record there is; readers see that as a jump in the
    offsets.
    """

    @property
    @abstractmethod
    def assignment(self) -> Assignment:
        """The partitions that it reads now."""

    @abstractmethod
    async def poll(self, *, max_records: int = 500, timeout: float = 1.0) -> list[Record]:
        """The next records, at least one unless `timeout` seconds pass without any. May be cancelled without loss.

        Raises LogUnavailableError when the log cannot be reached; polling again goes on where it stood.
        """

    @abstractmethod
    def position(self, partition: TopicPartition) -> int:
        """The offset that is read next. Raises NotAssignedError."""

    @abstractmethod
    def seek(self, offsets: Offsets) -> None:
        """Read on from these offsets. Raises NotAssignedError."""

    @abstractmethod
    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Give no records of these partitions until they are resumed; a pause ends with the assignment."""

    @abstractmethod
    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Give records of these partitions again."""

    @abstractmethod
    async def close(self) -> None:
        """Stop reading, and leave the group if it is in one, after `on_revoked` was awaited."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class GroupReader(Reader):
    """A member of a group: its partitions are shared out among the members, and its offsets are committed on the
    log.
    """

    @abstractmethod
    async def commit(self, offsets: Offsets) -> None:
        """Commit, for each partition, the next offset to read.

        Raises NotAssignedError when a partition is another member's by now, LogUnavailableError when the log cannot
        be reached.
        """

    @abstractmethod
    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The committed offsets of those of the partitions that have one."""


class Log(ABC):
    """A durable, partitioned, append-only log of records. Open one with `open_log`."""

    url: str
    options: LogOptions

    @abstractmethod
    async def append(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        """Append records and return the (partition, offset) of each, once they are durable.

        Records with the same key keep their order. What is appended at the same time from several tasks is gathered
        into one write. Raises RecordTooLargeError (then none of these records is appended), LogUnavailableError
        when they are not durable within `append_timeout` (some may still become so).
        """

    @abstractmethod
    async def read(self, offsets: Offsets) -> Reader:
        """A reader outside any group, that starts at these offsets. Raises TopicNotFoundError."""

    @abstractmethod
    async def join(
        self,
        topics: Collection[str],
        *,
        group_id: str,
        auto_offset_reset: AutoOffsetReset = "earliest",
        on_revoked: OnRevoked | None = None,
        on_assigned: OnAssigned | None = None,
    ) -> GroupReader:
        """A new member of a group. Before partitions go to another member `on_revoked` is awaited: finish and
        commit there.

        A partition that the group has never committed is committed at the offset where its reading starts, so that
        its lag can be told from then on. The callbacks are awaited inside `poll` (or beside it, on Kafka), never at
        the same time as each other.
        """

    @abstractmethod
    async def create_topics(self, topics: Collection[str]) -> list[TopicInfo]:
        """Create those of the topics that are missing; returns all of them as they are."""

    @abstractmethod
    async def topics(self) -> list[TopicInfo]:
        """All topics, by name."""

    @abstractmethod
    async def partitions(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic, in order. Raises TopicNotFoundError."""

    @abstractmethod
    async def beginning_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """The offset of the oldest record of each partition (its end offset when it is empty). Raises
        TopicNotFoundError.
        """

    @abstractmethod
    async def end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """The offset that the next record of each partition will have. Raises TopicNotFoundError."""

    @abstractmethod
    async def offsets_for_time(self, topic: str, timestamp: int) -> dict[TopicPartition, int]:
        """For each partition, the offset of its first record at or after a time in ms; the end offset when there is
        none.
        """

    @abstractmethod
    async def groups(self) -> list[str]:
        """The names of all groups that have members or committed offsets."""

    @abstractmethod
    async def group_offsets(self, group_id: str) -> dict[TopicPartition, int]:
        """Everything that a group has committed."""

    @abstractmethod
    async def reset_group(self, group_id: str, offsets: Offsets) -> None:
        """Set the committed offsets of a group that has no members now. Raises LogError when it has."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what is being appended, then let go of everything."""

    async def lag(self, group_id: str) -> dict[TopicPartition, int]:
        """How many records a group has still to read, for each partition of the topics that it has committed in."""
        committed = await self.group_offsets(group_id)
        lag: dict[TopicPartition, int] = {}
        for topic in sorted({partition.topic for partition in committed}):
            beginnings = await self.beginning_offsets(topic)
            for partition, end in (await self.end_offsets(topic)).items():
                start = beginnings[partition]
                lag[partition] = max(0, end - max(start, committed.get(partition, start)))
        return lag

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
