"""How large a schema is with each `$ref` written out: what checking one value may cost, whatever the value is. Pure."""

from typing import Any

from ..json_text import pointer_parts, value_at

MAX_WRITTEN_OUT = 100_000
"""Schemas in one schema, at most: to check so many takes 10 ms."""


def size_written_out(document: dict[str, Any]) -> int:
    """How many schemas there are in a document, each `$ref` counted as what it leads to; no more than one beyond
    MAX_WRITTEN_OUT. One that leads back to itself counts as nothing: the engine goes no deeper than the value.
    """
    try:
        return _Counter(document).size(document)
    except RecursionError:  # so many that lead to one another
        return MAX_WRITTEN_OUT + 1


class _Counter:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._sizes: dict[int, int] = {}

    def size(self, schema: Any) -> int:
        """The size of a schema, or of a value that holds schemas."""
        if not isinstance(schema, dict | list):
            return 0
        known = self._sizes.get(id(schema))
        if known is None:
            self._sizes[id(schema)] = 0  # until it is known, as it may lead to itself
            known = self._sizes[id(schema)] = min(self._count(schema), MAX_WRITTEN_OUT + 1)
        return known

    def _count(self, schema: Any) -> int:
        if isinstance(schema, list):
            return sum(map(self.size, schema))
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return 1 + self.size(value_at(self._document, pointer_parts(reference)))
        return 1 + sum(self.size(value) for name, value in schema.items() if name not in ("definitions", "enum"))
