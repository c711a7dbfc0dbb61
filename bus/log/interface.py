"""What a log does. Kafka's words mean here what they mean in Kafka; a committed offset is the next one to read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, NamedTuple, Self

from ..errors import ConfigurationError, MetadataTooLargeError, RecordRefusedError, RecordTooLargeError
from ..event import ProducerRecord, Record, TopicPartition, is_topic_name

Offsets = Mapping[TopicPartition, int]
Place = tuple[TopicPartition, int]
"""An offset in a partition."""
Metadata = Mapping[TopicPartition, str]
AutoOffsetReset = Literal["earliest", "latest"]
Assignment = frozenset[TopicPartition]
OnRevoked = Callable[[Assignment], Awaitable[None]]
OnAssigned = Callable[[Assignment], Awaitable[None]]

_TIME_END = 2**63

METADATA_LIMIT = 4064
"""The most bytes (of UTF-8) that may be kept beside a committed offset. A Kafka takes 4096 by itself; what is left is
for the id of the topic.
"""


class Committed(NamedTuple):
    """What a group has committed for a partition: the next offset to read, and a text of its own beside it."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What a log is opened with; a log ignores what is not its own.

    Times are in seconds, sizes in bytes. `partitions` and `replication_factor` are for the topics that it creates.
    Retention: 0 keeps everything; None leaves what the topic was created with, which is seven days unless a Kafka says
    otherwise. On Kafka it is for the topics that it creates, too. An embedded log takes no appends while its disk has
    less than `disk_reserve` left. From `client_id` on, they are Kafka's.
    """

    partitions: int = 4
    replication_factor: int = 1
    append_timeout: float = 10.0
    max_record_bytes: int = 1_048_576
    retention_seconds: float | None = None
    retention_bytes: int | None = None
    disk_reserve: int = 67_108_864
    session_timeout: float = 10.0
    client_id: str = "snowbus"
    create_topics: str = "missing"
    min_insync_replicas: int | None = None
    security_protocol: str = "PLAINTEXT"
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_key_password_file: str = ""
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    sasl_password_file: str = ""
    schema_registry: str = ""
    schema_registry_mode: str = "register"
    schema_registry_subjects: str = "topic"
    schema_registry_username: str = ""
    schema_registry_password_file: str = ""
    schema_registry_ssl_cafile: str = ""


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic and how many partitions it has. Where the log tells an `id`, one that was deleted and made anew has
    another.
    """

    name: str
    partitions: int
    id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDetails:
    """How a topic is kept; what the log does not tell is None, and a retention of 0 keeps everything."""

    replication_factor: int | None = None
    size: int | None = None
    """Bytes of its records, as they are stored."""
    retention_seconds: float | None = None
    retention_bytes: int | None = None
    cleanup_policy: str | None = None
    min_insync_replicas: int | None = None
    max_message_bytes: int | None = None


class Reader(ABC):
    """Reads records from where it stands, in the order of offsets within each partition.

    It follows the log live: a poll that finds nothing waits for the next record. An offset that has expired
    (retention) or lies beyond the end goes to the earliest record there is; readers see that as a jump in the
    offsets. A topic that was deleted is waited for, and read from its beginning once it was made anew, which shows as
    a jump back.
    """

    @property
    @abstractmethod
    def assignment(self) -> Assignment:
        """The partitions that it reads now."""

    @abstractmethod
    async def poll(self, *, max_records: int = 500, timeout: float = 1.0) -> list[Record]:
        """The next records, at least one unless `timeout` seconds pass without any. May be cancelled without loss.

        Raises LogUnavailableError when the log cannot be reached, or a topic has gone; polling again goes on where it
        stood.
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
    async def commit(self, offsets: Offsets, metadata: Metadata | None = None) -> None:
        """Commit, for each partition, the next offset to read, and beside it its metadata, or "" where there is none.

        Raises NotAssignedError when a partition is another member's by now, MetadataTooLargeError when a metadata is
        beyond METADATA_LIMIT (then nothing is committed), LogUnavailableError when the log cannot be reached.
        """

    @abstractmethod
    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        """What the group has committed for those of the partitions that it has committed."""


class Disk(NamedTuple):
    """The bytes that a log takes of a disk, and those that are left there."""

    used: int
    free: int


class Log(ABC):
    """A durable, partitioned, append-only log of records. Open one with `open_log`."""

    url: str
    options: LogOptions

    @abstractmethod
    async def append(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        """Append records and return the (partition, offset) of each, once they are durable.

        Records with the same key keep their order. What is appended at the same time from several tasks is gathered
        into one write, and each task is told about its own records. Raises RecordRefusedError when the log does not
        take one of them, RecordTooLargeError when that is for its size: none of them is appended then but those in
        its `appended`, which are durable. Raises LogUnavailableError when they are not durable within
        `append_timeout`; after this and other errors, some may be appended, or become so.
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
        commit there. After it, unless the reader is closing, `on_assigned` is awaited with the partitions that the
        member has gained, which may be none; on Kafka those that it keeps go and come back too.

        In both callbacks the partitions that they are about are assigned: `position`, `committed` and `commit` work,
        and a `seek` in `on_assigned` says where their reading begins. No record of them is given before it returns.
        They are never awaited at the same time as each other, but beside `poll`.

        When `on_assigned` raises, nothing is read of its partitions: they are given up, with `on_revoked`, a poll
        raises the same (as a LogError where it is no error of ours), and who polls on gets them again. When
        `on_revoked` raises they go all the same.

        A partition that the group has never committed is committed at the offset where its reading starts, so that
        its lag can be told from then on. That is where `auto_offset_reset` says for a topic of which it has committed
        nothing; a partition that was added to another topic is read from its first record.
        """

    @abstractmethod
    async def create_topics(self, topics: Collection[str]) -> list[TopicInfo]:
        """Create those of the topics that are missing; returns all of them as they are.

        Raises ConfigurationError for a name that no topic can have; then none is created.
        """

    @abstractmethod
    async def topics(self) -> list[TopicInfo]:
        """All topics, by name."""

    @abstractmethod
    async def describe_topics(self, topics: Collection[str]) -> dict[str, TopicDetails]:
        """How those of the topics that are there are kept."""

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
    async def timestamps(self, places: Collection[Place]) -> dict[Place, int]:
        """The timestamp in ms of the first record at or after each place. A place whose partition has none, or whose
        offset has expired, is left out. Raises TopicNotFoundError.
        """

    @abstractmethod
    async def groups(self) -> list[str]:
        """The names of all groups that have members or committed offsets."""

    @abstractmethod
    async def group_offsets(self, group_id: str) -> dict[TopicPartition, Committed]:
        """Everything that a group has committed."""

    @abstractmethod
    async def reset_group(self, group_id: str, offsets: Offsets, metadata: Metadata | None = None) -> None:
        """Set what a group has committed that has no members now, with "" where no metadata is given.

        Raises GroupHasMembersError when it has some, MetadataTooLargeError.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what is being appended, then let go of everything."""

    async def check(self) -> None:
        """Return when the log would take an append now, as far as it can tell without one.

        Raises LogUnavailableError, LogError.
        """
        await self.topics()

    def disk(self) -> Disk | None:
        """What the log takes of a disk of this machine; None for a log that is elsewhere."""
        return None

    async def lag(self, group_id: str) -> dict[TopicPartition, int]:
        """How many records a group has still to read, for each partition of the topics that it has committed in."""
        committed = await self.group_offsets(group_id)
        lag: dict[TopicPartition, int] = {}
        for topic in sorted({partition.topic for partition in committed}):
            beginnings = await self.beginning_offsets(topic)
            for partition, end in (await self.end_offsets(topic)).items():
                start = beginnings[partition]
                position = committed[partition].offset if partition in committed else start
                lag[partition] = max(0, end - max(start, position))
        return lag

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def check_metadata(metadata: Metadata | None) -> Metadata:
    """What is to be committed beside offsets. Raises MetadataTooLargeError."""
    for text in (metadata or {}).values():
        if (size := len(text.encode())) > METADATA_LIMIT:
            raise MetadataTooLargeError(size=size, limit=METADATA_LIMIT)
    return metadata or {}


def check_topic_names(topics: Collection[str]) -> None:
    """Raise ConfigurationError when a topic cannot have one of these names, on any log."""
    for topic in topics:
        if not is_topic_name(topic):
            raise ConfigurationError(
                f"{topic!r} cannot be the name of a topic: take letters of ASCII, digits, '.', '_' and '-', 249 at most"
            )


def check_records(topic: str, records: Sequence[ProducerRecord], limit: int) -> None:
    """Raise RecordRefusedError when one of the records is larger than the limit, in bytes, or of an impossible time."""
    for record in records:
        if record.size > limit:
            raise RecordTooLargeError(topic, size=record.size, limit=limit)
        if record.timestamp is not None and not -_TIME_END <= record.timestamp < _TIME_END:
            raise RecordRefusedError(topic, f"a record's timestamp, {record.timestamp}, is not a time in ms")
