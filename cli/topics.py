"""`snowbus topics`: list the topics, with how they are kept; create or check the usual ones, or others."""

import sys
from collections.abc import Collection, Iterator
from dataclasses import asdict
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click

from snowbus.bus.errors import LogError, TopicNotFoundError
from snowbus.bus.event import BAD_TOPIC, DEAD_TOPIC, DELIVERIES_TOPIC, EVENTS_TOPIC, RETRY_TOPIC
from snowbus.bus.json_text import dumps
from snowbus.bus.log import Log, TopicDetails, TopicInfo
from snowbus.bus.log.kafka_tools import Tools
from snowbus.bus.settings import Settings
from snowbus.bus.side_by_side import side_by_side

from . import exit_codes
from .running import run, with_log
from .settings import SettingsCommand, with_settings
from .tables import cell, duration, size, table
from .terminal import console, until_nobody_reads
from .topic_problems import Problem, Stated, missing, problems

_USUAL = (EVENTS_TOPIC, BAD_TOPIC, DEAD_TOPIC, DELIVERIES_TOPIC, RETRY_TOPIC)


class _Topic(NamedTuple):
    """A topic and how it is kept; `records` and `end_offset` are None when the log does not tell them now."""

    info: TopicInfo
    details: TopicDetails
    records: int | None
    end_offset: int | None


@click.command(name="topics", cls=SettingsCommand)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--create", is_flag=True, help="Create those that are missing; without a NAME, the topics of Snowbus.")
@click.option("--check", is_flag=True, help="Say what is wrong with them, and what would mend it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@with_settings()
def command(settings: Settings, *, names: tuple[str, ...], create: bool, check: bool, as_json: bool) -> None:
    """List the topics of the log, or those of these names: how many records each holds, and for how long.

    \b
      snowbus topics
      snowbus topics --create --partitions 12 --log kafka://localhost:9092

    A topic that is there already stays as it is. With --create and with --check stderr says what is wrong with it: it
    has not what --partitions, --replication-factor or --retention-hours ask for, it is compacted, takes too small
    records, or none. Beneath each stands the line that mends it, and the exit code is 1.
    """

    async def main(log: Log) -> tuple[list[_Topic], list[Problem]]:
        if create:
            await log.create_topics(names or _USUAL)
        topics = await _describe(log, () if check else names)
        told = _problems(topics, names or _USUAL, log=log, settings=settings) if create or check else ()
        return [topic for topic in topics if not names or topic.info.name in names], list(told)

    topics, found = run(with_log(settings, main, create=create), settings)
    with until_nobody_reads():
        _print(topics, as_json=as_json)
    for problem in found:
        print(f"snowbus: {problem.sentence}", file=sys.stderr)
        if problem.line:
            print(f"  {problem.line}", file=sys.stderr)
    if check and not found:
        print(f"All is well with {', '.join(sorted(names or _USUAL))}.", file=sys.stderr)
    sys.exit(exit_codes.FAILED if found else exit_codes.OK)


async def _describe(log: Log, names: Collection[str]) -> list[_Topic]:
    """The topics of these names, or all. Raises TopicNotFoundError."""
    there = await log.topics()
    if missing := set(names) - {topic.name for topic in there}:
        raise TopicNotFoundError(min(missing))
    wanted = [topic for topic in there if not names or topic.name in names]
    details = await log.describe_topics([topic.name for topic in wanted])

    async def describe(topic: TopicInfo) -> _Topic:
        kept = details.get(topic.name, TopicDetails())
        try:
            begin = sum((await log.beginning_offsets(topic.name)).values())
            end = sum((await log.end_offsets(topic.name)).values())
        except LogError:  # it is without a leader, or gone meanwhile
            return _Topic(topic, kept, None, None)
        return _Topic(topic, kept, end - begin, end)

    return await side_by_side(describe, wanted)


def _problems(topics: Collection[_Topic], names: Collection[str], *, log: Log, settings: Settings) -> Iterator[Problem]:
    """What is wrong with the topics of these names."""
    tools = Tools(urlsplit(log.url).netloc, log.options) if log.url.startswith("kafka:") else None
    in_url = {
        each for each in ("partitions", "replication_factor") if getattr(log.options, each) != getattr(settings, each)
    }
    stated = Stated(log.options, settings.model_fields_set | in_url)
    there = {topic.info.name: topic for topic in topics}
    for name in sorted(names):
        if name in there:
            yield from problems(there[name].info, there[name].details, stated, tools)
        else:
            yield missing(name, tools)


def _print(topics: Collection[_Topic], *, as_json: bool) -> None:
    if as_json:
        for topic in topics:
            print(dumps(_fields(topic)))
        return
    has_sizes = any(topic.details.size is not None for topic in topics)
    made = table(
        "topic", numbers=("partitions", "replicas", "records", "end offset", *(["size"] if has_sizes else []), "kept")
    )
    for info, details, records, end_offset in topics:
        numbers = [info.partitions, details.replication_factor, records, end_offset]
        sizes = [size(details.size)] if has_sizes else []
        made.add_row(cell(info.name), *map(cell, [*numbers, *sizes, _kept(details)]))
    console().print(made)


def _fields(topic: _Topic) -> dict[str, Any]:
    counts = {"records": topic.records, "end_offset": topic.end_offset}
    return {"topic": topic.info.name, "partitions": topic.info.partitions, **counts, **asdict(topic.details)}


def _kept(details: TopicDetails) -> str:
    """For how long, and up to which size, records are kept."""
    limits = [
        "" if not details.retention_seconds else duration(details.retention_seconds),
        "" if not details.retention_bytes else size(details.retention_bytes),
    ]
    if told := ", ".join(filter(None, limits)):
        return told
    return "" if details.retention_seconds is None else "for ever"
