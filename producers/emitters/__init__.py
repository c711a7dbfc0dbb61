"""Emitters: plug-ins of the official `snowplow-tracker` that write elsewhere than to a collector."""

from .bus import BusEmitter
from .logfile import LogfileEmitter

__all__ = ["BusEmitter", "LogfileEmitter"]
