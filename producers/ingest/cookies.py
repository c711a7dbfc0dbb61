"""The collector's cookie, which carries the network user id.

Source: Snowplow's Stream Collector: the id is the `nuid` of the query string, else the cookie, else a new one; the
cookie is set again with each answer.
"""

import re

_SECONDS_A_DAY = 86_400
# RFC 6265's cookie-octets, as long as Snowplow's column for the id.
_USABLE = re.compile(r"[!#-+\--:<-\[\]-~]{1,128}")


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


def set_cookie(name: str, network_userid: str, *, domain: str, days: int) -> bytes:
    """The value of a `Set-Cookie` header that browsers also keep on other sites' pages."""
    where = f"; Domain={domain}" if domain else ""
    age = days * _SECONDS_A_DAY
    return f"{name}={network_userid}; Max-Age={age}{where}; Path=/; SameSite=None; Secure; HttpOnly".encode()
