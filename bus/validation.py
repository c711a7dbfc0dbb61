"""Whether an event is valid, from what it holds and what is known of the schemas that it names. Pure."""

from typing import NamedTuple

from .atomic_fields import out_of_bounds
from .canonical import Decoded, Entity
from .event import FieldError, Validation
from .iglu.lookups import Found, Lookups, NotFound, Unusable

_MOST_ERRORS = 50


class Verdict(NamedTuple):
    """What was found when an event was checked; the errors are why it is invalid."""

    validation: Validation
    errors: tuple[FieldError, ...]


def validate(decoded: Decoded, lookups: Lookups | None) -> Verdict:
    """Check a decoded payload, without `lookups` only its atomic fields.

    Anything wrong makes it invalid. It is valid once all of it has been checked: the atomic fields, the self-describing
    event and each entity. Else it is unchecked.
    """
    errors = [*decoded.problems, *out_of_bounds(decoded.fields)]
    entities = decoded.entities
    is_checked = lookups is not None and (lookups.is_strict or bool(entities))
    if lookups is not None:
        for entity in entities:
            if len(errors) >= _MOST_ERRORS:  # to say what is wrong takes long, and there is room for thousands
                break
            found = _check(entity, lookups)
            if found is None:
                is_checked = False
            else:
                errors += found
    if errors:
        return Verdict("invalid", tuple(errors[:_MOST_ERRORS]))
    return Verdict("valid" if is_checked else "unchecked", ())


def _check(entity: Entity, lookups: Lookups) -> list[FieldError] | None:
    """What is wrong with an entity, or None when that is not known."""
    match lookups.by_uri.get(entity.schema):
        case Found(schema):
            problems = schema.problems(entity.data)
            return [FieldError(entity.field, str(entity.schema), *problem) for problem in problems] if problems else []
        case Unusable(registry, reason):
            return [_error(entity, "a schema that can be used", f"one that cannot ({registry}: {reason})")]
        case NotFound(registries) if lookups.is_strict:
            asked = f" ({', '.join(registries)}: not found)" if registries else ""
            return [_error(entity, "a schema that a registry has", f"one that no registry has{asked}")]
    return None


def _error(entity: Entity, expected: str, got: str) -> FieldError:
    return FieldError(entity.field, str(entity.schema), "", expected, got)
