"""The contract, `schemas/asyncapi.yaml`: it is one, it says what the gateway does, and the gateway serves it.

That every message is in it is checked by all tests of the gateway: their client checks what it is sent.
"""

import copy
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from asyncio import to_thread
from typing import Any

import pytest
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError
from support import asyncapi
from support.aio import run
from support.gateway import Running, client, gateway
from support.memory_log import MemoryLog
from support.node import node_package

from snowbus.bus.filters import Filters
from snowbus.schemas import read_text

OWN = {"from", "deliveries", "policy", "group", "max_in_flight", "ack_timeout", "token"}


@pytest.mark.node
def test_it_is_an_asyncapi_document() -> None:
    schema = json.loads((node_package("@asyncapi/specs") / "schemas" / "3.0.0-without-$id.json").read_text("utf-8"))
    validator = Draft7Validator(schema)
    validator.validate(asyncapi.DOCUMENT)
    broken = copy.deepcopy(asyncapi.DOCUMENT)
    broken["operations"]["stream"]["action"] = "shout"
    with pytest.raises(ValidationError):
        validator.validate(broken)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return found + [each for item in value.values() for each in references(item)]
    return [each for item in value for each in references(item)] if isinstance(value, list) else []


def test_whatever_it_refers_to_is_there() -> None:
    for reference in references(asyncapi.DOCUMENT):
        found = asyncapi.DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


@pytest.mark.parametrize("name", sorted(asyncapi.MESSAGES))
def test_every_message_has_examples_that_keep_it(name: str) -> None:
    is_sent = name in asyncapi.message_names("send")
    check = asyncapi.check_gateway_message if is_sent else asyncapi.check_client_message
    examples = asyncapi.MESSAGES[name]["examples"]
    assert examples
    for example in examples:
        check(example["payload"])
        with pytest.raises(ValidationError):
            check({**example["payload"], "unheard_of": 1})


async def ask(running: Running, path: str) -> tuple[int, str, str]:
    """The status, content type and text of an answer."""

    def answer() -> tuple[int, str, str]:
        try:
            with urllib.request.urlopen(running.address + path, timeout=5) as found:
                return found.status, found.headers["Content-Type"], found.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    return await to_thread(answer)


def test_the_gateway_serves_it() -> None:
    async def main() -> None:
        async with gateway(MemoryLog()) as running:
            assert await ask(running, "/asyncapi.yaml") == (200, "application/yaml", read_text("asyncapi.yaml"))

    run(main())


def test_every_parameter_that_the_gateway_knows_is_in_it() -> None:
    async def main() -> None:
        async with gateway(MemoryLog()) as running:
            status, _, text = await ask(running, "/v1/events?unheard_of=1")
            assert status == 400
            known = re.search(r"parameters are (.*)", text)
            assert known
            assert set(known[1].split(", ")) <= set(asyncapi.PARAMETERS)

    run(main())


def test_filters_are_the_same_in_the_url_in_messages_and_in_the_python_client() -> None:
    filters = set(asyncapi.PARAMETERS) - OWN
    assert filters == set(asyncapi.DOCUMENT["components"]["schemas"]["askedFilters"]["properties"])
    assert filters == set(Filters.__annotations__)


@pytest.mark.parametrize(
    "query",
    ["from=-10&app_id=shop&app_id=web&valid=true&platform=web", "schema=iglu:com.acme/cart/jsonschema/1-*-*&q=x"],
)
def test_what_it_allows_the_gateway_takes(query: str) -> None:
    async def main() -> None:
        asyncapi.check_parameters(urllib.parse.parse_qsl(query))
        async with gateway(MemoryLog()) as running, client(running, query) as reader:
            assert reader.hello["subscription"]["filters"]

    run(main())


@pytest.mark.parametrize("query", ["valid=maybe", "platform=toaster", "schema=com.acme", "app_id=", "q="])
def test_what_it_forbids_the_gateway_refuses(query: str) -> None:
    async def main() -> None:
        with pytest.raises(ValidationError):
            asyncapi.check_parameters(urllib.parse.parse_qsl(query, keep_blank_values=True))
        async with gateway(MemoryLog()) as running:
            assert (await ask(running, f"/v1/events?{query}"))[0] == 400

    run(main())
