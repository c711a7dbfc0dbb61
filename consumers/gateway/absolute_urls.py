"""Which URLs a browser's `new URL(…)` surely takes; what it might not take becomes one that it does.

Pure. Source: the WHATWG URL standard, "URL parsing"; stricter than that where its rules are long.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

UNKNOWN_HOST = "https://host-unknown.invalid/"
"""What stands before a URL that does not say where it is; `.invalid` is no host (RFC 2606)."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#\\]*))?(.*)", re.DOTALL)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]*)(?::([0-9]{0,5}))?")
_SPECIAL = frozenset({"http", "https", "ws", "wss", "ftp", "file"})
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def absolute_url(text: str) -> str:
    """The text itself where it is an absolute URL; else one with the same path at an unknown host."""
    return text if is_absolute(text) else UNKNOWN_HOST + text.lstrip("/\\ ")


def is_absolute(text: str) -> bool:
    """Whether `new URL(text)` surely does not throw. Some that it takes are told apart as little as others."""
    match = _URL.fullmatch(text)
    if match is None or match[3].startswith("\\"):
        return False
    scheme, authority = match[1].lower(), match[2]
    special = scheme in _SPECIAL
    if authority is None:
        return not special
    if scheme == "file" and ":" in authority:  # a file has no port
        return False
    return _is_authority(authority, special=special, may_be_empty=not special or scheme == "file")


def _is_authority(authority: str, *, special: bool, may_be_empty: bool) -> bool:
    if not authority:
        return may_be_empty
    match = _HOST.fullmatch(authority)
    if match is None or not match[1] or int(match[2] or 0) > 65_535:
        return False
    host = match[1]
    if host.startswith("["):
        return _is_address(IPv6Address, host.strip("[]"))
    if not special:
        return True
    labels = host.removesuffix(".").split(".")
    if not all(labels) or any(label.lower().startswith("xn--") for label in labels):
        return False
    return not _NUMBER.fullmatch(labels[-1]) or _is_address(IPv4Address, host)


def _is_address(kind: type[IPv4Address] | type[IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True
