"""Sends every event to a URL, as JSON in a POST: at least once, and those of one user in order.

    WEBHOOK_URL=https://hooks.example/events snowbus consume snowbus.consumers.examples.webhook

A 2xx is a yes. What may heal is sent again, later and later, or when Retry-After says; an event that is refused is a
dead letter. Whoever receives them knows an event that comes again by its Idempotency-Key, which is the event's id.
"""

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import parsedate_to_datetime
from functools import partial

import aiohttp

from snowbus.consumers import DeadLetter, Record, Retry, consumer

Post = Callable[..., AbstractAsyncContextManager[aiohttp.ClientResponse]]

# With these the receiver, or we, must be put right; the event itself may be good.
NOT_THE_EVENT = {401, 403, 404, 405, 407, 408, 425, 429}
LONGEST_WAIT = 3600.0


@asynccontextmanager
async def posting() -> AsyncIterator[Post]:
    """Posts to the URL, over connections that are kept."""
    if not (url := os.environ.get("WEBHOOK_URL")):
        raise RuntimeError("WEBHOOK_URL is not set; it says where events are sent")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield partial(session.post, url, allow_redirects=False)


@consumer("snowbus.events", group_id="webhook", concurrency=16, lifespan=posting)
async def webhook(record: Record, post: Post) -> None:
    """Send one event."""
    later = min(300.0, 2.0 ** min(record.attempt, 9))
    try:
        async with post(json=record.event, headers={"Idempotency-Key": record.event_id}) as answer:
            status, wait = answer.status, answer.headers.get("Retry-After", "")
            said = await answer.text(errors="replace")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Retry(f"no answer: {error!r}", delay=later) from error
    if 200 <= status < 300:
        return
    if 400 <= status < 500 and status not in NOT_THE_EVENT:
        raise DeadLetter(f"HTTP {status}: {said[:200]}")
    raise Retry(f"HTTP {status}", delay=seconds_of(wait, otherwise=later))


def seconds_of(retry_after: str, *, otherwise: float) -> float:
    """The seconds in a Retry-After, which is a number of them or a date."""
    if retry_after.isascii() and retry_after.isdigit():
        return min(LONGEST_WAIT, float(retry_after))
    try:
        moment = parsedate_to_datetime(retry_after).timestamp()
    except ValueError:
        return otherwise
    return min(LONGEST_WAIT, max(0.0, moment - time.time()))
