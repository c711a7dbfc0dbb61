"""The webhook: what each answer means for the event, in virtual time and against a real server."""

import json
import threading
import time
from contextlib import asynccontextmanager, nullcontext
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import aiohttp
import pytest
from support.aio import soon
from support.consuming import append, consume, records_of

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.event import DEAD_TOPIC
from snowbus.cli import exit_codes
from snowbus.consumers.examples.webhook import seconds_of, sentence_of, webhook
from snowbus.consumers.testing import event, run_consumer


def send(*answers, events=1, users=1):
    """Run the example on some events of some users, against these answers and then 200: (status, headers), or what is
    raised. Returns the result and the calls.
    """
    calls, left = [], list(answers)

    @asynccontextmanager
    async def post(**request):
        calls.append(request)
        answer = left.pop(0) if left else (200, {})
        if isinstance(answer, Exception):
            raise answer

        async def text(errors):
            return "what it says"

        yield SimpleNamespace(status=answer[0], headers=answer[1], text=text)

    sent = [event(event_id=str(number), user_id=f"u{number % users}") for number in range(events)]
    return run_consumer(webhook, sent, lifespan=lambda: nullcontext(post)), calls


def test_an_event_is_sent_as_json_with_its_id_as_the_key():
    result, (call,) = send((204, {}))
    assert (call["json"]["event"], call["json"]["user_id"]) == ("page_view", "u0")
    assert call["headers"] == {"Idempotency-Key": "0"}
    assert result.handled == 1


NO_CONNECTION = aiohttp.ClientConnectorError(SimpleNamespace(host="hooks", port=443, ssl=True), OSError("refused"))


@pytest.mark.parametrize("answer", [(500, {}), (408, {}), (302, {}), TimeoutError(), aiohttp.ClientError()], ids=repr)
def test_an_event_that_may_do_better_is_sent_again_for_as_long_as_it_takes(answer):
    result, calls = send(*[answer] * 6)
    assert (len(calls), result.handled, result.retries, result.dead_letters) == (7, 1, 6, [])
    assert 1 < result.elapsed < 300


@pytest.mark.parametrize("answer", [(503, {}), (429, {}), (401, {}), (404, {}), NO_CONNECTION], ids=repr)
def test_while_the_receiver_takes_nothing_nothing_is_sent_but_one_event_now_and_then(answer):
    result, calls = send(*[answer] * 6, events=3, users=3)
    assert (len(calls), result.handled, result.held, result.dead_letters) == (9, 3, 6, [])
    assert 1 < result.elapsed < 300


def test_an_event_that_waits_holds_back_its_user():
    _, calls = send((500, {}), events=2)
    assert [call["headers"]["Idempotency-Key"] for call in calls] == ["0", "0", "1"]


@pytest.mark.parametrize("status", [400, 410, 413, 422])
def test_an_event_that_is_refused_is_a_dead_letter_at_once(status):
    result, calls = send((status, {}))
    assert (len(calls), result.handled) == (1, 0)
    assert [dead.reason for dead in result.dead_letters] == [f"HTTP {status}: what it says"]


def test_retry_after_is_obeyed():
    result, _ = send((429, {"Retry-After": "60"}))
    assert 60 <= result.elapsed < 62


def test_retry_after_is_read_within_reason():
    assert seconds_of("120") == 120
    assert 118 < seconds_of(formatdate(time.time() + 120, usegmt=True)) <= 120
    assert seconds_of("99999999") == 3600
    assert seconds_of("nonsense") is seconds_of("") is None


def test_without_a_url_it_does_not_begin():
    with pytest.raises(ConfigurationError, match="WEBHOOK_URL is not set"):
        run_consumer(webhook, [event()])


@pytest.mark.parametrize("url", ["nonsense", "ftp://hooks.example/", "https://", "http://hooks:port/", "http://[::1/"])
def test_with_a_url_that_is_none_it_does_not_begin(monkeypatch, url):
    monkeypatch.setenv("WEBHOOK_URL", url)
    with pytest.raises(ConfigurationError, match="WEBHOOK_URL is no"):
        run_consumer(webhook, [event()])


def test_a_connection_that_is_refused_is_told_in_words():
    refused = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")
    error = aiohttp.ClientConnectorError(SimpleNamespace(host="hooks", port=443, ssl=True), refused)
    assert sentence_of(error) == "Connection refused"
    assert sentence_of(aiohttp.ServerDisconnectedError()) == "Server disconnected"
    assert sentence_of(aiohttp.ClientError()) == "ClientError"


class Receiver(ThreadingHTTPServer):
    """Answers each event as its title asks the first time, and takes it when it comes again."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.taken, self.seen = [], set()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/events"

    def __exit__(self, *error):
        self.shutdown()
        super().__exit__(*error)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["event_id"] == self.headers["Idempotency-Key"]
        title = body["page_title"] if body["event_id"] not in self.server.seen or body["page_title"] == "400" else "200"
        self.server.seen.add(body["event_id"])
        if title == "reset":
            self.close_connection = True
            return
        if title == "200":
            self.server.taken.append(body["event_id"])
        self.send_response(int(title))
        self.send_header("Content-Length", "0")
        if title == "429":
            self.send_header("Retry-After", "1")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_every_event_reaches_a_server_that_fails_in_several_ways(tmp_path, sqlite_url, monkeypatch):
    titles = ["200", "503", "429", "reset", "400", "200"]
    append(sqlite_url, [event(event_id=str(n), user_id=f"u{n}", page_title=title) for n, title in enumerate(titles)])
    with Receiver() as receiver:
        monkeypatch.setenv("WEBHOOK_URL", receiver.url)
        with consume(tmp_path, sqlite_url, "snowbus.consumers.examples.webhook") as process:
            soon(lambda: len(receiver.taken) == 5 and "4" in receiver.seen)
            assert process.stop() == exit_codes.OK
    assert sorted(receiver.taken) == ["0", "1", "2", "3", "5"]
    assert [record.header("event_id") for record in records_of(sqlite_url, DEAD_TOPIC)] == [b"4"]
    assert "Unclosed" not in "".join(process.diagnostics)
