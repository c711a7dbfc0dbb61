"""Decides of one event whether it is what a plan wants, and why not."""

from collections.abc import Collection

from snowbus.bus.event import FieldError
from snowbus.bus.filters import Candidate, schema_matcher

from .conditions import Reason, reasons_of_fields
from .plan import EntityWanted, Validity, Wanted
from .seen import Seen

_RIGHT: dict[Validity, tuple[str, ...]] = {
    "not_invalid": ("valid", "unchecked"),
    "valid": ("valid",),
    "invalid": ("invalid",),
    "any": ("valid", "invalid", "unchecked"),
}


def is_meant(wanted: Wanted, candidate: Candidate) -> bool:
    """Whether it is such an event at all, right or not."""
    return wanted.which.matches(candidate)


def is_right(wanted: Wanted, seen: Seen) -> bool:
    """Whether it is such an event, and right."""
    return is_meant(wanted, seen.candidate) and not reasons_against(wanted, seen)


def reasons_against(wanted: Wanted, seen: Seen) -> list[Reason]:
    """Why an event that is meant is not right; nothing when it is."""
    found = _of_schema(wanted.schemas, seen)
    found += reasons_of_fields(wanted.where, seen.event, "")
    found += reasons_of_fields(wanted.data, seen.data, "data")
    for entity in wanted.entities:
        found += _of_entities(entity, seen)
    return found + _of_validity(wanted.validity, seen, told={reason.field for reason in found})


def _of_schema(schemas: tuple[str, ...], seen: Seen) -> list[Reason]:
    if not schemas or schema_matcher(*schemas)(seen.schema):
        return []
    return [Reason("schema", "schema", " or ".join(schemas), seen.schema)]


def _of_entities(wanted: EntityWanted, seen: Seen) -> list[Reason]:
    there = seen.entities_of(wanted.schema)
    misses = [reasons_of_fields(wanted.data, data, "") for data in there]
    fitting = sum(not reasons for reasons in misses)
    if fitting in wanted.count:
        return []
    name = wanted.schema.split("/")[1]
    where = f"entity {name}"
    if fitting < wanted.count.minimum and len(there) >= wanted.count.minimum:
        nearest = min((reasons for reasons in misses if reasons), key=len)
        return [Reason(f"{where} {each.field}", each.kind, each.expected, each.got) for each in nearest]
    if there:
        return [Reason(where, "entity_count", f"{wanted.count.words} of {wanted.schema}", str(fitting))]
    return [Reason(where, "entity_missing", f"{wanted.count.words} of {wanted.schema}", _those_of(seen))]


def _those_of(seen: Seen) -> str:
    """Which entities an event has, in words."""
    names = dict.fromkeys(entity.schema or entity.column for entity in seen.entities)
    return f"only {', '.join(names)}" if names else "no entities"


def _of_validity(validity: Validity, seen: Seen, *, told: Collection[str]) -> list[Reason]:
    """Why an event is not as valid as is wanted, less what is told of its fields already."""
    if seen.validation in _RIGHT[validity]:
        return []
    expected = "an event that is not invalid" if validity == "not_invalid" else f"an event found {validity}"
    if not seen.errors:
        return [Reason("validation", "invalid", expected, seen.validation)]
    return [
        Reason(f"validation of {error.field}{error.path}", "invalid", error.expected, error.got)
        for error in seen.errors
        if _field_of(error) not in told
    ]


def _field_of(error: FieldError) -> str:
    """The field of an error, as the conditions of a plan name it."""
    if error.field != "unstruct_event":
        return error.field + error.path
    steps = [step.replace("~1", "/").replace("~0", "~") for step in error.path.split("/")[1:]]
    return "data" + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in steps)
