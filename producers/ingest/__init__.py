"""Ingest: a Snowplow collector over HTTP whose 200 means that the event is durable."""
