"""Emitters: plug-ins of the official `snowplow-tracker` that never wait, and lose as little as they are asked to."""

from .bus import BusEmitter
from .collector import CollectorEmitter
from .emitter import Emitter, EmitterOptions
from .logfile import LogfileEmitter
from .outcomes import Counts, Outcome

__all__ = ["BusEmitter", "CollectorEmitter", "Counts", "Emitter", "EmitterOptions", "LogfileEmitter", "Outcome"]
