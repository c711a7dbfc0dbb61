"""The collector emitter: sends events straight to a Snowplow collector."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack

from snowbus.bus.collector.target import Target, headers_of, target_of

from .emitter import Emitter, EmitterOptions
from .options import check_authorities, check_seconds, check_text, check_whole

if TYPE_CHECKING:
    from .to_collector import CollectorDestination


class CollectorEmitter(Emitter):
    """Sends events to a collector: `Tracker("ns", [CollectorEmitter("https://collector.example")])`.

    Requests are `payload_data` POSTs of `batch_events` and `batch_bytes` at most, one after the other, to the path in
    the URL or the tracker protocol's. `headers` ("Name: value") go along; credentials may stand in the URL. One without
    an answer counts as failed after `timeout` seconds. `gzip` is for collectors that are known to unpack; `ssl_cafile`
    names the authorities that sign its certificate. The other options are those of every emitter.
    Raises ConfigurationError when the URL, or an option, cannot work.
    """

    def __init__(
        self,
        url: str,
        *,
        batch_events: int = 200,
        batch_bytes: int = 1_000_000,
        headers: Sequence[str] = (),
        timeout: float = 10.0,
        gzip: bool = False,
        ssl_cafile: str = "",
        **queue: Unpack[EmitterOptions],
    ) -> None:
        target = checked_target(url, headers=headers, timeout=timeout, ssl_cafile=ssl_cafile)
        check_whole("batch_events", batch_events, least=1)
        check_whole("batch_bytes", batch_bytes, least=1)
        make = destination(
            target, headers=headers, timeout=timeout, max_bytes=batch_bytes, gzip=gzip, ssl_cafile=ssl_cafile
        )
        super().__init__(make, name=target.name, at_once=batch_events, **queue)


def checked_target(url: str, *, headers: Sequence[str], timeout: float, ssl_cafile: str) -> Target:
    """Where to POST, and with what. Raises ConfigurationError."""
    check_text("url", url)
    target = target_of(url)
    headers_of(headers, [target], setting="headers")
    check_seconds("timeout", timeout)
    check_authorities(ssl_cafile, secure=target.secure)
    return target


def destination(
    target: Target,
    *,
    headers: Sequence[str],
    timeout: float,
    max_bytes: int = 1_000_000,
    gzip: bool = False,
    ssl_cafile: str = "",
    to_ingest: bool = False,
) -> "Callable[[], CollectorDestination]":
    """What makes the destination, in the emitter's thread."""

    def make() -> "CollectorDestination":
        # An HTTP client takes a third of a second to import, which the thread has.
        from .to_collector import CollectorDestination, Requests  # noqa: PLC0415

        requests = Requests(max_bytes, timeout, tuple(headers), gzip=gzip, ssl_cafile=ssl_cafile, to_ingest=to_ingest)
        return CollectorDestination(target, requests)

    return make
