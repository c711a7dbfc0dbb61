"""What becomes of a record when its handler has returned or raised: done, again later, held, or dead."""

import traceback
from dataclasses import dataclass
from pathlib import Path

from snowbus.bus.backoff import wait_before_retry

from .intents import DeadLetter, Hold, Retry, Skip


@dataclass(frozen=True, slots=True)
class Done:
    """It is done with; `how` is handled or skipped."""

    how: str = "handled"


@dataclass(frozen=True, slots=True)
class Again:
    """It is to be handled again after so many seconds; `failed` when that was a failure, not the handler's wish.

    The reason may be told to everybody, as that of Held.
    """

    reason: str
    wait: float
    failed: bool


@dataclass(frozen=True, slots=True)
class Dead:
    """It will not be handled again. The reason may quote the event; what may be `told` to everybody does not."""

    reason: str
    told: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class Held:
    """It waits, as everything else does, for what the handler needs: for so many seconds where they are told."""

    reason: str
    wait: float | None


class InterruptedCallError(TimeoutError):
    """A call that was ended from outside; the text says why, in our words."""


Outcome = Done | Again | Dead | Held

_LONGEST = 1_000


def judge(
    error: BaseException | None,
    *,
    attempts: int,
    failures: int,
    retries: int | None,
    backoff: float,
    backoff_max: float,
    draw: float,
) -> Outcome:
    """The outcome of an attempt: of so many, itself included, after so many that failed. `draw` (0 to 1) spreads the
    retries.
    """
    match error:
        case None | Skip():
            return Done("handled" if error is None else "skipped")
        case Retry():
            wait = error.delay
            if wait is None:
                wait = wait_before_retry(attempts, backoff, maximum=backoff_max, draw=draw)
            return Again(error.reason, wait, failed=False)
        case Hold():
            return Held(error.reason, error.delay)
        case DeadLetter():
            return Dead(error.reason, error.reason, error)
        case _ if retries is not None and failures >= retries:
            tries = f"{failures + 1} attempts" if failures else "the only attempt"
            return Dead(f"failed in {tries}: {describe(error)}", f"failed in {tries}: {tell(error)}", error)
        case _:
            wait = wait_before_retry(failures + 1, backoff, maximum=backoff_max, draw=draw)
            return Again(tell(error), wait, failed=True)


def tell(error: BaseException) -> str:
    """What may be told to everybody of an exception: what it is, and the line that raised it.

    What it says may quote the event, and with it personal data; a dead letter has that.
    """
    if isinstance(error, InterruptedCallError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    name = type(error).__name__
    return f"{name} in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else name


def describe(error: BaseException) -> str:
    """An exception in one line, of bounded length."""
    try:
        text = " ".join(str(error)[:_LONGEST].split())
    except Exception:  # noqa: BLE001 - how it describes itself is the handler's, too
        text = "it cannot be described"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
