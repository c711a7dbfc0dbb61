"""Whatever is sent to ingest has an answer in time, which is true: what it says is accepted is on the log, the rest is
kept on `snowbus.bad`.

`make faults` sends 10,000 requests.
"""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from support.aio import run
from support.ingest import Ingest, serving
from support.ingest_fuzz import Answer, Fuzzer, Sent, exchange, read_answers

from snowbus.bus.http_protocol import BoundedHttpProtocol
from snowbus.bus.log import open_log

SEED = 8
AT_ONCE = 24
STATUSES = {200, 302, 400, 404, 405, 408, 413, 414, 431}
SETTINGS: dict[str, Any] = {
    "ingest_max_body_bytes": 200_000,
    "ingest_body_timeout": 0.5,
    "ingest_redirect_domains": "shop.example",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that waits for requests and their heads as shortly as for bodies."""
    made = BoundedHttpProtocol.connection_made

    def connection_made(self: BoundedHttpProtocol, transport: asyncio.BaseTransport) -> None:
        self.timeout_keep_alive = 0.5  # type: ignore[assignment]
        made(self, transport)

    monkeypatch.setattr(BoundedHttpProtocol, "connection_made", connection_made)
    monkeypatch.setattr(BoundedHttpProtocol, "head_seconds", 0.5)


async def answers_to(ingest: Ingest, requests: list[Sent]) -> list[list[Answer]]:
    """The answers to each request; each must be complete in time."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask(sent: Sent) -> list[Answer]:
        async with turns:
            return read_answers(await exchange(ingest.address, sent.pieces, timeout=30))

    return await asyncio.gather(*map(ask, requests))


def check_answer(sent: Sent, answers: list[Answer], on_log: Counter[str]) -> None:
    assert {answer.status for answer in answers} <= STATUSES, sent
    whole = b"".join(sent.pieces)
    has_body = b"HEAD" not in whole and b"TRACE" not in whole
    for answer in answers:
        if (tally := answer.tally) is not None:
            assert tally["refused"] >= 1
            assert all(tally["reasons"])
        elif answer.status >= 400 and has_body:
            assert answer.body, sent
    if not sent.exact:
        return
    [answer] = answers
    wanted = 1 if answer.status in (200, 302) else 0
    assert all(on_log[event_id] == wanted for event_id in sent.accepted), (sent, answer)


async def fuzz(log_url: str, count: int) -> str:
    fuzzer = Fuzzer(SEED)
    requests = [fuzzer.next() for _ in range(count)]
    began = time.monotonic()
    async with await open_log(log_url) as log, serving(log, **SETTINGS) as ingest:
        answers = await answers_to(ingest, requests)
        on_log = Counter(event.event_id for event in await ingest.events())
        bad = await ingest.bad()
        for sent, told in zip(requests, answers, strict=True):
            check_answer(sent, told, on_log)
        every = [answer for told in answers for answer in told]
        assert len(bad) == sum(answer.kept for answer in every)
        assert all(headers["reason"] for _, headers in bad)
        assert ingest.metric("snowbus_ingest_events_total") == on_log.total()
        assert await ingest.is_ready()
    statuses = dict(sorted(Counter(answer.status for answer in every).items()))
    return (
        f"{count:,} requests in {time.monotonic() - began:.0f} s: {statuses}; {on_log.total():,} events on the log, "
        f"{len(bad):,} refused and kept; {sum(not told for told in answers)} were none and had no answer"
    )


@pytest.mark.usefixtures("impatient")
def test_every_answer_is_true(sqlite_url: str) -> None:
    run(fuzz(sqlite_url, 250))


@pytest.mark.faults
@pytest.mark.usefixtures("impatient")
def test_every_one_of_10000_answers_is_true(log_url: str) -> None:
    print("\n" + run(fuzz(log_url, 10_000), timeout=600))
