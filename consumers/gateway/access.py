"""From where one may connect: addresses beyond loopback need tokens, browsers our own page, names must be ours."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.origins import origins_in
from snowbus.bus.settings import Settings

from .tokens import takes_tokens


class Refusal(NamedTuple):
    """An HTTP status, and why, for whoever asked."""

    status: int
    reason: str


@dataclass(frozen=True)
class Access:
    """The rules of one gateway."""

    loopback: bool
    allowed_origins: Collection[str]

    def check_host(self, hosts: Sequence[str]) -> Refusal | None:
        """Refuse names that are not ours: on loopback, a foreign one means DNS rebinding."""
        if len(hosts) > 1:
            return Refusal(400, "Host: is given twice")
        if not self.loopback or not hosts:
            return None
        host = hosts[0].lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        ours = _is_ip(name.strip("[]")) or name == "localhost" or name.endswith(".localhost")
        if ours or host in {_address(origin) for origin in self.allowed_origins}:
            return None
        return Refusal(403, f"Host: {host[:200]!r} is not this machine; name it in gateway_allowed_origins if it is")

    def check_origin(self, origins: Sequence[str], hosts: Sequence[str]) -> Refusal | None:
        """Refuse web pages of other sites: a browser would let them use the address and the rights of its user."""
        if not origins:
            return None
        origin = origins[0].lower()
        same = bool(hosts) and _address(origin) == hosts[0].lower()
        if len(origins) == 1 and (same or origin in self.allowed_origins):
            return None
        return Refusal(403, f"Origin: {origin[:200]!r} may not connect; name it in gateway_allowed_origins if it may")


def access_for(address: str, settings: Settings) -> Access:
    """The rules for listening on an IP address.

    Raises ConfigurationError when that would let in anybody, or for an allowed origin that is none.
    """
    loopback = ip_address(address).is_loopback
    if not loopback and not takes_tokens(settings) and not settings.gateway_insecure:
        raise ConfigurationError(
            f"the gateway would show every event to whoever reaches {address}: set tokens "
            "(SNOWBUS_GATEWAY_TOKENS_FILE, SNOWBUS_GATEWAY_TOKENS) or keys for signed ones "
            "(SNOWBUS_GATEWAY_JWT_SECRET_FILE, …), listen on 127.0.0.1, or say that you mean it "
            "(SNOWBUS_GATEWAY_INSECURE=true)"
        )
    return Access(loopback, origins_in("gateway_allowed_origins", settings.gateway_allowed_origins))


def _address(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
