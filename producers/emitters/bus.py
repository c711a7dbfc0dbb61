"""The bus emitter: puts events on the log, or sends them to an ingest that does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.log import LogOptions, check_log_url
from snowbus.bus.log.kafka_url import without_password

from .collector import checked_target, destination
from .destination import Destination
from .emitter import Emitter, EmitterOptions
from .options import check_choice, check_text

if TYPE_CHECKING:
    from .to_log import LogDestination

_EVENTS_AT_ONCE = 500
_TIMEOUT = 10.0
_LOGS = ("kafka:", "sqlite:", "memory:")
_OnInvalid = Literal["forward", "divert"]


class BusEmitter(Emitter):
    """Puts events on the log: `Tracker("ns", [BusEmitter("kafka://localhost:9092")])`.

    `url` is that of a log (`kafka://…`, `sqlite:///…`), or of an ingest (`http://…`, `https://…`). For a log, `options`
    are what it is opened with, and `iglu_resolver` and `on_invalid` are as the settings of these names; an ingest has
    its own. For an ingest, `headers`, `timeout` and `ssl_cafile` are as for a CollectorEmitter. The other options are
    those of every emitter. An event that a log will never take is kept on its topic `snowbus.bad`.
    Raises ConfigurationError when the URL, the resolver's file, or an option cannot work.
    """

    def __init__(
        self,
        url: str,
        *,
        options: LogOptions | None = None,
        iglu_resolver: str = "",
        on_invalid: _OnInvalid = "forward",
        headers: Sequence[str] = (),
        timeout: float = _TIMEOUT,
        ssl_cafile: str = "",
        **queue: Unpack[EmitterOptions],
    ) -> None:
        check_text("url", url)
        make: Callable[[], Destination[Any]]
        if url.startswith(("http://", "https://")):
            if options is not None or iglu_resolver or on_invalid != "forward":
                raise ConfigurationError("options, iglu_resolver and on_invalid are for a log; an ingest has its own")
            target = checked_target(url, headers=headers, timeout=timeout, ssl_cafile=ssl_cafile)
            make = destination(target, headers=headers, timeout=timeout, ssl_cafile=ssl_cafile, to_ingest=True)
            name = target.name
        else:
            if not url.startswith(_LOGS):
                raise ConfigurationError(
                    f"url {without_password(url)!r} is none of a log, kafka://HOST:PORT or sqlite:///PATH, nor of an "
                    "ingest, http://HOST:PORT or https://HOST"
                )
            if headers or timeout != _TIMEOUT or ssl_cafile:
                raise ConfigurationError("headers, timeout and ssl_cafile are for an ingest; a log has options")
            check_choice("on_invalid", on_invalid, ("forward", "divert"))
            check_log_url(url, options)
            name, make = without_password(url), _log(url, options, iglu_resolver, on_invalid)
        super().__init__(make, name=name, at_once=_EVENTS_AT_ONCE, **queue)


def _log(
    url: str, options: LogOptions | None, iglu_resolver: str, on_invalid: _OnInvalid
) -> "Callable[[], LogDestination]":
    """What opens the log, in the emitter's thread. Raises ConfigurationError when a resolver's file cannot be used."""
    resolver = None
    if iglu_resolver:
        from snowbus.bus.iglu.config import load_resolver_config  # noqa: PLC0415 - 0.1 s, for those who need it

        resolver = load_resolver_config(Path(iglu_resolver))

    def make() -> "LogDestination":
        # The drivers of logs, and what checks events, take a third of a second to import, which the thread has.
        from .to_log import LogDestination  # noqa: PLC0415

        return LogDestination(url, options, resolver=resolver, diverts=on_invalid == "divert")

    return make
