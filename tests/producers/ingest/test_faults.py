"""When the log is away, slow or broken: 503 in bounded time and memory, never a 500, nothing lost that had a 200."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.aio import eventually, run
from support.diagnostics import capture_logs
from support.fakes import FakeLog, hang
from support.ingest import TP2, Ingest, connect, payload_data, serving

from snowbus.bus.errors import LogClosedError, LogUnavailableError, RecordTooLargeError, TopicNotFoundError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log.partitioner import partition_of
from snowbus.producers.ingest import app as app_module

EVENT = {"e": "pv", "eid": "e-1", "p": "web", "tv": "js-3"}


@asynccontextmanager
async def serve(log: FakeLog, **settings: Any) -> AsyncIterator[Ingest]:
    async with serving(log, **{"append_timeout": 0.3, **settings}) as ingest:
        await eventually(lambda: log.asked)
        yield ingest


def away(*_: Any) -> None:
    raise LogUnavailableError("nobody answers at kafka:9092")


def away_for_bad(topic: str, records: Sequence[ProducerRecord]) -> None:
    if topic == BAD_TOPIC:
        away()


def waiting_for(event: asyncio.Event) -> Callable[..., Any]:
    return lambda *_: event.wait()


def test_an_event_that_is_not_durable_is_answered_503_with_retry_after() -> None:
    async def main() -> None:
        log = FakeLog()
        log.on_append = away
        async with (
            serve(log, ingest_retry_after=7) as ingest,
            ingest.http.get(ingest.url + "/i?e=pv", headers={"Origin": "https://shop.example"}) as answer,
        ):
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "7"
            assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
            assert "Set-Cookie" not in answer.headers
            assert await answer.json() == {"error": "the log cannot be reached; try again"}

    run(main())


def test_a_log_that_hangs_costs_bounded_time_and_what_is_beyond_the_bound_is_refused_at_once() -> None:
    async def main() -> None:
        log = FakeLog()
        log.on_append = hang
        async with serve(log, append_timeout=0.3, ingest_max_pending=5) as ingest:
            began = time.monotonic()
            waiting = [asyncio.create_task(ingest.post(payload_data(EVENT))) for _ in range(5)]
            await eventually(lambda: ingest.metric("snowbus_ingest_pending") == 5)
            for _ in range(20):
                status, told = await ingest.post(payload_data(EVENT))
                assert (status, told["error"]) == (503, "too many requests wait for the log")
            assert time.monotonic() - began < 1.5
            assert [status for status, _ in await asyncio.gather(*waiting)] == [503] * 5
            assert time.monotonic() - began < 4
            assert ingest.metric("snowbus_ingest_pending") == 0
            assert ingest.metric("snowbus_ingest_requests_total", method="POST", status="503") == 25

    run(main())


def test_bytes_that_wait_for_the_log_are_bounded() -> None:
    async def main() -> None:
        log = FakeLog()
        log.on_append = hang
        async with serve(log, append_timeout=0.3, ingest_max_pending_bytes=300_000) as ingest:
            body = payload_data({**EVENT, "page": "x" * 100_000})
            waiting = [asyncio.create_task(ingest.post(body)) for _ in range(2)]
            await eventually(lambda: ingest.metric("snowbus_ingest_pending") == 2)
            assert (await ingest.post(body))[1] == {"error": "too many requests wait for the log"}
            assert [status for status, _ in await asyncio.gather(*waiting)] == [503] * 2

    run(main())


def test_it_starts_without_the_log_and_takes_events_as_soon_as_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        log = FakeLog()
        log.on_topics = away
        async with serve(log) as ingest:
            for path, expected in (("/health", 200), ("/ready", 503), ("/metrics", 200), ("/i?e=pv", 503)):
                async with ingest.http.get(ingest.url + path) as answer:
                    assert answer.status == expected, path
            assert (await ingest.post(payload_data(EVENT)))[0] == 503
            assert log.appends == 0
            log.on_topics = None
            assert await ingest.post(payload_data(EVENT)) == (200, "ok")
            await eventually(ingest.is_ready)
            assert set(log.records) == {EVENTS_TOPIC, BAD_TOPIC}

    run(main())


def test_the_topics_are_made_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        log = FakeLog()
        log.on_topics = away
        async with serve(log):
            log.on_topics = None
            await eventually(lambda: set(log.records) == {EVENTS_TOPIC, BAD_TOPIC})

    monkeypatch.setattr("snowbus.producers.ingest.topics._RETRY_SECONDS", 0.01)
    run(main())


def test_a_log_that_never_answers_makes_it_not_ready_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        log = FakeLog()
        log.on_topics = hang
        async with serve(log, append_timeout=60.0) as ingest:
            assert not await ingest.is_ready()

    monkeypatch.setattr("snowbus.bus.operations._LOG_ANSWERS_SECONDS", 0.1)
    run(main(), timeout=10)


def test_being_asked_whether_it_is_ready_a_hundred_times_asks_the_log_once() -> None:
    async def main() -> None:
        log = FakeLog()
        async with serve(log) as ingest:
            before = log.asked
            assert all(await asyncio.gather(*(ingest.is_ready() for _ in range(100))))
            assert log.asked - before <= 2

    run(main())


def test_it_is_not_ready_while_appends_fail_even_where_the_log_answers() -> None:
    """A Kafka that has too few replicas in sync answers all else; a record that is too large says nothing of it."""

    async def main() -> None:
        log = FakeLog()
        async with serve(log) as ingest:
            assert await ingest.is_ready()
            log.on_append = away
            assert (await ingest.post(payload_data(EVENT)))[0] == 503
            async with ingest.http.get(ingest.url + "/ready") as answer:
                assert (answer.status, await answer.text()) == (503, "nobody answers at kafka:9092\n")
            log.on_append = None
            assert (await ingest.post(payload_data(EVENT)))[0] == 200
            assert await ingest.is_ready()
            log.on_append = too_large
            assert (await ingest.post(payload_data(EVENT)))[0] == 413
            assert await ingest.is_ready()

    def too_large(topic: str, records: Sequence[ProducerRecord]) -> None:
        raise RecordTooLargeError(topic, size=2, limit=1)

    run(main())


def test_it_is_ready_again_after_a_while_without_appends_as_nobody_sends_to_who_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        log = FakeLog()
        log.on_append = away
        async with serve(log) as ingest:
            assert (await ingest.post(payload_data(EVENT)))[0] == 503
            assert not await ingest.is_ready()
            monkeypatch.setattr("snowbus.producers.ingest.topics._FAILURE_SECONDS", 0.0)
            assert await ingest.is_ready()

    run(main())


def test_a_topic_that_was_deleted_is_made_again() -> None:
    async def main() -> None:
        log = FakeLog()
        gone = [TopicNotFoundError(EVENTS_TOPIC)]

        def lose(topic: str, records: Sequence[ProducerRecord]) -> None:
            if gone:
                raise gone.pop()

        log.on_append = lose
        async with serve(log) as ingest:
            asked = log.asked
            assert (await ingest.post(payload_data(EVENT)))[0] == 503
            assert await ingest.post(payload_data(EVENT)) == (200, "ok")
            assert log.asked > asked

    run(main())


def test_a_record_that_the_log_finds_too_large_is_413_and_kept_on_the_bad_topic() -> None:
    async def main() -> None:
        log = FakeLog()

        def refuse(topic: str, records: Sequence[ProducerRecord]) -> None:
            if topic == EVENTS_TOPIC:
                raise RecordTooLargeError(topic, size=500, limit=400)

        log.on_append = refuse
        async with serve(log) as ingest:
            event = {**EVENT, "page": "x" * 70_000}
            assert (await ingest.post(payload_data(event)))[0] == 413
            [record] = log.records[BAD_TOPIC]
            kept = json.dumps(event, separators=(",", ":")).encode()
            assert record.value == kept[:65_536]
            assert dict(record.headers)["size"] == str(len(kept)).encode()
            assert not log.records[EVENTS_TOPIC]

    run(main())


def test_what_is_appended_together_fails_apart() -> None:
    async def main() -> None:
        log = FakeLog()

        def refuse(topic: str, records: Sequence[ProducerRecord]) -> None:
            if topic == EVENTS_TOPIC and any(b"poison" in record.value for record in records):
                raise RecordTooLargeError(topic, size=500, limit=400)

        log.on_append = refuse
        async with serve(log) as ingest:
            bodies = [payload_data({**EVENT, "eid": str(n), "page": "poison" if n == 3 else "x"}) for n in range(10)]
            statuses = [status for status, _ in await asyncio.gather(*map(ingest.post, bodies))]
            assert statuses == [200] * 3 + [413] + [200] * 6
            assert len(log.records[EVENTS_TOPIC]) == 9
            assert log.appends < 20

    run(main())


def test_a_partition_that_is_away_does_not_hold_up_the_others() -> None:
    def away_for_one(topic: str, records: Sequence[ProducerRecord]) -> Any:
        return hang() if any(partition_of(record.key, 4) == 0 for record in records) else None

    async def main() -> None:
        log = FakeLog(partitions=4)
        log.on_append = away_for_one
        async with serve(log) as ingest:
            users = [f"u-{number}" for number in range(40)]
            bodies = [payload_data({**EVENT, "eid": user, "uid": user}) for user in users]
            statuses = [status for status, _ in await asyncio.gather(*map(ingest.post, bodies))]
            assert statuses == [503 if partition_of(user.encode(), 4) == 0 else 200 for user in users]

    run(main())


def test_when_the_refused_events_cannot_be_kept_the_good_ones_are_not_taken_so_that_none_comes_twice() -> None:
    async def main() -> None:
        log = FakeLog()
        log.on_append = away_for_bad
        async with serve(log, ingest_max_body_bytes=400) as ingest:
            assert (await ingest.post(payload_data(EVENT, {"e": "xx"})))[0] == 503
            assert not log.records[EVENTS_TOPIC]
            assert (await ingest.post(b"{"))[0] == 503
            assert (await ingest.post(b"x" * 500))[0] == 503

    run(main())


@pytest.mark.parametrize("error", [ZeroDivisionError("secret-4711"), LogClosedError("closed"), OSError("secret-4711")])
def test_an_unexpected_error_is_503_and_logged_without_personal_data(error: Exception) -> None:
    async def main() -> None:
        log = FakeLog()

        def fail(topic: str, records: Sequence[ProducerRecord]) -> None:
            raise error

        log.on_append = fail
        async with serve(log) as ingest:
            for _ in range(30):
                assert (await ingest.post(payload_data({**EVENT, "uid": "secret-4711"})))[0] == 503

    with capture_logs() as lines:
        run(main())
    warnings = [line for line in lines if line["log_level"] in ("warning", "error")]
    assert len(warnings) == 1
    assert "secret-4711" not in str(lines)
    if not isinstance(error, LogClosedError):
        assert warnings[0]["error"] == type(error).__name__
        assert "in fail" in warnings[0]["traceback"]


def test_an_error_in_our_own_code_is_503_too(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = str(4711_4711)

    def fail(*_: Any, **__: Any) -> None:
        raise KeyError(secret)

    async def main() -> None:
        async with serve(FakeLog()) as ingest:
            monkeypatch.setattr(app_module, "understand_body", fail)
            assert (await ingest.post(payload_data(EVENT)))[0] == 503
            monkeypatch.undo()
            assert await ingest.post(payload_data(EVENT)) == (200, "ok")

    with capture_logs() as lines:
        run(main())
    assert secret not in str(lines)


def test_an_outage_is_logged_sparingly() -> None:
    async def main() -> None:
        log = FakeLog()
        log.on_append = away
        async with serve(log) as ingest:
            for _ in range(50):
                await ingest.post(payload_data(EVENT))

    with capture_logs() as lines:
        run(main())
    assert [line["event"] for line in lines] == ["the log takes nothing"]
    assert lines[0]["reason"] == "nobody answers at kafka:9092"


def test_the_event_of_a_client_that_goes_away_before_its_answer_stays() -> None:
    async def main() -> None:
        log = FakeLog()
        release = asyncio.Event()
        log.on_append = waiting_for(release)
        async with serve(log, append_timeout=10) as ingest:
            body = payload_data(EVENT)
            client = connect(ingest.address)
            client.sendall(f"POST {TP2} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await eventually(lambda: ingest.metric("snowbus_ingest_pending") == 1)
            client.close()
            release.set()
            await eventually(lambda: len(log.records[EVENTS_TOPIC]) == 1)

    run(main())


def test_a_stop_lets_requests_under_way_finish_and_takes_no_more() -> None:
    async def main() -> None:
        log = FakeLog()
        release = asyncio.Event()
        log.on_append = waiting_for(release)
        async with serve(log, append_timeout=10) as ingest:
            posting = asyncio.create_task(ingest.post(payload_data(EVENT)))
            await eventually(lambda: ingest.metric("snowbus_ingest_pending") == 1)
            ingest.stop.set()
            await eventually(lambda: refuses(ingest.address))
            release.set()
            assert await posting == (200, "ok")
            assert len(log.records[EVENTS_TOPIC]) == 1

    run(main())


def refuses(address: tuple[str, int]) -> bool:
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_does_not_wait_for_a_body_that_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serve(FakeLog()) as ingest:
            reader, writer = await asyncio.open_connection(*ingest.address)
            writer.write(f"POST {TP2} HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf".encode())
            await ingest.is_ready()  # by then the app is reading
            ingest.stop.set()
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
            writer.close()

    monkeypatch.setattr(app_module, "_DRAIN_READING_SECONDS", 0.05)
    run(main(), timeout=10)
