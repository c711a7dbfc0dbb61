"""Sends the spans of a role to where traces are collected, by OpenTelemetry's SDK, the extra `snowbus[otel]`."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.settings import Settings

_SERVICE_NAME = "OTEL_SERVICE_NAME"
_LAST_SECONDS = 3.0


@contextmanager
def exporting_traces(settings: Settings, role: str) -> Iterator[None]:
    """Send spans, where the settings say so, as the `OTEL_…` variables of the environment say; at the end, the last.

    Raises ConfigurationError when the SDK is not installed.
    """
    if not settings.tracing:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
        from opentelemetry.trace import set_tracer_provider  # noqa: PLC0415 - as above
    except ImportError:
        raise ConfigurationError("tracing needs OpenTelemetry's SDK: install Snowbus with its extra otel") from None
    os.environ.setdefault(_SERVICE_NAME, f"snowbus-{role}")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    set_tracer_provider(provider)
    try:
        yield
    finally:
        ending = threading.Thread(target=provider.shutdown, name="snowbus-last-spans", daemon=True)
        ending.start()
        ending.join(_LAST_SECONDS)  # the SDK would wait 30 for who does not answer, and a stop has fewer
