"""Emitters: plug-ins of the official `snowplow-tracker` that never wait, and lose as little as they are asked to."""

from .bus import BusEmitter
from .collector import CollectorEmitter
from .emitter import Emitter
from .logfile import LogfileEmitter
from .outcomes import Counts, Outcome

__all__ = ["BusEmitter", "CollectorEmitter", "Counts", "Emitter", "LogfileEmitter", "Outcome"]
