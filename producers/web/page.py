"""The entities of a request as JSON in its page, for the tracker that runs there."""

from collections.abc import Sequence
from typing import Any, Self

from snowbus.bus import json_text

from ..contexts import Entity
from .tracked_request import current_request

# JSON has these in texts only, where an escape says the same; in HTML they would end a script, or begin something.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'\u2028\u2029"}


class ScriptJson(str):
    """JSON that may stand in a `<script>` as it is; Jinja's and Django's templates take it for such."""

    __slots__ = ()

    def __html__(self) -> Self:
        return self


def contexts_json(request: Any) -> ScriptJson:
    """The entities of a request, as the JavaScript tracker takes them: `[{"schema": …, "data": …}, …]`.

    Those of builders without filters, for whose path it is. `request` is what they are called with, where they have
    not been yet. In an async view `await acontexts_json(request)` first: a template cannot wait for async builders.
    """
    tracked = current_request()
    return _rendered(tracked.build(tracked.page_builders, request) if tracked else [])


async def acontexts_json(request: Any) -> ScriptJson:
    """As `contexts_json`, for async views."""
    tracked = current_request()
    return _rendered(await tracked.abuild(tracked.page_builders, request) if tracked else [])


def _rendered(entities: Sequence[Entity]) -> ScriptJson:
    return ScriptJson(json_text.dumps(list(entities)).translate(_ESCAPES))
