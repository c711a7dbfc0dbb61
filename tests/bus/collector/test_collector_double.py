"""The collector double refuses and loses what a real collector does: else tests of a forwarder would show nothing."""

import gzip
import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
import pytest
from support.certificates import Authority, Certificate
from support.collector_double import MAX_BODY_BYTES, PATH, CollectorDouble
from support.collector_faults import (
    BAD_WEATHER,
    Early,
    close_before_answer,
    random_weather,
    redirect,
    retry_after,
    status,
    take_and_reset,
    too_large_early,
)
from support.collector_ledger import SCHEMA
from support.sending import TAKEN, post

EVENT = {"tv": "t", "p": "srv", "e": "pv", "eid": "1", "uid": "me"}
JSON = "application/json; charset=utf-8"


def envelope(*events: Any, schema: str = SCHEMA) -> bytes:
    return orjson.dumps({"schema": schema, "data": list(events)})


def send(
    collector: CollectorDouble,
    body: bytes = envelope(EVENT),
    *,
    method: str = "POST",
    path: str = PATH,
    **headers: str,
) -> http.client.HTTPResponse:
    """Send a request with a client that knows nothing of ours."""
    connection = http.client.HTTPConnection(collector.host, collector.port, timeout=10)
    fields = {"Content-Type": JSON} | {name.replace("_", "-"): text for name, text in headers.items()}
    connection.request(method, path, body, fields)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.fixture
def collector() -> Iterator[CollectorDouble]:
    with CollectorDouble() as running:
        yield running


def test_what_is_right_is_taken(collector: CollectorDouble) -> None:
    answer = send(collector, envelope(EVENT, {**EVENT, "eid": "2"}))
    assert answer.status == 200
    assert collector.event_ids == ["1", "2"]
    assert collector.violations == []
    assert "sp=" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("content_type", ["application/json", JSON, "application/json; charset=UTF-8"])
def test_the_content_types_of_trackers_are_taken(collector: CollectorDouble, content_type: str) -> None:
    send(collector, content_type=content_type)
    assert collector.event_ids == ["1"]


@pytest.mark.parametrize(
    ("method", "path", "code"), [("POST", "/", 404), ("POST", "/com.acme/track", 404), ("PUT", PATH, 405)]
)
def test_another_path_or_method_is_refused(collector: CollectorDouble, method: str, path: str, code: int) -> None:
    assert send(collector, method=method, path=path).status == code
    assert len(collector.violations) == 1
    assert collector.accepted == []


BAD_ROWS: dict[str, bytes] = {
    "no JSON": b"{",
    "nothing": b"",
    "no envelope": orjson.dumps([EVENT]),
    "more in the envelope": orjson.dumps({"schema": SCHEMA, "data": [EVENT], "x": 1}),
    "another version of the schema": envelope(EVENT, schema=SCHEMA.replace("1-0-4", "1-0-5")),
    "no events": envelope(),
    "an event that is no object": envelope("x"),
    "a number for a text": envelope({**EVENT, "vid": 1}),
    "a null for a text": envelope({**EVENT, "vid": None}),
    "an event in an event": envelope({**EVENT, "co": {}}),
    "no tv": envelope({**EVENT, "tv": ""}),
    "no p": envelope({name: text for name, text in EVENT.items() if name != "p"}),
    "no e": envelope({name: text for name, text in EVENT.items() if name != "e"}),
    "a parameter that the schema does not have": envelope(EVENT, {**EVENT, "colour": "red"}),
    "a name twice": envelope(EVENT).replace(b'"uid":"me"', b'"uid":"me","uid":"you"'),
    "one wrong among many": envelope(*[EVENT] * 10, {"e": "pv"}),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_what_enrich_makes_a_bad_row_of_gets_its_200_and_is_lost(collector: CollectorDouble, name: str) -> None:
    assert send(collector, BAD_ROWS[name]).status == 200
    assert len(collector.violations) == 1
    assert collector.accepted == []


def test_whitespace_and_escapes_are_no_fault(collector: CollectorDouble) -> None:
    send(collector, envelope(EVENT).replace(b'"me"', b'"m\\u0065"').replace(b",", b" ,\n"))
    assert (collector.event_ids, collector.violations) == (["1"], [])


@pytest.mark.parametrize("content_type", ["text/plain", "application/json;charset=utf-8", "application/xml"])
def test_another_content_type_is_lost(collector: CollectorDouble, content_type: str) -> None:
    assert send(collector, content_type=content_type).status == 200
    assert [payload["eid"] for payload in collector.lost] == ["1"]
    assert collector.accepted == []


def sized(size: int) -> bytes:
    bare = len(envelope({**EVENT, "page": ""}))
    return envelope({**EVENT, "page": "x" * (size - bare)})


def test_a_body_of_a_mebibyte_is_taken_and_one_byte_more_is_lost(collector: CollectorDouble) -> None:
    assert send(collector, sized(MAX_BODY_BYTES)).status == 200
    assert (len(collector.accepted), len(collector.lost)) == (1, 0)
    assert send(collector, sized(MAX_BODY_BYTES + 1)).status == 200
    assert (len(collector.accepted), len(collector.lost)) == (1, 1)
    assert collector.violations == [f"a body of {MAX_BODY_BYTES + 1} bytes"]


def test_a_body_of_two_mebibytes_gets_a_413(collector: CollectorDouble) -> None:
    assert send(collector, sized(2 * MAX_BODY_BYTES)).status == 200
    assert send(collector, sized(2 * MAX_BODY_BYTES + 1)).status == 413
    assert len(collector.violations) == 2


def test_a_cookie_is_a_violation(collector: CollectorDouble) -> None:
    send(collector, cookie="sp=1")
    assert collector.violations == ["a cookie, 'sp=1'"]


def test_gzip_is_unpacked_only_when_told(collector: CollectorDouble) -> None:
    packed = gzip.compress(envelope(EVENT))
    assert send(collector, packed, content_encoding="gzip").status == 415
    collector.takes_gzip = True
    assert send(collector, packed, content_encoding="br").status == 415
    assert collector.accepted == []
    assert send(collector, packed, content_encoding="gzip").status == 200
    assert collector.event_ids == ["1"]
    assert collector.requests[-1].body == envelope(EVENT)
    send(collector, packed[:-1], content_encoding="gzip")
    assert len(collector.violations) == 1


def test_the_size_that_counts_is_the_unpacked_one(collector: CollectorDouble) -> None:
    collector.takes_gzip = True
    send(collector, gzip.compress(sized(MAX_BODY_BYTES + 1)), content_encoding="gzip")
    assert (len(collector.accepted), len(collector.lost)) == (0, 1)


def test_who_does_not_say_who_it_is_gets_a_401(collector: CollectorDouble) -> None:
    collector.authorization = "Basic x"
    assert send(collector).status == 401
    assert send(collector, authorization="Basic y").status == 401
    assert send(collector, authorization="Basic x").status == 200
    assert collector.event_ids == ["1"]


def test_chosen_events_are_refused_with_the_status_chosen(collector: CollectorDouble) -> None:
    collector.refused = {"7": 422}
    assert send(collector, envelope(EVENT, {**EVENT, "eid": "7"})).status == 422
    assert send(collector).status == 200
    assert collector.event_ids == ["1"]


def test_behaviours_are_used_up_in_order_and_then_all_is_well(collector: CollectorDouble) -> None:
    collector.respond(*[status(503)] * 3, redirect("http://elsewhere.example"), retry_after(7, 429))
    answers = [send(collector) for _ in range(6)]
    assert [answer.status for answer in answers] == [503, 503, 503, 302, 429, 200]
    assert answers[3].headers["Location"] == "http://elsewhere.example"
    assert answers[4].headers["Retry-After"] == "7"
    assert collector.event_ids == ["1"]


def test_events_may_be_taken_without_a_word(collector: CollectorDouble) -> None:
    collector.respond(take_and_reset(), close_before_answer())
    for _ in range(2):
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            send(collector)
    assert collector.event_ids == ["1"]


def test_the_ledger_knows_how_often_when_and_in_which_order(collector: CollectorDouble) -> None:
    other = {**EVENT, "eid": "2", "uid": "you"}
    third = {**EVENT, "eid": "3"}
    collector.respond(status(503), take_and_reset())
    send(collector, envelope(EVENT))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        send(collector, envelope(EVENT, other))
    send(collector, envelope(third, EVENT))
    assert collector.attempts == {"1": 3, "2": 1, "3": 1}
    assert collector.duplicates == {"1": 2}
    assert collector.order() == {"me": ["1", "3"], "you": ["2"]}
    first, second = collector.taken_at["1"]
    assert first < second


def test_weather_is_the_same_for_the_same_seed(collector: CollectorDouble) -> None:
    seen = []
    for seed in (1, 1, 2):
        weather = random_weather(seed, good=0.5)
        seen.append([weather() for _ in range(50)])
    assert seen[0] == seen[1] != seen[2]
    assert set(seen[0]) <= {None, *BAD_WEATHER.values()}
    assert 10 < seen[0].count(None) < 40
    collector.weather = random_weather(3, good=0.0, bad={"503": status(503)})
    collector.respond(status(500))
    assert [send(collector).status for _ in range(3)] == [500, 503, 503]


def test_an_answer_may_come_before_the_request_is_read(collector: CollectorDouble) -> None:
    collector.respond(too_large_early(reads=False), Early(status(400), reads=True))
    with socket.create_connection((collector.host, collector.port)) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1_000).startswith(b"HTTP/1.1 413 ")
    assert len(collector.requests) == 1


def test_it_listens_with_tls(good: Certificate, authority: Authority) -> None:
    with CollectorDouble(tls=good.server()) as collector:
        assert post(collector.url, collect_ssl_cafile=str(authority.file)) == [TAKEN]


def test_it_goes_down_and_comes_up_where_it_was(collector: CollectorDouble) -> None:
    send(collector)
    collector.down()
    with pytest.raises(ConnectionError):
        send(collector)
    collector.up()
    send(collector)
    assert collector.event_ids == ["1", "1"]


def test_as_a_process_it_shows_its_ledger() -> None:
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-m", "support.collector_double", "--weather", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tests) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            with urlopen(f"{url}/ledger", timeout=10) as answer:
                ledger = orjson.loads(answer.read())
        finally:
            process.terminate()
    assert ledger == {"requests": 0, "accepted": [], "lost": [], "attempts": {}, "violations": []}
