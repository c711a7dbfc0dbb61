"""Whatever is sent to the port of a role that has only /health, /ready and /metrics harms nobody.

`FUZZ=3000` sends so many requests, other ones each time.
"""

import os
import time
from pathlib import Path

from support.aio import run
from support.asking import get
from support.ingest_fuzz import Fuzzer, exchange, read_answers
from support.snowbus import Process, environment

REQUESTS = int(os.environ.get("FUZZ", "120"))
SEED = time.time_ns() if "FUZZ" in os.environ else 1
ANSWERS = {200, 400, 404, 405, 408, 413, 414, 431, 501, 503}


async def fuzz(address: str) -> set[int]:
    """Send requests, and return the statuses of the answers."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    fuzzer, statuses = Fuzzer(SEED), set[int]()
    for _ in range(REQUESTS):
        sent = fuzzer.next()
        pieces = [piece.replace(b"/tracking", b"/metrics").replace(b"/i?", b"/ready?") for piece in sent.pieces]
        told = await exchange((host, int(port)), pieces, timeout=10.0, is_all=not sent.exact)
        answers = read_answers(told)
        assert all(answer.status in ANSWERS for answer in answers), (sent, answers)
        assert answers or not sent.exact, sent
        statuses |= {answer.status for answer in answers}
    assert (await get(address, "/health", "Connection: close")).status == 200
    return statuses


def test_the_port_of_a_role_that_takes_no_events_stands_whatever_is_sent(tmp_path: Path) -> None:
    arguments = ("collect", "--collector", "http://127.0.0.1:9", "--listen", "127.0.0.1:0")
    with Process(*arguments, cwd=tmp_path, variables=environment(logging_format="json")) as process:
        assert run(fuzz(process.address("collect")), timeout=600) >= {200, 404}
        assert process.stop() == 0
    told = "".join(process.diagnostics)
    assert "Traceback" not in told
    assert '"level": "error"' not in told
