"""What a commit says beside the offset: the offsets after it that are done already, and how the work stands.

It is one JSON object, at most METADATA_LIMIT bytes, in the metadata of the commit, so that whoever takes the partition
over, and `snowbus status`, read it where they read the offset.
"""

from dataclasses import dataclass
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.errors import JsonError
from snowbus.bus.log.interface import METADATA_LIMIT, Committed

from .done_ranges import decode_ranges, encode_ranges
from .offsets import Position

_DONE_LIMIT = METADATA_LIMIT - 1_000
_ERROR_CHARACTERS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a partition's consumer stood at the time `at`; times are in ms since 1970.

    `waiting` counts the records that wait for a retry, the first until `next_try`; `last_error` is empty when there
    was none lately.
    """

    at: int
    in_flight: int = 0
    waiting: int = 0
    next_try: int | None = None
    last_error: str = ""


def write_metadata(position: Position, progress: Progress | None) -> str:
    """The metadata of a commit; without progress, the partition is left."""
    fields: dict[str, Any] = {}
    if progress is not None:
        fields = {"at": progress.at, "in_flight": progress.in_flight, "waiting": progress.waiting}
        if progress.next_try is not None:
            fields["next_try"] = progress.next_try
        if progress.last_error:
            fields["last_error"] = progress.last_error[:_ERROR_CHARACTERS]
    if done := encode_ranges(position.offset, position.done, limit=_DONE_LIMIT):
        fields["done"] = done
    return json_text.dumps(fields) if fields else ""


def read_position(committed: Committed) -> Position:
    """The position that was committed; metadata that is not ours says nothing."""
    done = _fields(committed).get("done", "")
    try:
        return Position(committed.offset, decode_ranges(committed.offset, done) if isinstance(done, str) else ())
    except ValueError:
        return Position(committed.offset)


def read_progress(committed: Committed) -> Progress | None:
    """How the work stood at the commit; None when nobody has the partition, or it is not ours."""
    fields = _fields(committed)
    if not isinstance(fields.get("at"), int):
        return None
    next_try, last_error = fields.get("next_try"), fields.get("last_error")
    return Progress(
        at=fields["at"],
        in_flight=_count(fields.get("in_flight")),
        waiting=_count(fields.get("waiting")),
        next_try=next_try if isinstance(next_try, int) else None,
        last_error=last_error if isinstance(last_error, str) else "",
    )


def _fields(committed: Committed) -> dict[str, Any]:
    try:
        fields = json_text.loads(committed.metadata)
    except JsonError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
