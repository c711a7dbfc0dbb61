"""The gateway: streams events live over websockets, and serves the debug page."""
