"""A worker: takes records, calls the handler with them, and sees to what becomes of each."""

import asyncio
import contextlib
import random
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from snowbus.bus.backoff import Backoff
from snowbus.bus.clock import now_ms
from snowbus.bus.errors import LogDamagedError, LogError
from snowbus.bus.log.interface import Log

from .calls import Calls
from .dead_letters import Death, append_dead_letter
from .declare import Consumer
from .dedupe import DedupeStore
from .intents import DeadLetter, Intent
from .outcomes import Again, Dead, Done, Held, InterruptedCallError, judge
from .record import Record
from .work import Call, Work

_T = TypeVar("_T")

_YIELD_SECONDS = 0.005


class _LeftError(Exception):
    """A partition left while its records waited for a file or for the log."""


class Worker:
    """Handles one record, or one batch, after the other.

    `in_hand` are the records that it took and has not released, `calling` those that the handler is being called with.
    """

    def __init__(self, log: Log, consumer: Consumer[..., object], work: Work, calls: Calls) -> None:
        self._log = log
        self._consumer = consumer
        self._work = work
        self._calls = calls
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._interruption = ""
        self._stopped = False
        self._yielded = self._loop.time()
        self.in_hand: Sequence[Record] = ()
        self.calling: Sequence[Record] = ()
        self._since = 0.0

    @property
    def seconds(self) -> float:
        """For how long it has been in a call; 0 when it is in none."""
        return self._loop.time() - self._since if self.calling else 0.0

    def interrupt(self, reason: str) -> None:
        """End the call under way, which then counts as failed for this reason. A plain function cannot be ended."""
        if self._task is not None and self.calling and not self._interruption and self._consumer.is_async:
            self._interruption = reason
            self._task.cancel()

    def stop(self) -> None:
        """End `run`, and with it what is under way."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Take and handle, until stopped. What else cancels is the handler's doing, and the failure of its call."""
        self._task = asyncio.current_task()
        while not self._stopped:
            records = await self._work.take()
            self.in_hand = records
            try:
                await self._handle(records)
            finally:
                self.in_hand = ()
                self._work.release(records)
            now = self._loop.time()
            if now - self._yielded > _YIELD_SECONDS:  # a handler that never waits must not keep all else waiting
                self._yielded = now
                await asyncio.sleep(0)

    async def _handle(self, records: Sequence[Record]) -> None:
        """Call the handler; when it fails with several records, with each half of them, down to the guilty one."""
        parts = [records]
        while parts:
            part = parts.pop()
            if not part or not self._work.holds(part):
                continue
            if self._work.strays and (strays := self._work.strays.intersection(part)):
                parts.append([record for record in part if record not in strays])
                for record in strays:
                    reason = f"this process of the group does not read {record.topic}, where it comes from"
                    await self._bury(record, Dead(reason, reason, DeadLetter(reason)))
                continue
            if self._calls.store is not None:
                try:
                    part, again = await self._without_known(part, self._calls.store)
                except _LeftError:
                    continue
                parts.append(again)
                if not part:
                    continue
            call, error = await self._call(part)
            if error is None:
                await self._done(part, "handled")
            elif len(part) > 1 and not isinstance(error, Intent):
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            else:
                await self._settle(part, call, error, parts)

    async def _call(self, records: Sequence[Record]) -> tuple[Call, BaseException | None]:
        """Call the handler; returns what it raised."""
        call = self._work.start(records)
        self.calling = records
        self._since = call.since
        error: BaseException | None = None
        try:
            await self._calls.call(records if self._consumer.batch is not None else records[0])
            if self._is_cancelled():
                await asyncio.sleep(0)  # a cancellation that has not come yet is this call's
        except asyncio.CancelledError as cancelled:
            if self._stopped:
                raise
            error = InterruptedCallError(self._interruption) if self._interruption else cancelled
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # noqa: BLE001 - whatever a handler raises is its failure alone
            error = raised
        finally:
            self.calling = ()
            self._interruption = ""
            self._forget_cancellation()
        self._work.end(call, error=error)
        return call, error

    def _is_cancelled(self) -> bool:
        return self._task is not None and self._task.cancelling() > 0

    def _forget_cancellation(self) -> None:
        while self._task is not None and not self._stopped and self._task.cancelling():
            self._task.uncancel()

    async def _settle(
        self, records: Sequence[Record], call: Call, error: BaseException, parts: list[Sequence[Record]]
    ) -> None:
        """Do what the outcome of a call that raised asks for. Of what is left in `parts`, the records whose keys are
        put off are put off, too.
        """
        consumer = self._consumer
        outcome = judge(
            error,
            attempts=max(record.attempt for record in records),
            failures=records[0].failures,
            retries=consumer.retries,
            backoff=consumer.backoff,
            backoff_max=consumer.backoff_max,
            draw=random.random(),  # noqa: S311 - no secret
        )
        match outcome:
            case Done(how):
                await self._done(records, how)
            case Again(reason, wait, failed):
                keys = {record.order_key for record in records}
                behind = [record for part in reversed(parts) for record in part if record.order_key in keys]
                parts[:] = [[record for record in part if record.order_key not in keys] for part in parts]
                self._work.put_off(records, wait, reason=reason, failed=failed, behind=behind)
                if self._work.holds(records):  # else it is for whoever gets its partition
                    self._work.diagnostics.info(
                        "again later", consumer=consumer.name, reason=reason, seconds=round(wait, 1)
                    )
            case Held(reason, asked):
                behind = [record for part in reversed(parts) for record in part]
                parts.clear()
                self._work.hold(records, asked, call=call, reason=reason, behind=behind)
            case Dead() as dead:
                for record in records:
                    await self._bury(record, dead)

    async def _done(self, records: Sequence[Record], how: str) -> None:
        if (store := self._calls.store) is not None:
            event_ids = [record.event_id for record in records if record.event_id]
            with contextlib.suppress(_LeftError):  # they are handled all the same, and the commit is to say so
                await self._patiently(lambda: store.add(event_ids), records, "what is handled cannot be noted")
        self._work.finish(records, how)

    async def _without_known(self, records: Sequence[Record], store: DedupeStore) -> tuple[list[Record], list[Record]]:
        """Finish those records whose events have been handled before. Returns the first of each other event, and what
        is to be looked at once those are handled. Raises _LeftError.
        """
        event_ids = [record.event_id for record in records if record.event_id]
        known = await self._patiently(lambda: store.seen(event_ids), records, "cannot tell what was handled before")
        if finished := [record for record in records if record.event_id in known]:
            self._work.start(finished)
            self._work.finish(finished, "known")
        first: dict[str, Record] = {}
        left = [record for record in records if record.event_id not in known]
        again = {record for record in left if record.event_id and first.setdefault(record.event_id, record) != record}
        return [record for record in left if record not in again], [record for record in left if record in again]

    async def _bury(self, record: Record, dead: Dead) -> None:
        topic = self._consumer.dead_letter
        self._work.on_trouble(record.place, dead.told)
        self._work.diagnostics.warning(
            "dead letter" if topic else "given up", consumer=self._consumer.name, reason=dead.told, record=repr(record)
        )
        if topic:
            death = _death(record, dead.reason, dead.error, self._consumer.group_id)
            try:
                await self._patiently(
                    lambda: append_dead_letter(self._log, topic, record.raw, death),
                    [record],
                    "a dead letter waits for the log",
                )
            except _LeftError:  # whoever has its partition next sees to it
                return
        self._work.strays.discard(record)
        self._work.finish([record], "dead")

    async def _patiently(self, call: Callable[[], Awaitable[_T]], records: Sequence[Record], trouble: str) -> _T:
        """What a call returns once a file, or the log, lets it; what is in its way is said. Raises _LeftError when a
        partition of these records leaves first.
        """
        backoff = Backoff(0.1, maximum=1.0)
        while True:
            try:
                return await call()
            except LogDamagedError:
                raise
            except LogError as error:
                reason = str(error)
            self._work.on_trouble(records[0].place, f"{trouble}: {reason}")
            self._work.diagnostics.warning(trouble, consumer=self._consumer.name, reason=reason)
            await asyncio.sleep(backoff.next_wait())
            if not self._work.holds(records):
                raise _LeftError


def _death(record: Record, reason: str, error: BaseException, group_id: str) -> Death:
    status, response = (error.status, error.response) if isinstance(error, DeadLetter) else (None, "")
    raised = status is None
    return Death(
        reason=reason,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        group=group_id,
        time=now_ms(),
        attempts=record.attempt,
        exception=f"{type(error).__module__}.{type(error).__qualname__}" if raised else "",
        traceback="".join(traceback.format_exception(error)) if raised else "",
        status=status,
        response=response,
    )
