"""The time as records and events tell it."""

import time


def now_ms() -> int:
    """Now, in ms since 1970."""
    return time.time_ns() // 1_000_000
