"""Which tokens there are, who shows them, and what rights they give."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings

from ..masking import Mask, mask_of
from .rights import EVERY_RIGHT, Rights, TokenError, rights_of, scopes_of
from .static_tokens import StaticTokens

if TYPE_CHECKING:
    from .signed_tokens import SignedTokens

logger = Diagnostics(__name__)

_HOW = "send `Authorization: Bearer TOKEN`, or token=TOKEN in the URL"


class Tokens:
    """The tokens of one gateway, static ones and signed ones (JWT). `signed` is None where no key is set."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Raises ConfigurationError for tokens, keys, or names of what is masked, that cannot work."""
        self._needed = takes_tokens(settings)
        self._mask: Mask = mask_of(settings.gateway_masked_fields, settings.gateway_masked_entities)
        self._static = StaticTokens(settings, metrics, mask=self._mask)
        self.signed = _signed_tokens(settings, metrics) if _takes_signed(settings) else None
        self._without_tokens = Rights(mask=self._mask) if settings.gateway_mask else EVERY_RIGHT
        names_more = bool(settings.gateway_masked_fields or settings.gateway_masked_entities)
        if names_more and not self._needed and not settings.gateway_mask:
            logger.warning("nothing is masked: no tokens are asked for, and gateway_mask is not set")

    def stand(self, rights: Rights) -> bool:
        """Whether rights that were given are still those of what was shown: a token may have been taken away or have
        other scopes now, and the key that it is signed with may have been withdrawn.
        """
        if not rights.proof or self._static.rights_by_digest(rights.proof) == rights:
            return True
        return self.signed is not None and self.signed.has(rights.proof)

    async def rights(self, authorizations: Sequence[str], parameters: Sequence[str]) -> Rights:
        """The rights of a reader, from its Authorization headers and the URL's parameters `token`.

        Raises TokenError, and NotAllowedError for a token that does not let anybody read.
        """
        if not self._needed:
            return self._without_tokens
        if len(authorizations) > 1 or len(parameters) > 1:
            raise TokenError("is given twice", status=400)
        shown = [token for token in (*map(_bearer, authorizations), *parameters) if token]
        if not shown:
            raise TokenError(f"is missing; {_HOW}")
        for token in shown:
            if (rights := self._static.rights(token)) is not None:
                return rights
        if self.signed is None:
            raise TokenError(f"not one of ours; {_HOW}")
        return await self._signed_rights(self.signed, shown)

    async def _signed_rights(self, signed: "SignedTokens", shown: Sequence[str]) -> Rights:
        """The rights of the first that is right; what is wrong is told of the last."""
        for place, token in enumerate(shown, 1):
            try:
                claims, proof = await signed.claims(token)
            except TokenError:
                if place == len(shown):
                    raise
                continue
            break
        subject = str(claims.get("sub") or "") or hashlib.sha256(token.encode()).hexdigest()
        holder = f"{claims.get('iss') or ''} {subject}"
        return rights_of(scopes_of(claims), mask=self._mask, holder=holder, until=signed.until(claims), proof=proof)


def takes_tokens(settings: Settings) -> bool:
    """Whether readers must show a token."""
    return bool(settings.gateway_tokens or settings.gateway_tokens_file) or _takes_signed(settings)


def _takes_signed(settings: Settings) -> bool:
    return bool(
        settings.gateway_jwt_secret
        or settings.gateway_jwt_secret_file
        or settings.gateway_jwt_public_key
        or settings.gateway_jwks_url
    )


def _signed_tokens(settings: Settings, metrics: Metrics) -> "SignedTokens":
    from .signed_tokens import SignedTokens  # noqa: PLC0415 - cryptography is slow to import, and few need it

    return SignedTokens(settings, metrics)


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
