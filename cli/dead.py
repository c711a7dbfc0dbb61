"""`snowbus dead`: look into dead letters, retry them, and take them away as JSON."""

import functools
import heapq
import re
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterable
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar, get_args

import click

from snowbus.bus.clock import now_ms
from snowbus.bus.errors import SnowbusError, TopicNotFoundError
from snowbus.bus.event import BAD_TOPIC, DEAD_TOPIC, DELIVERIES_TOPIC, EVENTS_TOPIC, RETRY_TOPIC
from snowbus.bus.json_text import dumps
from snowbus.bus.log import Log
from snowbus.bus.settings import Settings
from snowbus.consumers.dead_topic import find_letters, read_copies, read_letters
from snowbus.consumers.letters import Copies, Letter, Selection, State, in_full, summary
from snowbus.consumers.retry_topic import Retried, retry_letters

from . import exit_codes
from .arguments import event_filter, to_time
from .letters import print_letter, print_letters
from .running import run, with_log
from .settings import SettingsCommand, with_settings
from .terminal import printable, printable_json, progress, until_nobody_reads

_ID = re.compile(r"[0-9]{1,9}-[0-9]{1,18}")
_SHOWN = 50
_WITHOUT_LETTERS = (EVENTS_TOPIC, BAD_TOPIC, DELIVERIES_TOPIC, RETRY_TOPIC)


T = TypeVar("T")


class NoLettersTopicError(SnowbusError):
    """There is no such topic to find letters on."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"there is no topic {topic!r}; `snowbus topics` lists those that there are")
        self.topic = topic


class Asked(NamedTuple):
    """What a command is asked for: letters of a topic, by ids or by a selection."""

    topic: str
    ids: tuple[str, ...]
    selection: Selection

    @property
    def selects(self) -> bool:
        """Whether anything narrows the selection."""
        return self.selection != Selection()


@click.group(name="dead")
def command() -> None:
    """Dead letters: the records that a group has given up, each with the reason.

    \b
      snowbus dead list --since 2h app_id=shop
      snowbus dead retry --all --group collector

    An id says where a letter stands on its topic: PARTITION-OFFSET. NAME=VALUE are filters, as in `snowbus tail`:
    app_id, platform, event, event_name, schema, user_id, domain_userid, event_id, valid, q.
    """


def _for_letters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what says which letters it is about, and pass it `asked`."""

    @functools.wraps(function)
    def asking(
        *,
        arguments: tuple[str, ...] = (),
        topic: str,
        group: str | None,
        reason: str | None,
        since: int | None,
        **rest: Any,
    ) -> Any:
        ids = tuple(text for text in arguments if "=" not in text)
        if wrong := [text for text in ids if not _ID.fullmatch(text)]:
            raise click.UsageError(f"{wrong[0]!r} is neither an id, such as 0-5, nor a filter, such as app_id=shop")
        selection = Selection(
            group=group or "",
            reason=reason or "",
            since=since or 0,
            filter=event_filter(text for text in arguments if "=" in text),
        )
        return function(asked=Asked(topic, ids, selection), **rest)

    options = (
        click.option("--group", metavar="GROUP", help="Those of this group."),
        click.option("--reason", metavar="TEXT", help="Those with this text in the reason, in whatever case."),
        click.option("--since", metavar="TIME", callback=to_time, help="Since an ISO time, or 90s, 15m, 2h, 7d ago."),
        _topic_option,
    )
    wrapped: Callable[..., Any] = asking
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


_topic_option = click.option(
    "--topic", metavar="TOPIC", default=DEAD_TOPIC, show_default=True, help="The topic that the letters are on."
)
_filters = click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
_states = click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(get_args(State)),
    help="dead: not retried; waiting: its copy is not handled yet; done: it is. May be repeated.",
)


@command.command("list", cls=SettingsCommand)
@_filters
@_for_letters
@_states
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help=f"The newest N; {_SHOWN} unless --json.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON lines: all, unless --limit, each partition's in its order."
)
@with_settings()
def list_(settings: Settings, *, asked: Asked, states: tuple[State, ...], limit: int | None, as_json: bool) -> None:
    """List dead letters, the newest last."""
    _check_no_ids(asked)
    if as_json and limit is None:
        _print_lines(settings, asked, states, summary)
        return
    newest = _Newest(limit or _SHOWN)

    async def main(log: Log) -> None:
        copies = await _copies(log)
        async with aclosing(_letters(log, asked)) as batches:
            async for letters in batches:
                newest.add(_in_states(letters, copies, states))

    _run(settings, main)
    with until_nobody_reads():
        if as_json:
            for letter, state in newest.letters():
                print(printable_json(dumps(summary(letter, state))))
        else:
            print_letters(newest.letters(), of=newest.count, topic=asked.topic, now=now_ms())


@command.command(cls=SettingsCommand)
@click.argument("letter_id", metavar="ID")
@_topic_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line, as `dead export` does.")
@with_settings()
def show(settings: Settings, *, letter_id: str, topic: str, as_json: bool) -> None:
    """Show everything about a dead letter."""
    if not _ID.fullmatch(letter_id):
        raise click.UsageError(f"{letter_id!r} is not an id, such as 0-5; `snowbus dead list` has them")

    async def main(log: Log) -> tuple[Letter, State]:
        (letter,) = await find_letters(log, topic, [letter_id])
        return letter, (await _copies(log)).state_of(letter)

    letter, state = _run(settings, main)
    with until_nobody_reads():
        if as_json:
            print(printable_json(dumps(in_full(letter, state))))
        else:
            print_letter(letter, in_full(letter, state))


@command.command(cls=SettingsCommand)
@click.argument("arguments", nargs=-1, metavar="[ID | NAME=VALUE]...")
@click.option("--all", "everything", is_flag=True, help="Retry all letters that the filters and options let through.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@_for_letters
@with_settings()
def retry(settings: Settings, *, asked: Asked, everything: bool, dry_run: bool) -> None:
    """Let groups handle dead letters once more, each the group that it died in.

    A copy goes to the topic snowbus.retry, which the group reads beside its own; if it is not running, the copy waits.
    A letter that has a copy gets no second one, so the command may be repeated. What cannot be retried is named on
    stderr, the others are retried all the same, and the exit code is 1.
    """
    if everything == bool(asked.ids) or (asked.ids and asked.selects):
        raise click.UsageError("say which letters: ids alone, or --all, with filters and options or without")
    if asked.topic in _WITHOUT_LETTERS:
        raise click.UsageError(f"{asked.topic} holds no dead letters; see `snowbus replay` for other records")

    async def main(log: Log) -> Retried:
        letters = _letters(log, asked)
        if asked.ids:
            letters = _as_batches(await find_letters(log, asked.topic, asked.ids))
        copies = await _copies(log)
        async with aclosing(letters) as batches:
            return await retry_letters(log, batches, copies, dry_run=dry_run, on_refused=_say_refused)

    retried = _run(settings, main)
    print(_outcome(retried, dry_run=dry_run))
    if not retried:
        print(
            f"no letter on {asked.topic} is as asked for; `snowbus dead list` has all that are there", file=sys.stderr
        )
    for group, count in retried.unknown_groups.items():
        print(f"no group {printable(group)!r} has read from this log; {count:,} wait until it does", file=sys.stderr)
    sys.exit(exit_codes.FAILED if retried.refused else exit_codes.OK)


@command.command(cls=SettingsCommand)
@_filters
@_for_letters
@_states
@with_settings()
def export(settings: Settings, *, asked: Asked, states: tuple[State, ...]) -> None:
    """Print dead letters whole, one JSON line each: why it died, where it came from, its event, payload and source.

    `snowbus dead export | jq -c 'select(.payload.e).payload' | snowbus publish` publishes the events anew, for all
    groups.
    """
    _check_no_ids(asked)
    _print_lines(settings, asked, states, in_full)


class _Newest:
    """The newest so many letters with their states, of `count`."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self._limit = limit
        self._heap: list[tuple[int, int, Letter, State]] = []

    def add(self, letters: Iterable[tuple[Letter, State]]) -> None:
        for letter, state in letters:
            self.count += 1
            push = heapq.heappush if len(self._heap) < self._limit else heapq.heappushpop
            push(self._heap, (letter.time, self.count, letter, state))

    def letters(self) -> list[tuple[Letter, State]]:
        """The newest last."""
        return [(letter, state) for _, _, letter, state in sorted(self._heap, key=lambda entry: entry[:2])]


def _run(settings: Settings, main: Callable[[Log], Coroutine[Any, Any, T]]) -> T:
    try:
        return run(with_log(settings, main), settings)
    except TopicNotFoundError as error:  # which is not to be made, as its sentence says, but spelt right
        raise NoLettersTopicError(error.topic) from None


def _print_lines(
    settings: Settings, asked: Asked, states: Collection[State], describe: Callable[[Letter, State], dict[str, Any]]
) -> None:
    async def main(log: Log) -> None:
        copies = await _copies(log)
        async with aclosing(_letters(log, asked, prints=True)) as batches:
            async for letters in batches:
                for letter, state in _in_states(letters, copies, states):
                    print(printable_json(dumps(describe(letter, state))))

    with until_nobody_reads():
        _run(settings, main)


async def _copies(log: Log) -> Copies:
    with progress(f"reading {RETRY_TOPIC}") as told:
        return await read_copies(log, told=told)


async def _letters(log: Log, asked: Asked, *, prints: bool = False) -> AsyncGenerator[list[Letter]]:
    with progress(f"reading {asked.topic}", prints=prints) as told:
        async with aclosing(read_letters(log, asked.topic, asked.selection, told=told)) as batches:
            async for letters in batches:
                yield letters


async def _as_batches(letters: list[Letter]) -> AsyncGenerator[list[Letter]]:
    yield letters


def _in_states(letters: Iterable[Letter], copies: Copies, states: Collection[State]) -> Iterable[tuple[Letter, State]]:
    for letter in letters:
        state = copies.state_of(letter)
        if not states or state in states:
            yield letter, state


def _check_no_ids(asked: Asked) -> None:
    if asked.ids:
        raise click.UsageError(f"{asked.ids[0]} is an id; `snowbus dead show {asked.ids[0]}` shows one letter")


def _say_refused(letter: Letter, reason: str) -> None:
    print(f"{letter.id} cannot be retried: {printable(reason)}", file=sys.stderr)


def _outcome(retried: Retried, *, dry_run: bool) -> str:
    parts = [f"{retried.appended:,} {'to be retried' if dry_run else 'retried'}"]
    if retried.waiting:
        parts.append(f"{retried.waiting:,} waiting already")
    if retried.done:
        parts.append(f"{retried.done:,} done already")
    if retried.refused:
        parts.append(f"{retried.refused:,} refused")
    return ", ".join(parts)
