"""The gateway is a static Iglu registry of the schemas in the resolver's folders."""

import json
from typing import Any

import aiohttp
from support.aio import run
from support.gateway import gateway
from support.memory_log import MemoryLog

from snowbus.bus.iglu.config import Http
from snowbus.bus.iglu.http_registry import HttpRegistry
from snowbus.bus.iglu.uri import parse_iglu_uri
from snowbus.schemas import read_text

ORDER = "dev.snowbus.demo/order/jsonschema/1-0-0"


FOR_FEEDS = [
    f"iglu:dev.snowbus/{name}/jsonschema/1-0-0" for name in ("no_event", "not_self_describing", "skipped_events")
]
OF_THE_DEMO = [
    f"iglu:dev.snowbus.demo/{name}/jsonschema/1-0-0" for name in ("add_to_cart", "hello", "order", "page", "product")
]
OWN = FOR_FEEDS + OF_THE_DEMO


def asking(*paths: str, **settings: Any) -> list[tuple[int, str, Any]]:
    """The status, the CORS header and the text of the answers of a gateway."""

    async def main() -> list[tuple[int, str, Any]]:
        answers = []
        async with gateway(MemoryLog(), **settings) as running, aiohttp.ClientSession() as http:
            for path in paths:
                async with http.get(running.address + path, headers={"Origin": "https://any.example"}) as answer:
                    allowed = answer.headers.get("Access-Control-Allow-Origin", "")
                    answers.append((answer.status, allowed, await answer.text()))
        return answers

    return run(main())


def test_a_schema_is_served_to_any_page_as_it_is() -> None:
    ((status, allowed, text),) = asking(f"/schemas/{ORDER}")
    assert (status, allowed) == (200, "*")
    assert text == read_text(f"iglu/schemas/{ORDER}")


def test_the_schemas_are_listed() -> None:
    for status, allowed, text in asking("/schemas", "/schemas/"):
        assert (status, allowed) == (200, "*")
        assert json.loads(text) == OWN


def test_what_is_no_schema_is_not_found() -> None:
    paths = [
        "dev.snowbus.demo/order/jsonschema/1-0-1",
        "com.acme/order/jsonschema",
        "com.acme",
        "x/../../resolver.json",
    ]
    odd = ["../iglu/jsonschema/1-0-0", "%2e%2e/order/jsonschema/1-0-0", "../resolver.json", "com.acme//order/1-0-0"]
    answers = asking(*(f"/schemas/{path}" for path in [*paths, *odd]))
    assert {status for status, _, _ in answers} == {404}


def test_of_two_folders_the_one_with_the_lower_priority_gives_a_schema(tmp_path) -> None:
    for name, path in (("one", ORDER), ("two", ORDER), ("two", "org.other/x/jsonschema/2-0-0")):
        file = tmp_path / name / "schemas" / path
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"from": name}))
    repositories = [
        {"name": name, "priority": priority, "connection": {"embedded": {"path": name}}}
        for name, priority in (("one", 2), ("two", 1))
    ]
    schema = "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-0"
    config = {"schema": schema, "data": {"cacheSize": 5, "repositories": repositories}}
    (tmp_path / "resolver.json").write_text(json.dumps(config))
    listed, order = asking("/schemas", f"/schemas/{ORDER}", iglu_resolver=str(tmp_path / "resolver.json"))
    assert json.loads(listed[2]) == [*OWN, "iglu:org.other/x/jsonschema/2-0-0"]
    assert json.loads(order[2]) == {"from": "two"}


def test_it_is_a_registry_to_a_resolver() -> None:
    async def main() -> None:
        async with gateway(MemoryLog()) as running:
            registry = HttpRegistry(Http(uri=running.address))
            assert list(map(str, await registry.list_schemas())) == OWN
            text = await registry.fetch(parse_iglu_uri(f"iglu:{ORDER}"))
            assert text == read_text(f"iglu/schemas/{ORDER}").encode()

    run(main())
