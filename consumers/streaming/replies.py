"""What was said to a gateway and has a reply, in the order in which the replies come."""

import asyncio
from collections import deque
from collections.abc import Sequence

from snowbus.bus.errors import StreamRequestError

Reply = asyncio.Future[None]


class Replies:
    """The replies that are awaited. Whoever waits for one is not held up by a lost connection."""

    def __init__(self) -> None:
        self._awaited: deque[tuple[str, Reply]] = deque()

    def expect(self, kind: str) -> Reply:
        """A reply to a message of this kind will come, after those that are awaited already."""
        reply: Reply = asyncio.get_running_loop().create_future()
        self._awaited.append((kind, reply))
        return reply

    def arrive(self) -> None:
        """The next reply is there."""
        if self._awaited:
            _settle(self._awaited.popleft()[1])

    def refuse(self, code: str, reason: str) -> bool:
        """The next reply is a refusal; False when none is awaited."""
        if not self._awaited:
            return False
        kind, reply = self._awaited.popleft()
        if not reply.done():
            reply.set_exception(StreamRequestError(kind, code=code, reason=reason))
        return True

    def begin_anew(self, unsaid: Sequence[str]) -> list[str]:
        """Another connection is there, which asked for everything but these kinds. Returns what is to be said to it,
        in the order in which the replies are awaited then.
        """
        before, self._awaited = self._awaited, deque()
        for kind, reply in before:
            if kind in unsaid:
                self._awaited.append((kind, reply))
            else:
                _settle(reply)
        for kind in set(unsaid) - {kind for kind, _ in self._awaited}:
            _settle(self.expect(kind))  # nobody waits for it
        return [kind for kind, _ in self._awaited]


def _settle(reply: Reply) -> None:
    if not reply.done():
        reply.set_result(None)
