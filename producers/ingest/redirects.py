"""Click redirects, `/r/tp2?u=URL`: where they may lead, and the event that a click is.

Source: Snowplow's Stream Collector, which redirects, and Enrich's RedirectAdapter, which makes the event: a
`uri_redirect`, or, of a query string that holds an event, that event with the `uri_redirect` as its first entity.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from snowbus.bus import json_text
from snowbus.bus.errors import ConfigurationError, JsonError, PayloadError
from snowbus.bus.payload import CONTEXTS_SCHEMA, UNSTRUCT_EVENT_SCHEMA, Payload, complete, decode_base64

from .requests import Refused, Understood, parse_query

URI_REDIRECT_SCHEMA = "iglu:com.snowplowanalytics.snowplow/uri_redirect/jsonschema/1-0-0"

_TRACKER_VERSION = "r-tp2"
_PLATFORM = "web"
# A host that ends where browsers end it, so that none reads another one in the URL: no user info, no backslash, no
# control character, and `://` as it is written.
_TARGET = re.compile(
    r"https?://([A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?:[/?#][^\x00-\x1f\x7f\\]*)?", re.ASCII | re.IGNORECASE
)
_DOMAIN = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*")
_LOCATION_SAFE = "!#$%&'()*+,/:;=?@[]~-._"
_MAX_CHARACTERS = 8_192


class Click(NamedTuple):
    """A request for a redirect: where it leads, None when that is not allowed; and its event, or why there is none."""

    location: bytes | None
    understood: Understood


class Redirects:
    """The redirects to some domains, `*.example.com` being all below one. Raises ConfigurationError."""

    def __init__(self, domains: Sequence[str]) -> None:
        lowered = [domain.lower() for domain in domains]
        for domain in lowered:
            if not _DOMAIN.fullmatch(domain):
                raise ConfigurationError(
                    f"ingest_redirect_domains: {domain!r} is no host, for example shop.example or *.shop.example"
                )
        self._hosts = frozenset(domain for domain in lowered if not domain.startswith("*."))
        self._below = tuple(domain[1:] for domain in lowered if domain.startswith("*."))

    def click(self, query: bytes) -> Click:
        """What a query string asks for."""
        parameters = parse_query(query)
        target = parameters.pop("u", "")
        try:
            location = self._location(target)
        except PayloadError as error:
            return Click(None, Understood([], [Refused("redirect", error.reason, "", query)]))
        try:
            payload = complete(_with_redirect(parameters, target), tracker_version=_TRACKER_VERSION)
        except PayloadError as error:
            return Click(location, Understood([], [Refused("not_an_event", error.reason, "", query)]))
        return Click(location, Understood([payload], []))

    def _location(self, target: str) -> bytes:
        """The value of a Location header. Raises PayloadError for a target that is not allowed."""
        if not target:
            raise PayloadError("u: is missing; it is the URL that the redirect leads to")
        found = _TARGET.fullmatch(target) if len(target) <= _MAX_CHARACTERS else None
        if found is None:
            raise PayloadError("u: is no absolute URL with http or https")
        host = found[1].lower()
        if host not in self._hosts and not host.endswith(self._below):
            raise PayloadError("u: leads to a host that is not one of the redirect domains")
        return quote(target, safe=_LOCATION_SAFE, errors="surrogateescape").encode()


def _with_redirect(parameters: Payload, target: str) -> Payload:
    """The event of a click. Raises PayloadError when its entities cannot be read."""
    redirect = {"schema": URI_REDIRECT_SCHEMA, "data": {"uri": target}}
    payload = {**parameters, "tv": _TRACKER_VERSION, "p": parameters.get("p") or _PLATFORM}
    if "e" not in payload:
        return payload | {"e": "ue", "ue_pr": json_text.dumps({"schema": UNSTRUCT_EVENT_SCHEMA, "data": redirect})}
    if payload.get("cx"):
        entities = _with_entity(decode_base64(payload["cx"]), redirect, code="cx")
        return payload | {"cx": urlsafe_b64encode(entities.encode("utf-8", "surrogatepass")).decode()}
    if payload.get("co"):
        return payload | {"co": _with_entity(payload["co"], redirect, code="co")}
    return payload | {"co": json_text.dumps({"schema": CONTEXTS_SCHEMA, "data": [redirect]})}


def _with_entity(contexts: str, entity: Mapping[str, object], *, code: str) -> str:
    try:
        value = json_text.loads(contexts)
    except JsonError as error:
        raise PayloadError(f"{code}: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise PayloadError(f"{code}: must be a self-describing JSON with an array of entities")
    return json_text.dumps({**value, "data": [entity, *value["data"]]})
