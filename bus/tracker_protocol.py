"""The Snowplow tracker protocol as one table: each parameter, its canonical name and its type.

Source: the atomic-field mapping of Snowplow Enrich, whose enriched names are the canonical ones here.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

COLLECTOR_PATH = "/com.snowplowanalytics.snowplow/tp2"
"""Where collectors, and those who stand in for one, take POSTs of events."""

EVENTS = {
    "pv": "page_view",
    "pp": "page_ping",
    "ue": "unstruct",
    "se": "struct",
    "tr": "transaction",
    "ti": "transaction_item",
}
PLATFORMS = ("web", "mob", "pc", "srv", "app", "tv", "cnsl", "iot", "headset")

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_IP_SEPARATOR = re.compile("[,| ]")
_YEAR_1_MS = -62_135_596_800_000
_YEAR_10000_MS = 253_402_300_800_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of parameter: what is `expected`, in words, and how to `convert` the string, which raises ValueError."""

    expected: str
    convert: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter on the wire; a WxH `size` has two `names`, every other kind one."""

    code: str
    names: tuple[str, ...]
    kind: Kind


def timestamp_from_ms(ms: int) -> str:
    """Milliseconds since 1970 as the Analytics SDKs write a time: `2024-02-29T12:00:00.000Z`.

    A time beyond the years 1 to 9999 comes out as the number that it is.
    """
    if not _YEAR_1_MS <= ms < _YEAR_10000_MS:
        return str(ms)
    seconds, milliseconds = divmod(ms, 1000)
    return f"{_to_the_second(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=4096)
def _to_the_second(seconds: int) -> str:
    """Most events are of the same few seconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def _event(value: str) -> str:
    if value not in EVENTS:
        raise ValueError
    return EVENTS[value]


def _platform(value: str) -> str:
    if value not in PLATFORMS:
        raise ValueError
    return value


def _epoch_ms(value: str) -> str:
    ms = _integer(value)
    if not _YEAR_1_MS <= ms < _YEAR_10000_MS:
        raise ValueError
    return timestamp_from_ms(ms)


def _integer(value: str) -> int:
    digits = value[1:] if value[:1] in ("-", "+") else value
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise ValueError
    return int(value)


def _decimal(value: str) -> float:
    if not _DECIMAL.fullmatch(value) or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _flag(value: str) -> bool:
    if value not in ("1", "0"):
        raise ValueError
    return value == "1"


@lru_cache(maxsize=4096)  # there are few screens
def _size(value: str) -> tuple[int, int]:
    width, _, height = value.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ValueError
    return _integer(width), _integer(height)


def _uuid(value: str) -> str:
    if not _UUID.fullmatch(value):
        raise ValueError
    return value.lower()


def _ip(value: str) -> str:
    """The first address of a list, as proxies write it; Enrich takes anything for one."""
    return _IP_SEPARATOR.split(value, maxsplit=1)[0]


TEXT = Kind("text", str)
EVENT = Kind("one of " + ", ".join(EVENTS), _event)
PLATFORM = Kind("one of " + ", ".join(PLATFORMS), _platform)
IP = Kind("an IP address", _ip)
UUID_TEXT = Kind("a hyphenated UUID", _uuid)
EPOCH_MS = Kind("milliseconds since 1970, in the years 1 to 9999", _epoch_ms)
INTEGER = Kind("an integer", _integer)
DECIMAL = Kind("a number", _decimal)
FLAG = Kind("1 or 0", _flag)
SIZE = Kind("WIDTHxHEIGHT", _size)


def _rows(kind: Kind, *pairs: str) -> tuple[Parameter, ...]:
    """Parameters written as `code name` or `code name name`."""
    return tuple(Parameter(code, tuple(names), kind) for code, *names in map(str.split, pairs))


PARAMETERS: tuple[Parameter, ...] = (
    *_rows(EVENT, "e event"),
    *_rows(PLATFORM, "p platform"),
    *_rows(
        TEXT,
        "aid app_id",
        "tna name_tracker",
        "tv v_tracker",
        "uid user_id",
        "duid domain_userid",
        "nuid network_userid",
        "tnuid network_userid",
        "ua useragent",
        "fp user_fingerprint",
        "lang br_lang",
        "cd br_colordepth",
        "tz os_timezone",
        "url page_url",
        "page page_title",
        "refr page_referrer",
        "cs doc_charset",
        "ev_ca se_category",
        "ev_ac se_action",
        "ev_la se_label",
        "ev_pr se_property",
        "se_ca se_category",
        "se_ac se_action",
        "se_la se_label",
        "se_pr se_property",
        "tr_id tr_orderid",
        "tr_af tr_affiliation",
        "tr_ci tr_city",
        "tr_st tr_state",
        "tr_co tr_country",
        "tr_cu tr_currency",
        "ti_id ti_orderid",
        "ti_sk ti_sku",
        "ti_na ti_name",
        "ti_nm ti_name",
        "ti_ca ti_category",
        "ti_cu ti_currency",
    ),
    *_rows(IP, "ip user_ipaddress"),
    *_rows(UUID_TEXT, "eid event_id", "sid domain_sessionid"),
    *_rows(EPOCH_MS, "dtm dvce_created_tstamp", "stm dvce_sent_tstamp", "ttm true_tstamp"),
    *_rows(
        INTEGER,
        "vid domain_sessionidx",
        "tid txn_id",
        "pp_mix pp_xoffset_min",
        "pp_max pp_xoffset_max",
        "pp_miy pp_yoffset_min",
        "pp_may pp_yoffset_max",
        "ti_qu ti_quantity",
    ),
    *_rows(
        DECIMAL,
        "ev_va se_value",
        "se_va se_value",
        "tr_tt tr_total",
        "tr_tx tr_tax",
        "tr_sh tr_shipping",
        "ti_pr ti_price",
    ),
    *_rows(
        FLAG,
        "cookie br_cookies",
        "f_pdf br_features_pdf",
        "f_fla br_features_flash",
        "f_java br_features_java",
        "f_dir br_features_director",
        "f_qt br_features_quicktime",
        "f_realp br_features_realplayer",
        "f_wma br_features_windowsmedia",
        "f_gears br_features_gears",
        "f_ag br_features_silverlight",
    ),
    *_rows(
        SIZE,
        "res dvce_screenwidth dvce_screenheight",
        "vp br_viewwidth br_viewheight",
        "ds doc_width doc_height",
    ),
)

NULLABLE = (INTEGER, DECIMAL)
"""Kinds of which `null`, which an old JavaScript tracker sent, says that there is nothing."""

BY_CODE: dict[str, Parameter] = {parameter.code: parameter for parameter in PARAMETERS}
"""Every parameter but those of SELF_DESCRIBING, which `canonical.py` reads."""

SELF_DESCRIBING = {"ue_pr": False, "ue_px": True, "co": False, "cx": True}
"""The parameters that hold self-describing JSON: whether in base64."""

CODE_BY_NAME: dict[str, str] = {
    parameter.names[0]: parameter.code for parameter in PARAMETERS if len(parameter.names) == 1
}
"""The code to write for a canonical name; where two codes share a name, the later row is the modern one."""

PAYLOAD_DATA_CODES: frozenset[str] = frozenset(code for code in BY_CODE if not code.startswith("ev_")) | frozenset(
    (*SELF_DESCRIBING, "ue_na", "ad_ad", "ad_ba", "ad_ca", "ad_uid", "ctype", "mac", "sa", "sn", "sp", "st")
)
"""The parameters that payload_data/1-0-4 allows; it has `additionalProperties: false` (iglu-central). Enrich validates
each POST against it as a whole (Tp2Adapter), and makes one bad row of all its events when one has another parameter."""
