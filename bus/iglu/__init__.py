"""Iglu: the names of schemas, and (with the registries) the schemas themselves."""
