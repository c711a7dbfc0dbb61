"""The bounds of atomic fields beyond their types: how long a text may be, how large an integer.

Source: com.snowplowanalytics.snowplow/atomic/jsonschema/1-0-0, with the longer URLs that Snowplow Enrich takes since
4.0; Enrich makes bad rows of events that are beyond them. Its integers have 32 bits.
"""

from typing import Any

from .event import FieldError

MAX_LENGTHS = {
    "app_id": 255,
    "br_colordepth": 12,
    "br_lang": 255,
    "doc_charset": 128,
    "domain_userid": 128,
    "name_tracker": 128,
    "network_userid": 128,
    "os_timezone": 255,
    "page_referrer": 10_000,
    "page_title": 2_000,
    "page_url": 10_000,
    "se_action": 1_000,
    "se_category": 1_000,
    "se_label": 4_096,
    "se_property": 1_000,
    "ti_category": 255,
    "ti_currency": 3,
    "ti_name": 255,
    "ti_orderid": 255,
    "ti_sku": 255,
    "tr_affiliation": 255,
    "tr_city": 255,
    "tr_country": 255,
    "tr_currency": 3,
    "tr_orderid": 255,
    "tr_state": 255,
    "user_fingerprint": 128,
    "user_id": 255,
    "user_ipaddress": 128,
    "useragent": 1_000,
    "v_tracker": 100,
}
"""How long a text may be at most, of the fields that are in a payload, and are not bounded by their type."""

_LARGEST_INTEGER = 2**31 - 1
_SMALLEST_INTEGER = -(2**31)
_GOT_CHARACTERS = 200
_WITHOUT_CONTROLS = dict.fromkeys((*range(0x20), 0x7F))


def _length(text: str) -> int:
    """How long Enrich finds a text: in UTF-16, with four spaces for a tab, and without other control characters."""
    safe = text.replace("\t", "    ").translate(_WITHOUT_CONTROLS)
    return len(safe.encode("utf-16-le", "surrogatepass")) // 2


def _is_longer(text: str, limit: int) -> bool:
    """Whether Enrich finds a text longer than the limit; of most it can be told without counting."""
    return (len(text) > limit or not text.isascii() or "\t" in text) and _length(text) > limit


def out_of_bounds(fields: dict[str, Any]) -> list[FieldError]:
    """What is beyond its bounds among the typed fields of an event, by their canonical names."""
    errors = []
    for name, value in fields.items():
        if type(value) is str:
            limit = MAX_LENGTHS.get(name)
            if limit is not None and 4 * len(value) > limit and _is_longer(value, limit):
                errors.append(
                    FieldError(name, "", "", f"text of at most {limit:,} characters", value[:_GOT_CHARACTERS])
                )
        elif type(value) is int and not _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
            errors.append(FieldError(name, "", "", "an integer of 32 bits", str(value)))
    return errors
