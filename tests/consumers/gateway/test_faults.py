"""What a log can do to its readers: go away, forget, begin anew, grow. They are told, and miss nothing else."""

import asyncio
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from typing import Any

import pytest
from support.aio import eventually, run
from support.diagnostics import capture_logs
from support.gateway import Running, client, gateway, numbered, publish
from support.kafka import KafkaServer
from support.memory_log import MemoryLog

from snowbus.bus.cursor import decode_cursor, encode_cursor
from snowbus.bus.errors import LogAccessError
from snowbus.bus.event import EVENTS_TOPIC, Record, TopicPartition
from snowbus.consumers.gateway.connection import HISTORY_SLOTS

P0, P1, P2 = (TopicPartition(EVENTS_TOPIC, number) for number in range(3))


async def status_of(running: Running, path: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(running.address + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


async def is_ready(running: Running) -> bool:
    return (await status_of(running, "/ready"))[0] == 200


def fill(log: MemoryLog, partition: int, *numbers: int, page: str = "") -> None:
    for number in numbers:
        log.put(partition, numbered(number, page=page))


def test_it_starts_while_the_log_is_away_says_so_and_begins_by_itself() -> None:
    async def main() -> None:
        log = MemoryLog()
        log.grow(2)
        fill(log, 0, 1, 2)
        log.away = True
        async with gateway(log) as running:
            assert (await status_of(running, "/health"))[0] == 200
            status, reason = await status_of(running, "/ready")
            assert status == 503
            assert "the log is away" in reason
            async with client(running) as latest, client(running, "from=earliest") as earliest:
                for reader in (latest, earliest):
                    assert reader.hello["cursor"] is None
                    error = await reader.next()
                    assert (error["type"], error["code"]) == ("error", "log_unavailable")
                    assert "the log is away" in error["message"]
                    assert (await reader.next())["code"] == "log_unavailable"  # again after the next silence
                fill(log, 1, 3)
                log.away = False
                assert await latest.numbers(1) == [3]
                assert sorted(await earliest.numbers(3)) == [1, 2, 3]
                await eventually(lambda: is_ready(running))

    run(main())


def test_an_outage_is_told_once_a_silence_and_nothing_is_lost() -> None:
    async def main() -> None:
        log = MemoryLog()
        async with gateway(log) as running, client(running) as reader:
            assert (await reader.next())["type"] == "heartbeat"
            fill(log, 0, 1)
            assert await reader.numbers(1) == [1]
            before = reader.cursor
            log.away = True
            log.signal()
            error = await reader.next("error")
            assert (error["code"], error["cursor"]) == ("log_unavailable", before)
            assert not await is_ready(running)
            async with client(running, f"from={before}") as second:
                assert second.hello["cursor"] == before
                assert (await second.next())["code"] == "log_unavailable"
                fill(log, 1, 2, 3)
                log.away = False
                for each in (reader, second):
                    assert await each.numbers(2) == [2, 3]
                    await each.next("heartbeat")
            await eventually(lambda: is_ready(running))

    run(main())


class Unreadable(MemoryLog):
    """A log that answers everything, but for its records: they are damaged, or its rights forbid to read them."""

    unreadable = False

    async def take(self, *arguments: Any) -> list[Record]:
        if self.unreadable:
            raise LogAccessError("nobody may read it")
        return await super().take(*arguments)


def test_a_log_that_answers_but_cannot_be_read_is_down_until_it_can() -> None:
    async def main() -> None:
        log = Unreadable()
        with capture_logs() as said:
            async with gateway(log) as running, client(running) as reader:
                log.unreadable = True
                fill(log, 0, 1)
                await eventually(lambda: bool(sentences(said)))
                tried = log.reads
                while log.reads < tried + 4:
                    assert await status_of(running, "/ready") == (503, "the log cannot be read: nobody may read it\n")
                assert sentences(said) == ["the log cannot be read"]
                log.unreadable = False
                assert await reader.numbers(1) == [1]
                await eventually(lambda: is_ready(running))

    def sentences(said: list[dict[str, Any]]) -> list[str]:
        return [line["event"] for line in said if "be read" in line["event"]]

    run(main())


@pytest.mark.faults
@pytest.mark.real_kafka
def test_a_kafka_that_is_killed_and_comes_back_costs_its_readers_only_time(own_kafka: KafkaServer) -> None:
    async def main() -> None:
        settings = {"append_timeout": 30.0, "gateway_heartbeat": 1.0}
        async with gateway(own_kafka.url, **settings) as running, client(running) as reader:
            await publish(running.log, range(20))
            assert sorted(await reader.numbers(20)) == list(range(20))
            own_kafka.kill()
            error = await reader.next("error")
            assert error["code"] == "log_unavailable"
            assert (await status_of(running, "/ready"))[0] == 503
            await asyncio.to_thread(own_kafka.start)
            await publish(running.log, range(20, 40))
            assert sorted(await reader.numbers(20)) == list(range(20, 40))
            await eventually(lambda: is_ready(running))

    run(main())


def test_an_expired_cursor_is_told_how_much_is_missing_and_goes_on() -> None:
    async def main() -> None:
        log = MemoryLog()
        log.grow(2)
        fill(log, 0, *range(10))
        fill(log, 1, *range(10, 14))
        log.expire(0, 6)
        async with gateway(log) as running:
            cursor = encode_cursor({P0: 2, P1: 1})
            async with client(running, f"from={cursor}&event=page_view") as reader:
                assert reader.hello["cursor"] == cursor
                gap = await reader.next()
                assert gap == {
                    "type": "gap",
                    "cursor": encode_cursor({P0: 6, P1: 1}),
                    "from": {"topic": EVENTS_TOPIC, "partition": 0, "offset": 2},
                    "to": {"topic": EVENTS_TOPIC, "partition": 0, "offset": 6},
                    "count": 4,
                    "reason": "expired",
                }
                assert sorted(await reader.numbers(7)) == [6, 7, 8, 9, 11, 12, 13]
            async with client(running, f"from={gap['cursor']}") as again:
                assert sorted(await again.numbers(7)) == [6, 7, 8, 9, 11, 12, 13]

    run(main())


def test_what_expires_before_the_gateway_could_read_it_is_a_gap_for_everyone() -> None:
    async def main() -> None:
        log = MemoryLog()
        async with gateway(log) as running, client(running) as reader, client(running, "app_id=none") as filtered:
            fill(log, 0, 1)
            assert await reader.numbers(1) == [1]
            log.away = True
            log.signal()
            await reader.next("error")
            fill(log, 0, 2, 3, 4, 5)
            log.expire(0, 4)
            log.away = False
            for each in (reader, filtered):
                gap = await each.next("gap")
                assert (gap["from"]["offset"], gap["to"]["offset"], gap["count"]) == (1, 4, 3)
            assert await reader.numbers(1) == [5]

    run(main())


def test_a_cursor_of_another_log_is_told_and_begins_at_the_beginning() -> None:
    async def main() -> None:
        log = MemoryLog()
        log.grow(2)
        fill(log, 0, 1, 2)
        async with gateway(log) as running, client(running, f"from={encode_cursor({P0: 7, P1: 0})}") as reader:
            gap = await reader.next()
            assert (gap["type"], gap["reason"], gap["count"]) == ("gap", "log restarted", None)
            assert gap["cursor"] == encode_cursor({P0: 0, P1: 0})
            assert await reader.numbers(2) == [1, 2]

    run(main())


def test_a_log_that_begins_anew_during_an_outage_is_told_though_it_is_longer_already() -> None:
    async def main() -> None:
        log = MemoryLog()
        async with gateway(log) as running, client(running) as reader:
            fill(log, 0, 1, 2)
            assert await reader.numbers(2) == [1, 2]
            log.away = True
            log.signal()
            await reader.next("error")
            log.begin_anew()
            fill(log, 0, 9001, 9002, 9003)
            log.away = False
            gap = await reader.next("gap")
            assert (gap["reason"], gap["count"]) == ("log restarted", None)
            assert await reader.numbers(3) == [9001, 9002, 9003]

    run(main())


def test_a_log_that_begins_anew_is_followed_by_live_and_stalled_readers() -> None:
    async def main() -> None:
        log = MemoryLog()
        settings = {"gateway_ring_events": 50, "gateway_ring_bytes": 200_000}
        async with gateway(log, **settings) as running, client(running) as live, client(running) as stalled:
            stalled.connection.transport.pause_reading()
            for start in range(0, 2500, 50):
                fill(log, 0, *range(start, start + 50), page="x" * 2000)
                await live.numbers(50)
            log.begin_anew()
            fill(log, 0, 9001, 9002)
            gap = await live.next("gap")
            assert gap["reason"] == "log restarted"
            assert await live.numbers(2) == [9001, 9002]
            stalled.connection.transport.resume_reading()
            messages = await stalled.until(
                lambda found: found and found[-1].get("payload", {}).get("eid") == "9002", "gap", "event"
            )
            assert [m["payload"]["eid"] for m in messages if m["type"] == "event"][-2:] == ["9001", "9002"]
            assert [m["reason"] for m in messages if m["type"] == "gap"] == ["log restarted"]
            fill(log, 1, 9003)
            assert await live.numbers(1) == await stalled.numbers(1) == [9003]

    run(main())


def test_partitions_that_a_topic_gets_are_streamed_from_their_beginning() -> None:
    async def main() -> None:
        log = MemoryLog(partitions=2)
        async with gateway(log) as running, client(running) as reader:
            fill(log, 0, 1)
            assert await reader.numbers(1) == [1]
            old = reader.cursor
            log.grow(3)
            fill(log, 2, 2, 3)
            assert await reader.numbers(2) == [2, 3]
            assert decode_cursor(reader.cursor or "") == {P0: 1, P1: 0, P2: 2}
            async with client(running, f"from={old}") as again:
                assert await again.numbers(2) == [2, 3]
            fill(log, 2, 4)
            assert await reader.numbers(1) == [4]

    run(main())


@pytest.mark.parametrize("extra", [0, 4])
def test_readers_who_stall_in_their_history_leave_their_turn_to_others(extra: int) -> None:
    total = 800

    async def main() -> None:
        log = MemoryLog()
        log.grow(2)
        fill(log, 0, *range(total), page="x" * 4000)
        async with gateway(log, gateway_ring_events=10) as running, AsyncExitStack() as stack:
            stalled = []
            for _ in range(HISTORY_SLOTS + extra):
                stalled.append(await stack.enter_async_context(client(running, "from=earliest")))
                stalled[-1].connection.transport.pause_reading()
            async with client(running, "from=earliest") as quick:
                assert await quick.numbers(total) == list(range(total))
            for reader in stalled:
                reader.connection.transport.resume_reading()
                assert await reader.numbers(total) == list(range(total))

    run(main())
