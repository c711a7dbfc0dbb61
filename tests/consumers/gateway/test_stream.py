"""The gateway on real logs, read with the `websockets` client: every start, every filter, and no hole or repeat."""

import asyncio
import json
import random
import struct
import time
from datetime import UTC, datetime
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import quote

import pytest
from support.aio import eventually, run
from support.diagnostics import capture_logs
from support.gateway import client, gateway, numbered, publish
from websockets.asyncio.client import connect

from snowbus.bus.cursor import decode_cursor
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import open_log


def test_hello_tells_the_subscription_as_understood_and_where_it_starts(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, client(running, "app_id=shop&event=page_view") as reader:
            assert reader.hello["type"] == "hello"
            assert reader.hello["server"].startswith("snowbus/")
            assert reader.hello["subscription"] == {
                "from": "latest",
                "filters": {"app_id": ["shop"], "event": ["page_view"]},
                "deliveries": True,
                "topics": [EVENTS_TOPIC],
                "policy": "pause",
                "paused": False,
                "permits": None,
                "masked": [],
            }
            assert set(decode_cursor(reader.hello["cursor"]).values()) == {0}
            datetime.fromisoformat(reader.hello["time"])

    run(main())


def test_latest_gives_what_comes_and_not_what_was(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(20))
            async with client(running) as reader:
                await publish(running.log, range(100, 110))
                assert sorted(await reader.numbers(10)) == list(range(100, 110))

    run(main())


def test_earliest_gives_everything_and_runs_on_into_live(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_ring_events=50) as running:
            await publish(running.log, range(2000))
            async with client(running, "from=earliest") as reader:
                assert sorted(await reader.numbers(2000)) == list(range(2000))
                await publish(running.log, range(2000, 2010))
                assert sorted(await reader.numbers(10)) == list(range(2000, 2010))

    run(main())


@pytest.mark.real_kafka  # the mock cluster looks nothing up by time
@pytest.mark.parametrize("ring_events", [20, 20_000], ids=["from the log", "from the ring"])
def test_the_last_so_many_are_the_newest_over_all_partitions(log_url: str, ring_events: int) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_ring_events=ring_events) as running:
            now = time.time_ns() // 1_000_000
            for start in range(0, 500, 50):
                await running.log.create_topics([EVENTS_TOPIC])
                stamp = now - 500 + start
                records = [numbered(number, timestamp=stamp) for number in range(start, start + 50)]
                await running.log.append(EVENTS_TOPIC, records)
            async with client(running, "from=-100") as reader:
                assert sorted(await reader.numbers(100)) == list(range(400, 500))
                assert (await reader.next())["type"] == "heartbeat"

    run(main())


@pytest.mark.real_kafka  # the mock cluster looks nothing up by time
def test_a_time_gives_the_events_at_or_after_it(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            noon = time.time_ns() // 1_000_000 - 60_000
            await running.log.create_topics([EVENTS_TOPIC])
            for shift in (-2000, -1, 0, 1, 2000):
                records = [numbered(noon + shift + 0, user=f"u{user}", timestamp=noon + shift) for user in range(5)]
                await running.log.append(EVENTS_TOPIC, records)
            asked = datetime.fromtimestamp(noon / 1000, UTC).isoformat(timespec="milliseconds")
            async with client(running, f"from={quote(asked)}") as reader:
                numbers = await reader.numbers(15)
                assert sorted({number - noon for number in numbers}) == [0, 1, 2000]
                assert (await reader.next())["type"] == "heartbeat"

    run(main())


def test_a_cursor_gives_everything_after_it_once(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(300))
            async with client(running, "from=earliest") as reader:
                messages = await reader.until(lambda found: len(found) == 300)
            for position in (0, 7, 150, 299):
                async with client(running, f"from={messages[position]['cursor']}") as again:
                    await publish(running.log, [1000 + position])
                    rest = [int(message["payload"]["eid"]) for message in messages[position + 1 :]]
                    assert again.hello["cursor"] == messages[position]["cursor"]
                    got = await again.numbers(len(rest) + 1)
                    assert sorted(number for number in got if number < 1000) == sorted(rest)
                await running.log.append(EVENTS_TOPIC, [numbered(5000)])
                messages = [message for message in messages if int(message["payload"]["eid"]) < 1000]

    run(main())


CART = '{"schema":"iglu:com.acme/add_to_cart/jsonschema/1-0-2","data":{"sku":"A-113"}}'
ADDED = f'{{"schema":"iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0","data":{CART}}}'
SHOP = {"e": "ue", "ue_pr": ADDED, "aid": "shop", "p": "web", "uid": "u-1", "duid": "d-1"}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("app_id=shop", {1}),
        ("platform=web", {1}),
        ("event=unstruct", {1}),
        ("event=add_to_cart", {1}),
        ("event_name=add_to_cart", {1}),
        ("schema=iglu:com.acme/add_to_cart/jsonschema/1-*-*", {1}),
        ("user_id=u-1", {1}),
        ("domain_userid=d-1", {1}),
        ("event_id=2", {2}),
        ("valid=true", set()),
        ("q=a-113", {1}),
        ("q=test-1", {1, 2, 3}),
        ("app_id=shop&app_id=blog", {1, 2}),
        ("app_id=blog&event=page_view", {2}),
        ("app_id=blog&event=unstruct", set()),
    ],
)
def test_each_filter_lets_through_what_it_names_and_nothing_else(sqlite_url: str, query: str, wanted: set[int]) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running:
            await running.log.create_topics([EVENTS_TOPIC])
            async with client(running, query) as live:
                events = [numbered(1, **SHOP), numbered(2, aid="blog"), numbered(3)]
                await running.log.append(EVENTS_TOPIC, events)
                async with client(running, f"from=earliest&{query}") as past:
                    for reader in (live, past):
                        if wanted:
                            assert set(await reader.numbers(len(wanted))) == wanted
                        beat = await reader.next()
                        assert beat["type"] == "heartbeat"
                        ends = await running.log.end_offsets(EVENTS_TOPIC)
                        assert decode_cursor(beat["cursor"]) == ends

    run(main())


@pytest.mark.real_kafka  # the mock cluster answers no fetch early
def test_an_event_arrives_within_a_few_milliseconds(log_url: str) -> None:
    async def main() -> list[float]:
        took = []
        async with gateway(log_url) as running, client(running) as reader:
            for number in range(30):
                started = time.perf_counter()
                await publish(running.log, [number])
                await reader.numbers(1)
                took.append(time.perf_counter() - started)
        return took

    assert sorted(run(main()))[15] < 0.1


def test_every_event_comes_once_over_many_disconnects(log_url: str) -> None:
    total = 3000

    async def main() -> None:
        async with gateway(log_url, gateway_ring_events=300) as running, await open_log(log_url) as log:
            await log.create_topics([EVENTS_TOPIC])

            async def write() -> None:
                for start in range(0, total, 30):
                    await publish(log, range(start, start + 30))
                    await asyncio.sleep(0.003)

            writing = asyncio.create_task(write())
            chance = random.Random(7)
            got: list[int] = []
            cursor = "earliest"
            while len(got) < total:
                async with connect(running.url(f"from={cursor}"), max_size=None, close_timeout=0.05) as connection:
                    for _ in range(chance.randint(1, 2 * total // 40)):
                        message = json.loads(await connection.recv())
                        cursor = message["cursor"]
                        if message["type"] == "event":
                            got.append(int(message["payload"]["eid"]))
                            if len(got) == total:
                                break
                    if chance.random() < 0.7:
                        connection.transport.abort()
                        await connection.wait_closed()
            await writing
            assert sorted(got) == list(range(total))

    run(main())


def test_a_gateway_restarted_on_its_port_resumes_its_readers(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            port = running.address.rpartition(":")[2]
            async with client(running) as reader:
                await publish(running.log, range(50))
                before = await reader.numbers(50)
                await running.stop()
                await reader.connection.wait_closed()
                assert reader.connection.close_code == 1001
                assert "cursor" in (reader.connection.close_reason or "")
            await publish(running.log, range(50, 80))
            running.settings = running.settings.model_copy(update={"gateway_listen": f"127.0.0.1:{port}"})
            await running.start()
            async with client(running, f"from={reader.cursor}") as again:
                await publish(running.log, range(80, 90))
                after = await again.numbers(40)
            assert sorted(before) == list(range(50))
            assert sorted(after) == list(range(50, 90))

    run(main())


@pytest.mark.parametrize("ring_events", [64, 1000])
def test_history_runs_on_into_live_without_hole_or_repeat_while_a_writer_never_rests(
    log_url: str, ring_events: int
) -> None:
    total = 2000

    async def main() -> None:
        async with gateway(log_url, gateway_ring_events=ring_events) as running, await open_log(log_url) as log:
            await publish(log, range(1000))

            async def write() -> None:
                for start in range(1000, total, 20):
                    await publish(log, range(start, start + 20))

            async def read(delay: float) -> list[int]:
                await asyncio.sleep(delay)
                async with client(running, "from=earliest") as reader:
                    return await reader.numbers(total)

            writing = asyncio.create_task(write())
            for numbers in await asyncio.gather(*(read(delay / 20) for delay in range(4))):
                assert sorted(numbers) == list(range(total))
            await writing

    run(main())


def test_each_key_stays_in_order(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_ring_events=100) as running:
            await publish(running.log, range(700))
            async with client(running, "from=earliest") as reader:
                await publish(running.log, range(700, 1400))
                numbers = await reader.numbers(1400)
                for user in range(7):
                    own = [number for number in numbers if number % 7 == user]
                    assert own == sorted(own)

    run(main())


def test_heartbeats_carry_the_cursor_on_through_silence_and_filters(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running, client(running, "app_id=none") as reader:
            first = await reader.next()
            assert first["type"] == "heartbeat"
            assert first["cursor"] == reader.hello["cursor"]
            datetime.fromisoformat(first["time"])
            await publish(running.log, range(10))
            ends = await running.log.end_offsets(EVENTS_TOPIC)
            await reader.until(lambda found: found and decode_cursor(found[-1]["cursor"]) == ends, "heartbeat")

    run(main())


def test_what_is_no_event_is_shown_and_breaks_nothing(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, client(running) as reader:
            odd = [ProducerRecord(None, b"no event"), ProducerRecord(b"\xff", b"\xc3\x01junk"), numbered(3)]
            for record in odd:
                await running.log.append(EVENTS_TOPIC, [record])
            messages = {message["key"]: message for message in await reader.until(lambda found: len(found) == 3)}
            for key in (None, "\ufffd"):
                assert messages[key]["event"] == messages[key]["payload"] == {}
                assert messages[key]["validation"]["status"] == "invalid"
                assert "not an event" in messages[key]["validation"]["errors"][0]["got"]
            assert messages["user-3"]["payload"]["eid"] == "3"

    run(main())


def test_a_reader_who_stops_reading_delays_nobody_and_misses_nothing(log_url: str) -> None:
    total = 2500  # at 4 kB, more than the buffers between gateway and reader hold

    async def main() -> None:
        options = {"gateway_ring_events": 100, "gateway_ring_bytes": 300_000}
        async with gateway(log_url, **options) as running, client(running) as quick, client(running) as slow:
            slow.connection.transport.pause_reading()
            for start in range(0, total, 50):
                started = time.perf_counter()
                await publish(running.log, range(start, start + 50), page="x" * 2000)
                await quick.numbers(50)
                assert time.perf_counter() - started < 2
            slow.connection.transport.resume_reading()
            assert sorted(await slow.numbers(total)) == list(range(total))
            assert running.sample("snowbus_gateway_ring_misses_total") >= 1
            await publish(running.log, [total])
            assert await slow.numbers(1) == [total]

    run(main())


def test_many_readers_with_many_filters_each_get_their_own(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url, gateway_heartbeat=60) as running:
            connections = [await connect(running.url(f"user_id=user-{number % 7}")) for number in range(70)]
            for connection in connections:
                await connection.recv()
            await eventually(lambda: running.sample("snowbus_gateway_connections") == 70)
            await publish(running.log, range(70))
            for number, connection in enumerate(connections):
                got = sorted([int(json.loads(await connection.recv())["payload"]["eid"]) for _ in range(10)])
                assert got == [each for each in range(70) if each % 7 == number % 7]
                await connection.close()
            await eventually(lambda: running.sample("snowbus_gateway_connections") == 0)

    run(main())


def test_who_is_gone_while_it_takes_nothing_is_no_failure_of_the_gateway(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url, gateway_ring_events=10) as running:
            await publish(running.log, range(3_000), page="x" * 3_000)
            async with client(running, "from=earliest", max_queue=1) as reader:
                await asyncio.sleep(1)
                await reader.connection.send('{"type":"resume"}')
                await asyncio.sleep(0.1)
                no_goodbye = struct.pack("ii", 1, 0)
                reader.connection.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, no_goodbye)
                reader.connection.transport.abort()
                await eventually(lambda: running.sample("snowbus_gateway_connections") == 0)

    with capture_logs() as logs:
        run(main())
    assert [log["event"] for log in logs if log["log_level"] == "error"] == []
