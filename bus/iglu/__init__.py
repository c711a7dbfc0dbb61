"""Iglu: the names of schemas, the registries that have them, and what they say of an event's data."""
