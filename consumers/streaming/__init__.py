"""Reads a gateway's websocket: a typed stream of events that connects again by itself."""
