"""Writes docs/websocket-messages.md from the gateway's contract: `python -m snowbus.cli.websocket_docs`."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from snowbus.schemas import read_text

from .schema_tables import cell, members, type_of

_BEGINNING = """\
# Messages of the websocket

Written by `make docs` from `schemas/asyncapi.yaml`, the AsyncAPI 3.0 document that the gateway serves at
`/asyncapi.yaml`; a test fails when it is out of date. [websocket.md](websocket.md) tells what they are for, with an
example of each. Ignore members and messages that you do not know: a newer gateway may add some.
"""


def render() -> str:
    """The whole document."""
    document = yaml.safe_load(read_text("asyncapi.yaml"))
    messages = document["components"]["messages"]
    parts = [_BEGINNING]
    for operation in document["operations"].values():
        names = [each["$ref"].rpartition("/")[2] for each in operation["messages"]]
        parts += [f"## {operation['title']}\n"]
        if "description" in operation:
            parts.append(cell(operation["description"]) + "\n")
        parts += [_message(name, messages[name]) for name in names]
    return "\n".join([*parts, "## Types\n", *_types(document["components"]["schemas"])])


def _message(name: str, message: Mapping[str, Any]) -> str:
    return f"### The message {name}\n\n{cell(message['summary'])}\n\n{members(message['payload'])}\n"


def _types(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        parts = [f"### {name}", cell(schema.get("description", ""))]
        parts.append(members(schema) if "properties" in schema else type_of(schema))
        yield "\n\n".join(part for part in parts if part) + "\n"


if __name__ == "__main__":
    print(render(), end="")
