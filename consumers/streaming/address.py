"""What to ask a gateway for, as a URL: what cannot work fails here, before anything is connected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from snowbus.bus.errors import ConfigurationError, FilterError
from snowbus.bus.filters import Filter, parse_filter

from ..websocket_protocol import EVENTS_PATH, GROUP_OPTIONS, Policy

_POLICIES = get_args(Policy)
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_SINGLE = ("from", "policy", "group", *GROUP_OPTIONS, "token")


@dataclass(frozen=True)
class Asked:
    """A subscription: the gateway's address, where to start (empty: as the gateway likes), the filter, the token of
    the URL, and the parameters of slow readers and groups.
    """

    base: str
    start: str
    filter: Filter
    token: str
    options: tuple[tuple[str, str], ...]

    @property
    def group(self) -> str:
        """The group, or an empty string."""
        return dict(self.options).get("group", "")

    def url(self, *, start: str, wanted: Filter, deliveries: str) -> str:
        """The URL that asks for it from `start` on, with another filter; without the token, which a header carries."""
        pairs = [("from", start)] if start else []
        pairs += [(name, value) for name, values in wanted.conditions for value in values]
        pairs += [*self.options] if self.group else [("deliveries", deliveries), *self.options]
        return f"{self.base}?{urlencode(pairs, quote_via=quote)}"


def read_address(url: str, *, filters: Mapping[str, Any], **options: Any) -> Asked:
    """What a URL and the keywords beside it ask for; a keyword that is None is not given.

    `http://` is as good as `ws://`, and an address without a path is that of a gateway. Raises ConfigurationError, and
    FilterError for a filter.
    """
    base, in_url = _split(url)
    given = {name: str(value) for name, value in options.items() if value is not None}
    for name in _SINGLE:
        values = [value for other, value in in_url if other == name]
        if len(values) + (name in given) > 1:
            raise ConfigurationError(f"{name}: it is given twice, for {base}")
        if values:
            given[name] = values[0]
    pairs = [pair for pair in in_url if pair[0] not in _SINGLE and pair != ("deliveries", "false")]
    if any(name == "deliveries" for name, _ in pairs):
        raise ConfigurationError("deliveries: the URL cannot ask for them; give on_deliveries=FUNCTION")
    if twice := {name for name, _ in pairs} & set(filters):
        raise ConfigurationError(f"{min(twice)}: it is given in the URL and beside it")
    start, token = given.pop("from", ""), given.pop("token", "")
    _check(given)
    return Asked(base, start, parse_filter([*pairs, *filter_pairs(filters)]), token, tuple(given.items()))


def filter_pairs(filters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Filters as name-value pairs. Raises FilterError for a value that is no text."""
    pairs = []
    for name, value in filters.items():
        if isinstance(value, bool):
            value = str(value).lower()  # noqa: PLW2901 - as the wire has it
        values = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (None,)
        if not all(isinstance(each, str) for each in values):
            raise FilterError(name, f"{value!r} is no text, and not several")
        pairs += [(name, each) for each in values]
    return pairs


def _split(url: str) -> tuple[str, list[tuple[str, str]]]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"{url!r} is not a URL: {error}") from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not host:
        raise ConfigurationError(f"{url!r} is not the URL of a gateway; write ws://HOST:8081{EVENTS_PATH}")
    if parts.fragment:
        raise ConfigurationError(f"{url!r}: what follows the # would not be sent; write %23 when you mean it")
    path = parts.path if parts.path not in ("", "/") else EVENTS_PATH
    return f"{scheme}://{parts.netloc}{path}", parse_qsl(parts.query, keep_blank_values=True)


def _check(given: Mapping[str, str]) -> None:
    policy, group = given.get("policy"), given.get("group")
    if policy is not None and policy not in _POLICIES:
        raise ConfigurationError(f"policy={policy!r}: it is one of {', '.join(_POLICIES)}")
    if policy is not None and group is not None:
        raise ConfigurationError("policy: a group has none, as it leaves nothing out")
    if group == "":
        raise ConfigurationError("group: it is empty")
    for name in GROUP_OPTIONS:
        if name not in given:
            continue
        if group is None:
            raise ConfigurationError(f"{name}: it is for a group; give group=NAME, too")
        _check_number(name, given[name])


def _check_number(name: str, text: str) -> None:
    try:
        number = int(text) if name == "max_in_flight" else float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise ConfigurationError(f"{name}={text}: it is a number above 0")
