"""The collector's cookie, which carries the network user id.

Source: Snowplow's Stream Collector: the id is the `nuid` of the query string, else the cookie, else a new one; the
cookie is set again with each answer, for the first of its domains that the page's origin lies in.
"""

import re
from uuid import uuid4

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.settings import Settings

from .requests import parse_query
from .source import Head

_SECONDS_A_DAY = 86_400
# RFC 6265's cookie-octets, as long as Snowplow's column for the id.
_USABLE = re.compile(r"[!#-+\--:<-\[\]-~]{1,128}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
_DOMAIN = re.compile(r"[A-Za-z0-9.-]*")
_ATTRIBUTES = ("SameSite=None", "SameSite=Lax", "SameSite=Strict", "Secure", "HttpOnly", "Partitioned")


class Cookies:
    """Tells senders apart by the cookie that the settings describe. Raises ConfigurationError when it cannot work."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.ingest_cookie_name
        self._domains = tuple(domain.lower().removeprefix(".") for domain in settings.ingest_cookie_domains)
        self._fallback = settings.ingest_cookie_fallback_domain
        attributes = _attributes(settings.ingest_cookie_attributes)
        age = settings.ingest_cookie_days * _SECONDS_A_DAY
        self._rest = "; ".join((f"Max-Age={age}", "Path=/", *attributes))
        if not _NAME.fullmatch(self._name):
            raise ConfigurationError(f"ingest_cookie_name: {self._name!r} cannot be the name of a cookie")
        for domain in (*self._domains, self._fallback):
            if not _DOMAIN.fullmatch(domain):
                raise ConfigurationError(f"ingest_cookie_domains: {domain!r} is no domain, for example shop.example")

    def identify(self, head: Head) -> tuple[str | None, bytes | None]:
        """The network user id of a sender and the cookie that keeps it; both None for who stays anonymous."""
        if head.anonymous:
            return None, None
        network_userid = parse_query(head.query).get("nuid") if b"nuid=" in head.query else None
        if network_userid is None or not is_usable(network_userid):
            network_userid = None
        if not self._name:
            return network_userid, None
        if network_userid is None and b"cookie" in head.headers:
            network_userid = read_cookie(head.headers[b"cookie"], self._name)
        network_userid = network_userid or str(uuid4())
        domain = self._domain_for(head.headers.get(b"origin", b""))
        where = f"Domain={domain}; " if domain else ""
        return network_userid, f"{self._name}={network_userid}; {where}{self._rest}".encode()

    def _domain_for(self, origin: bytes) -> str:
        """The first of the domains that an origin's host is, or lies below."""
        if self._domains and origin:
            host = origin.decode("latin-1").lower().rpartition("://")[2].partition("/")[0].partition(":")[0]
            for domain in self._domains:
                if host == domain or host.endswith(f".{domain}"):
                    return domain
        return self._fallback


def is_usable(network_userid: str) -> bool:
    """Whether an id can stand in a cookie."""
    return _USABLE.fullmatch(network_userid) is not None


def read_cookie(header: bytes, name: str) -> str | None:
    """The value of a cookie in a `Cookie` header, when it can be an id."""
    for pair in header.decode("latin-1").split(";"):
        key, _, value = pair.partition("=")
        if key.strip() == name:
            value = value.strip().strip('"')
            return value if is_usable(value) else None
    return None


def _attributes(text: str) -> list[str]:
    """The attributes in a text. Raises ConfigurationError for what browsers do not know, or refuse."""
    known = {attribute.lower(): attribute for attribute in _ATTRIBUTES}
    parts = [part.strip() for part in text.split(";") if part.strip()]
    for part in parts:
        if part.lower() not in known:
            raise ConfigurationError(f"ingest_cookie_attributes: {part!r} is none of {', '.join(_ATTRIBUTES)}")
    found = [known[part.lower()] for part in parts]
    if ("SameSite=None" in found or "Partitioned" in found) and "Secure" not in found:
        raise ConfigurationError(
            "ingest_cookie_attributes: browsers refuse SameSite=None and Partitioned without Secure"
        )
    return found
