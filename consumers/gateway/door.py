"""Who is let in by a plain HTTP request, with what rights; and how it is said that somebody is not."""

import binascii
from base64 import b64decode

from websockets.http11 import Request, Response

from snowbus.bus.errors import FilterError

from .access import Access, Refusal
from .pages import text_response
from .rights import NotAllowedError, Rights, TokenError
from .tokens import Tokens

Pairs = list[tuple[str, str]]
"""The parameters of a request, in order."""

RefusedErrors = (FilterError, TokenError, NotAllowedError)
"""What is raised for a request that is not answered."""

_EXTENSIONS = ("chrome-extension://", "moz-extension://", "safari-web-extension://")
_MORE_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}


class Door:
    """Asks who comes for a token, and browsers where they come from."""

    def __init__(self, access: Access, tokens: Tokens) -> None:
        self._access = access
        self._tokens = tokens

    async def admit(self, request: Request, pairs: Pairs) -> tuple[Rights, Pairs]:
        """The rights of whoever asks, and the parameters without the token. Raises one of RefusedErrors.

        A token may also be the password of a login, with or without the word Basic before it. An extension of a browser
        may ask: without CORS headers, which are never sent, it cannot read the answer unless its user allowed it to
        read from this host.
        """
        headers = request.headers
        origins = [origin for origin in headers.get_all("Origin") if not origin.lower().startswith(_EXTENSIONS)]
        if refusal := self._access.check_origin(origins, headers.get_all("Host")):
            raise NotAllowedError(refusal.reason)
        authorizations = headers.get_all("Authorization")
        shown = [value for name, value in pairs if name == "token"]
        shown += [password for each in authorizations if (password := _password(each))]
        rights = await self._tokens.rights(authorizations, shown)
        return rights, [pair for pair in pairs if pair[0] != "token"]


def refusal_of(error: Exception) -> Refusal:
    """How to answer one of RefusedErrors."""
    if isinstance(error, TokenError):
        return Refusal(error.status, error.reason)
    if isinstance(error, NotAllowedError):
        return Refusal(403, error.reason)
    return Refusal(400, str(error))


def refusal_response(refusal: Refusal) -> Response:
    """The answer to somebody who is not let in."""
    return text_response(*refusal, _MORE_HEADERS.get(refusal.status))


def _password(authorization: str) -> str:
    """The password of a login; empty when it is none."""
    login = authorization.removeprefix("Basic ").strip()
    try:
        return b64decode(login, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
