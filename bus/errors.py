"""The errors that Snowbus raises::

    SnowbusError
    ├── ConfigurationError         a setting or an address that cannot work
    │   └── ListenError            nobody can listen on an address, as when it is taken
    ├── JsonError                  text that is not JSON
    ├── PayloadError               what was sent is not a Snowplow event
    ├── SchemaError                what should be a schema cannot be used as one
    │   └── SchemaLimitError       it may be one, and is beyond what we check with
    ├── RegistryError              a registry of schemas gives no answer (retriable)
    ├── EnvelopeError              bytes on the log that are not one of our events
    ├── FilterError                a filter that cannot be understood
    ├── PlanError                  a plan of expected events that cannot be understood
    ├── StartError                 a place to start from that cannot be
    │   └── CursorError            text that is not a cursor
    ├── StreamError                a stream of a gateway's events cannot go on
    │   ├── StreamRefusedError     the gateway refuses it, and would again
    │   ├── StreamRequestError     the gateway refuses a change of it; the stream goes on as it was
    │   └── StreamUnavailableError the gateway cannot be reached, for longer than it may (retriable)
    └── LogError                   the log did not do what it was asked
        ├── LogUnavailableError    it cannot be reached, or not in time (retriable)
        ├── LogDamagedError        the file of an embedded log is damaged
        ├── LogAccessError         it does not let us in, or not do that, until somebody changes something
        ├── RecordRefusedError     the log does not take a record
        │   └── RecordTooLargeError it is larger than the log takes
        ├── MetadataTooLargeError  the text beside a committed offset is
        ├── TopicNotFoundError     no such topic
        ├── NotAssignedError       a partition is no longer this member's (after a rebalance)
        ├── GroupHasMembersError   the offsets of a group are set only while it has none
        └── LogClosedError         the log was used after close()

Errors carry their facts as attributes; the sentence is made from them. `retriable` says whether the same call may
succeed later without anybody changing anything.
"""

from collections.abc import Mapping

MEND = "restore a backup, or copy what can be read into a new log with `snowbus log salvage`"
"""What to do about a damaged file."""


class SnowbusError(Exception):
    """The base of every error that Snowbus raises on purpose."""

    retriable = False


class ConfigurationError(SnowbusError):
    """A setting that cannot work; says which one and what would."""


class ListenError(ConfigurationError):
    """An address `listen` that cannot be listened on, for a reason: it is taken, for example."""

    def __init__(self, listen: str, reason: str) -> None:
        super().__init__(f"cannot listen on {listen}: {reason}")
        self.listen = listen


class JsonError(SnowbusError, ValueError):
    """Text that is not JSON."""


class PayloadError(SnowbusError, ValueError):
    """What was sent is not a Snowplow event; `reason` is a sentence for whoever sent it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SchemaError(SnowbusError, ValueError):
    """What should be a schema and cannot be used as one; `reason` says why, and where in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SchemaLimitError(SchemaError):
    """A schema that is beyond our bounds, or uses what our engine cannot: others may be able to check with it."""


class RegistryError(SnowbusError):
    """A registry of schemas gives no answer that can be understood; says why."""

    retriable = True


class EnvelopeError(SnowbusError, ValueError):
    """Bytes on the log that are not one of our events."""


class FilterError(SnowbusError, ValueError):
    """A filter that cannot be understood; `parameter` names the part of it."""

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter
        self.reason = reason


class PlanError(SnowbusError, ValueError):
    """A plan that cannot be understood, for a `reason`, at a `place` of it (`events[0].data.sku`; empty for the whole);
    `line` is the place's, and `source` the plan's file, where known.
    """

    def __init__(self, place: str, reason: str, *, line: int | None = None, source: str = "") -> None:
        file = " line ".join(part for part in (source, str(line or "")) if part)
        super().__init__(": ".join(part for part in (file, place, reason) if part))
        self.place = place
        self.reason = reason
        self.line = line
        self.source = source


class StartError(SnowbusError, ValueError):
    """A place to start from, or a time, that cannot be understood."""


class CursorError(StartError):
    """Text that is not a cursor."""


class StreamError(SnowbusError):
    """A stream of a gateway's events cannot go on, or was used in a way that cannot be."""


class StreamRefusedError(StreamError):
    """The gateway at `url` refuses a subscription with an HTTP `status`, for a `reason` that is the gateway's."""

    def __init__(self, url: str, *, status: int, reason: str) -> None:
        super().__init__(f"{url} refuses the stream with {status}: {reason}")
        self.url = url
        self.status = status
        self.reason = reason


class StreamRequestError(StreamError):
    """The gateway refuses a change of a stream, with a `code` and a `reason`; the stream goes on as it was."""

    def __init__(self, request: str, *, code: str, reason: str) -> None:
        super().__init__(f"the gateway refuses the {request}: {reason} ({code})")
        self.request = request
        self.code = code
        self.reason = reason


class StreamUnavailableError(StreamError):
    """The gateway at `url` cannot be reached, for longer than `seconds`; `reason` is what came of the last try."""

    retriable = True

    def __init__(self, url: str, *, seconds: float, reason: str) -> None:
        super().__init__(f"{url} cannot be reached for {seconds:g} s: {reason}")
        self.url = url
        self.seconds = seconds
        self.reason = reason


class LogError(SnowbusError):
    """The log did not do what it was asked."""


class LogUnavailableError(LogError):
    """The log cannot be reached, or did not answer in time."""

    retriable = True


class LogDamagedError(LogError):
    """The file of an embedded log (its `name`) is damaged; `reason` is what shows it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} is damaged: {reason}. Stop Snowbus, and {MEND}")
        self.name = name
        self.reason = reason


class LogAccessError(LogError):
    """The log does not let us in, or not do that: a password, a certificate, a protocol, a right; says which."""


class RecordRefusedError(LogError):
    """The log does not take a record, for a `reason`, and would not take it again.

    `appended` has those of its call that are on the log all the same: the partition and offset of each, by its place
    in the call.
    """

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(reason)
        self.topic = topic
        self.reason = reason
        self.appended: Mapping[int, tuple[int, int]] = {}


class RecordTooLargeError(RecordRefusedError):
    """A record of `size` bytes is larger than the `limit` of the log, which is None when the log does not tell it."""

    def __init__(self, topic: str, *, size: int, limit: int | None) -> None:
        than = "" if limit is None else f"the {limit} that "
        super().__init__(topic, f"a record of {size} bytes is larger than {than}topic {topic} takes")
        self.size = size
        self.limit = limit


class MetadataTooLargeError(LogError):
    """The text beside a committed offset is larger than the log takes; `size` and `limit` are in bytes, where known."""

    def __init__(self, *, size: int | None = None, limit: int | None = None) -> None:
        what = "the metadata" if size is None else f"metadata of {size} bytes"
        than = "" if limit is None else f"the {limit} that "
        super().__init__(f"{what} of a committed offset is larger than {than}the log takes")
        self.size = size
        self.limit = limit


class TopicNotFoundError(LogError):
    """No such topic on the log."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"the log has no topic {topic!r}; make it with `snowbus topics --create {topic}`")
        self.topic = topic


class NotAssignedError(LogError):
    """A partition is no longer this group member's, after a rebalance; whoever has it now will read on."""


class GroupHasMembersError(LogError):
    """The offsets of a group cannot be set, because it has members, which commit their own."""

    def __init__(self, group_id: str) -> None:
        super().__init__(
            f"group {group_id!r} has members; stop them before its offsets are set "
            "(one that was killed is a member until its session times out)"
        )
        self.group_id = group_id


class LogClosedError(LogError):
    """The log was used after it was closed."""


def log_error(said: str, error: Exception) -> SnowbusError:
    """An error as one of ours: itself, or else a LogError that says this and what it was."""
    if isinstance(error, SnowbusError):
        return error
    found = LogError(f"{said}: {str(error) or type(error).__name__}")
    found.__cause__ = error
    return found
