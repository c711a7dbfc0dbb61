"""What a commit says beside the offset: the offsets after it that are done already, and how the work stands.

It is one JSON object, at most METADATA_LIMIT bytes, in the metadata of the commit, so that whoever takes the partition
over, and `snowbus status`, read it where they read the offset.
"""

from dataclasses import asdict, dataclass
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.errors import JsonError
from snowbus.bus.log.interface import METADATA_LIMIT, Committed

from .done_ranges import decode_ranges, encode_ranges
from .offsets import Position

_DONE_LIMIT = METADATA_LIMIT - 1_000
_FIT_ALWAYS = 200  # ranges, at ten bytes each
_ERROR_CHARACTERS = 160
_NEVER_MS = 253_402_300_800_000  # the year 10000


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a partition's consumer stood at the time `at`; times are in ms since 1970.

    `left` says that it gave the partition up then. `waiting` counts the records that wait for a retry, the first until
    `next_try`; `stuck_since` is when a call began that takes far too long and cannot be ended; `last_error` is empty
    when there was none lately.
    """

    at: int
    left: bool = False
    in_flight: int = 0
    waiting: int = 0
    next_try: int | None = None
    stuck_since: int | None = None
    last_error: str = ""


def write_metadata(position: Position, progress: Progress | None) -> str:
    """The metadata of a commit; without progress, for who does not work on the partition."""
    fields: dict[str, Any] = {}
    if progress is not None:
        fields = {name: value for name, value in asdict(progress).items() if value}
        if progress.last_error:
            fields["last_error"] = _one_line(progress.last_error)
    if done := encode_ranges(position.offset, position.done, limit=_DONE_LIMIT):
        fields["done"] = done
    return json_text.dumps(fields) if fields else ""


def left_out(position: Position, metadata: str) -> int:
    """How many records that are done behind a committed offset its metadata has no room for."""
    if len(position.done) <= _FIT_ALWAYS:
        return 0
    told = read_position(Committed(position.offset, metadata))
    return sum(stop - first for first, stop in position.done[len(told.done) :])


def read_position(committed: Committed) -> Position:
    """The position that was committed; metadata that is not ours says nothing."""
    done = _fields(committed).get("done", "")
    try:
        return Position(committed.offset, decode_ranges(committed.offset, done) if isinstance(done, str) else ())
    except ValueError:
        return Position(committed.offset)


def read_progress(committed: Committed) -> Progress | None:
    """How the work stood at the commit; None when it does not say, as what others than ours commit."""
    fields = _fields(committed)
    at = _time(fields.get("at"))
    if at is None:
        return None
    last_error = fields.get("last_error")
    return Progress(
        at=at,
        left=fields.get("left") is True,
        in_flight=_count(fields.get("in_flight")),
        waiting=_count(fields.get("waiting")),
        next_try=_time(fields.get("next_try")),
        stuck_since=_time(fields.get("stuck_since")),
        last_error=_one_line(last_error) if isinstance(last_error, str) else "",
    )


def _fields(committed: Committed) -> dict[str, Any]:
    try:
        fields = json_text.loads(committed.metadata)
    except JsonError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _time(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < _NEVER_MS else None


def _one_line(text: str) -> str:
    """The beginning of a text on one line, with nothing in it that a terminal would obey."""
    line = " ".join(text[: 10 * _ERROR_CHARACTERS].split())[:_ERROR_CHARACTERS]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
