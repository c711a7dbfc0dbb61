"""Runs a command's coroutine: on uvloop where there is one, with signals that ask it to stop, and the log opened."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.log import Log, open_log
from snowbus.bus.settings import Settings

from . import exit_codes
from .ending import Ending

T = TypeVar("T")
Role = Callable[..., Coroutine[Any, Any, None]]

_AFTER_SECOND_SIGNAL_SECONDS = 1.0

# What they have to say, we say in our own words.
_QUIET = ("aiokafka", "kafka", "snowplow_tracker", "uvicorn.error", "websockets.server")


def run(main: Coroutine[Any, Any, T], settings: Settings) -> T:
    """Run a coroutine to its end, with diagnostics on stderr as the settings say."""
    configure_logging(settings)
    collect_garbage_seldom()
    try:
        import uvloop  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def collect_garbage_seldom() -> None:
    """Leave out what is imported by now, which stays; and what an event leaves behind hardly ever has cycles."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def announce(name: str, address: str) -> None:
    """Say on stdout and in the diagnostics where a role listens."""
    print(f"{name} listens on {address}", flush=True)
    Diagnostics(__name__).info("ready", role=name, address=address)


def stop_on_signals(*, deadline: float | None = None) -> asyncio.Event:
    """An event that is set by SIGTERM or Ctrl-C; the second of them ends the process without draining.

    A process that hangs is ended by force `deadline` seconds after the first, and soon after the second.
    """
    stop, asked = asyncio.Event(), False
    loop, task, ending = asyncio.get_running_loop(), asyncio.current_task(), Ending()

    def on_signal(*_: object) -> None:
        nonlocal asked
        again, asked = asked or stop.is_set() or loop.is_closed(), True
        if again:
            ending.within(_AFTER_SECOND_SIGNAL_SECONDS, exit_codes.INTERRUPTED)
        elif deadline is not None:
            ending.within(deadline, exit_codes.FAILED)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(task.cancel if again and task is not None else stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)  # the loop's own handlers would wait for a blocked loop, and end with it
    return stop


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Work until it is done, or until SIGTERM or Ctrl-C. Raises what the work raises."""
    stop = asyncio.create_task(stop_on_signals().wait())
    working = asyncio.create_task(work)
    await asyncio.wait({stop, working}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def with_log(settings: Settings, use: Callable[[Log], Awaitable[T]], *, create: bool = False) -> T:
    """Open the log, use it, close it; an embedded one that is not there is made only to `create` it."""
    async with await open_log(settings.log, settings.log_options(), create=create) as log:
        return await use(log)


def _with_facts(_logger: Any, _method: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
    """A line of ours with its facts one by one, not in its sentence."""
    record = line["_record"]
    facts = getattr(record, "facts", None)
    return line if facts is None else {**line, **facts, "event": record.sentence}


def configure_logging(settings: Settings) -> None:
    """Write diagnostics to stderr, for people or as JSON lines; libraries' own go the same way."""
    human = settings.logging_format == "human" or (settings.logging_format == "auto" and sys.stderr.isatty())
    level = logging.getLevelNamesMapping()[settings.logging_level.upper()]
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[structlog.types.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,  # the rich one shows local variables: people's data
            )
        ]
        if human
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(  # for consumers of the user's that write by it
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_with_facts, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    if level > logging.DEBUG:
        for name in _QUIET:
            library = logging.getLogger(name)
            library.handlers = [logging.NullHandler()]
            library.propagate = False
