"""Who is let into a group, what is said to clients that are wrong or late, and what a log does to a group."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from support.aio import eventually, run
from support.gateway import Running, client, gateway, numbered, publish
from support.group_clients import committed, refused, worker
from support.memory_log import MemoryLog
from websockets.exceptions import ConnectionClosed, InvalidStatus

from snowbus.bus.log.interface import GroupReader
from snowbus.consumers.gateway import groups


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
            reading = asyncio.create_task(one.reader.next("event"))
            with suppress(ConnectionClosed):
                for _ in range(100_000):
                    await one.reader.connection.send("no")
                    await asyncio.sleep(0)
            with pytest.raises(ConnectionClosed):
                await reading
            assert one.reader.connection.close_code == 1008

    run(main())


def test_while_the_log_is_away_a_group_says_so_and_goes_on_by_itself() -> None:
    async def main() -> None:
        log = MemoryLog()
        log.grow(2)
        log.away = True
        async with gateway(log) as running, worker(running) as one:
            assert (await one.reader.next("error"))["code"] == "log_unavailable"
            log.away = False
            log.put(0, numbered(1))
            while (message := await one.reader.next("event", "error"))["type"] == "error":
                assert message["code"] == "log_unavailable"
            assert message["payload"]["eid"] == "1"

    run(main())


def test_a_group_that_fails_says_so_and_the_next_connection_starts_it_anew() -> None:
    class Failing(MemoryLog):
        fails = True

        async def join(self, *arguments: Any, **options: Any) -> GroupReader:
            if self.fails:
                raise RuntimeError("nobody has thought of this")
            return await super().join(*arguments, **options)

    async def main() -> None:
        log = Failing()
        log.grow(2)
        async with gateway(log) as running:
            async with worker(running) as one:
                assert (await one.reader.next("error"))["code"] == "internal"
                with pytest.raises(ConnectionClosed):
                    await one.reader.next()
                assert one.reader.connection.close_code == 1011
            log.fails = False
            log.put(0, numbered(1))
            async with worker(running) as one:
                assert await one.take(1) == [1]

    run(main())


def test_who_has_let_an_event_run_out_of_time_gets_no_more_until_he_answers() -> None:
    async def main() -> None:
        log = MemoryLog()
        log.grow(2)
        async with gateway(log) as running, worker(running, "ack_timeout=0.2") as late:
            log.put(0, numbered(0))
            await late.take(1)
            async with worker(running) as works:
                assert await works.take(1) == [0]
                for number in range(1, 10):
                    log.put(0, numbered(number))
                assert await works.take(9) == list(range(1, 10))
                await late.say()  # too late for the event, and a sign of life
                for number in range(10, 20):
                    log.put(0, numbered(number))
                assert await late.take(1)

    run(main())


def test_there_are_only_so_many_groups(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MOST_GROUPS", 1)

    async def main() -> None:
        async with gateway(sqlite_url) as running:
            async with worker(running):
                assert (await refused(running, "group=another"))[0] == 503
                async with worker(running):
                    pass
            await eventually(lambda: joins(running, "group=another"))

    async def joins(running: Running, query: str) -> bool:
        with suppress(InvalidStatus):
            async with client(running, query):
                return True
        return False

    run(main())


def test_what_a_client_holds_is_no_part_of_what_is_read_ahead(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url, gateway_group_in_flight=200) as running:
            await publish(running.log, range(180), uid="one-user")
            async with worker(running, "max_in_flight=180") as stuck:
                await stuck.take(180)
                async with worker(running, "max_in_flight=20") as works:
                    got: list[int] = []
                    acking = asyncio.create_task(works.ack_all(got))
                    await publish(running.log, range(180, 2_000), uid="one-user")
                    await eventually(lambda: got == list(range(180, 2_000)))
                    acking.cancel()

    run(main())
