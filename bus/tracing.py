"""Traces, by the API of OpenTelemetry: what is going on is continued, and told in spans where somebody records them.

Where nothing else in the process has imported OpenTelemetry, nobody records anything, and it is not imported here
either. Snowbus begins no trace for an event that has none. Spans have nothing in them that a client has sent, and no
text of an exception, which may quote it.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from .traceparent import is_sampled, shared
from .version import version

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import SpanContext

Kind = Literal["SERVER", "PRODUCER", "CONSUMER"]
Attributes = dict[str, str | int]

SYSTEM = "snowbus"
"""The messaging system, where there is no Kafka."""

_MOST_LINKS = 128  # as many as the SDK keeps, unless told otherwise
_API = "opentelemetry.trace"
_SPANS_NAME = "snowbus"
_carried: ContextVar[str | None] = ContextVar("snowbus_traceparent", default=None)


class Span:
    """What is done in a trace; where nobody records it, what is said of it is said to nobody."""

    def __init__(self, recorded: "OtelSpan | None" = None) -> None:
        self._recorded = recorded

    def note(self, name: str, value: str | int) -> None:
        """Say something of it, under a name of the semantic conventions."""
        if self._recorded is not None:
            self._recorded.set_attribute(name, value)

    def fail(self, kind: str) -> None:
        """It has failed; the kind of error has no data in it."""
        if self._recorded is not None:
            trace: Any = _api()
            self._recorded.set_attribute("error.type", kind)
            self._recorded.set_status(trace.StatusCode.ERROR)


_UNRECORDED = Span()


def is_used() -> bool:
    """Whether anything in this process uses OpenTelemetry."""
    return _API in sys.modules


def system_of(log_url: str) -> str:
    """What a log is as a messaging system."""
    return "kafka" if log_url.startswith("kafka:") else SYSTEM


def active() -> str:
    """The traceparent of what this code runs for, or an empty string."""
    carried = _carried.get()
    if carried is not None:
        return carried
    trace = _api()
    return _text(trace.get_current_span().get_span_context()) if trace is not None else ""


def onward(traceparents: Iterable[str]) -> str:
    """The traceparent of a request with events: of the span that it is made in, else what the events share."""
    return active() or shared(traceparents)


def onward_each(traceparents: Sequence[str]) -> Sequence[str]:
    """Where each event's trace goes on: in the span that this runs in, when that belongs to the trace of all."""
    return [active() or traceparents[0]] * len(traceparents) if shared(traceparents) else traceparents


@contextmanager
def carrying(traceparent: str) -> Iterator[None]:
    """Have what is done on behalf of code elsewhere belong to its trace, or to none."""
    token = _carried.set(traceparent)
    try:
        yield
    finally:
        _carried.reset(token)


@contextmanager
def span(name: str, traceparents: Iterable[str], *, kind: Kind, attributes: Callable[[], Attributes]) -> Iterator[Span]:
    """Do something with events that have these traceparents, in a span where the trace of one of them is recorded.

    It goes on in their trace when they share one. Else it begins a trace, with links to those of the events.
    """
    trace = _api()
    found = dict.fromkeys(traceparents) if trace is not None else {}
    if trace is None or not any(is_sampled(each) for each in found):
        yield _UNRECORDED
        return
    links = [trace.Link(_context(trace, each)) for each in islice(filter(is_sampled, found), _MOST_LINKS)]
    parent = _root()
    if len(found) == 1:
        parent = trace.set_span_in_context(trace.NonRecordingSpan(links[0].context), parent)
    with trace.get_tracer(_SPANS_NAME, version()).start_as_current_span(
        name,
        context=parent,
        kind=trace.SpanKind[kind],
        links=links if kind != "SERVER" else (),
        attributes=attributes(),
        record_exception=False,
        set_status_on_exception=False,
    ) as recorded:
        told = Span(recorded)
        try:
            yield told
        except BaseException as error:
            told.fail(type(error).__qualname__)
            raise


def _api() -> ModuleType | None:
    """OpenTelemetry's API, where anything in this process uses it."""
    if not is_used():
        return None
    from opentelemetry import trace  # noqa: PLC0415 - which waits, where it is only being imported

    return trace


def _root() -> Any:
    from opentelemetry.context import Context  # noqa: PLC0415 - as above

    return Context()


def _context(trace: ModuleType, traceparent: str) -> "SpanContext":
    _, trace_id, span_id, flags = traceparent.split("-")
    made: SpanContext = trace.SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(int(flags, 16))
    )
    return made


def _text(context: "SpanContext") -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}" if context.is_valid else ""
