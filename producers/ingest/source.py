"""Who sent a request: what its head tells, and what of that goes on the event's record.

Source: Snowplow's Stream Collector. A request with the header `SP-Anonymous` gives neither address nor network user
id; everything else it gives like any other.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

from snowbus.bus.atomic_fields import MAX_LENGTHS
from snowbus.bus.errors import ConfigurationError

Network = IPv4Network | IPv6Network

_MAX_TEXT = 255
_HEADERS = (
    ("user_agent", b"user-agent", MAX_LENGTHS["useragent"]),
    ("referer", b"referer", MAX_LENGTHS["page_referrer"]),
    ("accept_language", b"accept-language", MAX_LENGTHS["br_lang"]),
    ("content_type", b"content-type", _MAX_TEXT),
    ("host", b"host", _MAX_TEXT),
)
"""By its name in the source, each header, and how much of it is kept: every event of the request carries it."""


class Head(NamedTuple):
    """A request without its body; header names are in lower case, `client` is the address of the connection."""

    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    client: str

    @property
    def anonymous(self) -> bool:
        """Whether the sender asks to stay unknown."""
        return b"sp-anonymous" in self.headers


def head_of(scope: Mapping[str, Any]) -> Head:
    """The head of a request in an ASGI scope; its path is the one below where the app is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root:
        path = path.removeprefix(root)
    client = scope.get("client")
    return Head(scope["method"], path, scope["query_string"], _combined(scope["headers"]), client[0] if client else "")


def source_of(head: Head, *, network_userid: str | None, proxies: Sequence[Network]) -> dict[str, str]:
    """The `source` of the events in a request; what is unknown is absent, what is too long cut."""
    headers = head.headers
    source = {"method": head.method, "path": head.path[:_MAX_TEXT]}
    for name, header, most in _HEADERS:
        value = headers.get(header)
        if value:
            source[name] = header_text(value)[:most]
    if not head.anonymous:
        if network_userid:
            source["network_userid"] = network_userid
        ip = client_ip(head, proxies=proxies)
        if ip:
            source["ip"] = ip
    return source


def client_ip(head: Head, *, proxies: Sequence[Network]) -> str:
    """The address of the sender, or an empty string.

    `X-Forwarded-For` is believed as far as trusted proxies wrote it: from its right end, the first address that is not
    a trusted proxy's.
    """
    ip = _connection_ip(head.client)
    forwarded = head.headers.get(b"x-forwarded-for")
    if not forwarded or not is_from_proxy(head, proxies):
        return ip
    for hop in reversed(header_text(forwarded).split(",")):
        before = _plain_ip(hop)
        if not before:
            break
        ip = before
        if not _is_trusted(ip, proxies):
            break
    return ip


def is_from_proxy(head: Head, proxies: Sequence[Network]) -> bool:
    """Whether a trusted proxy passed the request on, so that its `X-Forwarded-…` headers are believed."""
    return _is_trusted(_connection_ip(head.client), proxies)


def parse_networks(texts: Sequence[str], *, setting: str = "ingest_trusted_proxies") -> tuple[Network, ...]:
    """Networks in CIDR notation; a single address is a network of one. Raises ConfigurationError for the setting."""
    try:
        return tuple(ip_network(text, strict=False) for text in texts)
    except ValueError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


def header_text(value: bytes) -> str:
    """A header as text: UTF-8 where it is, else Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _combined(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name, those that are repeated joined as HTTP has it."""
    by_name = dict(headers)
    if len(by_name) != len(headers):
        for name in by_name:
            separator = b"; " if name == b"cookie" else b", "
            by_name[name] = separator.join(value for key, value in headers if key == name)
    return by_name


def _is_trusted(ip: str, proxies: Sequence[Network]) -> bool:
    if not proxies or not ip:
        return False
    address = ip_address(ip)
    return any(address in network for network in proxies)


@lru_cache(maxsize=4096)
def _connection_ip(address: str) -> str:
    return _plain_ip(address)


def _plain_ip(text: str) -> str:
    """An address without brackets, port, zone or the wrapping of IPv4 in IPv6; empty when it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    text = text.partition("%")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)
