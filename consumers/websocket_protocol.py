"""What a gateway and its clients both know of the websocket: where it is, and what a reader may ask for."""

from typing import Literal

EVENTS_PATH = "/v1/events"

Policy = Literal["pause", "sample", "latest", "disconnect"]
"""What a reader wants that does not take events as fast as they come."""

GROUP_OPTIONS = ("max_in_flight", "ack_timeout")
"""Parameters that only a group has."""
