"""`snowbus status`: the topics, the groups, and how far each group is behind."""

import time
from dataclasses import asdict, dataclass

import click
from rich.console import Console
from rich.table import Table

from snowbus.bus.event import RETRY_TOPIC, TopicPartition
from snowbus.bus.json_text import dumps
from snowbus.bus.log import Log
from snowbus.bus.settings import Settings

from .running import run, with_log
from .settings import SettingsCommand, with_settings


@dataclass(frozen=True)
class GroupStatus:
    """How far a group is behind in one topic; the age is in seconds, None when there is nothing left to read."""

    group: str
    topic: str
    committed: int
    end_offset: int
    lag: int
    oldest_age: float | None


@click.command(name="status", cls=SettingsCommand)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, one a group and topic.")
@with_settings()
def command(settings: Settings, *, as_json: bool) -> None:
    """Show every group: what it has committed, its lag, and the age of the oldest record it has still to read."""
    statuses = run(with_log(settings, _statuses), settings)
    if as_json:
        for status in statuses:
            print(dumps(asdict(status)))
        return
    if not statuses:
        print(f"No group has read from {settings.log} yet.")
        return
    table = Table("group", "topic", box=None)
    for column in ("committed", "end offset", "lag", "oldest"):
        table.add_column(column, justify="right")
    for status in statuses:
        table.add_row(
            status.group,
            status.topic,
            f"{status.committed:,}",
            f"{status.end_offset:,}",
            f"{status.lag:,}",
            "" if status.oldest_age is None else f"{status.oldest_age:,.1f} s",
        )
    Console().print(table)


async def _statuses(log: Log) -> list[GroupStatus]:
    return [status for group in await log.groups() for status in await _group_statuses(log, group)]


async def _group_statuses(log: Log, group: str) -> list[GroupStatus]:
    committed = await log.group_offsets(group)
    lag = await log.lag(group)
    statuses = []
    for topic in sorted({partition.topic for partition in lag}):
        partitions = [partition for partition in lag if partition.topic == topic]
        if topic == RETRY_TOPIC and not any(lag[partition] for partition in partitions):
            continue  # every group reads it, and there is hardly ever anything for one
        ends = await log.end_offsets(topic)
        statuses.append(
            GroupStatus(
                group,
                topic,
                committed=sum(committed[partition].offset for partition in partitions if partition in committed),
                end_offset=sum(ends.values()),
                lag=sum(lag[partition] for partition in partitions),
                oldest_age=await _oldest_age(
                    log, {partition: ends[partition] - lag[partition] for partition in partitions if lag[partition]}
                ),
            )
        )
    return statuses


async def _oldest_age(log: Log, behind: dict[TopicPartition, int]) -> float | None:
    """The age in seconds of the oldest record at these positions."""
    if not behind:
        return None
    oldest: dict[TopicPartition, int] = {}
    async with await log.read(behind) as reader:
        while len(oldest) < len(behind):
            records = await reader.poll(max_records=len(behind), timeout=1.0)
            if not records:
                break
            for record in records:
                oldest.setdefault(record.topic_partition, record.timestamp)
            reader.pause(oldest)
    return max(0.0, time.time() - min(oldest.values()) / 1000) if oldest else None
