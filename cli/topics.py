"""`snowbus topics`: list the topics, or create the usual ones."""

import click
from rich.console import Console
from rich.table import Table

from snowbus.bus.event import BAD_TOPIC, DEAD_TOPIC, DELIVERIES_TOPIC, EVENTS_TOPIC
from snowbus.bus.json_text import dumps
from snowbus.bus.log import Log
from snowbus.bus.settings import Settings

from .running import run, with_log
from .settings import SettingsCommand, with_settings

_ALL = (EVENTS_TOPIC, BAD_TOPIC, DEAD_TOPIC, DELIVERIES_TOPIC)


@click.command(name="topics", cls=SettingsCommand)
@click.option("--create", is_flag=True, help="Create the topics of Snowbus that are missing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@with_settings()
def command(settings: Settings, *, create: bool, as_json: bool) -> None:
    """List the topics of the log, with how many records each holds."""

    async def main(log: Log) -> list[dict[str, object]]:
        if create:
            await log.create_topics(_ALL)
        return [await _describe(log, topic.name, topic.partitions) for topic in await log.topics()]

    topics = run(with_log(settings, main, create=create), settings)
    if as_json:
        for topic in topics:
            print(dumps(topic))
        return
    table = Table("topic", box=None)
    for column in ("partitions", "records", "end offset"):
        table.add_column(column, justify="right")
    for topic in topics:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in topic.values()))
    Console().print(table)


async def _describe(log: Log, name: str, partitions: int) -> dict[str, object]:
    end = sum((await log.end_offsets(name)).values())
    beginning = sum((await log.beginning_offsets(name)).values())
    return {"topic": name, "partitions": partitions, "records": end - beginning, "end_offset": end}
