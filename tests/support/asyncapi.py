"""The gateway's contract, `schemas/asyncapi.yaml`, and whether messages and parameters keep it."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from snowbus.schemas import read_text

DOCUMENT: dict[str, Any] = yaml.safe_load(read_text("asyncapi.yaml"))
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]
PARAMETERS: dict[str, Any] = DOCUMENT["channels"]["events"]["bindings"]["ws"]["query"]["properties"]

_URI = "urn:asyncapi"
_REGISTRY: Registry[Any] = Registry().with_resource(_URI, Resource(DOCUMENT, DRAFT7))


def check_gateway_message(message: dict[str, Any]) -> None:
    """Fail unless the gateway may send it."""
    _check(message, "send")


def check_client_message(message: dict[str, Any]) -> None:
    """Fail unless a client may send it."""
    _check(message, "receive")


def check_parameters(pairs: Iterable[tuple[str, str]]) -> None:
    """Fail unless these are parameters of the URL."""
    for name, value in pairs:
        assert name in PARAMETERS, f"{name} is not in the contract"
        _validator(f"#/channels/events/bindings/ws/query/properties/{name}").validate(value)


def message_names(action: str) -> list[str]:
    """The messages that the gateway sends (`send`), or receives (`receive`)."""
    (operation,) = [each for each in DOCUMENT["operations"].values() if each["action"] == action]
    return [each["$ref"].rpartition("/")[2] for each in operation["messages"]]


def _check(message: dict[str, Any], action: str) -> None:
    name = message["type"]
    assert name in message_names(action), f"{name} is no message that is to {action}"
    _validator(f"#/components/messages/{name}/payload").validate(message)


@cache
def _validator(pointer: str) -> Draft7Validator:
    return Draft7Validator({"$ref": f"{_URI}{pointer}"}, registry=_REGISTRY)
