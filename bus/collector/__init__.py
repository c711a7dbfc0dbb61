"""Talks to a Snowplow collector: bodies of events, requests, and what the answers to them mean."""
