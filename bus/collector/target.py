"""What the settings say of the collectors: where to POST, as whom, with which headers, through which proxy.

What is secret goes into requests and nowhere else: not into names, not into errors, not into a `repr`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from ..basic_authorization import basic_authorization
from ..errors import ConfigurationError
from ..shown_urls import without_secrets
from ..tracker_protocol import COLLECTOR_PATH

if TYPE_CHECKING:  # it takes a tenth of a second, which emitters have no other need for
    from ..settings import Settings

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)
_CLIENTS = frozenset({"cookie", "sp-anonymous"})


@dataclass(frozen=True, slots=True)
class Target:
    """A collector: the URL to POST to, without credentials, and an Authorization header ('' for none).

    `name` is the URL without its query, where some keep a key.
    """

    url: str = field(repr=False)
    name: str
    host: str
    authorization: str = field(default="", repr=False)

    @property
    def secure(self) -> bool:
        """Whether it is reached over TLS."""
        return self.url.startswith("https:")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy: its URL without credentials, and a Proxy-Authorization header ('' for none)."""

    url: str
    authorization: str = field(default="", repr=False)


def targets_of(settings: Settings) -> list[Target]:
    """The collectors, in order of preference. Raises ConfigurationError when there is none, or one that cannot be."""
    if not settings.collector:
        raise ConfigurationError(
            "no collector to forward to: give --collector http://HOST:PORT (or SNOWBUS_COLLECTOR), the URL that "
            "trackers would send to"
        )
    usual = basic_authorization("collect_username", settings.collect_username, settings.collect_password)
    targets = [target_of(text, authorization=usual) for text in settings.collector]
    urls = [target.url for target in targets]
    for target in targets:
        if urls.count(target.url) > 1:
            raise ConfigurationError(f"collector {target.name!r} is given twice")
    return targets


def headers_of(
    lines: Sequence[str], targets: Sequence[Target], *, setting: str = "collect_headers"
) -> list[tuple[str, str]]:
    """The further headers of each request, given as `Name: value`. Raises ConfigurationError for one that cannot be
    sent.
    """
    headers = []
    for number, line in enumerate(lines, start=1):
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not (colon and _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise ConfigurationError(f"{setting}: number {number} is not 'Name: value' on one line")
        if name.lower() in _OURS:
            raise ConfigurationError(f"{setting}: {name} is Snowbus' own to set")
        if name.lower() in _CLIENTS:
            raise ConfigurationError(f"{setting}: {name} would be taken for that of every client")
        if name.lower() == "authorization" and any(target.authorization for target in targets):
            raise ConfigurationError(f"{setting}: there are an Authorization and a user name; give one of them")
        headers.append((name, value))
    return headers


def proxy_of(settings: Settings) -> Proxy | None:
    """The proxy to go through, or None. Raises ConfigurationError when it cannot be one."""
    if not settings.collect_proxy:
        return None
    parts = _split(settings.collect_proxy)
    if parts is None or parts.scheme != "http" or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigurationError(
            f"collect_proxy {without_secrets(settings.collect_proxy)!r} is not like http://HOST:PORT"
        )
    return Proxy(_without_credentials(parts), _authorization_in(parts, "collect_proxy"))


def target_of(text: str, *, authorization: str = "") -> Target:
    """The collector at a URL; `authorization` is for one that has no user name in it. Raises ConfigurationError."""
    parts = _split(text)
    if parts is None or parts.scheme not in ("http", "https") or parts.fragment:
        raise ConfigurationError(
            f"collector {without_secrets(text)!r} is not a URL like http://HOST:PORT or https://HOST/com.acme/track"
        )
    if parts.path in ("", "/"):
        parts = parts._replace(path=COLLECTOR_PATH)
    url = _without_credentials(parts)
    own = _authorization_in(parts, "collector")
    return Target(url, url.partition("?")[0], parts.hostname or "", own or authorization)


def _split(text: str) -> SplitResult | None:
    """The parts of a URL that has a host and, if any, a possible port; else None."""
    try:
        parts = urlsplit(text)
        possible = bool(parts.hostname) and parts.port != 0 and not re.search(r"[\s\x00-\x1f\x7f]", text)
    except ValueError:
        return None
    return parts if possible else None


def _without_credentials(parts: SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _authorization_in(parts: SplitResult, setting: str) -> str:
    return basic_authorization(setting, unquote(parts.username or ""), unquote(parts.password or ""))
