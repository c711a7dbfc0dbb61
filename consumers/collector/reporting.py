"""Puts receipts, and how the collectors stand, on the topic of deliveries, a few times a second at most."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from math import inf
from types import TracebackType
from typing import Self

from snowbus.bus.clock import now_ms
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import LogError
from snowbus.bus.event import DELIVERIES_TOPIC
from snowbus.bus.log.interface import Log
from snowbus.bus.sparingly import SparingDiagnostics
from snowbus.bus.version import producer_name

from ..collector_status import REPORT_SECONDS
from ..receipts import CollectorState, PendingReceipts, Report, report_record

logger = Diagnostics(__name__)

_EVERY_SECONDS = 0.25
_LAST_SECONDS = 3.0
_MOST_PENDING = 200_000
_SAY_SECONDS = 15.0


class Reporter:
    """Reports what is `pending` while its `async with` block lasts, and once more at its end.

    What cannot be appended waits, up to 200,000 outcomes: deliveries go on without receipts, never the other way.
    `states` tells how the collectors stand.
    """

    def __init__(self, log: Log, *, group: str, states: Callable[[], Sequence[CollectorState]]) -> None:
        self.pending = PendingReceipts()
        self._log = log
        self._group = group
        self._states = states
        self._topic_is_there = False
        self._told: Sequence[tuple[str, str, str]] = []
        self._told_at = -inf
        self._sender = f"{producer_name('collect')}:{os.getpid()}"
        self._diagnostics = SparingDiagnostics(logger, seconds=_SAY_SECONDS)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="snowbus-collect-receipts")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self._report()
        except (TimeoutError, LogError) as trouble:
            logger.warning("receipts are lost", count=len(self.pending), reason=str(trouble) or "no answer in time")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                await self._report()
            except LogError as error:
                self._diagnostics.warning("receipts wait for the log", count=len(self.pending), reason=str(error))

    async def _report(self) -> None:
        """Report everything there is. Raises LogError, and then it is still there."""
        while True:
            states = tuple(self._states())
            standing = [(state.url, state.state, state.error) for state in states]
            known = standing == self._told and time.monotonic() - self._told_at < REPORT_SECONDS
            if known and not self.pending:
                return
            taken = self.pending.take()
            report = Report(
                group=self._group,
                time=now_ms(),
                sender=self._sender,
                receipts=tuple(taken),
                collectors=states,
            )
            try:
                if not self._topic_is_there:
                    await self._log.create_topics([DELIVERIES_TOPIC])
                    self._topic_is_there = True
                await self._log.append(DELIVERIES_TOPIC, [report_record(report)])
            except BaseException:
                self.pending.put_back(taken)
                self.pending.forget_beyond(_MOST_PENDING)
                raise
            self._told, self._told_at = standing, time.monotonic()
