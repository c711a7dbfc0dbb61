"""What a handler may raise to say what becomes of its record: later, never mind, to the dead letters, or all hold."""

from snowbus.bus.errors import SnowbusError

_LONGEST_SECONDS = 10 * 365 * 86_400


class Intent(SnowbusError):  # noqa: N818 - it is what a handler wants, not what went wrong
    """The base of what a handler raises on purpose."""


class Retry(Intent):
    """Handle the record again in `delay` seconds (when None, after the consumer's backoff, longer with each attempt).

    It is no failure: it may be raised as often as need be, and never makes a dead letter. Meanwhile the later records
    of the same key wait, and no others do. `overloaded` says that what the handler needs has too much to do: where
    the concurrency is `Adaptive`, there are fewer calls at once.
    """

    def __init__(
        self, reason: str = "the handler asked for it", *, delay: float | None = None, overloaded: bool = False
    ) -> None:
        super().__init__(reason)
        _check_delay(delay)
        self.reason = reason
        self.delay = delay
        self.overloaded = overloaded


class Skip(Intent):
    """There is nothing to do for this record; it counts as skipped."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class DeadLetter(Intent):
    """The record will never succeed: put it among the dead letters now, without another attempt.

    Where a server refused it, `status` and `response` are what it answered; they go with the dead letter.
    """

    def __init__(self, reason: str, *, status: int | None = None, response: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.response = response


class Hold(Intent):
    """What the handler needs is away: hold everything, and call it again in `delay` seconds (when None, after the
    consumer's backoff, which grows as long as it is away).

    Until then it is not called at all; then with one record or batch, to see; and when that does not raise Hold, with
    all others. It is no failure: the records wait, in their order, and none becomes a dead letter.
    """

    def __init__(self, reason: str, *, delay: float | None = None) -> None:
        super().__init__(reason)
        _check_delay(delay)
        self.reason = reason
        self.delay = delay


def _check_delay(delay: float | None) -> None:
    if delay is not None and not 0 <= delay <= _LONGEST_SECONDS:
        raise ValueError(f"a delay is a number of seconds from 0 to {_LONGEST_SECONDS:,}, not {str(delay)[:40]}")
