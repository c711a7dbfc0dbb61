"""How much a reader may say."""


class TokenBucket:
    """Allows `size` things at once, and one a second in the long run."""

    def __init__(self, size: int, *, now: float) -> None:
        self._size = float(size)
        self._left = self._size
        self._refilled_at = now

    def take(self, now: float) -> bool:
        """Whether one more is allowed at `now`, in seconds."""
        self._left = min(self._size, self._left + now - self._refilled_at)
        self._refilled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
