"""Tables of a JSON Schema's members, for the documents that are written from contracts."""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]


def members(schema: Schema) -> str:
    """The members of an object as a table, and which of them may be absent."""
    rows = list(_rows(schema))
    columns = 3 if any(description for *_, description in rows) else 2
    head = [("member", "type", "what it is"), ("---",) * 3]
    return "\n".join(f"| {' | '.join(row[:columns])} |" for row in [*head, *rows])


def _rows(schema: Schema) -> Iterator[tuple[str, str, str]]:
    required = schema.get("required", ())
    for name, member in schema["properties"].items():
        optional = "" if name in required else ", optional"
        yield f"`{name}`", cell(type_of(member) + optional), cell(member.get("description", ""))
    if isinstance(others := schema.get("additionalProperties"), Mapping):
        yield "any other", f"{cell(type_of(others))}, optional", ""


def type_of(schema: Schema) -> str:
    """A type in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return " or ".join(type_of(each) for each in schema[several])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_plain(schema, name) for name in types)


def _plain(schema: Schema, name: str) -> str:
    if name == "array":
        return f"array of: {type_of(schema['items'])}"
    values = schema.get("additionalProperties")
    if name == "object" and isinstance(values, Mapping):
        return f"object of: {type_of(values)}"
    return name


def cell(text: str) -> str:
    """A text that fits into a table."""
    return " ".join(text.split()).replace("|", "\\|")
