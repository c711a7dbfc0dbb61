"""When a verification of live events is over: all has come and nothing too much, or time is up."""

from dataclasses import dataclass

ALL_SEEN = "all was seen"
TIME_IS_UP = "time was up"
ALL_READ = "all that was there was read"


@dataclass(slots=True)
class Patience:
    """Waits `timeout` seconds at most, once all that was there at the beginning has come; and `settle` seconds after
    all that is expected was seen, for what must not come.
    """

    timeout: float
    settle: float
    _live_since: float | None = None
    _all_since: float | None = None

    def is_over(self, now: float, *, is_live: bool, has_seen_all: bool) -> str:
        """Why it is over `now` (in seconds, of any clock); an empty string when it is not."""
        if is_live and self._live_since is None:
            self._live_since = now
        if self._live_since is None:
            return ""
        if has_seen_all and self._all_since is None:
            self._all_since = now
        if self._all_since is not None and now - self._all_since >= self.settle:
            return ALL_SEEN
        if now - self._live_since < self.timeout:
            return ""
        return TIME_IS_UP if self.timeout else ALL_READ
