"""A record as handlers get it: where it stands, and its event, decoded when somebody asks."""

from collections.abc import Hashable, Mapping
from functools import cached_property
from typing import Any

from snowbus.bus import event as bus
from snowbus.bus.canonical import Decoded, decode, schema_of, view_of
from snowbus.bus.envelope import decode_event
from snowbus.bus.filters import Candidate, schema_matcher
from snowbus.bus.payload import Payload, load_payload
from snowbus.bus.traceparent import TRACEPARENT, traceparent_of


class Record:
    """One record of the log, with its event.

    `topic, partition, offset, timestamp` (ms since 1970), `key`, `value` and `headers` are those of the log; for a
    record that is handled once more after `snowbus dead retry` or `snowbus replay`, they are those of the original.
    `attempt` counts how often the handler has been called with it, this time included.

    What it shows is a handler's to change; each attempt is shown it anew.

    What concerns the event (`event, payload, source, validation, schema, data, entities`) raises EnvelopeError or
    PayloadError when the record is none.
    """

    # The runner's own, besides: `place` and `at` are the partition and the offset that are read and committed,
    # `order_key` is what keeps records in order, `failures` counts the attempts that failed, `assignment` tells one
    # assignment of the partition from the next.
    attempt = 0
    failures = 0
    assignment = 0

    def __init__(
        self, record: bus.Record, place: bus.TopicPartition | None = None, original: bus.Record | None = None
    ) -> None:
        self.raw = original or record
        self.place = place or record.topic_partition
        self.at = record.offset
        self.order_key: Hashable = record.key if record.key is not None else (self.place, record.offset)

    def __repr__(self) -> str:
        return f"<Record {self.raw.topic}/{self.raw.partition}@{self.raw.offset}>"

    @property
    def topic(self) -> str:
        """The topic."""
        return self.raw.topic

    @property
    def partition(self) -> int:
        """The number of the partition."""
        return self.raw.partition

    @property
    def offset(self) -> int:
        """The offset in the partition."""
        return self.raw.offset

    @property
    def timestamp(self) -> int:
        """When it was appended, or the event accepted, in ms since 1970."""
        return self.raw.timestamp

    @property
    def key(self) -> bytes | None:
        """The key; of an event it is the user, as far as known."""
        return self.raw.key

    @property
    def value(self) -> bytes:
        """The bytes on the log."""
        return self.raw.value

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers as text: of an event `event_id, app_id, event, schema, valid`, where known."""
        return {name: value.decode("utf-8", "replace") for name, value in self.raw.headers}

    @property
    def event_id(self) -> str:
        """The event's id, or an empty string when the record is no event."""
        return self.headers.get("event_id", "")

    @property
    def traceparent(self) -> str:
        """Where the event's trace goes on (W3C Trace Context), or an empty string."""
        return traceparent_of(self.raw.header(TRACEPARENT))

    @cached_property
    def event(self) -> dict[str, Any]:
        """The canonical view: Snowplow's enriched names, typed."""
        return view_of(self._event, self._decoded)

    @cached_property
    def payload(self) -> Payload:
        """The tracker-protocol parameters, as they were sent."""
        return load_payload(self._event.payload)

    @property
    def source(self) -> Mapping[str, str]:
        """Who sent it: `ip, user_agent, network_userid, referer` and so on, where known."""
        return self._event.source

    @property
    def validation(self) -> bus.Validation:
        """Whether it was found `valid` or `invalid`, or is `unchecked`."""
        return self._event.validation

    @property
    def schema(self) -> str:
        """The Iglu URI of what happened; an empty string when there is none that can be read."""
        return str(schema_of(self.payload, self._decoded) or "")

    @property
    def data(self) -> Any:
        """The data of the self-describing event; None when it is not one."""
        unstruct_event = self._decoded.unstruct_event
        return unstruct_event.data if unstruct_event else None

    def entities(self, schema: str) -> list[Any]:
        """The data of every entity of this schema: an Iglu URI, with `*` allowed in its version. Raises FilterError
        when it is not one.
        """
        is_wanted = schema_matcher(schema)
        return [entity.data for entity in self._decoded.contexts if is_wanted(str(entity.schema))]

    def entity(self, schema: str) -> Any:
        """The data of the first entity of this schema, or None. Raises FilterError when it is not an Iglu URI."""
        return next(iter(self.entities(schema)), None)

    @cached_property
    def candidate(self) -> Candidate:
        """The record as filters see it."""
        return Candidate(self.raw, lambda: self.event)

    def forget_views(self) -> None:
        """Forget what was decoded, which a handler may have changed, so that the next attempt has it as it was."""
        for name in _VIEWS:
            self.__dict__.pop(name, None)

    @cached_property
    def _event(self) -> bus.Event:
        return decode_event(self.raw.value)

    @cached_property
    def _decoded(self) -> Decoded:
        return decode(self.payload)


_VIEWS = tuple(name for name, value in vars(Record).items() if isinstance(value, cached_property))
