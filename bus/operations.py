"""What every role answers to those who run it: `/health`, `/ready` and `/metrics`."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from .metrics import Metrics

PATHS = ("/health", "/ready", "/metrics")


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes


class Operations:
    """Answers the three paths; `reason_not_ready` tells why the role cannot work now, or an empty string."""

    def __init__(self, metrics: Metrics, reason_not_ready: Callable[[], Awaitable[str]]) -> None:
        self._metrics = metrics
        self._reason_not_ready = reason_not_ready

    async def answer(self, path: str) -> Answer | None:
        """The answer for a path, or None when it is not one of the three."""
        if path == "/health":
            return Answer(200, "text/plain; charset=utf-8", b"alive\n")
        if path == "/ready":
            reason = await self._reason_not_ready()
            return Answer(503 if reason else 200, "text/plain; charset=utf-8", f"{reason or 'ready'}\n".encode())
        if path == "/metrics":
            return Answer(200, self._metrics.content_type, self._metrics.render())
        return None
