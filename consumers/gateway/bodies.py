"""The bodies of messages that several readers of history take one after the other: each is made once."""

from snowbus.bus.event import Record

from ..masking import Mask
from ..reading import Reading

_MAX_BYTES = 32_000_000


class Bodies:
    """The latest bodies that were asked for. A record that has another's place, as on a log made anew, has its own."""

    def __init__(self, *, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: dict[tuple[Record, Mask | None], bytes] = {}

    def of(self, reading: Reading, mask: Mask | None) -> bytes:
        """As `reading.body(mask)`."""
        key = reading.record, mask
        body = self._kept.get(key)
        if body is None:
            body = self._kept[key] = reading.body(mask)
            self._bytes += _size(key[0], body)
            while self._bytes > self._max_bytes:
                oldest = next(iter(self._kept))
                self._bytes -= _size(oldest[0], self._kept.pop(oldest))
        return body


def _size(record: Record, body: bytes) -> int:
    return len(record.value) + len(body)
