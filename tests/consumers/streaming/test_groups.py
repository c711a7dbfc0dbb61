"""A stream of a group: what it acknowledges, when, and that a lost acknowledgement costs no second handling."""

import asyncio
import json
from typing import Any, Self

import pytest
from support.gateway_double import GatewayDouble, event, on_double

from snowbus.bus.errors import StreamError
from snowbus.consumers import EventMessage, EventStream, stream

pytestmark = pytest.mark.usefixtures("quick")


def group_event(offset: int, **members: Any) -> dict[str, Any]:
    return event(offset, cursor=f"c{offset}", **({"attempt": 1} | members))


class Manual:
    """A stream that acknowledges by hand, open, with its first peer."""

    def __init__(self, double: GatewayDouble) -> None:
        self.double = double
        self.events: EventStream = stream(double.url, group="stock", acks="manual")

    async def __aenter__(self) -> Self:
        entering = asyncio.create_task(self.events.__aenter__())
        self.peer = await self.double.greeted()
        await entering
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.events.close()

    async def take(self, count: int) -> list[EventMessage]:
        return [await anext(self.events) for _ in range(count)]


def test_it_asks_for_the_group_and_has_no_cursor_of_its_own() -> None:
    async def test(double: GatewayDouble) -> None:
        events = stream(double.url, group="stock", max_in_flight=5, ack_timeout=2.5, start="earliest")
        entering = asyncio.create_task(events.__aenter__())
        peer = await double.greeted()
        await entering
        expected = {"from": "earliest", "group": "stock", "max_in_flight": "5"}
        assert dict(peer.parameters) == {**expected, "ack_timeout": "2.5"}
        await peer.send(group_event(0))
        await anext(events)
        assert events.cursor is None
        peer.cut()
        reading = asyncio.create_task(anext(events))
        again = await double.greeted()
        assert again.parameter("from") == "earliest"
        await again.send({"type": "heartbeat", "cursor": None, "time": "2026-01-02T03:04:05.250Z"}, group_event(1))
        await reading
        await events.close()

    on_double(test)


def test_an_event_is_acknowledged_when_the_body_of_the_loop_has_ended() -> None:
    async def test(double: GatewayDouble) -> None:
        handled = asyncio.Event()

        async def read() -> None:
            async with stream(double.url, group="stock") as events:
                async for found in events:
                    await handled.wait()
                    if found.offset == 1:
                        break

        task = asyncio.create_task(read())
        peer = await double.greeted()
        await peer.send(group_event(0), group_event(1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.connection.recv(), 0.05)
        handled.set()
        assert await peer.said() == {"type": "ack", "cursor": "c0"}
        assert await peer.said() == {"type": "ack", "cursor": "c1"}
        await task

    on_double(test)


@pytest.mark.parametrize(
    ("error", "said"),
    [(ZeroDivisionError, [{"type": "nack", "cursor": "c1", "delay": 0.0}]), (asyncio.CancelledError, [])],
)
def test_an_event_whose_handling_failed_is_asked_for_again_and_one_that_was_cut_short_is_left(
    error: type[BaseException], said: list[Any]
) -> None:
    async def test(double: GatewayDouble) -> None:
        async def read() -> None:
            async with stream(double.url, group="stock") as events:
                async for found in events:
                    if found.offset == 1:
                        raise error

        task = asyncio.create_task(read())
        peer = await double.greeted()
        await peer.send(group_event(0), group_event(1))
        assert await peer.said() == {"type": "ack", "cursor": "c0"}
        with pytest.raises(error):
            await task
        assert [json.loads(message) async for message in peer.connection] == said

    on_double(test)


def test_by_hand_it_acknowledges_up_to_an_event_or_that_alone_or_asks_for_it_again() -> None:
    async def test(double: GatewayDouble) -> None:
        async with Manual(double) as manual:
            await manual.peer.send(*map(group_event, range(5)))
            given = await manual.take(5)
            await given[3].ack(only=True)
            await given[1].ack()
            await given[2].nack(delay=5)
            await given[4].nack()
            assert [await manual.peer.said() for _ in range(4)] == [
                {"type": "ack", "cursor": "c3", "only": True},
                {"type": "ack", "cursor": "c1"},
                {"type": "nack", "cursor": "c2", "delay": 5},
                {"type": "nack", "cursor": "c4", "delay": 0.0},
            ]

    on_double(test)


def test_an_event_is_settled_once() -> None:
    async def test(double: GatewayDouble) -> None:
        async with Manual(double) as manual:
            await manual.peer.send(*map(group_event, range(3)))
            first, second, third = await manual.take(3)
            await second.ack()
            for again in (first.ack(), second.ack(), second.nack(), third.ack()):
                await again
            assert [(await manual.peer.said())["cursor"] for _ in range(2)] == ["c1", "c2"]

    on_double(test)


def test_what_comes_again_after_a_lost_acknowledgement_is_acknowledged_again_and_not_given() -> None:
    async def test(double: GatewayDouble) -> None:
        async with Manual(double) as manual:
            await manual.peer.send(group_event(0), group_event(1), group_event(2))
            first, second, _ = await manual.take(3)
            await first.ack()  # on its way when the connection is lost
            await manual.peer.said()
            manual.peer.cut()
            reading = asyncio.create_task(anext(manual.events))
            again = await double.greeted()
            await second.ack()  # after it
            await again.send(group_event(0, attempt=2), group_event(1, attempt=2), group_event(2, attempt=2))
            found = await reading
            assert (found.offset, found.attempt) == (2, 2)
            assert [await again.said() for _ in range(2)] == [
                {"type": "ack", "cursor": "c0", "only": True},
                {"type": "ack", "cursor": "c1", "only": True},
            ]

    on_double(test)


def test_what_is_asked_for_again_comes_again() -> None:
    async def test(double: GatewayDouble) -> None:
        async with Manual(double) as manual:
            await manual.peer.send(group_event(0))
            (found,) = await manual.take(1)
            await found.nack()
            await manual.peer.send(group_event(0, attempt=2))
            (found,) = await manual.take(1)
            assert found.attempt == 2
            await found.ack()
            assert [(await manual.peer.said())["type"] for _ in range(2)] == ["nack", "ack"]
            await manual.peer.send(group_event(0))  # after a replay
            assert (await manual.take(1))[0].attempt == 1

    on_double(test)


def test_an_acknowledgement_that_comes_too_late_ends_nothing() -> None:
    async def test(double: GatewayDouble) -> None:
        async with Manual(double) as manual:
            late = {"type": "error", "code": "bad_message", "message": "cursor: not in flight", "cursor": None}
            await manual.peer.send(late, group_event(0))
            assert [found.offset for found in await manual.take(1)] == [0]

    on_double(test)


def test_without_a_group_there_is_nothing_to_acknowledge() -> None:
    async def test(double: GatewayDouble) -> None:
        events = stream(double.url)
        entering = asyncio.create_task(events.__aenter__())
        peer = await double.greeted()
        await entering
        await peer.send(event(0))
        found = await anext(events)
        with pytest.raises(StreamError, match="group=NAME"):
            await found.ack()
        await events.close()

    on_double(test)
