"""Which tokens there are, who shows them, and what rights they give."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snowbus.bus.settings import Settings

from .masking import Mask, mask_of
from .rights import EVERY_RIGHT, Rights, TokenError, rights_of, scopes_of

if TYPE_CHECKING:
    from .signed_tokens import SignedTokens

_HOW = "send `Authorization: Bearer TOKEN`, or token=TOKEN in the URL"


class Tokens:
    """The tokens of one gateway. Static ones give every right, signed ones (JWT) what their scopes say.

    `signed` is None where no key is set.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError for keys, or names of what is masked, that cannot work."""
        self._static = settings.gateway_tokens
        self.signed = _signed_tokens(settings) if _takes_signed(settings) else None
        self._mask: Mask = mask_of(settings.gateway_masked_fields, settings.gateway_masked_entities)
        self._without_tokens = Rights(mask=self._mask) if settings.gateway_mask else EVERY_RIGHT

    async def rights(self, authorizations: Sequence[str], parameters: Sequence[str]) -> Rights:
        """The rights of a reader, from its Authorization headers and the URL's parameters `token`.

        Raises TokenError, and NotAllowedError for a token that does not let anybody read.
        """
        if not self._static and self.signed is None:
            return self._without_tokens
        if len(authorizations) > 1 or len(parameters) > 1:
            raise TokenError("is given twice", status=400)
        shown = [token for token in (*map(_bearer, authorizations), *parameters) if token]
        if not shown:
            raise TokenError(f"is missing; {_HOW}")
        for token in shown:
            if (place := self._place(token)) is not None:
                return Rights(holder=f"static token {place}")
        if self.signed is None:
            raise TokenError(f"not one of ours; {_HOW}")
        return await self._signed_rights(self.signed, shown)

    def _place(self, shown: str) -> int | None:
        """Where a token stands among the static ones; takes as long for any that is wrong."""
        encoded = shown.encode("utf-8", "replace")
        matches = [hmac.compare_digest(token.encode("utf-8", "replace"), encoded) for token in self._static]
        return matches.index(True) if any(matches) else None

    async def _signed_rights(self, signed: "SignedTokens", shown: Sequence[str]) -> Rights:
        """The rights of the first that is right; what is wrong is told of the last."""
        for place, token in enumerate(shown, 1):
            try:
                claims = await signed.claims(token)
            except TokenError:
                if place == len(shown):
                    raise
                continue
            break
        subject = str(claims.get("sub") or "") or hashlib.sha256(token.encode()).hexdigest()
        holder = f"{claims.get('iss') or ''} {subject}"
        return rights_of(scopes_of(claims), mask=self._mask, holder=holder, until=signed.until(claims))


def takes_tokens(settings: Settings) -> bool:
    """Whether readers must show a token."""
    return bool(settings.gateway_tokens) or _takes_signed(settings)


def _takes_signed(settings: Settings) -> bool:
    return bool(settings.gateway_jwt_secret or settings.gateway_jwt_public_key or settings.gateway_jwks_url)


def _signed_tokens(settings: Settings) -> "SignedTokens":
    from .signed_tokens import SignedTokens  # noqa: PLC0415 - cryptography is slow to import, and few need it

    return SignedTokens(settings)


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
