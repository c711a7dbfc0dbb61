"""URLs as they are shown, in messages and on pages: without what may be a password or a key."""

import re

_QUERY = re.compile(r"[?#]")


def without_secrets(text: str) -> str:
    """A URL, or a text that was to be one, less its user and its password, its query and its fragment.

    A password may hold what ends an address, unescaped: where it is not clear what is what, nothing of it is shown.
    """
    scheme, slashes, rest = text.partition("//")
    if not slashes:
        scheme, rest = "", text
    address, *parameters = _QUERY.split(rest, maxsplit=1)
    if address.startswith("/"):  # a path, and no host: there is no user either
        return scheme + slashes + address
    if any("@" in each for each in parameters):
        return f"{scheme}{slashes}…"
    _, at, place = address.rpartition("@")
    return f"{scheme}{slashes}{'…@' if at else ''}{place}"
