"""Sends every event to a URL, as JSON in a POST: at least once, and those of one user in order.

    WEBHOOK_URL=https://hooks.example/events snowbus consume snowbus.consumers.examples.webhook

A 2xx is a yes. What may heal is sent again, later and later, or when Retry-After says; an event that is refused is a
dead letter. While the receiver is away, or takes nothing from us, nothing is sent but one event now and then, to see.
Whoever receives events knows one that comes again by its Idempotency-Key, which is the event's id.
"""

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urlsplit

import aiohttp

from snowbus.consumers import DeadLetter, Hold, Record, Retry, consumer

Post = Callable[..., AbstractAsyncContextManager[aiohttp.ClientResponse]]

# With these the receiver, or we, must be put right, and no event is to blame.
AWAY = {401, 403, 404, 405, 407, 429, 502, 503}
TOO_LATE_OR_EARLY = {408, 425}
LONGEST_WAIT = 3600.0


@asynccontextmanager
async def posting() -> AsyncIterator[Post]:
    """Posts to the URL, over connections that are kept."""
    url = checked_url(os.environ.get("WEBHOOK_URL", ""))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield partial(session.post, url, allow_redirects=False)


@consumer("snowbus.events", group_id="webhook", concurrency=16, backoff=2.0, backoff_max=300.0, lifespan=posting)
async def webhook(record: Record, post: Post) -> None:
    """Send one event."""
    try:
        async with post(json=record.event, headers={"Idempotency-Key": record.event_id}) as answer:
            status, wait = answer.status, seconds_of(answer.headers.get("Retry-After", ""))
            said = await answer.text(errors="replace")
    except aiohttp.ClientConnectorError as error:
        raise Hold(f"no connection to {error.host}:{error.port}: {sentence_of(error)}") from error
    except TimeoutError as error:
        raise Retry("no answer in time") from error
    except aiohttp.ClientError as error:
        raise Retry(f"no answer: {sentence_of(error)}") from error
    if status in AWAY:
        raise Hold(f"HTTP {status}", delay=wait)
    if 400 <= status < 500 and status not in TOO_LATE_OR_EARLY:
        raise DeadLetter(f"HTTP {status}: {said[:200]}")
    if not 200 <= status < 300:
        raise Retry(f"HTTP {status}", delay=wait)


def checked_url(url: str) -> str:
    """The URL, if events can be sent there. Raises RuntimeError."""
    if not url:
        raise RuntimeError("WEBHOOK_URL is not set; it says where events are sent")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RuntimeError(f"WEBHOOK_URL is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise RuntimeError("WEBHOOK_URL is not an http:// or https:// URL with a host")
    return url


def sentence_of(error: Exception) -> str:
    """What happened, in words."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return sentence_of(error.os_error)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def seconds_of(retry_after: str) -> float | None:
    """The seconds in a Retry-After, which is a number of them or a date; None where it says nothing."""
    if retry_after.isascii() and retry_after.isdigit():
        return min(LONGEST_WAIT, float(retry_after))
    try:
        moment = parsedate_to_datetime(retry_after).timestamp()
    except ValueError:
        return None
    return min(LONGEST_WAIT, max(0.0, moment - time.time()))
