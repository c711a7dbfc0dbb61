"""Where ingest is, at `/v1/ingest`: the live page offers commands that send events there."""

import re
from collections.abc import Callable

from websockets.http11 import Response

from snowbus.bus import json_text
from snowbus.bus.errors import ConfigurationError

from .pages import response

_PATH = "/v1/ingest"
_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+/?")


class IngestAddress:
    """Tells the URL that is `configured`, else where ingest is `listening`, an empty text for nowhere known.

    Raises ConfigurationError.
    """

    def __init__(self, configured: str, listening: Callable[[], str]) -> None:
        if configured and not _URL.fullmatch(configured):
            raise ConfigurationError(
                "gateway_ingest_url: it is not a URL such as https://events.example.com, without a path"
            )
        self._configured = configured.rstrip("/")
        self._listening = listening

    def answer(self, path: str) -> Response | None:
        """The answer for a path, or None when it is not for this."""
        if path != _PATH:
            return None
        return response(200, "application/json", json_text.dump_bytes({"url": self._configured or self._listening()}))
