"""What a slow reader is sent of what it is behind by, when it would rather skip than catch up from the log.

Pure. Both ways look at a bounded number of entries, whatever the reader is behind by.
"""

from collections import Counter

from snowbus.bus.cursor import RunningCursor, decode_cursor
from snowbus.bus.event import TopicPartition
from snowbus.bus.start import Gap

from .channel import Channel
from .frames import gap_frame
from .ring import Entry, Ring

KEPT_EVENTS = 100
"""A reader who is behind by no more is sent all of it; of more, it is sent about so many."""

SLOW_SECONDS = 1.0
"""Who has been behind for so long, or was passed by the ring, is slow; in a burst everybody is behind for a moment."""

_LOOKED_AT = 1_000


def newest(ring: Ring, channel: Channel, most: int) -> int:
    """The sequence number from which on there are at most so many events that the channel wants."""
    sequence, found = ring.end, 0
    for entry in reversed(ring.read(max(ring.oldest, ring.end - _LOOKED_AT), _LOOKED_AT)):
        found += entry.record is not None and channel.wants(sequence - 1, entry)
        if found > most:
            break
        sequence -= 1
    return sequence


def sample(ring: Ring, channel: Channel, start: int, most: int) -> list[Entry]:
    """At most so many of the events that the channel wants, spread over what the ring has from `start` on, and all
    the gaps that it has there, in their order.
    """
    start = max(start, ring.oldest)
    count = ring.end - start
    step = max(1, count // _LOOKED_AT)
    entries = ring.read(start, count)
    wanted = [
        place
        for place in range(0, count, step)
        if entries[place].record is not None and channel.wants(start + place, entries[place])
    ]
    gaps = [place for place, entry in enumerate(entries) if entry.gap is not None]
    chosen = wanted[:: -(-len(wanted) // most)] if wanted else []
    return [entries[place] for place in sorted(chosen + gaps)]


def skipped_frames(before: bytes, after: bytes, skipped: Counter[TopicPartition]) -> list[bytes]:
    """The frames that tell how many events of each partition are skipped between two cursors."""
    first, last = decode_cursor(before.decode()), RunningCursor(decode_cursor(after.decode()))
    return [
        gap_frame(after, Gap(partition, first.get(partition, 0), last.positions[partition], count, "slow"))
        for partition, count in sorted(skipped.items())
        if count > 0
    ]
