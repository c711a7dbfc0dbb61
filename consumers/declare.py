"""`@consumer` declares that a function handles the records of some topics; what cannot work fails here, with a hint."""

import difflib
import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from functools import WRAPPER_ASSIGNMENTS, partial
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, get_args

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC, RETRY_TOPIC, is_topic_name
from snowbus.bus.filters import PARAMETERS, Filter, Filters, filter_of
from snowbus.bus.log.interface import AutoOffsetReset, check_topic_names

from .adaptive import Adaptive
from .dedupe import Dedupe

P = ParamSpec("P")
R = TypeVar("R")
Lifespan = Callable[[], AbstractAsyncContextManager[Any] | AbstractContextManager[Any]]

_LONGEST_GROUP_ID = 255
_SHORTEST_TIMEOUT, _LONGEST_SECONDS = 0.001, 1e9


class Options(Filters, total=False):
    """What `@consumer` takes besides topics and group; `Consumer` says what each means. The rest are filters, those of
    the gateway: one value or several, of which one must match.
    """

    name: str
    batch: int | None
    batch_bytes: int | None
    batch_wait: float
    concurrency: int | Adaptive
    ordered: bool
    retries: int | None
    backoff: float
    backoff_max: float
    dead_letter: bool | str
    timeout: float
    max_in_flight: int
    buffer: int
    auto_offset_reset: AutoOffsetReset
    dedupe: Dedupe | None
    lifespan: Lifespan | None


_COUNTS = {"batch": 1, "batch_bytes": 1, "retries": 0, "max_in_flight": 1, "buffer": 1}
_NONE_FOR_NO_BOUND = ("batch", "batch_bytes", "retries")
_OPTIONS = tuple(name for name in Options.__annotations__ if name not in PARAMETERS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Consumer(Generic[P, R]):
    """A function, and how it is to be run. It stays callable, as the function it was.

    `batch`: how many records it is given at most, as a list; None: one record, alone. A batch has at most
    `batch_bytes` of values, but for one record that is larger, and waits `batch_wait` seconds for more. `concurrency`:
    how many calls at once, or `Adaptive()`; those of one key never overlap and keep their order, where it is `ordered`.
    `retries`: how often a record that failed is handled again, None for ever, after `backoff` seconds, then twice as
    long each time, up to `backoff_max`. `dead_letter`: whether (or to which topic) it goes then; without, it is only
    said in the diagnostics. `timeout`: seconds after which a call counts as failed; a plain function cannot be
    stopped, and makes `/health` say so. `max_in_flight`: how many records are, at most, handed out and not committed,
    which is what is handled again after a SIGKILL. `buffer`: how many are read ahead. `dedupe`: what has been handled
    already is not, by `event_id`. `lifespan`: gives a context manager, async or plain, that is entered before the first
    record and left after the last; what it gives is the function's second argument.
    """

    function: Callable[P, R]
    topics: tuple[str, ...]
    group_id: str
    filter: Filter
    name: str
    batch: int | None = None
    batch_bytes: int | None = None
    batch_wait: float = 0.0
    concurrency: int | Adaptive = 1
    ordered: bool = True
    retries: int | None = 5
    backoff: float = 1.0
    backoff_max: float = 60.0
    dead_letter: str = DEAD_TOPIC
    timeout: float = 300.0
    max_in_flight: int = 5_000
    buffer: int = 10_000
    auto_offset_reset: AutoOffsetReset = "earliest"
    dedupe: Dedupe | None = None
    lifespan: Lifespan | None = None
    is_async: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", _is_async(self.function))
        for name in WRAPPER_ASSIGNMENTS:  # what tools look at: it is still that function
            if (value := getattr(self.function, name, None)) is not None:
                object.__setattr__(self, name, value)
        object.__setattr__(self, "__wrapped__", self.function)

    @property
    def most_calls(self) -> int:
        """How many calls there are at once, at most."""
        return self.concurrency.most if isinstance(self.concurrency, Adaptive) else self.concurrency

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self.function(*args, **kwargs)


def consumer(*topics: str, group_id: str, **options: Unpack[Options]) -> Callable[[Callable[P, R]], Consumer[P, R]]:
    """Declare that a function, async or plain, handles the records of these topics, as a member of the group.

    It is called with a `Record`, or with a list of them when there is a `batch`, and then with what the `lifespan`
    gives, when there is one. When it returns, its records are done with, and may be committed; it may raise `Retry`,
    `Skip` or `DeadLetter`, and whatever else it raises counts as a failure. `Consumer` says what the options are.

    Raises ConfigurationError for options that cannot work.
    """
    _check_topics(topics)
    _check_name("group_id", group_id, most=_LONGEST_GROUP_ID)
    given: dict[str, Any] = dict(options)
    _check_known(given)
    filters = {name: given.pop(name) for name in list(given) if name in PARAMETERS}
    _check_values(given)
    given.pop("name", None)
    if "dead_letter" in given:
        given["dead_letter"] = {True: DEAD_TOPIC, False: ""}.get(given["dead_letter"], given["dead_letter"])
    _check_dead_letter_topic(given.get("dead_letter", DEAD_TOPIC), topics)
    declared_filter = filter_of(filters)

    def declare(function: Callable[P, R]) -> Consumer[P, R]:
        _check_function(function, given.get("lifespan"))
        name = str(options.get("name") or getattr(function, "__name__", type(function).__name__))
        return Consumer(function=function, topics=topics, group_id=group_id, filter=declared_filter, name=name, **given)

    return declare


def _check_topics(topics: tuple[str, ...]) -> None:
    if not topics:
        raise ConfigurationError('a consumer needs a topic: @consumer("snowbus.events", group_id=…)')
    if len(topics) == 1 and callable(topics[0]):
        raise ConfigurationError('@consumer takes arguments: @consumer("snowbus.events", group_id=…)')
    for topic in topics:
        if not isinstance(topic, str):
            raise ConfigurationError(f"{topic!r} is not the name of a topic; several are several arguments")
        check_topic_names([topic])
        if topics.count(topic) > 1:
            raise ConfigurationError(f"{topic!r} is there twice; name each topic once")
    if RETRY_TOPIC in topics:
        raise ConfigurationError(f"every group reads its copies on {RETRY_TOPIC} anyway; name the topics they are of")


def _check_dead_letter_topic(dead_letter: str, topics: tuple[str, ...]) -> None:
    if dead_letter in topics:
        raise ConfigurationError(
            f"the dead letters of a consumer of {dead_letter} cannot go to {dead_letter}, where each would make the "
            "next; give dead_letter=False, or a topic of its own"
        )
    if dead_letter in (EVENTS_TOPIC, RETRY_TOPIC):
        raise ConfigurationError(f"dead_letter={dead_letter!r} is not for dead letters; give a topic of its own")


def _check_name(option: str, value: Any, *, most: int | None = None) -> None:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ConfigurationError(f"{option} {value!r} is not a name")
    if most is not None and len(value) > most:
        raise ConfigurationError(f"{option} {value[:20]!r}… has {len(value):,} characters; {most} is the most")


def _check_known(options: dict[str, Any]) -> None:
    known = (*_OPTIONS, *PARAMETERS)
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {close[0]}?"
                if close
                else f"options are {', '.join(_OPTIONS)}; filters {', '.join(PARAMETERS)}"
            )
            raise ConfigurationError(f"@consumer has no option {name}; {hint}")


def _check_values(options: dict[str, Any]) -> None:
    for name, least in _COUNTS.items():
        value = options.get(name, least)
        if not (value is None and name in _NONE_FOR_NO_BOUND) and not _is_count(value, least):
            raise ConfigurationError(f"{name}={value!r}: it is a whole number from {least} on")
    if not isinstance(value := options.get("concurrency", 1), Adaptive) and not _is_count(value, 1):
        raise ConfigurationError(f"concurrency={value!r}: it is a whole number from 1 on, or Adaptive()")
    _check_times(options)
    for name in ("batch_wait", "batch_bytes"):
        if options.get(name) and not options.get("batch"):
            raise ConfigurationError(f"{name} is for a batch; say how many records one has: batch=500")
    for name, default in (("max_in_flight", Consumer.max_in_flight), ("buffer", Consumer.buffer)):
        if (batch := options.get("batch") or 1) > (most := options.get(name, default)):
            raise ConfigurationError(f"batch={batch} never fills up with {name}={most}; say {name}={batch}, or more")
    _check_choices(options)


def _check_times(options: dict[str, Any]) -> None:
    for name in ("batch_wait", "backoff", "backoff_max", "timeout"):
        least = _SHORTEST_TIMEOUT if name == "timeout" else 0
        if not _is_seconds(value := options.get(name, 1), least):
            what = f"a number of seconds, from {least} to {_LONGEST_SECONDS:.0e}"
            raise ConfigurationError(f"{name}={value!r}: it is {what}")
    backoff, most = options.get("backoff", Consumer.backoff), options.get("backoff_max", Consumer.backoff_max)
    if backoff > most:
        raise ConfigurationError(f"backoff={backoff!r} is more than backoff_max={most!r}; say backoff_max={backoff!r}")


def _check_choices(options: dict[str, Any]) -> None:
    if not isinstance(ordered := options.get("ordered", True), bool):
        raise ConfigurationError(f"ordered={ordered!r}: it is True or False")
    dead_letter = options.get("dead_letter", True)
    if not isinstance(dead_letter, bool) and not (isinstance(dead_letter, str) and is_topic_name(dead_letter)):
        raise ConfigurationError(f"dead_letter={dead_letter!r}: it is True, False or the name of a topic")
    reset = options.get("auto_offset_reset", "earliest")
    if reset not in get_args(AutoOffsetReset):
        raise ConfigurationError(f"auto_offset_reset={reset!r}: it is 'earliest' or 'latest'")
    if options.get("dedupe") is not None and not isinstance(options["dedupe"], Dedupe):
        raise ConfigurationError(f"dedupe={options['dedupe']!r}: it is a Dedupe(path)")
    if options.get("lifespan") is not None:
        _check_lifespan(options["lifespan"])
    if "name" in options:
        _check_name("name", options["name"])


def _check_lifespan(lifespan: Any) -> None:
    if inspect.isasyncgenfunction(lifespan) or inspect.isgeneratorfunction(lifespan):
        kind = "asynccontextmanager" if inspect.isasyncgenfunction(lifespan) else "contextmanager"
        raise ConfigurationError(f"lifespan={lifespan.__name__} yields; decorate it with @contextlib.{kind}")
    if not callable(lifespan):
        raise ConfigurationError(f"lifespan={lifespan!r}: it is a function that gives a context manager")


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_seconds(value: Any, least: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= _LONGEST_SECONDS


def _check_function(function: Any, lifespan: Lifespan | None) -> None:
    if not callable(function) or isinstance(function, Consumer | type):
        raise ConfigurationError(f"@consumer goes on a function, not on {function!r}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    arguments, what, count = ([1], "a record alone", "one argument")
    if lifespan is not None:
        arguments, what, count = ([1, 2], "a record and what its lifespan gives", "two arguments")
    try:
        signature.bind(*arguments)
    except TypeError:
        name = getattr(function, "__name__", repr(function))
        raise ConfigurationError(f"{name}{signature} cannot be called with {what}; a handler takes {count}") from None
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError("a handler cannot yield; let it return when its record is done with")


def _is_async(function: Any) -> bool:
    """Whether a call of it gives a coroutine, as far as can be known: of what a decorator made, only the call tells."""
    while isinstance(function, partial | staticmethod):
        function = function.func if isinstance(function, partial) else function.__func__
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
