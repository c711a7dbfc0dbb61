"""Speaks to Kafka: the only file that imports aiokafka.

Appending and asking are done here with aiokafka's connections and requests, each within its own time, because its
producer and admin client have no bounds: an idempotent producer keeps what it could not send for ever, gives wrong
sequence numbers after a refused batch, and makes missing topics. Reading is done with its consumer.
"""

# ruff: noqa: SLF001 - what aiokafka does not offer is done here, and nowhere else

import asyncio
import contextlib
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, errors
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.protocol.admin import CreateTopicsRequest, ListGroupsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from ..errors import LogClosedError, LogUnavailableError, NotAssignedError
from ..event import ProducerRecord, Record, TopicPartition
from .interface import Assignment, Committed, LogOptions, Metadata, Offsets, OnAssigned, OnRevoked, TopicInfo
from .kafka_errors import mapped
from .kafka_url import Address, ssl_context

T = TypeVar("T")
Node = int | str
logger = structlog.get_logger(__name__)

LATEST = -1
EARLIEST = -2

METADATA_SECONDS = 30.0
"""How long it is believed who leads the partitions of a topic, and how many there are."""

_RETRY_SECONDS = 0.1
_PATIENCE_SECONDS = 1.0
_IDLE_MS = 540_000
_BATCH_OVERHEAD = 65_536
_NEVER_MS = 2**31 - 1
_READ_TIMEOUT_MS = 20_000
_STOP_SECONDS = 3.0
_REBALANCE_MS = 60_000
_HEARTBEAT_MS = 500  # members hear of a rebalance by it
_NOT_POLLED_MS = 86_400_000
_REFUSED = (errors.KafkaError, OSError)


class ProducerId(NamedTuple):
    """Who a batch is from, so that Kafka takes each batch once and in order."""

    number: int
    epoch: int


class Driver:
    """One cluster: its brokers, who leads which partition, and a connection to each broker that is needed."""

    def __init__(self, servers: Sequence[Address], options: LogOptions) -> None:
        self.servers = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in servers)
        self.options = options
        self.trouble = ""
        self._trouble_since = 0.0
        self._complained = False
        self._closed = False
        self._timeout_ms = round(options.append_timeout * 500)
        self.security = {
            "security_protocol": options.security_protocol,
            "ssl_context": ssl_context(options),
            "sasl_mechanism": options.sasl_mechanism or None,
            "sasl_plain_username": options.sasl_username or None,
            "sasl_plain_password": options.sasl_password or None,
        }
        self._bootstrap: dict[Node, Address] = {f"bootstrap-{place}": server for place, server in enumerate(servers)}
        self._brokers = dict(self._bootstrap)
        self._controller: Node = -1
        self._leaders: dict[str, list[int]] = {}
        self._learnt: dict[str, float] = {}
        self._connections: dict[Node, AIOKafkaConnection] = {}
        self._locks: defaultdict[Node | None, asyncio.Lock] = defaultdict(asyncio.Lock)
        quiet = logging.getLogger("aiokafka")
        if quiet.level == logging.NOTSET:  # it says many times a second that a broker is away; we say it once
            quiet.setLevel(logging.CRITICAL)

    async def call(self, ask: Callable[..., Awaitable[T]], *arguments: Any, topic: str = "") -> T:
        """The answer to a question, asked again and again while the cluster is away, for `append_timeout` seconds.

        Raises LogUnavailableError after that, any other error at once.
        """
        try:
            async with asyncio.timeout(self.options.append_timeout):
                while True:
                    try:
                        return await self.once(ask, *arguments, topic=topic)
                    except LogUnavailableError:
                        await asyncio.sleep(_RETRY_SECONDS)
        except TimeoutError:
            self._notice(self.trouble or f"{self.servers} does not answer")
            raise LogUnavailableError(f"no answer in {self.options.append_timeout:g} s: {self.trouble}") from None

    async def once(self, ask: Callable[..., Awaitable[T]], *arguments: Any, topic: str = "") -> T:
        """The answer to a question that is asked once. Raises our own errors."""
        if self._closed:
            raise LogClosedError("the log is closed")
        try:
            answer = await ask(*arguments)
        except _REFUSED as error:
            mine = mapped(error, topic=topic)
            if isinstance(mine, LogUnavailableError):
                self._leaders.clear()
                self._notice(str(mine))
            raise mine from error
        self.trouble = ""
        if self._complained:
            self._complained = False
            logger.info("Kafka is back", servers=self.servers, seconds=round(time.monotonic() - self._trouble_since, 1))
        return answer

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await asyncio.gather(*map(_drop, self._connections.values()))

    # What can be asked, through `call` or `once`

    async def leaders(self, topic: str) -> list[int]:
        """The leader of each partition of a topic; -1 where there is none now."""
        for pause in (0.05, 0.1, 0):  # a topic just created is not known to every broker yet
            async with self._locks[None]:
                if topic not in self._leaders or time.monotonic() - self._learnt[topic] > METADATA_SECONDS:
                    self._leaders.pop(topic, None)
                    await self._refresh([topic])
            if topic in self._leaders:
                return self._leaders[topic]
            await asyncio.sleep(pause)
        raise errors.UnknownTopicOrPartitionError(topic)

    async def ping(self) -> None:
        """Return when a broker answers."""
        await self._refresh([])

    async def topics(self) -> list[TopicInfo]:
        """All topics but Kafka's own, by name."""
        response = await self._refresh(None)
        return sorted(
            (
                TopicInfo(name, len(partitions))
                for code, name, internal, partitions in response.topics
                if not internal and not code
            ),
            key=lambda topic: topic.name,
        )

    async def create_topics(self, topics: Collection[str]) -> None:
        """Create topics; those that exist already stay as they are."""
        await self._refresh([])
        options = self.options
        configuration = [("max.message.bytes", str(options.max_record_bytes + _BATCH_OVERHEAD))]
        wanted: list[Any] = [
            (topic, options.partitions, options.replication_factor, [], configuration) for topic in topics
        ]
        response = await self._send(self._controller, CreateTopicsRequest(wanted, self._timeout_ms, False))
        for topic, code, *message in response.topic_errors:
            if errors.for_code(code) is not errors.TopicAlreadyExistsError:
                _check(code, f"topic {topic}: {' '.join(filter(None, message))}")

    async def list_offsets(self, topic: str, timestamp: int) -> dict[TopicPartition, int]:
        """For each partition of a topic the first offset at or after a time in ms (or LATEST, EARLIEST), or -1."""
        by_leader: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for partition, leader in enumerate(await self.leaders(topic)):
            by_leader[leader].append((partition, timestamp))
        offsets = {}
        for leader, partitions in by_leader.items():
            response = await self._send(leader, OffsetRequest(-1, 0, [(topic, partitions)]))
            for partition, code, _, offset in response.topics[0][1]:
                _check(code, topic)
                offsets[TopicPartition(topic, partition)] = offset
        return dict(sorted(offsets.items()))

    async def groups(self) -> list[str]:
        """The names of all groups of consumers."""
        response = await self._refresh([])
        groups = set()
        for broker, *_ in response.brokers:
            answer = await self._send(broker, ListGroupsRequest())
            _check(answer.error_code)
            groups |= {group for group, kind in answer.groups if kind in ("consumer", "")}
        return sorted(groups)

    async def group_offsets(self, group_id: str) -> dict[TopicPartition, Committed]:
        """Everything that a group has committed."""
        response = await self._send(await self._coordinator(group_id), OffsetFetchRequest(group_id, None))
        _check(response.error_code, group_id)
        offsets = {}
        for topic, partitions in response.topics:
            for partition, offset, metadata, code in partitions:
                _check(code, group_id)
                if offset >= 0:
                    offsets[TopicPartition(topic, partition)] = Committed(offset, metadata or "")
        return dict(sorted(offsets.items()))

    async def commit_alone(self, group_id: str, offsets: Offsets, metadata: Metadata) -> None:
        """Commit for a group without being a member; it must have none, or Kafka answers that it knows no such one."""
        by_topic: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for place, offset in offsets.items():
            by_topic[place.topic].append((place.partition, offset, metadata.get(place, "")))
        request = OffsetCommitRequest(group_id, -1, "", -1, list(by_topic.items()))
        response = await self._send(await self._coordinator(group_id), request)
        for topic, partitions in response.topics:
            for _, code in partitions:
                _check(code, f"{group_id}: {topic}")

    async def new_producer(self) -> ProducerId:
        """A producer that has sent nothing yet."""
        response = await self._ask_any(InitProducerIdRequest(None, _NEVER_MS))
        _check(response.error_code)
        return ProducerId(response.producer_id, response.producer_epoch)

    async def produce(self, partition: TopicPartition, batch: bytes) -> int:
        """Append one batch and return the offset of its first record, once all replicas in sync have it."""
        leaders = await self.leaders(partition.topic)
        if partition.partition >= len(leaders):
            raise errors.UnknownTopicOrPartitionError(partition)
        request = ProduceRequest(None, -1, self._timeout_ms, [(partition.topic, [(partition.partition, batch)])])
        response = await self._send(leaders[partition.partition], request)
        _, code, offset, *_ = response.topics[0][1][0]
        _check(code, f"{partition.topic}-{partition.partition}")
        return int(offset)

    # How it is asked

    def _notice(self, trouble: str) -> None:
        now = time.monotonic()
        if not self.trouble:
            self._trouble_since = now
        self.trouble = trouble
        if now - self._trouble_since > _PATIENCE_SECONDS and not self._complained:
            self._complained = True
            logger.warning("Kafka is away", servers=self.servers, reason=trouble)

    async def _coordinator(self, group_id: str) -> int:
        response = await self._ask_any(FindCoordinatorRequest(group_id, 0))
        _check(response.error_code, group_id)
        self._brokers[response.coordinator_id] = (response.host, response.port)
        return int(response.coordinator_id)

    async def _refresh(self, topics: list[str] | None) -> Any:
        """Learn the brokers, the controller, and who leads these topics (None: all)."""
        response = await self._ask_any(MetadataRequest(topics, allow_auto_topic_creation=False))
        self._brokers = self._bootstrap | {node: (host, port) for node, host, port, *_ in response.brokers}
        self._controller = response.controller_id
        for code, topic, _, partitions in response.topics:
            if errors.for_code(code) is errors.UnknownTopicOrPartitionError or (code and topics is None):
                continue
            _check(code, topic)
            self._learnt[topic] = time.monotonic()
            self._leaders[topic] = [leader for _, _, leader, *_ in sorted(partitions, key=lambda each: each[1])]
        return response

    async def _ask_any(self, request: Any) -> Any:
        """Ask one broker after the other until one answers; those that were in the URL come last."""
        nodes = sorted(self._brokers, key=lambda node: (isinstance(node, str), random.random()))  # noqa: S311 - no secret
        for node in nodes[:-1]:
            with contextlib.suppress(*_REFUSED):
                return await self._send(node, request)
        return await self._send(nodes[-1], request)

    async def _send(self, node: Node, request: Any) -> Any:
        connection = await self._connection(node)
        try:
            return await connection.send(request)
        except TimeoutError:
            _drop(connection)
            raise errors.RequestTimedOutError(f"{connection.host}:{connection.port} does not answer") from None

    async def _connection(self, node: Node) -> AIOKafkaConnection:
        async with self._locks[node]:
            connection = self._connections.get(node)
            if connection is None or not _is_alive(connection):
                if node not in self._brokers:
                    raise errors.LeaderNotAvailableError(f"node {node}")
                connection = self._connections[node] = await self._connect(*self._brokers[node])
                if self._closed:
                    _drop(connection)
            return connection

    async def _connect(self, host: str, port: int) -> AIOKafkaConnection:
        try:
            return await create_conn(
                host,
                port,
                client_id=self.options.client_id,
                request_timeout_ms=self._timeout_ms,
                max_idle_ms=_IDLE_MS,
                **self.security,
            )
        except TimeoutError:
            raise errors.RequestTimedOutError(f"{host}:{port} does not answer") from None
        except errors.KafkaError:
            raise
        except (OSError, RuntimeError) as error:  # RuntimeError is uvloop's for a connection that is lost already
            raise errors.KafkaConnectionError(f"{host}:{port}: {error}") from error


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """aiokafka's consumer: reads partitions that it is given, or those that its group gives it.

    It never commits and never picks a position by itself: `committed` offsets are asked through Driver, because
    aiokafka takes a coordinator that is still loading for one that has no offsets.
    """

    def __init__(self, driver: Driver, *, group_id: str | None, on_revoked: OnRevoked, on_assigned: OnAssigned) -> None:
        session_ms = round(driver.options.session_timeout * 1000)
        self._on_revoked = on_revoked
        self._on_assigned = on_assigned
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=driver.servers.split(","),
            client_id=driver.options.client_id,
            group_id=group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=_READ_TIMEOUT_MS,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(_HEARTBEAT_MS, session_ms // 3),
            rebalance_timeout_ms=_REBALANCE_MS,
            max_poll_interval_ms=_NOT_POLLED_MS,
            **driver.security,
        )
        self._client = self._consumer._client
        self._connection_of = self._client._get_conn
        self._client._get_conn = self._connection

    async def follow(self, offsets: Offsets) -> None:
        """Read these partitions from these offsets. Raises LogError."""
        self._consumer.assign([KafkaPartition(*partition) for partition in offsets])
        with _mapped():
            await self._consumer.start()
        for partition, offset in offsets.items():
            self.seek(partition, offset)

    async def subscribe(self, topics: Collection[str]) -> None:
        """Join the group; returns once it has an assignment. Raises LogError."""
        self._consumer.subscribe(list(topics), listener=self)
        with _mapped():
            await self._consumer.start()

    async def fetch(self, *, max_records: int, timeout: float) -> dict[TopicPartition, list[Record]]:
        """The next records; may be cancelled without loss. Raises LogError."""
        with _mapped():
            fetched = await self._consumer.getmany(timeout_ms=round(timeout * 1000), max_records=max_records)
        return {TopicPartition(*partition): list(map(_record, records)) for partition, records in fetched.items()}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Fetch on from an offset. Raises NotAssignedError."""
        with _mapped():
            self._consumer.seek(KafkaPartition(*partition), max(0, offset))

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch nothing of these partitions. Raises NotAssignedError."""
        with _mapped():
            self._consumer.pause(*(KafkaPartition(*partition) for partition in partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch from these partitions again. Raises NotAssignedError."""
        with _mapped():
            self._consumer.resume(*(KafkaPartition(*partition) for partition in partitions))

    async def commit(self, offsets: Offsets, metadata: Metadata, *, timeout: float) -> None:
        """Commit as the member that it is. Raises NotAssignedError, MetadataTooLargeError, LogUnavailableError."""
        coordinator = self._consumer._coordinator
        if coordinator is None or coordinator.generation < 0:  # Kafka would take it, as one from outside the group
            raise NotAssignedError("no member of the group any more")
        try:
            async with asyncio.timeout(timeout):
                with _mapped():
                    await self._consumer.commit(
                        {KafkaPartition(*place): (offset, metadata.get(place, "")) for place, offset in offsets.items()}
                    )
        except TimeoutError:
            raise LogUnavailableError(f"not committed within {timeout:g} s") from None

    def last_answer(self, partitions: Collection[TopicPartition]) -> float:
        """When a broker last answered a fetch of one of these partitions, in seconds since 1970; 0 for never."""
        held = self._consumer.assignment().intersection(partitions)
        return max((self._consumer.last_poll_timestamp(partition) or 0 for partition in held), default=0) / 1000

    async def stop(self) -> None:
        """Stop reading, and leave the group.

        aiokafka's own way waits for joins and answers that may never come, and raises when a broker is away.
        """
        fetcher, coordinator = self._consumer._fetcher, self._consumer._coordinator
        tasks = [task for task in (getattr(coordinator, "_coordination_task", None),) if task]
        if fetcher is not None:
            tasks += [fetcher._fetch_task, *fetcher._pending_tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if fetcher is not None:
            fetcher._pending_tasks.clear()
        for connection in self._client._conns.values():
            if connection._requests:  # until a join is answered, its connection would not take that we leave
                connection.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._consumer.stop()
        except (errors.KafkaError, TimeoutError) as error:
            logger.debug("left without a goodbye", reason=repr(error))
        finally:
            await self._client.close()

    async def _connection(self, node: Node, **options: Any) -> AIOKafkaConnection | None:
        """A connection for aiokafka's client, whose tasks die when uvloop does not take what they write."""
        with contextlib.suppress(KeyError):
            connection = self._client._conns[node, options.get("group", ConnectionGroup.DEFAULT)]
            if not _is_alive(connection):
                connection.close(CloseReason.CONNECTION_BROKEN)
        try:
            return await self._connection_of(node, **options)
        except errors.KafkaError:
            raise
        except RuntimeError:
            return None

    async def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        """Called by aiokafka before it gives partitions up."""
        await self._on_revoked(_assignment(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        """Called by aiokafka when it has partitions."""
        await self._on_assigned(_assignment(assigned))


def pack(records: Iterable[ProducerRecord], producer: ProducerId, *, sequence: int, now: int) -> bytes:
    """Records as one compressed batch, the `sequence`th records of a producer on; `now` (ms) is for those without
    a time.
    """
    builder = DefaultRecordBatchBuilder(
        2, DefaultRecordBatch.CODEC_LZ4, 0, producer.number, producer.epoch, sequence, _NEVER_MS
    )
    for offset, record in enumerate(records):
        timestamp = now if record.timestamp is None else record.timestamp
        builder.append(offset, timestamp, record.key, record.value, list(record.headers))
    return bytes(builder.build())


def _record(found: Any) -> Record:
    # _make, as the names cost a third more
    return Record._make(
        (found.topic, found.partition, found.offset, found.timestamp, found.key, found.value or b"", found.headers)
    )


def _is_alive(connection: AIOKafkaConnection) -> bool:
    """Whether a connection takes a request; aiokafka hears a moment later that it is lost, and uvloop minds."""
    return connection.connected() and not connection._writer.transport.is_closing()


def _drop(connection: AIOKafkaConnection) -> asyncio.Future[None]:
    """Close a connection at once: what it has not sent yet would keep it open while the broker does not read."""
    writer = connection._writer  # close() lets go of it
    closed: asyncio.Future[None] = connection.close()
    if writer is not None:
        writer.transport.abort()
    return closed


def _check(code: int, about: str = "") -> None:
    error = errors.for_code(code)
    if error is not errors.NoError:
        raise error(about)


@contextlib.contextmanager
def _mapped() -> Any:
    try:
        yield
    except (*_REFUSED, errors.ConsumerStoppedError, errors.IllegalOperation) as error:
        raise mapped(error) from error


def _assignment(partitions: Iterable[KafkaPartition]) -> Assignment:
    return frozenset(TopicPartition(*partition) for partition in partitions)
