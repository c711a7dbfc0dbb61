"""What a reader may see: which events, whose filter is narrowed to them, and whether personal data is masked.

Pure. The scopes of a token say it:

    events          may read the events of all topics
    topic:NAME      may read those of this topic; `*` may stand at the end
    app_id:NAME     of them only those of this app id, or of another one so named; likewise platform:NAME, event:NAME,
                    event_name:NAME and schema:URI; what is no plain text is percent-encoded
    pii             sees personal data
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from snowbus.bus.errors import FilterError, SnowbusError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.filters import Filter, parse_filter

from .masking import Mask

_LIMITING = ("app_id", "platform", "event", "event_name", "schema")


class NotAllowedError(SnowbusError):
    """What a reader has asked for goes beyond its rights; `reason` is a sentence for whoever asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TokenError(SnowbusError):
    """A token that does not let anybody in: an HTTP `status`, and the `reason`, which holds nothing of the token."""

    def __init__(self, reason: str, *, status: int = 401) -> None:
        super().__init__(f"token: {reason}")
        self.reason = f"token: {reason}"
        self.status = status


@dataclass(frozen=True)
class Rights:
    """One reader's rights: `limits` are ANDed with its filter, `mask` is None when personal data is shown.

    `holder` is whose token it is, for counting, or empty; `until` is when the rights end, in seconds since 1970.
    """

    limits: Filter = field(default_factory=Filter)
    mask: Mask | None = None
    holder: str = ""
    until: float | None = None

    def narrow(self, asked: Filter) -> Filter:
        """What a reader gets that asked for this. Raises NotAllowedError."""
        for name, _ in asked.conditions:
            if self.mask is not None and self.mask.hides_filter(name):
                raise NotAllowedError(f"{name}: this filter needs the scope pii, as it would tell what is masked")
        conditions = dict(asked.conditions)
        for name, allowed in self.limits.conditions:
            for value in conditions.setdefault(name, allowed):
                if value not in allowed:
                    raise NotAllowedError(
                        f"{name}: {value[:200]!r} is not among what the token's scopes allow, {', '.join(allowed)}"
                    )
        return Filter(tuple(sorted(conditions.items())))


EVERY_RIGHT = Rights()


def scopes_of(claims: Mapping[str, Any]) -> list[str]:
    """The scopes in a token's claims: `scope`, a text with blanks between them, or the lists `scp` or `scopes`."""
    found: list[str] = []
    for name in ("scope", "scp", "scopes"):
        value = claims.get(name, ())
        if isinstance(value, str):
            found += value.split()
        elif isinstance(value, list):
            found += [scope for scope in value if isinstance(scope, str)]
    return found


def rights_of(scopes: Iterable[str], *, mask: Mask, holder: str, until: float | None) -> Rights:
    """The rights that scopes give; those that are not ours mean nothing here. Raises NotAllowedError when they let
    nobody read, or when one of ours cannot be understood.
    """
    known = set(scopes)
    topics = [scope.removeprefix("topic:") for scope in known if scope.startswith("topic:")]
    if "events" not in known and not any(map(_is_events_topic, topics)):
        raise NotAllowedError(f"token: has no scope to read here; it needs events, or topic:{EVENTS_TOPIC}")
    pairs = [scope.partition(":")[::2] for scope in sorted(known) if scope.partition(":")[0] in _LIMITING]
    try:
        limits = parse_filter((name, unquote(value)) for name, value in pairs)
    except FilterError as error:
        raise NotAllowedError(f"token: its scope {error}") from None
    return Rights(limits, None if "pii" in known else mask, holder, until)


def _is_events_topic(pattern: str) -> bool:
    return pattern == EVENTS_TOPIC or (pattern.endswith("*") and EVENTS_TOPIC.startswith(pattern[:-1]))
