"""What becomes of events: the counts of an emitter, and what it tells whoever asked to be told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from snowbus.bus.payload import Payload

Kind = Literal["delivered", "refused", "dropped", "spooled", "retried"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of so many events, and why, where that is not plain; `payloads` are theirs.

    Of those that were dropped, and of those that went to the spool, there are none.
    """

    kind: Kind
    count: int
    reason: str = ""
    payloads: Sequence[Payload] = ()


OnOutcome = Callable[[Outcome], object]


@dataclass
class Counts:
    """How many events had which outcome, since the process began.

    `delivered`: durable at their destination. `refused`: no events, or never taken; kept where there is a place for
    them. `dropped`: lost, because the queue was full, or the end came. `spooled`: written to the spool, to leave later.
    `retried`: sent in vain, once for each try. `damaged`: pieces of the spool that are no events any more.
    `spool_failures`: how often the spool took nothing, being full, or on a full disk.
    """

    delivered: int = 0
    refused: int = 0
    dropped: int = 0
    spooled: int = 0
    retried: int = 0
    damaged: int = 0
    spool_failures: int = 0


class Depth(NamedTuple):
    """How much waits in an emitter, and how much more may.

    `queued` events wait in memory, which has room for `queue_free` more; `spooled` are those that this process holds in
    the spool. Its folder has `spool_bytes`, of all who share it, and room for `spool_free_bytes` more.
    """

    queued: int
    queue_free: int
    spooled: int = 0
    spool_bytes: int = 0
    spool_free_bytes: int = 0
