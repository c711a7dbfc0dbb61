"""What retention takes before a group has read it is told: counted, said, and shown by `snowbus status`."""

import asyncio

from support.aio import eventually, run
from support.diagnostics import capture_logs

from snowbus.bus.event import EVENTS_TOPIC, TopicPartition
from snowbus.bus.log import LogOptions, open_log
from snowbus.bus.metrics import Metrics
from snowbus.consumers import consumer
from snowbus.consumers.look import look
from snowbus.consumers.offsets import Position
from snowbus.consumers.progress import Progress, write_metadata
from snowbus.consumers.runner import Runner
from snowbus.consumers.status import partition_statuses
from snowbus.consumers.testing import event

PARTITION = TopicPartition(EVENTS_TOPIC, 0)


def test_a_group_that_was_away_for_longer_than_retention_is_told_how_much_it_missed(sqlite_url):
    """Of 100 records that expired it had handled the first 10 and 20 more."""
    handled = []

    @consumer(EVENTS_TOPIC, group_id="late")
    async def late(record):
        handled.append(record.offset)

    async def main():
        async with await open_log(sqlite_url, LogOptions(partitions=1, retention_seconds=3600)) as log:
            await log.create_topics([EVENTS_TOPIC])
            await log.append(EVENTS_TOPIC, [event("page_view")._replace(timestamp=1) for _ in range(100)])
            await log.append(EVENTS_TOPIC, [event("page_view") for _ in range(5)])
            before = Position(10, ((20, 40),))
            await log.reset_group("late", {PARTITION: 10}, {PARTITION: write_metadata(before, Progress(at=1))})
        async with await open_log(sqlite_url) as log:
            await eventually(lambda: begins_at(log, 100))
            metrics, stop = Metrics(), asyncio.Event()
            with capture_logs() as said:
                running = asyncio.create_task(Runner(log, late, metrics=metrics).run(stop))
                await eventually(lambda: len(handled) == 5)
                (status,) = await eventually(lambda: troubled(log))
                stop.set()
                await running
        labels = {"consumer": "late", "outcome": "expired"}
        assert metrics.registry.get_sample_value("snowbus_consumer_records_total", labels) == 70
        assert [line["reason"] for line in said if line["log_level"] == "error"] == [status.last_error]
        assert status.last_error == "70 records expired before they were read, up to offset 100"

    async def begins_at(log, offset):
        return (await log.beginning_offsets(EVENTS_TOPIC))[PARTITION] == offset

    async def troubled(log):
        return [each for each in partition_statuses(await look(log, ["late"])) if each.last_error]

    run(main())
    assert handled == [100, 101, 102, 103, 104]
