"""The stream against a gateway that does as the test says: what it asks for, says, gives, and makes of a failure."""

import asyncio
from typing import Any

import pytest
from support.aio import eventually
from support.gateway_double import TOPIC, GatewayDouble, event, on_double

from snowbus.bus.errors import FilterError, StreamError, StreamRefusedError, StreamRequestError, StreamUnavailableError
from snowbus.consumers import EventMessage, EventStream, GapMessage, stream

pytestmark = pytest.mark.usefixtures("quick")


def reading(events: EventStream, given: list[EventMessage]) -> "asyncio.Task[None]":
    """Read a stream to its end, into a list."""

    async def read() -> None:
        async with events:
            async for found in events:
                given.append(found)  # noqa: PERF401 - as it comes

    return asyncio.create_task(read())


async def end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


def offsets(given: list[EventMessage]) -> list[int]:
    return [found.offset for found in given]


def gap(start: int, to: int, reason: str = "expired") -> dict[str, Any]:
    place = {"topic": TOPIC, "partition": 0}
    ends = {"from": {**place, "offset": start}, "to": {**place, "offset": to}}
    return {"type": "gap", "cursor": f"{TOPIC}~0.{to}", **ends, "count": to - start, "reason": reason}


def test_it_asks_for_what_it_was_told_and_shows_the_token_in_a_header() -> None:
    async def test(double: GatewayDouble) -> None:
        task = reading(stream(double.url, start="-100", app_id=["shop", "web"], valid=True, token="s3cret"), [])
        peer = await double.greeted()
        filters = [("app_id", "shop"), ("app_id", "web"), ("valid", "true")]
        assert peer.parameters == [("from", "-100"), *filters, ("deliveries", "false")]
        assert double.requests[0].headers["Authorization"] == "Bearer s3cret"
        assert double.requests[0].headers["User-Agent"].startswith("snowbus/")
        await end(task)

    on_double(test)


def test_a_token_is_asked_for_at_each_connection() -> None:
    async def test(double: GatewayDouble) -> None:
        tokens = iter(("first", "second"))

        async def renewed() -> str:
            return next(tokens)

        task = reading(stream(double.url, token=renewed), [])
        await (await double.greeted()).connection.close(4001, "the token has expired")
        await double.greeted()
        assert [each.headers["Authorization"] for each in double.requests] == ["Bearer first", "Bearer second"]
        await end(task)

    on_double(test)


def test_an_event_has_everything_that_the_message_has() -> None:
    async def test(double: GatewayDouble) -> None:
        given: list[EventMessage] = []
        task = reading(stream(double.url), given)
        error = {
            "field": "tr_total",
            "schema": "",
            "path": "",
            "expected": "a number",
            "got": "3,50",
            "schema_path": "",
        }
        found = event(7, source={"ip": "192.0.2.7"}, validation={"status": "invalid", "errors": [error]}, attempt=2)
        await (await double.greeted()).send(found)
        await eventually(lambda: given)
        (message,) = given
        assert (message.topic, message.partition, message.offset, message.timestamp) == (TOPIC, 0, 7, 1_700_000_000_007)
        assert (message.key, message.producer, message.cursor, message.attempt) == ("ann", "test", f"{TOPIC}~0.8", 2)
        assert (message.event, message.payload, message.source) == (found["event"], found["payload"], found["source"])
        assert (message.validation, message.errors[0].got) == ("invalid", "3,50")
        await end(task)

    on_double(test)


def test_a_cut_connection_is_made_again_with_the_last_cursor_and_repeats_are_left_out() -> None:
    async def test(double: GatewayDouble) -> None:
        given: list[EventMessage] = []
        task = reading(stream(double.url, start="earliest"), given)
        peer = await double.greeted()
        await peer.send(event(0), event(1))
        await eventually(lambda: len(given) == 2)
        peer.cut()
        again = await double.peer()
        assert again.parameter("from") == f"{TOPIC}~0.2"
        await again.hello(f"{TOPIC}~0.2")
        await again.send(event(1), event(2), event(0, partition=1))
        await eventually(lambda: len(given) == 4)
        assert [(each.partition, each.offset) for each in given] == [(0, 0), (0, 1), (0, 2), (1, 0)]
        await end(task)

    on_double(test)


def test_a_reader_of_the_latest_that_had_no_cursor_yet_goes_on_from_when_it_came() -> None:
    async def test(double: GatewayDouble) -> None:
        task = reading(stream(double.url), [])
        (await (await double.peer()).hello(None)).cut()
        assert (await double.peer()).parameter("from") == "2026-01-02T03:04:05.250Z"
        await end(task)

    on_double(test)


def test_a_silent_gateway_is_left_and_heartbeats_are_enough_to_stay() -> None:
    async def test(double: GatewayDouble) -> None:
        task = reading(stream(double.url, silence=0.3), [])
        peer = await double.greeted()
        heartbeat = {"type": "heartbeat", "cursor": f"{TOPIC}~0.5", "time": "2026-01-02T03:04:05.250Z"}
        for _ in range(4):
            await asyncio.sleep(0.15)
            await peer.send(heartbeat)
        assert len(double.requests) == 1
        assert (await double.peer()).parameter("from") == f"{TOPIC}~0.5"
        await end(task)

    on_double(test)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_a_refusal_ends_it_at_once_in_the_words_of_the_gateway(status: int) -> None:
    async def test(double: GatewayDouble) -> None:
        double.refusals = [(status, "from: it is given twice")]
        with pytest.raises(StreamRefusedError) as caught:
            async with stream(double.url, token="s3cret"):
                pass
        assert (caught.value.status, caught.value.reason) == (status, "from: it is given twice")
        assert str(caught.value) == f"{double.url} refuses the stream with {status}: from: it is given twice"
        assert len(double.requests) == 1

    on_double(test)


def test_a_refusal_when_it_connects_again_ends_it_too() -> None:
    async def test(double: GatewayDouble) -> None:
        task = reading(stream(double.url), [])
        peer = await double.greeted()
        double.refusals = [(401, "token: it has expired")]
        await peer.connection.close(4001, "the token has expired")
        with pytest.raises(StreamRefusedError, match="token: it has expired"):
            await task

    on_double(test)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_heal_is_tried_again(status: int) -> None:
    async def test(double: GatewayDouble) -> None:
        double.refusals = [(status, "as many readers as may be are connected")] * 3
        task = reading(stream(double.url), [])
        await double.greeted()
        assert len(double.requests) == 4
        await end(task)

    on_double(test)


def test_it_gives_up_after_as_long_as_it_was_told() -> None:
    async def test(double: GatewayDouble) -> None:
        double.refusals = [(503, "the gateway is stopping")] * 10_000
        with pytest.raises(StreamUnavailableError, match="it answers 503: the gateway is stopping") as caught:
            async with stream(double.url, give_up_after=0.05):
                pass
        assert caught.value.retriable
        assert caught.value.seconds >= 0.05

    on_double(test)


def test_a_gap_is_told_between_the_events_and_lets_offsets_begin_anew() -> None:
    async def test(double: GatewayDouble) -> None:
        told: list[EventMessage | GapMessage] = []

        async def on_gap(found: GapMessage) -> None:
            told.append(found)

        async def read() -> None:
            async with stream(double.url, on_gap=on_gap) as events:
                async for found in events:
                    told.append(found)  # noqa: PERF401 - as it comes

        task = asyncio.create_task(read())
        peer = await double.greeted()
        await peer.send(event(7))
        await eventually(lambda: told)
        peer.cut()
        peer = await double.greeted()
        await peer.send({**gap(8, 0, "log restarted"), "count": None}, event(0), gap(1, 9), event(9))
        await eventually(lambda: len(told) == 5)
        assert [type(each) for each in told] == [EventMessage, GapMessage, EventMessage, GapMessage, EventMessage]
        lost = told[3]
        assert isinstance(lost, GapMessage)
        assert (lost.start, lost.end, lost.count, lost.reason) == (1, 9, 8, "expired")
        await end(task)

    on_double(test)


def test_deliveries_are_told_to_who_asks_and_again_from_a_little_before_when_it_connects_again() -> None:
    async def test(double: GatewayDouble) -> None:
        groups: list[str] = []
        task = reading(stream(double.url, on_deliveries=lambda found: groups.append(found.group)), [])
        peer = await double.greeted()
        assert peer.parameter("deliveries") == "true"
        time = "2026-01-02T03:04:05.250Z"
        await peer.send({"type": "delivery", "group": "collector", "time": time, "receipts": [], "collectors": []})
        await eventually(lambda: groups == ["collector"])
        peer.cut()
        assert ((await double.peer()).parameter("deliveries") or "").startswith("2026-01-02T03:03:05.25")
        await end(task)

    on_double(test)


def test_the_cursor_is_that_of_the_event_given_last() -> None:
    async def test(double: GatewayDouble) -> None:
        events = stream(double.url)
        entering = asyncio.create_task(events.__aenter__())
        await (await double.greeted()).send(event(0), event(1))
        await entering
        assert events.cursor == f"{TOPIC}~0.0"
        assert (await anext(events)).offset == 0
        assert events.cursor == f"{TOPIC}~0.1"
        assert (await anext(events)).offset == 1
        assert events.cursor == f"{TOPIC}~0.2"
        await events.close()
        assert [each async for each in events] == []

    on_double(test)


def test_a_loop_alone_connects_and_closes_it() -> None:
    async def test(double: GatewayDouble) -> None:
        async def first() -> int:
            async for found in stream(double.url):
                return found.offset
            return -1

        task = asyncio.create_task(first())
        peer = await double.greeted()
        await peer.send(event(3))
        assert await task == 3
        await eventually(lambda: peer.connection.state.name == "CLOSED")

    on_double(test)


def test_what_it_is_greeted_with_must_be_a_hello() -> None:
    async def test(double: GatewayDouble) -> None:
        task = reading(stream(double.url), [])
        await (await double.peer()).connection.send('{"type": "welcome"}')
        with pytest.raises(StreamError, match="this is no gateway"):
            await task

    on_double(test)


def test_messages_of_a_newer_gateway_are_passed_over() -> None:
    async def test(double: GatewayDouble) -> None:
        given: list[EventMessage] = []
        task = reading(stream(double.url), given)
        peer = await double.greeted()
        await peer.connection.send('{"type": "weather", "sun": true}')
        await peer.send(event(0))
        await eventually(lambda: given)
        await end(task)

    on_double(test)


def test_a_filter_is_in_force_when_the_call_returns_and_outlives_the_connection() -> None:
    async def test(double: GatewayDouble) -> None:
        given: list[EventMessage] = []
        events = stream(double.url, app_id="shop")
        task = reading(events, given)
        peer = await double.greeted()
        await eventually(lambda: events.subscription)
        asking = asyncio.create_task(events.filter(q=["x", "y"]))
        assert await peer.said() == {"type": "filter", "filters": {"q": ["x", "y"]}}
        await peer.send(event(0))
        await peer.reply(filters={"q": ["x", "y"]})
        assert (await asking)["filters"] == events.subscription["filters"] == {"q": ["x", "y"]}
        await eventually(lambda: offsets(given) == [0])
        peer.cut()
        again = await double.greeted()
        filters = [(name, value) for name, value in again.parameters if name not in ("from", "deliveries")]
        assert filters == [("q", "x"), ("q", "y")]
        await end(task)

    on_double(test)


def test_a_filter_can_be_changed_in_the_loop_and_what_was_under_way_still_comes_in_order() -> None:
    async def test(double: GatewayDouble) -> None:
        given: list[int] = []

        async def read() -> None:
            async with stream(double.url) as events:
                async for found in events:
                    given.append(found.offset)
                    if found.offset == 0:
                        await events.filter(q="x")
                        given.append(-1)

        task = asyncio.create_task(read())
        peer = await double.greeted()
        await peer.send(*map(event, range(200)))
        await peer.said()
        await peer.reply(filters={"q": ["x"]})
        await eventually(lambda: len(given) == 201)
        assert given == [0, -1, *range(1, 200)]
        await end(task)

    on_double(test)


def test_a_filter_that_the_gateway_refuses_is_an_error_and_the_stream_goes_on_as_it_was() -> None:
    async def test(double: GatewayDouble) -> None:
        given: list[EventMessage] = []
        events = stream(double.url, app_id="shop")
        task = reading(events, given)
        peer = await double.greeted()
        asking = asyncio.create_task(events.filter(app_id="bank"))
        await peer.said()
        await peer.send({"type": "error", "code": "bad_message", "message": "app_id: not yours", "cursor": None})
        with pytest.raises(StreamRequestError, match="app_id: not yours") as caught:
            await asking
        assert (caught.value.request, caught.value.code) == ("filter", "bad_message")
        await peer.send(event(0))
        await eventually(lambda: given)
        peer.cut()
        assert (await double.greeted()).parameter("app_id") == "shop"
        await end(task)

    on_double(test)


def test_a_filter_that_is_none_never_leaves() -> None:
    async def test(double: GatewayDouble) -> None:
        events = stream(double.url)
        entering = asyncio.create_task(events.__aenter__())
        await double.greeted()
        await entering
        with pytest.raises(FilterError, match="valid"):
            await events.filter(valid="maybe")  # type: ignore[typeddict-item]
        await events.close()
        with pytest.raises(StreamError, match="not open"):
            await events.pause()

    on_double(test)


def test_a_change_that_is_cut_off_is_made_by_the_next_connection() -> None:
    async def test(double: GatewayDouble) -> None:
        events = stream(double.url)
        task = reading(events, [])
        peer = await double.greeted()
        asking = asyncio.create_task(events.filter(q="x"))
        await peer.said()
        peer.cut()
        again = await double.peer()
        assert again.parameter("q") == "x"
        assert not asking.done()
        await again.hello()
        await asking
        await end(task)

    on_double(test)


def test_a_pause_is_said_again_when_it_connects_again_and_ends_with_resume() -> None:
    async def test(double: GatewayDouble) -> None:
        events = stream(double.url)
        task = reading(events, [])
        peer = await double.greeted()
        pausing = asyncio.create_task(events.pause())
        assert await peer.said() == {"type": "pause"}
        await peer.reply(paused=True)
        assert (await pausing)["paused"] is True
        peer.cut()
        again = await double.greeted()
        assert await again.said() == {"type": "pause"}
        resuming = asyncio.create_task(events.resume())
        assert await again.said() == {"type": "resume"}
        await again.reply(paused=True)
        await again.reply(paused=False)
        assert (await resuming)["paused"] is False
        await end(task)

    on_double(test)
