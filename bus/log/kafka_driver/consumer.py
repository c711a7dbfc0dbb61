"""Reads from Kafka with aiokafka's consumer, as one that stands alone or as a member of a group."""

# ruff: noqa: SLF001 - what aiokafka does not offer is done here, and nowhere else

import asyncio
import contextlib
from collections.abc import Collection, Coroutine, Iterable, Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, errors
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.structs import OffsetAndMetadata

from ...diagnostics import Diagnostics
from ...errors import LogUnavailableError, NotAssignedError, SnowbusError
from ...event import Record, TopicPartition
from ...tasks import cancelled
from ..interface import Assignment, Metadata, Offsets, OnAssigned, OnRevoked
from ..kafka_errors import mapped
from .connections import REFUSED, Node, is_alive
from .driver import METADATA_SECONDS, Driver
from .fetched import fetched

logger = Diagnostics(__name__)

_READ_TIMEOUT_MS = 20_000
_STOP_SECONDS = 3.0
_COMMIT_AGAIN_SECONDS = 0.1
_REBALANCE_MS = 60_000
_HEARTBEAT_MS = 500  # members hear of a rebalance by it
_TAKE_OVER_MS = 1500
"""What is left of the session timeout, when a silent member is forgotten, for another to take over: it hears of it by
its heartbeat, joins again and reads."""
_LEAST_SESSION_MS = 6000
"""The least that a broker takes unless it is told otherwise (group.min.session.timeout.ms)."""
_NOT_POLLED_MS = 86_400_000
_FETCH_BYTES = 131_072
"""Of a partition at once: enough for a thousand events, which take ten times as much in memory. A batch that is larger
comes whole."""


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """aiokafka's consumer: reads partitions that it is given, or those that its group gives it.

    It never commits and never picks a position by itself: `committed` offsets are asked through Driver, because
    aiokafka takes a coordinator that is still loading for one that has no offsets.
    """

    def __init__(self, driver: Driver, *, group_id: str | None, on_revoked: OnRevoked, on_assigned: OnAssigned) -> None:
        asked_ms = round(driver.options.session_timeout * 1000)
        session_ms = max(asked_ms - _TAKE_OVER_MS, min(asked_ms, _LEAST_SESSION_MS))
        self._driver = driver
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
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=_FETCH_BYTES,
            metadata_max_age_ms=round(METADATA_SECONDS * 1000),  # partitions that are added are found by it
            **driver.security,
        )
        self._client = self._consumer._client
        self._connection_of = self._client._get_conn
        self._client._get_conn = self._connection
        self._client._metadata_update = self._learn_topics
        self._stopping = False

    async def follow(self, offsets: Offsets) -> None:
        """Read these partitions from these offsets. Raises LogError."""
        self._consumer.assign([KafkaPartition(*partition) for partition in offsets])
        with self._mapped():
            await self._consumer.start()
        for partition, offset in offsets.items():
            self.seek(partition, offset)

    async def subscribe(self, topics: Collection[str]) -> None:
        """Join the group; returns once it has an assignment. Raises LogError."""
        self._consumer.subscribe(list(topics), listener=self)
        with self._mapped():
            await self._consumer.start()

    async def fetch(self, *, max_records: int, timeout: float) -> dict[TopicPartition, list[Record]]:
        """The next records; may be cancelled without loss. Raises LogError.

        As aiokafka's `getmany`, but for what makes the records.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        fetcher, subscription = self._consumer._fetcher, self._consumer._subscription
        with self._mapped(), subscription.fetch_context():
            while not self._stopping:
                self._consumer._coordinator.check_errors()
                if subscription.reassignment_in_progress:
                    await subscription.wait_for_assignment()
                if found := fetched(fetcher, max_records):
                    return found
                if (remaining := deadline - loop.time()) <= 0:
                    break
                waiter = fetcher._create_fetch_waiter()
                try:
                    await asyncio.wait([waiter], timeout=remaining)
                    if waiter.done():
                        waiter.result()  # what the coordinator was refused
                finally:
                    waiter.cancel()
            return {}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Fetch on from an offset. Raises NotAssignedError."""
        with self._mapped():
            self._consumer.seek(KafkaPartition(*partition), max(0, offset))

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch nothing of these partitions. Raises NotAssignedError."""
        with self._mapped():
            self._consumer.pause(*(KafkaPartition(*partition) for partition in partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch from these partitions again. Raises NotAssignedError."""
        with self._mapped():
            self._consumer.resume(*(KafkaPartition(*partition) for partition in partitions))

    async def commit(self, offsets: Offsets, metadata: Metadata, *, timeout: float) -> None:
        """Commit as the member that it is, also what is not assigned to it.

        Raises NotAssignedError, also when a topic has gone, MetadataTooLargeError, LogUnavailableError.
        """
        coordinator = self._consumer._coordinator
        if coordinator is None or coordinator.generation < 0:  # Kafka would take it, as one from outside the group
            raise NotAssignedError("no member of the group any more")
        structure = {
            KafkaPartition(*place): OffsetAndMetadata(offset, metadata.get(place, ""))
            for place, offset in offsets.items()
        }
        try:
            async with asyncio.timeout(timeout):
                with self._mapped():
                    while not await self._has_committed(coordinator, structure):  # noqa: ASYNC110 - nobody tells when
                        await asyncio.sleep(_COMMIT_AGAIN_SECONDS)
        except TimeoutError:
            raise LogUnavailableError(f"not committed within {timeout:g} s") from None

    async def _has_committed(self, coordinator: Any, structure: dict[KafkaPartition, OffsetAndMetadata]) -> bool:
        """Commit, unless that has to wait. aiokafka's own way tries on when a topic has gone, and leaves a task behind
        whose failure nobody looks at when it is cancelled.
        """
        await coordinator.ensure_coordinator_known()
        try:
            async with coordinator._commit_lock:
                await coordinator._do_commit_offsets(self._consumer._subscription.subscription.assignment, structure)
        except errors.UnknownTopicOrPartitionError:
            raise NotAssignedError("a topic has gone") from None
        except errors.KafkaError as error:
            if not error.retriable:
                raise
            return False
        return True

    def last_answer(self, partitions: Collection[TopicPartition]) -> float:
        """When a broker last answered a fetch of one of these partitions, in seconds since 1970; 0 for never."""
        held = self._consumer.assignment().intersection(partitions)
        return max((self._consumer.last_poll_timestamp(partition) or 0 for partition in held), default=0) / 1000

    async def stop(self) -> None:
        """Stop reading, and leave the group.

        aiokafka's own way waits for joins and answers that may never come, and raises when a broker is away.
        """
        self._stopping = True
        fetcher, coordinator = self._consumer._fetcher, self._consumer._coordinator
        tasks = [task for task in (getattr(coordinator, "_coordination_task", None),) if task]
        if fetcher is not None:
            tasks += [fetcher._fetch_task, *fetcher._pending_tasks]
        await cancelled(tasks)  # a coordinator that ends its heartbeats takes a cancellation for theirs
        if fetcher is not None:
            fetcher._pending_tasks.clear()
        for connection in self._client._conns.values():
            if connection._requests:  # until a join is answered, its connection would not take that we leave
                connection.close()
        for work in (self._consumer.stop(), self._client.close()):
            await self._finish(work)

    async def _finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Give aiokafka a moment to end something, in a task that it may take to be cancelled: it waits for tasks that
        it has cancelled before they began, and for connections that end when the broker says goodbye, too.
        """
        task = asyncio.create_task(work)
        await asyncio.wait({task}, timeout=_STOP_SECONDS)
        error = task.exception() if task.done() and not task.cancelled() else None
        await cancelled([task])
        if error is None:
            return
        if not isinstance(error, errors.KafkaError):
            raise error
        logger.debug("left without a goodbye", reason=repr(error))

    async def _connection(self, node: Node, **options: Any) -> AIOKafkaConnection | None:
        """A connection for aiokafka's client, whose tasks die when uvloop does not take what they write."""
        with contextlib.suppress(KeyError):
            connection = self._client._conns[node, options.get("group", ConnectionGroup.DEFAULT)]
            if not is_alive(connection):
                connection.close(CloseReason.CONNECTION_BROKEN)
        try:
            return await self._connection_of(node, **options)
        except errors.KafkaError:
            raise
        except RuntimeError:
            return None

    async def _learn_topics(self, cluster: ClusterMetadata, topics: Collection[str]) -> bool:
        """Who leads which partition, for aiokafka's client, whose own question makes topics that are missing."""
        try:
            cluster.update_metadata(await self._driver.ask_topics(sorted(topics)))
        except (*REFUSED, SnowbusError) as error:
            logger.debug("no metadata", reason=repr(error))
            return False
        return True

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (*REFUSED, errors.ConsumerStoppedError, errors.IllegalOperation) as error:
            raise mapped(error, let_in=self._driver.let_in) from error

    async def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        """Called by aiokafka before it gives partitions up."""
        await self._on_revoked(_assignment(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        """Called by aiokafka when it has partitions."""
        await self._on_assigned(_assignment(assigned))


def _assignment(partitions: Iterable[KafkaPartition]) -> Assignment:
    return frozenset(TopicPartition(*partition) for partition in partitions)
