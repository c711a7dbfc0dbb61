"""Which pages of other origins may read the answers of ingest, and what these pages may send (CORS)."""

import re

from snowbus.bus.origins import origins_in
from snowbus.bus.settings import Settings

from .answers import Answer, HeaderList, preflight

_ECHOED = re.compile(rb"[\x21-\x7e]{1,2048}")
_VARY = (b"vary", b"Origin")


class Cors:
    """The headers for one configuration: any origin, unless the settings name some.

    Raises ConfigurationError for a name that is no origin.
    """

    def __init__(self, settings: Settings) -> None:
        self._allowed = origins_in("ingest_allowed_origins", settings.ingest_allowed_origins)
        self.preflight: Answer = preflight(with_keys=bool(settings.ingest_api_keys_file))
        """The answer to every OPTIONS."""

    def headers(self, origin: bytes | None) -> HeaderList:
        """What lets the page at an origin read an answer, cookies included; no more than `Vary` where it may not."""
        if origin is None:
            return ()
        if not _ECHOED.fullmatch(origin) or (self._allowed and origin.decode().lower() not in self._allowed):
            return (_VARY,)
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            _VARY,
        )
