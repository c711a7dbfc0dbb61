"""Emitters: plug-ins of the official `snowplow-tracker` that never wait, and lose as little as they are asked to."""

from .bus import BusEmitter
from .collector import CollectorEmitter
from .emitter import Emitter, EmitterOptions
from .logfile import LogfileEmitter
from .metrics import EmitterMetrics
from .outcomes import Counts, Depth, Outcome

__all__ = [
    "BusEmitter",
    "CollectorEmitter",
    "Counts",
    "Depth",
    "Emitter",
    "EmitterMetrics",
    "EmitterOptions",
    "LogfileEmitter",
    "Outcome",
]
