"""Puts copies on the topic of retries, for groups that will read them: dead letters, or a filtered part of a topic."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from snowbus.bus.errors import GroupHasMembersError, RecordTooLargeError
from snowbus.bus.event import RETRY_TOPIC, ProducerRecord
from snowbus.bus.log.interface import Log

from .letters import Copies, Letter, why_not
from .retries import retry_record


class RetryTopic:
    """The topic of retries, as those see it who put copies there."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._ready: set[str] = set()

    async def prepare(self, group: str) -> None:
        """See to it that a group reads what is put there from now on, even if it has never read the topic.

        Otherwise one that reads from the latest record on would pass what came before it.
        """
        if group in self._ready:
            return
        await self._log.create_topics([RETRY_TOPIC])
        committed = await self._log.group_offsets(group)
        beginnings = await self._log.beginning_offsets(RETRY_TOPIC)
        if unread := {place: offset for place, offset in beginnings.items() if place not in committed}:
            with suppress(GroupHasMembersError):  # it has begun to read meanwhile
                await self._log.reset_group(group, unread)
        self._ready.add(group)

    async def append(self, copies: Sequence[ProducerRecord]) -> list[RecordTooLargeError | None]:
        """Append copies; returns once all are durable but those that are too large, with the error of each.

        Raises LogError when some may not be durable.
        """
        outcomes = await asyncio.gather(
            *(self._log.append(RETRY_TOPIC, [copy]) for copy in copies), return_exceptions=True
        )
        errors: list[RecordTooLargeError | None] = []
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, RecordTooLargeError):
                raise outcome
            errors.append(outcome if isinstance(outcome, RecordTooLargeError) else None)
        return errors


@dataclass(slots=True)
class Retried:
    """What was done: how many letters have a copy now, and how many had one already, that waits or is done; how many
    could not be retried; and of which groups that the log does not know, how many each.
    """

    appended: int = 0
    waiting: int = 0
    done: int = 0
    refused: int = 0
    unknown_groups: Counter[str] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.appended or self.waiting or self.done or self.refused)


async def retry_letters(
    log: Log,
    batches: AsyncIterator[list[Letter]],
    copies: Copies,
    *,
    dry_run: bool,
    on_refused: Callable[[Letter, str], None],
) -> Retried:
    """Put a copy of each letter on the topic of retries, for the group it died in, unless it has one. `on_refused` is
    told which letters cannot be retried, and why.

    Raises LogError; what has been appended by then has its copy, and is passed the next time.
    """
    retried = Retried()
    known_groups = set(await log.groups())
    topic = RetryTopic(log)
    async for letters in batches:
        wanted: list[tuple[Letter, ProducerRecord]] = []
        for letter in letters:
            state, reason = copies.state_of(letter), why_not(letter)
            if state == "waiting":
                retried.waiting += 1
            elif state == "done":
                retried.done += 1
            elif reason or letter.original is None:
                retried.refused += 1
                on_refused(letter, reason)
            else:
                copy = retry_record(letter.original, group=letter.death.group, dead_letter=letter.record)
                wanted.append((letter, copy))
        groups = Counter(letter.death.group for letter, _ in wanted)
        retried.unknown_groups.update({group: count for group, count in groups.items() if group not in known_groups})
        if dry_run:
            retried.appended += len(wanted)
            continue
        for group in groups:
            await topic.prepare(group)
        errors = await topic.append([copy for _, copy in wanted])
        for (letter, _), error in zip(wanted, errors, strict=True):
            if error is None:
                retried.appended += 1
            else:
                retried.refused += 1
                on_refused(letter, _too_large(letter, error))
    return retried


def _too_large(letter: Letter, error: RecordTooLargeError) -> str:
    topic, partition, offset = letter.origin
    return (
        f"its copy is too large: {error}; while the group is stopped, `snowbus replay --group {letter.death.group} "
        f"--topic {topic} --from {partition}:{offset} --to {partition}:{offset + 1}` needs no copy"
    )
