"""What comes of looking up a schema, and for how long that is remembered. Pure: time is what the caller says it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from .uri import IgluUri

NOT_FOUND_SECONDS = 60.0
"""After how long a schema that no registry had is asked for anew; sooner when the resolver's cacheTtl is shorter."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
"""After how long registries that gave no answer are asked anew: the first, doubled with each failure up to the last."""
_NEGATIVES = 1_000


class Problem(NamedTuple):
    """What is wrong with data: at which JSON pointer, what was expected, what came, and where the schema says so."""

    path: str
    expected: str
    got: str
    schema_path: str = ""


class Checks(Protocol):
    """What data can be checked with: a schema."""

    def problems(self, data: Any) -> list[Problem]:
        """What is wrong with data."""


@dataclass(frozen=True, slots=True)
class Found:
    """A registry has the schema."""

    schema: Checks
    registry: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A registry has something in the schema's place that cannot be used as a schema."""

    registry: str
    reason: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """Each of the registries said that it does not have the schema."""

    registries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Whether data is right cannot be known: registries gave no answer, or have not yet, or a schema is beyond us."""

    reason: str


Lookup = Found | Unusable | NotFound | Unreachable


class Lookups(NamedTuple):
    """What is known of schemas; a schema that is not in it is unknown yet. `is_strict` says whether a schema that no
    registry has makes an event invalid.
    """

    by_uri: Mapping[IgluUri, Lookup]
    is_strict: bool


class Remembered(NamedTuple):
    """A look-up, until when (on the caller's clock) it need not be made anew, and how many failed since it was."""

    lookup: Lookup
    until: float
    failures: int = 0


class LookupMemory:
    """Remembers so many schemas that were found, for `ttl` seconds (None: for good), and a thousand that were not.

    They are apart, so that events with made-up schemas cannot make us forget those that there are.
    """

    def __init__(self, *, size: int, ttl: float | None) -> None:
        self._size = size
        self._ttl = float("inf") if ttl is None else ttl
        self._found: dict[IgluUri, Remembered] = {}
        self._others: dict[IgluUri, Remembered] = {}

    def get(self, uri: IgluUri) -> Remembered | None:
        """What is remembered of a schema, also when it is time to look it up anew."""
        remembered = self._found.pop(uri, None)
        if remembered is None:
            return self._others.get(uri)
        self._found[uri] = remembered  # used last, so forgotten last
        return remembered

    def put(self, uri: IgluUri, lookup: Lookup, *, now: float) -> Remembered:
        """Remember a look-up; returns what is remembered then, as a failed one does not replace a better one."""
        before = self._found.pop(uri, None) or self._others.pop(uri, None)
        match lookup:
            case Found():
                made = Remembered(lookup, now + self._ttl)
            case Unreachable():
                failures = before.failures + 1 if before else 1
                wait = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10))
                made = Remembered(before.lookup if before else lookup, now + wait, failures)
                if isinstance(made.lookup, Unreachable):
                    made = made._replace(lookup=lookup)
            case _:
                made = Remembered(lookup, now + min(NOT_FOUND_SECONDS, self._ttl))
        kept, size = (self._found, self._size) if isinstance(made.lookup, Found) else (self._others, _NEGATIVES)
        kept[uri] = made
        if len(kept) > size:
            del kept[next(iter(kept))]
        return made
