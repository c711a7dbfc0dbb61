"""Durable groups: what clients acknowledge is committed, and what they do not comes again, to whoever has room."""

import asyncio

from support.aio import eventually, run
from support.gateway import client, gateway, publish
from support.group_clients import GROUP, HANDLED, committed, dead_letters, worker

from snowbus.bus.event import EVENTS_TOPIC


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
                assert death.reason == "3 deliveries failed; at the last, no client acknowledged it within 0.2 s"

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


def test_what_a_client_asks_for_again_at_once_becomes_a_dead_letter_and_what_it_wants_later_does_not(
    log_url: str,
) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_group_deliveries=3) as running:
            await publish(running.log, [0])
            async with worker(running) as one:
                for delay in (0.05, 0.05, 0.05, 0.05, 0, 0, 0):
                    assert await one.take(1) == [0]
                    await one.say("nack", delay=delay)
                await committed(running.log)
            (death,) = await dead_letters(running.log)
            assert death.reason == "3 deliveries failed; at the last, a client asked for it again at once"

    run(main())


def test_what_clients_crash_on_becomes_a_dead_letter_and_what_they_had_beside_it_does_not(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_group_deliveries=3) as running:
            await publish(running.log, range(5), uid="one-user")
            for _ in range(3):
                async with worker(running) as crashes:
                    assert await crashes.take(5) == [0, 1, 2, 3, 4]
                    crashes.reader.connection.transport.abort()
            for _ in range(3):
                async with worker(running) as leaves:
                    assert await leaves.take(4) == [1, 2, 3, 4]
            async with worker(running) as works:
                assert await works.take(4) == [1, 2, 3, 4]
                await works.say()
                await committed(running.log)
            (death,) = await dead_letters(running.log)
            assert death.reason == "3 deliveries failed; at the last, a client was lost while it had it"

    run(main())


def test_what_a_lost_connection_had_goes_to_the_other_at_once(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(10))
            async with worker(running) as dies:
                held = await dies.take(10)
                async with worker(running) as other:
                    dies.reader.connection.transport.abort()
                    assert await other.take(10) == held
                    assert {message["attempt"] for message in other.messages} == {2}
                    await other.say()
                    await committed(running.log)

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


def test_metrics_tell_of_all_groups_as_one_and_of_none_that_is_over(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(3))
            behind = {"consumer": "websocket", "topic": EVENTS_TOPIC}
            async with client(running, "group=a&from=earliest"), client(running, "group=b&from=earliest"):
                await eventually(lambda: running.sample("snowbus_consumer_lag", **behind) == 6)
                told = running.metrics.render()
            await eventually(lambda: b"\nsnowbus_consumer_lag{" not in running.metrics.render())
            assert (told.count(b"\nsnowbus_consumer_partitions{"), told.count(b"websocket.")) == (1, 0)
            assert b"\nsnowbus_consumer_partitions{" not in running.metrics.render()

    run(main())
