"""What a reader may see: which events, whose filter is narrowed to them, and whether personal data is masked.

Pure. The scopes of a token say it:

    events          may read the events of all topics
    topic:NAME      may read those of this topic; `*` may stand at the end
    app_id:NAME     of them only those of this app id, or of another one so named; likewise platform:NAME, event:NAME,
                    event_name:NAME and schema:URI; what is no plain text is percent-encoded
    group:NAME      may be in this group, and in no other that is not named so; `*` may stand at the end
    pii             sees personal data

Who may read some events only may be in no group that is not named: a group is done with what its connections do not
want.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from snowbus.bus.errors import FilterError, SnowbusError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.filters import Filter, parse_filter

from ..masking import Mask

_LIMITING = ("app_id", "platform", "event", "event_name", "schema")
_NAMING = ("topic:", "group:")
SCOPES = ("events", "pii", *_NAMING, *(f"{name}:" for name in _LIMITING))
"""All that there are; of those that end in a colon, how they begin."""


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
    """One reader's rights: `limits` are ANDed with its filter, `mask` is None when personal data is shown, `groups` are
    the patterns of the groups that it may be in, None for all.

    `holder` is whose token it is, for counting, or empty; `until` is when the rights end, in seconds since 1970;
    `proof` is the digest of the token, or of the key that it is signed with, which may be taken away before.
    """

    limits: Filter = field(default_factory=Filter)
    mask: Mask | None = None
    groups: tuple[str, ...] | None = None
    holder: str = ""
    until: float | None = None
    proof: bytes = b""

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

    def check_group(self, name: str) -> None:
        """Raises NotAllowedError when it may not be in this group."""
        if self.groups is not None and not any(_matches(name, pattern) for pattern in self.groups):
            raise NotAllowedError(f"group: the token needs the scope group:{quote(name, safe='')}")


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


def is_scope(text: str) -> bool:
    """Whether it is a scope of ours, and not one of another's, or a mistake."""
    kind, colon, _ = text.partition(":")
    return kind + colon in SCOPES


def rights_of(
    scopes: Iterable[str], *, mask: Mask, holder: str, until: float | None = None, proof: bytes = b""
) -> Rights:
    """The rights that scopes give; those that are not ours mean nothing here. Raises NotAllowedError when they let
    nobody read, or when one of ours cannot be understood.
    """
    known = set(scopes)
    topics, groups = ([scope[len(kind) :] for scope in sorted(known) if scope.startswith(kind)] for kind in _NAMING)
    if "events" not in known and not any(_matches(EVENTS_TOPIC, pattern) for pattern in topics):
        raise NotAllowedError(f"token: has no scope to read here; it needs events, or topic:{EVENTS_TOPIC}")
    pairs = [scope.partition(":")[::2] for scope in sorted(known) if scope.partition(":")[0] in _LIMITING]
    try:
        limits = parse_filter((name, unquote(value)) for name, value in pairs)
    except FilterError as error:
        raise NotAllowedError(f"token: its scope {error}") from None
    return Rights(
        limits,
        mask=None if "pii" in known else mask,
        groups=tuple(groups) if groups or limits else None,
        holder=holder,
        until=until,
        proof=proof,
    )


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern, percent-encoded, means this name; an encoded `*` is just that."""
    if pattern.endswith("*"):
        return name.startswith(unquote(pattern[:-1]))
    return name == unquote(pattern)
