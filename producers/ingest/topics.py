"""The topics that ingest writes to: made as soon as the log can be reached; and whether they take anything now."""

import asyncio
import time
from collections.abc import Callable

from snowbus.bus.errors import LogError, LogUnavailableError, TopicNotFoundError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC
from snowbus.bus.log import Log
from snowbus.bus.operations import reason_unanswered

_RETRY_SECONDS = 1.0
_REMEMBERED_SECONDS = 1.0
_FAILURE_SECONDS = 10.0
"""How long a failed append counts when none succeeds: who hears that we are not ready sends nothing that could."""


class Topics:
    """Makes the topics once; `seconds` bounds an attempt, `warn` is told when one fails."""

    def __init__(self, log: Log, *, seconds: float, warn: Callable[[Exception], None]) -> None:
        self._log = log
        self._warn = warn
        self._seconds = seconds
        self._attempt: asyncio.Task[None] | None = None
        self._checking = asyncio.Lock()
        self._checked_at = float("-inf")
        self._reason = ""
        self._failed_at = float("-inf")
        self._failure = ""
        self._partitions: dict[str, int] = {}
        self.made = False

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has, as far as is known."""
        return self._partitions.get(topic, 1)

    async def make(self) -> None:
        """Make the topics unless they are made. Raises LogError; whoever asks meanwhile shares one attempt."""
        if self.made:
            return
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._make(), name="snowbus-ingest-topics")
            self._attempt.add_done_callback(_look_at_error)
        await asyncio.shield(self._attempt)

    async def keep_making(self) -> None:
        """Try until the topics are made."""
        while not self.made:
            try:
                await self.make()
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the trying
                self._warn(error)
                await asyncio.sleep(_RETRY_SECONDS)

    def took(self) -> None:
        """One of the topics took an append, whatever was known before."""
        self._failure = self._reason = ""

    def failed(self, error: LogError) -> None:
        """One of the topics did not take an append; one that is not there any more is made when it is needed."""
        if isinstance(error, TopicNotFoundError):
            self.made = False
        self._failed_at, self._failure = time.monotonic(), str(error)

    async def reason_not_ready(self) -> str:
        """Why no event can be taken now, or an empty string; asks the log at most once a second.

        The log answers for what it can tell without an append, the last append for the rest: a Kafka that has too few
        replicas in sync, a disk with room for little.
        """
        if self._failure and time.monotonic() - self._failed_at < _FAILURE_SECONDS:
            return self._failure
        async with self._checking:
            if time.monotonic() - self._checked_at > _REMEMBERED_SECONDS:
                self._reason = await reason_unanswered(self._check())
                self._checked_at = time.monotonic()
            return self._reason

    async def close(self) -> None:
        """Give up an attempt that is under way."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.gather(self._attempt, return_exceptions=True)

    async def _make(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                topics = await self._log.create_topics((EVENTS_TOPIC, BAD_TOPIC))
            self._partitions = {topic.name: topic.partitions for topic in topics}
            self.made = True
        except TimeoutError:
            raise LogUnavailableError(f"the log did not answer within {self._seconds:g} s") from None
        finally:
            self._attempt = None

    async def _check(self) -> None:
        await self.make()
        await self._log.check()


def _look_at_error(attempt: asyncio.Task[None]) -> None:
    """Whoever waited for an attempt may be gone; then nobody else looks at its error, and asyncio would complain."""
    if not attempt.cancelled():
        attempt.exception()
