"""What a collector double was sent and what it took, by `eid`."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

Payload = dict[str, str]

SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
CONTENT_TYPES = ("application/json", "application/json; charset=utf-8")
_PARAMETERS = """
    tna aid p dtm tz e tid eid tv duid nuid uid vid ip res url page refr fp ctype cookie lang f_pdf f_qt f_realp f_wma
    f_dir f_fla f_java f_gears f_ag cd ds cs vp mac pp_mix pp_max pp_miy pp_may ad_ba ad_ca ad_ad ad_uid tr_id tr_af
    tr_tt tr_tx tr_sh tr_ci tr_st tr_co tr_cu ti_id ti_sk ti_nm ti_na ti_ca ti_pr ti_qu ti_cu sa sn st sp se_ca se_ac
    se_la se_pr se_va ue_na ue_pr ue_px co cx ua tnuid stm sid ttm
"""
PARAMETERS = frozenset(_PARAMETERS.split())
"""All that payload_data/1-0-4 allows in an event: one other fails the whole POST when Enrich validates it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came, its body unpacked, and when, in seconds of `time.monotonic`.

    `payloads` is [] where the body is no payload_data.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float
    payloads: list[Payload] = field(default_factory=list)


@dataclass
class Ledger:
    """The requests in order of arrival, and for each event how often it was sent, and when it was taken.

    `lost` are the events that got a 200 and will never be seen again, as the real collector loses them.
    """

    requests: list[Request] = field(default_factory=list)
    accepted: list[Payload] = field(default_factory=list)
    lost: list[Payload] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)
    taken_at: dict[str, list[float]] = field(default_factory=dict)

    def came(self, request: Request) -> None:
        """Note a request, whatever will become of it."""
        self.requests.append(request)
        self.attempts.update([payload.get("eid", "") for payload in request.payloads])

    def took(self, request: Request, at: float) -> None:
        """Note that its events are taken."""
        self.accepted.extend(request.payloads)
        for payload in request.payloads:
            self.taken_at.setdefault(payload.get("eid", ""), []).append(at)

    @property
    def event_ids(self) -> list[str]:
        """The `eid` of each event taken, in order of arrival."""
        return [payload.get("eid", "") for payload in list(self.accepted)]

    @property
    def duplicates(self) -> dict[str, int]:
        """The events taken more than once, and how often."""
        return {event_id: times for event_id, times in Counter(self.event_ids).items() if times > 1}

    def order(self, key: str = "uid") -> dict[str, list[str]]:
        """For each value of a parameter the `eid`s of its events, in the order in which they were first taken."""
        firsts: dict[str, dict[str, None]] = {}
        for payload in list(self.accepted):
            firsts.setdefault(payload.get(key, ""), {})[payload.get("eid", "")] = None
        return {value: list(event_ids) for value, event_ids in firsts.items()}


def unpacked(body: bytes, *, limit: int) -> bytes:
    """A gzipped body, unpacked. Raises ValueError when it is none, or larger than `limit`."""
    try:
        body = gzip.decompress(body)
    except (OSError, EOFError) as error:
        raise ValueError(f"not gzip: {error}") from None
    if len(body) > limit:
        raise ValueError(f"a body of {len(body)} bytes")
    return body


def payloads_in(body: bytes) -> list[Payload]:
    """The events of a payload_data. Raises ValueError for what Enrich would make a bad row of, or read otherwise."""
    value = orjson.loads(body)
    if len(orjson.dumps(value)) != len(body):  # whitespace and escapes, or a name that stands twice
        value = json.loads(body.decode(), object_pairs_hook=_unique)
    if not isinstance(value, dict) or set(value) != {"schema", "data"}:
        raise ValueError("not a self-describing JSON")
    if value["schema"] != SCHEMA:
        raise ValueError(f"schema {value['schema']!r}")
    payloads = value["data"]
    if not isinstance(payloads, list) or not payloads:
        raise ValueError("data is no array of events")
    for payload in payloads:
        _check(payload)
    return payloads


def _check(payload: Any) -> None:
    if not isinstance(payload, dict) or not all(type(text) is str for text in payload.values()):
        raise ValueError(f"not a flat object of strings: {payload!r}")
    if not (payload.get("tv") and payload.get("p") and payload.get("e")):
        raise ValueError(f"an event without tv, p or e: {payload!r}")
    if unknown := payload.keys() - PARAMETERS:
        raise ValueError(f"payload_data knows no parameter {', '.join(sorted(unknown))}")


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        if name in value:
            raise ValueError(f"{name} stands twice in an object")
        value[name] = item
    return value
