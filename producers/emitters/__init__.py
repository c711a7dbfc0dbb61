"""Emitters: plug-ins of the official `snowplow-tracker` that write elsewhere than to a collector."""
