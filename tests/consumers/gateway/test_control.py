"""What a reader changes while it is connected, on real logs: each change is answered with what is in force."""

import asyncio
import json
from typing import Any

import pytest
from support.aio import run
from support.gateway import Client, client, gateway, publish
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.consumers.gateway.skipping import SLOW_SECONDS


async def ask(reader: Client, **message: Any) -> dict[str, Any]:
    """Send a message; returns the answer, passing what comes before it."""
    await reader.connection.send(json.dumps(message))
    return await reader.next("subscription", "error")


async def heard(reader: Client, *, until_beats: int = 2) -> list[int]:
    """The numbers of the events that come before so many heartbeats: silence."""
    numbers: list[int] = []
    while until_beats:
        message = await reader.next("event", "heartbeat")
        if message["type"] == "heartbeat":
            until_beats -= 1
        else:
            numbers.append(int(message["payload"]["eid"]))
    return numbers


def test_the_answer_says_all_that_is_in_force(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running, client(running, "app_id=shop&policy=latest") as reader:
            in_force = reader.hello["subscription"]
            assert (in_force["policy"], in_force["paused"], in_force["permits"]) == ("latest", False, None)
            answer = await ask(reader, type="permit", n=5)
            assert answer["cursor"] == reader.hello["cursor"]
            assert answer["subscription"] == in_force | {"permits": 5}
            answer = await ask(reader, type="pause")
            assert answer["subscription"] == in_force | {"permits": 5, "paused": True}
            answer = await ask(reader, type="filter", filters={"q": "x"})
            assert answer["subscription"]["filters"] == {"q": ["x"]}
            answer = await ask(reader, type="permit", n=None)
            answer = await ask(reader, type="resume")
            assert answer["subscription"] == in_force | {"filters": {"q": ["x"]}}

    run(main())


@pytest.mark.parametrize(
    ("query", "answers"), [("from=earliest", ["subscription", "error"]), ("group=stock", ["error", "error"])]
)
def test_what_is_asked_for_before_the_hello_is_answered_after_it(
    sqlite_url: str, query: str, answers: list[str]
) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running, connect(running.url(query)) as connection:
            await connection.send(json.dumps({"type": "pause"}))
            await connection.send("nonsense")
            said = [json.loads(await connection.recv()) for _ in range(3)]
            assert [message["type"] for message in said] == ["hello", *answers]

    run(main())


def test_a_new_filter_holds_from_its_answer_on(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, client(running, "user_id=user-0") as reader:
            await publish(running.log, range(14))
            assert sorted(await reader.numbers(2)) == [0, 7]
            await ask(reader, type="filter", filters={"user_id": ["user-1", "user-2"]})
            await publish(running.log, range(14, 28))
            assert sorted(await reader.numbers(4)) == [15, 16, 22, 23]
            assert running.sample("snowbus_gateway_ring_misses_total") == 0

    run(main())


def test_a_filter_may_change_within_the_history_without_hole_or_repeat(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_ring_events=50) as running:
            await publish(running.log, range(3_000))
            async with client(running, "from=earliest") as reader:
                before = await reader.numbers(100)
                await reader.connection.send('{"type":"filter","filters":{"user_id":"user-3"}}')
                while (message := await reader.next())["type"] != "subscription":
                    if message["type"] == "event":
                        before.append(int(message["payload"]["eid"]))
                wanted = sorted({each for each in range(3_000) if each % 7 == 3} - set(before))
                assert sorted(await reader.numbers(len(wanted))) == wanted
                assert len(set(before)) == len(before)

    run(main())


@pytest.mark.parametrize("ring_events", [10, 10_000])
def test_nothing_comes_in_a_pause_and_everything_after_it(log_url: str, ring_events: int) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_ring_events=ring_events) as running, client(running) as reader:
            await ask(reader, type="pause")
            await publish(running.log, range(200))
            assert await heard(reader) == []
            await reader.connection.send('{"type":"resume"}')
            assert sorted(await reader.numbers(200)) == list(range(200))
            await publish(running.log, [200])
            assert await reader.numbers(1) == [200]

    run(main())


@pytest.mark.parametrize(("query", "ring_events"), [("", 10_000), ("", 10), ("from=earliest", 10)])
def test_no_more_comes_than_is_permitted(log_url: str, query: str, ring_events: int) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_ring_events=ring_events) as running:
            await publish(running.log, [])
            async with client(running, query) as reader:
                answer = await ask(reader, type="permit", n=3)
                assert answer["subscription"]["permits"] == 3
                await publish(running.log, range(100))
                numbers = await heard(reader)
                assert len(numbers) == 3
                answer = await ask(reader, type="permit", n=40)
                assert answer["subscription"]["permits"] == 40
                numbers += await heard(reader)
                assert len(numbers) == 43
                await ask(reader, type="permit", n=None)
                numbers += await reader.numbers(57)
                assert sorted(numbers) == list(range(100))

    run(main())


def test_what_is_not_understood_is_answered_and_changes_nothing(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running, client(running) as reader:
            answer = await ask(reader, type="filter", filters={"colour": "red"})
            assert (answer["type"], answer["code"]) == ("error", "bad_message")
            assert "filters: colour: unknown" in answer["message"]
            await publish(running.log, [1])
            assert await reader.numbers(1) == [1]

    run(main())


def test_a_filter_that_changes_all_the_time_is_held_back(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running, client(running) as reader:
            answers = [await ask(reader, type="filter", filters={"q": str(number)}) for number in range(25)]
            assert [answer["type"] for answer in answers[:20]] == ["subscription"] * 20
            assert "too often" in answers[-1]["message"]

    run(main())


@pytest.mark.parametrize("policy", ["sample", "latest"])
@pytest.mark.parametrize("ring_events", [500, 20_000])
def test_what_a_slow_reader_skips_is_counted_exactly(sqlite_url: str, policy: str, ring_events: int) -> None:
    total = 2_000

    async def main() -> None:
        options = {"gateway_ring_events": ring_events, "gateway_heartbeat": 60}
        query = f"policy={policy}&user_id=user-1&user_id=user-2"
        async with (
            gateway(sqlite_url, **options) as running,
            client(running) as quick,
            client(running, query) as reader,
        ):
            reader.connection.transport.pause_reading()
            for start in range(0, total, 250):
                await publish(running.log, range(start, start + 250), page="x" * 6_000)
                await quick.numbers(250)
            await asyncio.sleep(SLOW_SECONDS)
            reader.connection.transport.resume_reading()
            await publish(running.log, [total + 1], user="user-1")
            numbers, skipped = [], 0
            while not numbers or numbers[-1] != total + 1:
                message = await reader.next("event", "gap")
                if message["type"] == "gap":
                    assert message["reason"] == "slow"
                    skipped += message["count"]
                else:
                    numbers.append(int(message["payload"]["eid"]))
            wanted = [each for each in range(total) if each % 7 in (1, 2)]
            assert skipped > 0
            assert len(numbers) - 1 + skipped == len(wanted)
            assert running.sample("snowbus_gateway_skipped_events_total", policy=policy) == skipped
            assert running.sample("snowbus_gateway_delivery_seconds_count") >= total / 500
            assert len(set(numbers)) == len(numbers)
            if policy == "latest":
                assert max(wanted) in numbers

    run(main())


def test_who_would_rather_be_closed_than_wait_is_told_so(sqlite_url: str) -> None:
    async def main() -> None:
        async with (
            gateway(sqlite_url, gateway_ring_events=50) as running,
            client(running) as quick,
            client(running, "policy=disconnect") as reader,
        ):
            reader.connection.transport.pause_reading()
            for start in range(0, 400, 100):
                await publish(running.log, range(start, start + 100), page="x" * 6_000)
                await quick.numbers(100)
            reader.connection.transport.resume_reading()
            with pytest.raises(ConnectionClosedError) as closed:
                await reader.numbers(400)
            said = closed.value.rcvd
            assert said is not None
            assert (said.code, said.reason) == (1008, "too slow")

    run(main())


def test_a_fast_reader_with_any_policy_gets_everything(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running:
            await publish(running.log, [])
            for policy in ("pause", "sample", "latest", "disconnect"):
                async with client(running, f"policy={policy}") as reader:
                    assert reader.hello["subscription"]["topics"] == [EVENTS_TOPIC]
                    await publish(running.log, range(1_000))
                    assert sorted(await reader.numbers(1_000)) == list(range(1_000))

    run(main())
