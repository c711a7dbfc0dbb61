"""Everything a collector, or what stands before it, may do to a request, over a real socket."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from support.aio import eventually, run
from support.collector_double import (
    Behaviour,
    CollectorDouble,
    close_before_answer,
    close_mid_response,
    hang,
    slow_bytes,
    status,
)
from support.forwarding import Forwarding, forwarding, numbered, publish, read_all

from snowbus.bus.event import DEAD_TOPIC

HEALING: dict[str, Behaviour] = {
    "408": status(408),
    "425": status(425),
    "429": status(429),
    "500": status(500, "boom"),
    "502": status(502),
    "503": status(503),
    "504": status(504),
    "599": status(599),
    "reset before an answer": close_before_answer(),
    "broken off in the head": close_mid_response(),
    "broken off in the body": close_mid_response(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\no"),
    "broken off in a chunk": close_mid_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
    "not HTTP": close_mid_response(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "a bad status line": close_mid_response(b"HTTP/1.1 banana\r\n\r\n"),
    "a bad length": close_mid_response(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    "no answer": hang(30),
    "an answer that trickles": slow_bytes(0.05),
}
CONFIGURATION = (301, 302, 303, 307, 308, 401, 404, 405, 407)
NEVER_TAKEN = (400, 402, 406, 409, 410, 413, 415, 422, 451)


async def count_dead(running: Forwarding) -> int:
    return len(await read_all(running.log, DEAD_TOPIC))


@pytest.mark.parametrize("name", HEALING)
def test_what_may_heal_is_sent_again_until_it_is_taken(sqlite_url: str, name: str) -> None:
    async def main() -> None:
        collector.respond(HEALING[name], HEALING[name])
        async with forwarding(sqlite_url, collector.url, collect_timeout=0.25) as running:
            await publish(running.log, [numbered(number, user="same") for number in range(5)])
            await eventually(lambda: len(collector.accepted) >= 5)
            assert await count_dead(running) == 0

    with CollectorDouble() as collector:
        run(main())
        assert collector.event_ids == list("01234")
        assert len(collector.requests) == 3
        first, _, last = (request.payloads for request in collector.requests)
        assert [payload["eid"] for payload in first] == [payload["eid"] for payload in last]
        assert int(last[0]["stm"]) > int(first[0]["stm"])


@pytest.mark.parametrize("code", CONFIGURATION)
def test_configuration_kills_no_event_and_heals_when_it_is_mended(sqlite_url: str, code: int) -> None:
    async def main() -> None:
        collector.respond(*[status(code, location=f"{elsewhere.url}{elsewhere.path}")] * 3)
        async with forwarding(sqlite_url, collector.url, collect_backoff_max=0.02) as running:
            await publish(running.log, [numbered(number, user="same") for number in range(5)])
            await eventually(lambda: len(collector.accepted) >= 5)
            assert await count_dead(running) == 0

    with CollectorDouble() as collector, CollectorDouble() as elsewhere:
        run(main())
        assert collector.event_ids == list("01234")
        assert len(collector.requests) == 4
        assert elsewhere.requests == []


@pytest.mark.parametrize("code", NEVER_TAKEN)
def test_what_is_never_taken_dies_and_its_neighbours_live(sqlite_url: str, code: int) -> None:
    async def main() -> None:
        # 0123 is refused, then 01 taken, 23 refused, 2 refused alone, and 3 taken.
        collector.respond(status(code), status(200), status(code, "<why>"), status(code, "<why>"))
        async with forwarding(sqlite_url, collector.url) as running:
            await publish(running.log, [numbered(number, user="same") for number in range(4)])
            await eventually(lambda: len(collector.accepted) >= 3)
            (dead,) = await read_all(running.log, DEAD_TOPIC)
            assert dead.header("event_id") == b"2"
            assert dead.header("dead_status") == str(code).encode()
            assert dead.header("dead_response") == b"<why>"

    with CollectorDouble() as collector:
        run(main())
        assert collector.event_ids == list("013")


def test_an_event_that_enrich_would_refuse_takes_no_neighbour_with_it(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url) as running:
            unknown = numbered(2, user="same", colour="red")
            await publish(running.log, [numbered(1, user="same"), unknown, numbered(3, user="same")])
            await eventually(lambda: collector.event_ids == ["1", "3"])

    with CollectorDouble() as collector:
        run(main())
        assert collector.violations == ["payload_data knows no parameter colour"]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed_by_everyone(sqlite_url: str, form: str) -> None:
    async def busy(writer: asyncio.StreamWriter) -> bool:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # cut to whole seconds
        return await status(429, retry_after="1" if form == "seconds" else date)(writer)

    async def main() -> None:
        collector.respond(busy)
        async with forwarding(sqlite_url, collector.url) as running:
            await publish(running.log, [numbered(0)])
            await eventually(lambda: collector.requests)
            await publish(running.log, [numbered(number) for number in range(1, 50)])
            await eventually(lambda: len(collector.accepted) >= 50)

    with CollectorDouble() as collector:
        run(main())
        first, second = collector.requests[:2]
        assert second.at - first.at >= 0.95
        assert collector.duplicates == {}


def test_while_the_collector_is_away_one_probe_at_a_time_goes_out(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url, collect_timeout=0.1, collect_batch_events=1) as running:
            await publish(running.log, [numbered(number) for number in range(50)])
            await eventually(lambda: len(collector.requests) >= 16)
            collector.always(None)
            await eventually(lambda: len(collector.accepted) >= 50)

    with CollectorDouble() as collector:
        collector.always(hang(30))
        run(main())
        in_flight = 8
        first, *_, eighth = collector.requests[in_flight : in_flight + 8]
        assert eighth.at - first.at >= 0.5


def test_the_path_of_the_url_is_used_as_it_is(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, f"{collector.url}/com.acme/track") as running:
            await publish(running.log, [numbered(1)])
            await eventually(lambda: collector.accepted)

    with CollectorDouble(path="/com.acme/track") as collector:
        run(main())
        assert collector.violations == []


def test_nothing_of_ours_is_passed_off_as_the_clients(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url, collect_batch_events=1) as running:
            await publish(running.log, [numbered(number) for number in range(4)])
            await eventually(lambda: len(collector.accepted) == 4)

    with CollectorDouble() as collector:
        run(main())
        for request in collector.requests:
            assert request.headers["sp-anonymous"] == "*"
            assert not {"user-agent", "referer", "cookie", "x-forwarded-for"} & request.headers.keys()


def test_a_proxy_in_the_environment_is_not_asked(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def main() -> None:
        async with forwarding(sqlite_url, collector.url) as running:
            await publish(running.log, [numbered(1)])
            await eventually(lambda: collector.accepted)

    with CollectorDouble() as collector:
        run(main())
