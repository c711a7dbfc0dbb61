"""Through a proxy: what it sees, and that its answers are not taken for the collector's."""

import asyncio
from base64 import b64encode
from typing import Any

import pytest
import uvloop
from support.aio import run
from support.certificates import Authority, Certificate
from support.collector_double import CollectorDouble
from support.sending import BODY, TAKEN, error_of, post, sender

from snowbus.bus.collector.verdicts import Answer, NoAnswer


class HttpProxy:
    """An HTTP proxy that knows CONNECT and absolute URLs, and remembers what it was asked for."""

    def __init__(self, *, answer: bytes = b"") -> None:
        self.heads: list[bytes] = []
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self._answer:
            writer.write(self._answer)
            writer.close()
            return
        method, target, _ = head.split(b" ", 2)
        host = target.removeprefix(b"http://").split(b"/")[0]
        name, _, port = host.decode().rpartition(":")
        to_reader, to_writer = await asyncio.open_connection(name, int(port))
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            to_writer.write(head.replace(b"http://" + host, b"", 1))
        await asyncio.gather(self._copy(reader, to_writer), self._copy(to_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()


def through(proxy: HttpProxy, collector: str, *, credentials: str = "", **settings: Any) -> Answer | NoAnswer:
    async def main() -> Answer | NoAnswer:
        async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
            url = f"http://{credentials}127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with sender(collector, collect_proxy=url, **settings) as opened:
                outcome = await opened.post(BODY)
        return outcome

    return run(main(), loop_factory=uvloop.new_event_loop)


def test_a_proxy_is_gone_through_with_its_credentials() -> None:
    proxy = HttpProxy()
    with CollectorDouble() as collector:
        assert through(proxy, collector.url, credentials="me:s3cret@") == TAKEN
    (head,) = proxy.heads
    assert head.startswith(f"POST {collector.url}{collector.path} HTTP/1.1\r\n".encode())
    assert b"\r\nProxy-Authorization: Basic " + b64encode(b"me:s3cret") in head


def test_over_tls_a_proxy_sees_a_tunnel_and_nothing_in_it(authority: Authority, good: Certificate) -> None:
    proxy = HttpProxy()
    with CollectorDouble(tls=good.server()) as collector:
        outcome = through(
            proxy,
            collector.url,
            credentials="me:s3cret@",
            collect_ssl_cafile=str(authority.file),
            collect_username="us",
        )
        assert outcome == TAKEN
        assert "proxy-authorization" not in collector.requests[0].headers
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT 127.0.0.1:{collector.port} HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic " + b64encode(b"me:s3cret") in head
    assert b"\r\nAuthorization" not in head


@pytest.mark.parametrize(("code", "configuration"), [(400, True), (403, True), (407, True), (502, False), (503, False)])
def test_the_answer_of_a_proxy_to_connect_is_not_the_collectors(
    authority: Authority, *, code: int, configuration: bool
) -> None:
    proxy = HttpProxy(answer=b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % code)
    outcome = through(proxy, "https://collector.example", collect_ssl_cafile=str(authority.file))
    assert outcome == NoAnswer(f"the proxy answered {code}", configuration=configuration)


def test_a_proxy_that_is_away_is_told_from_a_collector_that_is() -> None:
    with CollectorDouble() as gone:
        url = gone.url
    assert "cannot connect to the proxy" in error_of("http://collector.example", collect_proxy=url).error


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with CollectorDouble() as collector:
        assert post(collector.url) == [TAKEN]
