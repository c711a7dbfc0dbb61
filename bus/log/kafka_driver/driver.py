"""Asks a Kafka cluster, and appends to it: each question within its own time."""

import asyncio
import contextlib
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.admin import CreateTopicsRequest, ListGroupsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from ...diagnostics import Diagnostics
from ...errors import LogAccessError, LogClosedError, LogUnavailableError
from ...event import TopicPartition
from ..interface import Committed, LogOptions, Metadata, Offsets, TopicInfo
from ..kafka_errors import mapped
from ..kafka_tools import topic_settings
from ..kafka_url import Address, sasl_password, ssl_context
from .batches import NEVER_MS, ProducerId
from .connections import REFUSED, Node, check, connect, drop, is_alive
from .produces import Produces
from .refusals import why_refused
from .topic_tags import tagged, untagged
from .topics import Topics, TopicsRequest

T = TypeVar("T")
logger = Diagnostics(__name__)

LATEST = -1
EARLIEST = -2

METADATA_SECONDS = 30.0
"""How long it is believed who leads the partitions of a topic, and how many there are."""

_RETRY_SECONDS = 0.1
_PATIENCE_SECONDS = 1.0


class Driver:
    """One cluster: its brokers, who leads which partition, and a connection to each broker that is needed."""

    def __init__(self, servers: Sequence[Address], options: LogOptions) -> None:
        self.servers = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in servers)
        self.options = options
        self.trouble = ""
        self._trouble_since = 0.0
        self._complained = False
        self._closed = False
        self.let_in = False
        self._timeout_ms = round(options.append_timeout * 500)
        self._tls = ssl_context(options)
        self.security = {
            "security_protocol": options.security_protocol,
            "ssl_context": self._tls,
            "sasl_mechanism": options.sasl_mechanism or None,
            "sasl_plain_username": options.sasl_username or None,
            "sasl_plain_password": sasl_password(options) or None,
        }
        self._bootstrap: dict[Node, Address] = {f"bootstrap-{place}": server for place, server in enumerate(servers)}
        self._brokers = dict(self._bootstrap)
        self._controller: Node = -1
        self._leaders: dict[str, list[int]] = {}
        self._learnt: dict[str, float] = {}
        self.ids: dict[str, str] = {}
        self._connections: dict[tuple[Node, bool], AIOKafkaConnection] = {}
        self._locks: defaultdict[tuple[Node, bool] | None, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._produces = Produces(partial(self.send, appends=True), timeout_ms=self._timeout_ms)
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
        except REFUSED as error:
            mine = mapped(error, topic=topic, let_in=self.let_in)
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
        await self._produces.close()
        await asyncio.gather(*map(drop, self._connections.values()))

    # What can be asked, through `call` or `once`

    async def leaders(self, topic: str) -> list[int]:
        """The leader of each partition of a topic; -1 where there is none now."""
        for pause in (0.05, 0.1, 0):  # a topic just created is not known to every broker yet
            async with self._locks[None]:
                if topic not in self._leaders or time.monotonic() - self._learnt[topic] > METADATA_SECONDS:
                    self._leaders.pop(topic, None)
                    await self.refresh([topic])
            if topic in self._leaders:
                return self._leaders[topic]
            await asyncio.sleep(pause)
        raise errors.UnknownTopicOrPartitionError(topic)

    async def ping(self) -> None:
        """Return when a broker answers."""
        await self.refresh([])

    async def topics(self) -> list[TopicInfo]:
        """All topics but Kafka's own, by name."""
        response = await self.refresh(None)
        return sorted(
            (
                TopicInfo(name, len(partitions), response.ids.get(name, ""))
                for code, name, internal, partitions in response.topics
                if not internal and not code
            ),
            key=lambda topic: topic.name,
        )

    async def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """The ids of those of the topics that are there: a topic that is deleted and made anew has another one. Empty
        for a Kafka that has none, which is one before 2.8.
        """
        response = await self.refresh(sorted(topics))
        return {topic: self.ids[topic] for code, topic, *_ in response.topics if not code}

    async def create_topics(self, topics: Collection[str]) -> None:
        """Create topics; those that exist already stay as they are."""
        await self.refresh([])
        options = self.options
        configuration = list(topic_settings(options).items())
        wanted: list[Any] = [
            (topic, options.partitions, options.replication_factor, [], configuration) for topic in topics
        ]
        response = await self.send(self._controller, CreateTopicsRequest(wanted, self._timeout_ms, False))
        for topic, code, *message in response.topic_errors:
            if errors.for_code(code) is not errors.TopicAlreadyExistsError:
                check(code, f"topic {topic}: {' '.join(filter(None, message))}")

    async def list_offsets(self, topic: str, timestamp: int) -> dict[TopicPartition, int]:
        """For each partition of a topic the first offset at or after a time in ms (or LATEST, EARLIEST), or -1."""
        by_leader: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for partition, leader in enumerate(await self.leaders(topic)):
            by_leader[leader].append((partition, timestamp))
        offsets = {}
        for leader, partitions in by_leader.items():
            response = await self.send(leader, OffsetRequest(-1, 0, [(topic, partitions)]))
            for partition, code, _, offset in response.topics[0][1]:
                await self._check_leader(code, TopicPartition(topic, partition))
                offsets[TopicPartition(topic, partition)] = offset
        return dict(sorted(offsets.items()))

    async def groups(self) -> list[str]:
        """The names of all groups of consumers."""
        response = await self.refresh([])
        groups = set()
        for broker, *_ in response.brokers:
            answer = await self.send(broker, ListGroupsRequest())
            check(answer.error_code)
            groups |= {group for group, kind in answer.groups if kind in ("consumer", "")}
        return sorted(groups)

    async def group_offsets(self, group_id: str) -> dict[TopicPartition, Committed]:
        """Everything that a group has committed; what it has of a topic that was made anew since is its beginning."""
        response = await self.send(await self._coordinator(group_id), OffsetFetchRequest(group_id, None))
        check(response.error_code, group_id)
        ids = await self.topic_ids([topic for topic, _ in response.topics])
        offsets = {}
        for topic, partitions in response.topics:
            for partition, offset, metadata, code in partitions:
                check(code, group_id)
                if offset >= 0:
                    committed = untagged(Committed(offset, metadata or ""), ids.get(topic, ""))
                    offsets[TopicPartition(topic, partition)] = committed
        return dict(sorted(offsets.items()))

    async def commit_alone(self, group_id: str, offsets: Offsets, metadata: Metadata) -> None:
        """Commit for a group without being a member; it must have none, or Kafka answers that it knows no such one."""
        texts = tagged(offsets, metadata, await self.topic_ids({place.topic for place in offsets}))
        by_topic: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for place, offset in offsets.items():
            by_topic[place.topic].append((place.partition, offset, texts[place]))
        request = OffsetCommitRequest(group_id, -1, "", -1, list(by_topic.items()))
        response = await self.send(await self._coordinator(group_id), request)
        for topic, partitions in response.topics:
            for _, code in partitions:
                check(code, f"{group_id}: {topic}")

    async def new_producer(self) -> ProducerId:
        """A producer that has sent nothing yet."""
        response = await self.ask_any(InitProducerIdRequest(None, NEVER_MS))
        check(response.error_code)
        return ProducerId(response.producer_id, response.producer_epoch)

    async def produce(self, partition: TopicPartition, batch: bytes) -> int:
        """Append one batch and return the offset of its first record, once all replicas in sync have it."""
        leaders = await self.leaders(partition.topic)
        if partition.partition >= len(leaders):
            raise errors.UnknownTopicOrPartitionError(partition)
        placed = await self._produces.produce(leaders[partition.partition], partition, batch)
        await self._check_leader(placed.code, partition)
        return placed.offset

    async def permitted(self, partition: TopicPartition) -> None:
        """Return when the leader of a partition does not throttle us."""
        leaders = self._leaders.get(partition.topic, [])
        if partition.partition < len(leaders):
            await self._produces.permitted(leaders[partition.partition])

    @property
    def why_slow(self) -> str:
        """Why an append takes long, where that is known."""
        return self.trouble or self._produces.trouble

    # How it is asked

    def _notice(self, trouble: str) -> None:
        now = time.monotonic()
        if not self.trouble:
            self._trouble_since = now
        self.trouble = trouble
        if now - self._trouble_since > _PATIENCE_SECONDS and not self._complained:
            self._complained = True
            logger.warning("Kafka is away", servers=self.servers, reason=trouble)

    async def _check_leader(self, code: int, partition: TopicPartition) -> None:
        """Raise the error in the answer of a leader. One that knows no such topic may be about to hear of it:
        it is asked again, unless the topic has gone.
        """
        about = f"{partition.topic}-{partition.partition}"
        if errors.for_code(code) is errors.UnknownTopicOrPartitionError:
            self._leaders.pop(partition.topic, None)
            await self.leaders(partition.topic)
            raise errors.LeaderNotAvailableError(about)
        check(code, about)

    async def _coordinator(self, group_id: str) -> int:
        response = await self.ask_any(FindCoordinatorRequest(group_id, 0))
        check(response.error_code, group_id)
        self._brokers[response.coordinator_id] = (response.host, response.port)
        return int(response.coordinator_id)

    async def refresh(self, topics: list[str] | None) -> Topics:
        """Learn the brokers, the controller, and who leads these topics (None: all)."""
        response = await self.ask_topics(topics)
        self._brokers = self._bootstrap | {node: (host, port) for node, host, port, *_ in response.brokers}
        self._controller = response.controller_id
        for code, topic, _, partitions in response.topics:
            if errors.for_code(code) is errors.UnknownTopicOrPartitionError or (code and topics is None):
                continue
            check(code, topic)
            self._learnt[topic] = time.monotonic()
            self.ids[topic] = response.ids.get(topic, "")
            self._leaders[topic] = [leader for _, _, leader, *_ in sorted(partitions, key=lambda each: each[1])]
        return response

    async def ask_topics(self, topics: list[str] | None) -> Topics:
        """What a broker knows of these topics (None: all); none is made by asking."""
        return Topics.of(await self.ask_any(TopicsRequest(topics)))

    async def ask_any(self, request: Any) -> Any:
        """Ask one broker after the other until one answers; those that were in the URL come last."""
        nodes = sorted(self._brokers, key=lambda node: (isinstance(node, str), random.random()))  # noqa: S311 - no secret
        for node in nodes[:-1]:
            with contextlib.suppress(*REFUSED):
                return await self.send(node, request)
        return await self.send(nodes[-1], request)

    async def send(self, node: Node, request: Any, *, appends: bool = False) -> Any:
        """What a broker answers to a request. What `appends` has a connection of its own, which a quota may bring to a
        stand. Raises aiokafka's errors, and LogAccessError.
        """
        try:
            connection = await self._connection((node, appends))
            try:
                answer = await connection.send(request)
            except TimeoutError:
                drop(connection)
                raise errors.RequestTimedOutError(f"{connection.host}:{connection.port} does not answer") from None
        except errors.KafkaConnectionError as error:
            if not isinstance(error.__cause__, ConnectionRefusedError):  # nobody is there to ask
                await self._ask_why(node)
            raise
        self.let_in = True
        return answer

    async def _ask_why(self, node: Node) -> None:
        """Raise LogAccessError when a broker is there and our settings keep us out. Once one has let us in they are
        right, and what goes wrong then may pass.
        """
        if not self.let_in and (told := await why_refused(self._brokers[node], self.options, self._tls)):
            raise LogAccessError(f"Kafka: {told}")

    async def _connection(self, place: tuple[Node, bool]) -> AIOKafkaConnection:
        node, _ = place
        async with self._locks[place]:
            connection = self._connections.get(place)
            if connection is None or not is_alive(connection):
                if node not in self._brokers:
                    raise errors.LeaderNotAvailableError(f"node {node}")
                connection = self._connections[place] = await connect(
                    self._brokers[node], self.options.client_id, timeout_ms=self._timeout_ms, security=self.security
                )
                if self._closed:
                    drop(connection)
            return connection
