"""Watches whether topics are still those that a reader stands in: one that was made anew has the same name."""

import asyncio
import contextlib
import time
from collections.abc import Mapping

from ..errors import SnowbusError
from ..tasks import cancelled
from .kafka_driver import Driver

_LOOK_SECONDS = 1.0


class TopicWatch:
    """Knows topics by their `ids`, "" where none is known, and which of them are `gone`."""

    def __init__(self, driver: Driver, ids: Mapping[str, str]) -> None:
        self.ids = dict(ids)
        self.gone: set[str] = set()
        self._driver = driver
        self._looking: asyncio.Task[dict[str, str]] | None = None
        self._looked = 0.0

    def look(self) -> dict[str, str]:
        """Look once a second, beside what else is done; returns the ids that were found, when they have come."""
        if self._looking is None:
            if time.monotonic() - self._looked >= _LOOK_SECONDS:
                ask = self._driver.once(self._driver.topic_ids, list(self.ids))
                self._looking = asyncio.create_task(ask, name="snowbus-log-topics")
        elif self._looking.done():
            looking, self._looking = self._looking, None
            self._looked = time.monotonic()
            with contextlib.suppress(SnowbusError):  # that Kafka is away shows in the reading
                found = looking.result()
                self.gone = self.ids.keys() - found.keys()
                return found
        return {}

    def made_anew(self, ids: Mapping[str, str]) -> set[str]:
        """The topics that have another id here than they had."""
        return {topic for topic, found in ids.items() if found and self.ids.get(topic, "") not in ("", found)}

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            await cancelled([self._looking])
