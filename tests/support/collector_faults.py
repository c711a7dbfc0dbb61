"""What the collector double does in the place of a good answer: every way in which a real one, or what stands before
it, may fail a forwarder.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[bool]]
"""Answers in the place of a good collector. True means that it took the events."""


@dataclass(frozen=True)
class Early:
    """Answers when only the head of a request is there, and closes; `reads` says whether it reads the body before."""

    answer: Behaviour
    reads: bool = False


Weather = Callable[[], Behaviour | None]
"""Says what the next request meets; None is a good collector."""


def response(code: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer."""
    # A real collector sets a cookie; a forwarder that kept it would give all its events one network user id.
    fields = {"Content-Length": str(len(body)), "Set-Cookie": "sp=made-up; Path=/", **(headers or {})}
    head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    return f"HTTP/1.1 {code:03} Status\r\n{head}\r\n".encode() + body


def status(code: int, body: str = "", **headers: str) -> Behaviour:
    """Answer with a status; `retry_after="1"` is a header."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.write(response(code, body.encode(), {name.replace("_", "-"): text for name, text in headers.items()}))
        return 200 <= code < 300

    return answer


def redirect(location: str, code: int = 302) -> Behaviour:
    """Send the client elsewhere."""
    return status(code, location=location)


def retry_after(seconds: float, code: int = 503, *, date: bool = False) -> Behaviour:
    """Ask to be left alone for so long, in seconds or by a date (of whole seconds, rounded up)."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        moment = datetime.now(UTC) + timedelta(seconds=seconds + 0.999)
        text = format_datetime(moment, usegmt=True) if date else f"{seconds:g}"
        return await status(code, retry_after=text)(writer)

    return answer


def close_before_answer() -> Behaviour:
    """Reset the connection without a word."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.transport.abort()
        return False

    return answer


def close_quietly() -> Behaviour:
    """Close the connection in order, and without a word."""
    return close_mid_response(b"")


def close_mid_response(sent: bytes = b"HTTP/1.1 200 OK\r\nContent-Le") -> Behaviour:
    """Break off in the middle of an answer."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.write(sent)
        await writer.drain()
        writer.close()
        return False

    return answer


def reset_mid_response(sent: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\no") -> Behaviour:
    """Reset the connection in the middle of an answer."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.write(sent)
        await asyncio.sleep(0.02)  # for it to be read, which a reset may prevent
        writer.transport.abort()
        return False

    return answer


def take_and_reset() -> Behaviour:
    """Take the events, and reset the connection before saying so."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.transport.abort()
        return True

    return answer


def hang(seconds: float) -> Behaviour:
    """Say nothing for a while, then break off."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(seconds)
        writer.close()
        return False

    return answer


def slow_bytes(
    every: float,
    *,
    begins: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
    each: bytes = b".",
    count: int = 1_000,
) -> Behaviour:
    """Begin a good answer and let the rest trickle, never to its end."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.write(begins)
        for _ in range(count):
            writer.write(each)
            await writer.drain()
            await asyncio.sleep(every)
        writer.close()
        return False

    return answer


def late(seconds: float) -> Behaviour:
    """Take the events, and say so after a while."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(seconds)
        writer.write(response(200, b"ok"))
        return True

    return answer


def huge_body(code: int = 400, size: int = 50_000_000) -> Behaviour:
    """Answer with far more than anybody wants to read."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.write(f"HTTP/1.1 {code} Status\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // 10_000):
            writer.write(b"x" * 10_000)
            await writer.drain()
        return 200 <= code < 300

    return answer


def interim(count: int = 2, code: int = 103) -> Behaviour:
    """Send 1xx answers before the real one, and take the events."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.write(f"HTTP/1.1 {code} Early\r\nLink: </x>\r\n\r\n".encode() * count + response(200, b"ok"))
        return True

    return answer


def answer_and_close(*, told: bool) -> Behaviour:
    """Take the events, say so and close the connection; `told` says whether the answer says that it will."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.write(response(200, b"ok", {"Connection": "close"} if told else None))
        await writer.drain()
        writer.close()
        return True

    return answer


def too_large_early(*, reads: bool) -> Early:
    """Answer 413 while the request is still being sent, and close: after reading it, or at once."""
    return Early(status(413, "too large", connection="close"), reads=reads)


BAD_WEATHER: Mapping[str, Behaviour] = {
    "429": retry_after(0.02, 429),
    "500": status(500, "boom"),
    "503": status(503),
    "reset": close_before_answer(),
    "taken and reset": take_and_reset(),
    "broken off": close_mid_response(),
    "late": late(0.05),
}
"""What may heal, quick enough for tests; "taken and reset" and "late" take the events."""


def random_weather(seed: int, *, good: float = 0.7, bad: Mapping[str, Behaviour] = BAD_WEATHER) -> Weather:
    """A share of `good` answers, and among the others each kind as often; the same for the same seed."""
    chance = random.Random(seed)
    kinds = list(bad.values())

    def next_one() -> Behaviour | None:
        return None if chance.random() < good else chance.choice(kinds)

    return next_one
