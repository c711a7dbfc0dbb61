"""What came of a verification, for people and for programs: lines of text, and a value for JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .outcome import Disorder, ExpectationOutcome, Miss, NeverOutcome, OrderOutcome, Outcome
from .seen import Seen

_NAME_WIDTH = 40
_BROKEN_OFF = "an error ended it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that a plan asks for: what `kind` of thing, its name, what is the matter (`ok` where nothing is), that
    in words, and one line for each example.
    """

    kind: str
    name: str
    status: str
    summary: str
    details: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether all is well."""
        return self.status == "ok"


def checks(outcome: Outcome) -> Iterator[Check]:
    """Everything that the plan asks for, in its order."""
    for expectation in outcome.expectations:
        yield expectation_check(expectation)
    for never in outcome.never:
        yield _never_check(never)
    for order in outcome.orders:
        yield _order_check(order)


def report_lines(outcome: Outcome, *, ended: str = "", error: str = "") -> list[str]:
    """The report for people; an `error` is why not all could be seen."""
    found = list(checks(outcome))
    events = f"{outcome.events} event{'' if outcome.events == 1 else 's'}"
    told = [events, f"{outcome.invalid} invalid" if outcome.invalid else ""]
    told += [f"{outcome.repeats} repeats left out" if outcome.repeats else "", ended, _BROKEN_OFF if error else ""]
    verdict = "cannot be said" if error else "fits" if outcome.fits else "does not fit"
    lines = [f"{outcome.plan}: {verdict} ({', '.join(filter(None, told))})"]
    width = min(max((len(check.name) for check in found), default=0), _NAME_WIDTH)
    for check in found:
        lines.append(f"  {'✓' if check.is_ok else '✗'} {check.name:<{width}}  {check.summary}")
        lines += [f"      {line}" for line in check.details]
    return lines


def report_json(outcome: Outcome, *, ended: str = "", notes: Sequence[str] = (), error: str = "") -> dict[str, Any]:
    """The report for programs; docs/verify.md says what its members are."""
    return {
        "plan": outcome.plan,
        "fits": outcome.fits and not error,
        "ended": _BROKEN_OFF if error else ended,
        "error": error or None,
        "events": outcome.events,
        "invalid": outcome.invalid,
        "repeats": outcome.repeats,
        "notes": list(notes),
        "expectations": [
            {
                "name": each.expectation.name,
                "status": each.status,
                "count": str(each.expectation.count),
                "fit": each.fit,
                "wrong": each.wrong,
                "events": [_event(event) for event in each.events],
                "misses": [_miss(miss) for miss in each.misses],
                "nearest": _miss(each.nearest) if each.nearest else None,
            }
            for each in outcome.expectations
        ],
        "never": [
            {
                "name": each.wanted.name,
                "status": "came" if each.count else "ok",
                "count": each.count,
                "events": [_event(event) for event in each.events],
            }
            for each in outcome.never
        ],
        "order": [
            {
                "events": list(each.order.names),
                "by": each.order.by,
                "status": each.status,
                "count": each.count,
                "not_seen": [*each.missing, *each.absent],
                "disorders": [_disorder(disorder) for disorder in each.disorders],
            }
            for each in outcome.orders
        ],
    }


def expectation_check(outcome: ExpectationOutcome) -> Check:
    """How it stands with one expected event, in words."""
    expectation, status = outcome.expectation, outcome.status
    wanted = expectation.count.words
    of = f"{outcome.fit} of {wanted}"
    summary = {
        "seen": f"seen {of}" if outcome.fit else f"not seen, as it may be ({wanted})",
        "missing": f"missing: none of {wanted} seen",
        "too_few": f"too few: {of} seen",
        "too_many": f"too many: {of} seen",
        "wrong": f"wrong: {outcome.wrong} not as expected; {of} seen",
    }[status]
    details: tuple[str, ...] = ()
    if status == "too_many":
        details = tuple(map(_where, outcome.events))
    elif status != "seen":
        details = tuple(line for miss in outcome.misses for line in _miss_words(miss))
        if outcome.nearest is not None:
            details += tuple(f"nearest is {line}" for line in _miss_words(outcome.nearest))
    return Check(
        kind="expected",
        name=expectation.name,
        status="ok" if status == "seen" else status,
        summary=summary,
        details=details,
    )


def _miss_words(miss: Miss) -> list[str]:
    return [f"{_where(miss.event)}: {reason}" for reason in miss.reasons]


def _never_check(outcome: NeverOutcome) -> Check:
    if not outcome.count:
        return Check(kind="never", name=f"never {outcome.wanted.name}", status="ok", summary="never came")
    times = "once" if outcome.count == 1 else f"{outcome.count} times"
    return Check(
        kind="never",
        name=f"never {outcome.wanted.name}",
        status="came",
        summary=f"came {times}",
        details=tuple(f"{_where(event)}{_errors(event)}" for event in outcome.events),
    )


def _order_check(outcome: OrderOutcome) -> Check:
    having = f" with {outcome.order.by}" if outcome.order.by else ""
    absent = ", ".join(outcome.absent)
    times = "" if outcome.count == 1 else f", {outcome.count} times"
    summary = {
        "ok": f"in order; not seen{having}, as it may be: {absent}" if absent else "in order",
        "not_seen": f"cannot be said: not seen{having}: {', '.join(outcome.missing)}",
        "broken": f"out of order{times}",
    }[outcome.status]
    return Check(
        kind="order",
        name=str(outcome.order),
        status=outcome.status,
        summary=summary,
        details=tuple(_disorder_words(disorder, outcome.order.by) for disorder in outcome.disorders),
    )


def _disorder_words(disorder: Disorder, field: str) -> str:
    whose = f"{field} {disorder.by}: " if field else ""
    came = f"{whose}{_where(disorder.later, disorder.later_name)} came"
    if disorder.earlier is None:
        return f"{came} without {disorder.earlier_name}"
    return f"{came} before {_where(disorder.earlier, disorder.earlier_name)}"


def _where(event: Seen, name: str = "") -> str:
    at = f" at {event.place}" if event.place else ""
    return f"{name or event.name} {event.event_id}".rstrip() + at


def _errors(event: Seen) -> str:
    if event.validation != "invalid" or not event.errors:
        return ""
    return f": {event.errors[0].sentence}"


def _event(event: Seen) -> dict[str, Any]:
    return {"event_id": event.event_id, "name": event.name, "place": event.place, "validation": event.validation}


def _miss(miss: Miss) -> dict[str, Any]:
    reasons = [
        {"field": each.field, "kind": each.kind, "expected": each.expected, "got": each.got} for each in miss.reasons
    ]
    return {**_event(miss.event), "reasons": reasons}


def _disorder(disorder: Disorder) -> dict[str, Any]:
    return {
        "by": disorder.by,
        "first": {"expectation": disorder.later_name, **_event(disorder.later)},
        "then": {"expectation": disorder.earlier_name, **(_event(disorder.earlier) if disorder.earlier else {})},
    }
