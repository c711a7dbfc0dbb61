"""Writes docs/http.md from ingest's contract, schemas/openapi.yaml: `python -m snowbus.cli.http_docs`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from snowbus.schemas import read_text

from .schema_tables import cell, members, type_of

_BEGINNING = """\
# The HTTP interface

Written by `make docs` from the code; a test fails when it is out of date. [ingest.md](ingest.md) tells what to do with
it.

## Gateway

Its stream is a [websocket](websocket.md). On the same port it answers `GET`:

| path | answer |
|---|---|
| `/` | the [live page](live-page.md) |
| `/v1/events.har`, `/v1/events.ndjson`, `/v1/events.csv` | [files](inspector.md#as-a-file) of what happened |
| `/api/requests/http`, `/feeds/FILTERS/api/requests/http` | a [feed for the Inspector][ngrok], as of an ngrok tunnel |
| `/INDEX/_search` | the same, as of [an ElasticSearch](inspector.md#as-an-elasticsearch) |
| `/schemas`, `/schemas/VENDOR/NAME/jsonschema/VERSION` | [the schemas][registry] that it knows |
| `/v1/ingest` | where ingest is, for the commands that the page offers |
| `/asyncapi.yaml` | the contract of the websocket |
| `/health`, `/ready`, `/metrics` | as below |

[ngrok]: inspector.md#as-a-tunnel-ngrok
[registry]: schemas.md#the-gateway-as-a-registry

## Every role

`/health` is 200 while the process is alive and well, `/ready` while it can do its work, with the reason where it is
503; `/metrics` has the [metrics](metrics.md). The collector consumer and your own consumers answer nothing else.

## Ingest

The contract is an OpenAPI 3.1 document, `schemas/openapi.yaml`, which ingest serves at `/openapi.yaml`; a running
ingest is held against it by schemathesis.

"""


def render() -> str:
    """The whole document."""
    document = yaml.safe_load(read_text("openapi.yaml"))
    parts = [
        cell(document["info"]["description"]),
        _operations(document),
        "## What it answers\n\n" + _answers(document),
        "## What it takes and tells\n\n" + "\n\n".join(_schemas(document["components"]["schemas"])),
    ]
    return _BEGINNING + "\n\n".join(parts) + "\n"


def _operations(document: Mapping[str, Any]) -> str:
    """The operations, each with all the methods and paths that mean it: aliases of YAML are one object."""
    operations: dict[int, Mapping[str, Any]] = {}
    methods: defaultdict[int, dict[str, None]] = defaultdict(dict)
    paths: defaultdict[int, dict[str, None]] = defaultdict(dict)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, Mapping) and "responses" in operation:
                operations[id(operation)] = operation
                methods[id(operation)][method.upper()] = None
                paths[id(operation)][f"`{path}`"] = None
    rows = ["| method | path | what it does |", "|---|---|---|"]
    for key, operation in operations.items():
        where = "any" if "OPTIONS" in methods[key] else ", ".join(paths[key])
        rows.append(f"| {', '.join(methods[key])} | {where} | {cell(operation['summary'])} |")
    return "\n".join(rows)


def _answers(document: Mapping[str, Any]) -> str:
    """Every answer that there is, once, by its status."""
    components = document["components"]["responses"]
    answers: dict[tuple[str, str], Mapping[str, Any]] = {}
    for item in document["paths"].values():
        for operation in item.values():
            for status, answer in operation.get("responses", {}).items() if isinstance(operation, Mapping) else ():
                told = components[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
                answers[status, told["description"]] = told
    rows = ["| status | what it means | headers | body |", "|---|---|---|---|"]
    for (status, description), answer in sorted(answers.items()):
        headers = ", ".join(f"`{name}`" for name in answer.get("headers", ()))
        body = ", ".join(f"`{name}`" for name in answer.get("content", ()))
        rows.append(f"| {status} | {cell(description)} | {headers} | {body} |")
    return "\n".join(rows)


def _schemas(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        parts = [f"### {name}", cell(schema.get("description", ""))]
        if "properties" in schema:
            parts.append(members(schema))
        elif "oneOf" in schema:
            parts += [f"{each['title']}\n\n{members(each)}" for each in schema["oneOf"]]
        else:
            parts.append(type_of(schema))
        yield "\n\n".join(part for part in parts if part)


if __name__ == "__main__":
    print(render(), end="")
