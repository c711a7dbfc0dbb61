"""What every role answers to those who run it: `/health`, `/ready` and `/metrics`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from .errors import LogError
from .http_server import AsgiApp, Receive, Scope, Send
from .metrics import Metrics

PATHS = ("/health", "/ready", "/metrics")
_LOG_ANSWERS_SECONDS = 3.0


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes


async def reason_unanswered(question: Awaitable[object]) -> str:
    """Why the log gives no answer to a question, which shows whether it can be used now; or an empty string."""
    try:
        async with asyncio.timeout(_LOG_ANSWERS_SECONDS):
            await question
    except TimeoutError:
        return f"the log does not answer within {_LOG_ANSWERS_SECONDS:g} s"
    except LogError as error:
        return str(error)
    return ""


class Operations:
    """Answers the three paths; `reason_not_ready` tells why the role cannot work now, `reason_not_alive` why only
    a restart can help; each an empty string when it is well.
    """

    def __init__(
        self,
        metrics: Metrics,
        reason_not_ready: Callable[[], Awaitable[str]],
        *,
        reason_not_alive: Callable[[], str] = str,
    ) -> None:
        self._metrics = metrics
        self._reason_not_ready = reason_not_ready
        self._reason_not_alive = reason_not_alive

    async def answer(self, path: str) -> Answer | None:
        """The answer for a path, or None when it is not one of the three."""
        if path == "/health":
            reason = self._reason_not_alive()
            return Answer(503 if reason else 200, "text/plain; charset=utf-8", f"{reason or 'alive'}\n".encode())
        if path == "/ready":
            reason = await self._reason_not_ready()
            return Answer(503 if reason else 200, "text/plain; charset=utf-8", f"{reason or 'ready'}\n".encode())
        if path == "/metrics":
            return Answer(200, self._metrics.content_type, self._metrics.render())
        return None


def operations_app(operations: Operations) -> AsgiApp:
    """An HTTP application that answers the three paths and nothing else."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        answer = await operations.answer(scope["path"]) or _NOT_FOUND
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    return app


_NOT_FOUND = Answer(404, "text/plain; charset=utf-8", b"/health, /ready and /metrics are all there is\n")
