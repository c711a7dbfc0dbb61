"""Tracking in web apps: a tracker for each request, whose events leave after the response is complete."""

from .asgi import AsgiTracking
from .endpoint import IngestEndpoint
from .page import acontexts_json, contexts_json
from .tracked_request import current_tracker
from .tracking import Tracking
from .wsgi import WsgiTracking

__all__ = [
    "AsgiTracking",
    "IngestEndpoint",
    "Tracking",
    "WsgiTracking",
    "acontexts_json",
    "contexts_json",
    "current_tracker",
]
