"""Durable groups: what clients acknowledge is committed, and what they do not comes again, to whoever has room."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.aio import eventually, run
from support.gateway import Client, Running, client, gateway, publish
from websockets.exceptions import ConnectionClosed, InvalidStatus

from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC
from snowbus.bus.log import Log
from snowbus.consumers.dead_letters import read_death

GROUP = "websocket.g"
HANDLED = {"consumer": GROUP, "outcome": "handled"}


class Worker:
    """A client of a group."""

    def __init__(self, reader: Client) -> None:
        self.reader = reader
        self.messages: list[dict[str, Any]] = []

    @property
    def numbers(self) -> list[int]:
        """The events that it has been sent and has taken."""
        return [int(message["payload"]["eid"]) for message in self.messages]

    async def take(self, count: int) -> list[int]:
        """The numbers of the next events."""
        for _ in range(count):
            self.messages.append(await self.reader.next("event", "error"))
            assert self.messages[-1]["type"] == "event", self.messages[-1]
        return self.numbers[-count:] if count else []

    async def say(self, kind: str = "ack", at: int = -1, **members: Any) -> None:
        """Answer a message, the last unless said."""
        cursor = self.messages[at]["cursor"]
        await self.reader.connection.send(json.dumps({"type": kind, "cursor": cursor, **members}))

    async def ack_all(self, into: list[int]) -> None:
        """Acknowledge everything, until cancelled."""
        while True:
            into += await self.take(1)
            await self.say()

    async def gets_nothing(self) -> None:
        """A heartbeat comes, and no event before it."""
        await self.reader.connection.ping()
        for _ in range(2):
            assert (await self.reader.next("event", "heartbeat"))["type"] == "heartbeat"


@asynccontextmanager
async def worker(running: Running, query: str = "", **options: Any) -> AsyncIterator[Worker]:
    """A connection of group g."""
    async with client(running, f"group=g&from=earliest&{query}", **options) as reader:
        yield Worker(reader)


async def lag(log: Log) -> int:
    """How many events the group has still to do."""
    offsets = await log.group_offsets(GROUP)
    found = await log.lag(GROUP)
    events = [partition for partition in found if partition.topic == EVENTS_TOPIC]
    return sum(found[partition] for partition in events) if offsets else -1


async def committed(log: Log) -> None:
    """Wait until the group has done everything."""

    async def done() -> bool:
        return await lag(log) == 0

    await eventually(done)


async def dead_letters(log: Log) -> list[Any]:
    """The deaths on the topic of dead letters."""
    async with await log.read(await log.beginning_offsets(DEAD_TOPIC)) as reader:
        return [read_death(record) for record in await reader.poll(timeout=0.2)]


async def refused(running: Running, query: str) -> tuple[int, str]:
    """How a handshake is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with client(running, query):
            pass
    response = caught.value.response
    return response.status_code, (response.body or b"").decode()


def test_hello_tells_the_terms_of_the_group(log_url: str) -> None:
    async def main() -> None:
        async with (
            gateway(log_url) as running,
            client(running, "group=g&max_in_flight=7&ack_timeout=2.5&app_id=shop") as reader,
        ):
            shown = reader.hello["subscription"]
            assert (shown["group"], shown["max_in_flight"], shown["ack_timeout"]) == ("g", 7, 2.5)
            assert (shown["filters"], shown["deliveries"]) == ({"app_id": ["shop"]}, False)
            assert reader.hello["cursor"] is None

    run(main())


def test_what_is_acknowledged_does_not_come_again(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(50))
            async with worker(running) as one:
                assert sorted(await one.take(50)) == list(range(50))
                await one.say()
                await committed(running.log)
            async with worker(running) as again:
                await publish(running.log, [50])
                assert await again.take(1) == [50]

    run(main())


def test_what_is_not_acknowledged_comes_again(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(20))
            async with worker(running) as one:
                assert sorted(await one.take(20)) == list(range(20))
            async with worker(running) as again:
                assert sorted(await again.take(20)) == list(range(20))

    run(main())


def test_a_cumulative_ack_is_for_all_before_it_and_a_single_one_for_itself(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(30))
            async with worker(running) as one:
                await one.take(30)
                await one.say(at=9)
                await one.say(at=20, only=True)
                await one.say(at=5, only=True)  # once more, which changes nothing
                left = sorted(one.numbers[10:20] + one.numbers[21:])
                await eventually(lambda: running.sample("snowbus_consumer_records_total", **HANDLED) == 11)
            async with worker(running) as again:
                assert sorted(await again.take(19)) == left
                await again.gets_nothing()

    run(main())


def test_a_new_group_begins_at_the_end_unless_told(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(10))
            async with client(running, "group=g") as reader:
                await publish(running.log, range(10, 15))
                assert sorted(await reader.numbers(5)) == list(range(10, 15))

    run(main())


def test_no_more_than_max_in_flight_come_unanswered_however_many_there_are(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(30))
            async with worker(running, "max_in_flight=10") as one:
                first = await one.take(10)
                await one.gets_nothing()
                await one.say(at=2)
                await one.take(3)
                await one.gets_nothing()
                assert len(set(first + one.numbers)) == 13

    run(main())


def test_a_nack_brings_the_event_again_after_its_delay(log_url: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with gateway(log_url) as running:
            await publish(running.log, range(3))
            async with worker(running) as one:
                await one.take(3)
                asked = loop.time()
                await one.say("nack", at=0, delay=0.5)
                await one.say("nack", at=1)
                assert await one.take(2) == [one.numbers[1], one.numbers[0]]
                assert loop.time() - asked > 0.4
                assert [message["attempt"] for message in one.messages] == [1, 1, 1, 2, 2]
                await one.say()
                await committed(running.log)

    run(main())


def test_what_is_not_answered_in_time_comes_again(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(5))
            async with worker(running, "ack_timeout=0.3") as one:
                await one.take(5)
                await one.say(at=1)
                assert sorted(await one.take(3)) == sorted(one.numbers[2:5])
                assert {message["attempt"] for message in one.messages[5:]} == {2}
                await one.say(at=4)  # a message that was overdue: it is no answer to what came since
                assert sorted(await one.take(3)) == sorted(one.numbers[2:5])
                await one.say()
                await committed(running.log)

    run(main())


def test_what_nobody_acknowledges_becomes_one_dead_letter(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_group_deliveries=3) as running:
            await publish(running.log, [0, 1])
            async with worker(running, "ack_timeout=0.2") as one:
                await one.take(2)
                await one.say(at=one.numbers.index(1), only=True)
                assert await one.take(2) == [0, 0]
                await committed(running.log)
                (death,) = await dead_letters(running.log)
                assert (death.group, death.attempts) == (GROUP, 3)
                assert death.reason == "sent to clients of the group 3 times, and never acknowledged within 0.2 s"

    run(main())


def test_events_are_spread_over_the_connections(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, worker(running) as one, worker(running) as other:
            got: tuple[list[int], list[int]] = ([], [])
            tasks = [asyncio.create_task(each.ack_all(into)) for each, into in zip((one, other), got, strict=True)]
            await publish(running.log, range(200))
            await eventually(lambda: len(got[0]) + len(got[1]) >= 200)
            for task in tasks:
                task.cancel()
            assert sorted(got[0] + got[1]) == list(range(200))
            assert min(map(len, got)) > 50

    run(main())


def test_gateways_share_a_group(log_url: str) -> None:
    async def main() -> None:
        async with (
            gateway(log_url) as here,
            gateway(log_url) as there,
            worker(here) as one,
            worker(there) as other,
        ):
            got: tuple[list[int], list[int]] = ([], [])
            tasks = [asyncio.create_task(each.ack_all(into)) for each, into in zip((one, other), got, strict=True)]
            published = 0

            async def both_have_some() -> bool:
                nonlocal published
                await publish(here.log, range(published, published + 50))
                published += 50
                return all(got)

            await eventually(both_have_some, timeout=20, every=0.1)
            await eventually(lambda: set(got[0] + got[1]) == set(range(published)))
            await committed(here.log)
            for task in tasks:
                task.cancel()

    run(main())


def test_when_the_last_connection_leaves_its_partitions_go_to_another_gateway(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as here, gateway(log_url) as there, worker(there) as stays:
            await publish(here.log, range(30))
            async with worker(here, "max_in_flight=5") as leaves:
                got: list[int] = []
                acking = asyncio.create_task(stays.ack_all(got))
                await publish(here.log, range(30, 100))
                await leaves.take(1)
            await eventually(lambda: set(got) == set(range(100)), timeout=20)
            await committed(here.log)
            acking.cancel()

    run(main())


def test_what_a_lost_connection_had_goes_to_the_other_at_once_and_does_not_count_as_a_failure(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_group_deliveries=1) as running:
            await publish(running.log, range(10))
            async with worker(running) as dies:
                held = await dies.take(10)
                async with worker(running) as other:
                    dies.reader.connection.transport.abort()
                    assert await other.take(10) == held
                    assert {message["attempt"] for message in other.messages} == {2}
                    await other.say()
                    await committed(running.log)
            assert await dead_letters(running.log) == []

    run(main())


def test_a_client_that_answers_nothing_holds_up_no_other(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, worker(running, "max_in_flight=10&ack_timeout=0.3") as stuck:
            await publish(running.log, range(10))
            await stuck.take(10)
            async with worker(running) as works:
                got: list[int] = []
                acking = asyncio.create_task(works.ack_all(got))
                await publish(running.log, range(10, 1_000), uid="one-user")
                await eventually(lambda: set(got) == set(range(1_000)), timeout=20)
                assert len(got) == 1_000
                await committed(running.log)
                acking.cancel()
                assert await dead_letters(running.log) == []

    run(main(), timeout=90)


def test_a_filter_of_a_group_is_done_with_what_it_does_not_want(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, worker(running, "app_id=shop") as one:
            await publish(running.log, range(10), aid="blog")
            await publish(running.log, range(10, 20), aid="shop")
            assert sorted(await one.take(10)) == list(range(10, 20))
            await one.say()
            await committed(running.log)

    run(main())


def test_another_filter_for_a_group_is_refused_while_it_has_connections(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running:
            async with worker(running, "app_id=shop"):
                status, text = await refused(running, "group=g&app_id=blog")
                assert status == 409
                assert "app_id=shop" in text
            async with worker(running, "app_id=blog"):
                status, text = await refused(running, "group=g")
                assert status == 409
                assert "app_id=blog" in text

    run(main())


def test_connections_may_have_no_more_in_flight_together_than_their_group(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url, gateway_group_in_flight=50) as running:
            assert (await refused(running, "group=g"))[0] == 400
            async with worker(running, "max_in_flight=30"):
                status, text = await refused(running, "group=g&max_in_flight=30")
                assert status == 503
                assert "max_in_flight=20" in text
                async with worker(running, "max_in_flight=20"):
                    pass

    run(main())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"type":"pause"}', "type: 'pause' is neither ack nor nack"),
        ('{"type":"ack"}', "cursor: it is missing"),
        ('{"type":"ack","cursor":"snowbus.events~0.1"}', "is of no message of this connection"),
        ('{"type":"ack","cursor":"CURSOR9"}', "never been sent"),
        ('{"type":"ack","cursor":"CURSOR","only":1}', "only: it is true or false"),
        ('{"type":"nack","cursor":"CURSOR","delay":-1}', "delay: it is a number of seconds"),
        ('{"type":"nack","cursor":"CURSOR","wait":1}', "wait: unknown; members of nack are cursor, delay"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong_and_the_connection_goes_on(sqlite_url: str, text: str, said: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running, worker(running) as one:
            await publish(running.log, [1])
            await one.take(1)
            await one.reader.connection.send(text.replace("CURSOR", one.messages[0]["cursor"]))
            error = await one.reader.next("error")
            assert error["code"] == "bad_message"
            assert said in error["message"]
            await one.say()
            await committed(running.log)

    run(main())


def test_a_flood_of_wrong_answers_closes_the_connection(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running, worker(running) as one:
            for _ in range(400):
                await one.reader.connection.send("no")
            with pytest.raises(ConnectionClosed):
                await one.reader.next("event")
            assert one.reader.connection.close_code == 1008

    run(main())


def test_a_gateway_that_stops_gives_back_what_is_not_acknowledged(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(20))
            async with worker(running) as one:
                await one.take(20)
                await one.say(at=4)
                left = sorted(one.numbers[5:])
                await eventually(lambda: running.sample("snowbus_consumer_records_total", **HANDLED) == 5)
                await running.stop()
            await running.start()
            async with worker(running) as again:
                assert sorted(await again.take(15)) == left
                await again.gets_nothing()

    run(main())
