"""The resolver: who is asked when, who waits for how long, and what is known then."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.aio import eventually, run
from support.diagnostics import capture_logs

from snowbus.bus.errors import RegistryError, SchemaError, SchemaLimitError
from snowbus.bus.iglu.config import ResolverConfig, watched_config
from snowbus.bus.iglu.lookups import Found, NotFound, Unreachable, Unusable
from snowbus.bus.iglu.resolver import Resolver
from snowbus.bus.iglu.uri import IgluUri, parse_iglu_uri

CART = parse_iglu_uri("iglu:com.acme/cart/jsonschema/1-0-0")
ORDER = parse_iglu_uri("iglu:com.acme/order/jsonschema/1-0-0")
TEXT = json.dumps({"type": "object", "required": ["sku"]}).encode()


class Recorder:
    """A registry that answers as it is told, once it is let, and records what it is asked for."""

    def __init__(self, answer: bytes | Exception | None = None) -> None:
        self.answer = answer
        self.asked: list[IgluUri] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def fetch(self, uri: IgluUri) -> bytes | None:
        self.asked.append(uri)
        await self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def list_schemas(self) -> list[IgluUri]:
        return []


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def resolver(
    *registries: Recorder, wait: float = 30.0, clock: Callable[[], float] | None = None, **data: Any
) -> Resolver:
    """A resolver that asks these, in this order."""
    repositories = [
        {"name": f"R{number}", "priority": number, "connection": {"http": {"uri": "http://x.example"}}}
        for number in range(len(registries))
    ]
    config = ResolverConfig.model_validate({"cacheSize": 10, "repositories": repositories} | data)
    options = {"clock": clock} if clock else {}
    return Resolver(config, wait=wait, connect=lambda each: registries[each.priority], **options)


async def look_up(resolver: Resolver, uri: IgluUri = CART) -> Any:
    return (await resolver.look_up([uri])).by_uri[uri]


def test_the_first_registry_that_has_a_schema_gives_it_and_is_not_asked_again():
    async def main() -> None:
        registries = Recorder(), Recorder(TEXT), Recorder(TEXT)
        async with resolver(*registries) as asked:
            for _ in range(3):
                found = await look_up(asked)
                assert isinstance(found, Found)
                assert found.registry == "R1"
                assert [problem.path for problem in found.schema.problems({})] == ["/sku"]
        assert [registry.asked for registry in registries] == [[CART], [CART], []]

    run(main())


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([None, None], NotFound(("R0", "R1"))),
        ([RegistryError("it answers 500"), None], Unreachable("R0: it answers 500")),
        ([None, RegistryError("it answers 500")], Unreachable("R1: it answers 500")),
        ([SchemaError("it is too large"), TEXT], Unusable("R0", "it is too large")),
        ([b'{"type": 1}', TEXT], Unusable("R0", "/type: 1 is not valid under any of the given schemas")),
        ([b'{"pattern": "("}', TEXT], Unreachable('R0: "(" is not a "regex"')),
        (
            [SchemaLimitError("it is larger than 500,000 bytes"), TEXT],
            Unreachable("R0: it is larger than 500,000 bytes"),
        ),
        ([OSError("unforeseen"), TEXT], Unreachable("it failed: OSError")),
        ([], NotFound(())),
    ],
)
def test_what_the_registries_say_is_told_apart(answers, expected):
    async def main() -> None:
        async with resolver(*map(Recorder, answers)) as asked:
            assert await look_up(asked) == expected

    run(main())


def test_a_schema_is_had_although_another_registry_is_away():
    async def main() -> None:
        async with resolver(Recorder(RegistryError("away")), Recorder(TEXT)) as asked:
            assert isinstance(await look_up(asked), Found)

    run(main())


def test_who_asks_at_the_same_time_shares_one_look_up():
    async def main() -> None:
        registry = Recorder(TEXT)
        registry.may_answer.clear()
        async with resolver(registry) as asked:
            asking = [asyncio.create_task(look_up(asked)) for _ in range(20)]
            await eventually(lambda: registry.asked)
            registry.may_answer.set()
            assert all(isinstance(each, Found) for each in await asyncio.gather(*asking))
        assert registry.asked == [CART]

    run(main())


def test_nobody_waits_beyond_the_bound_and_the_answer_counts_for_those_who_come_later():
    async def main() -> None:
        registry = Recorder(TEXT)
        registry.may_answer.clear()
        async with resolver(registry, wait=0.0) as asked:
            assert await look_up(asked) == Unreachable("the registries have not answered yet")
            registry.may_answer.set()
            await eventually(lambda: _is_found(asked))
        assert registry.asked == [CART]

    async def _is_found(asked: Resolver) -> bool:
        return isinstance(await look_up(asked), Found)

    run(main())


def test_the_bound_is_counted_from_the_beginning_of_the_look_up():
    """Whoever comes when it is over does not wait at all; else each event of a slow registry would be held up."""

    async def main() -> None:
        clock, registry = Clock(), Recorder(TEXT)
        registry.may_answer.clear()
        async with resolver(registry, wait=30.0, clock=clock) as asked:
            first = asyncio.create_task(look_up(asked))
            await eventually(lambda: registry.asked)
            clock.now = 31.0
            assert isinstance(await look_up(asked), Unreachable)
            assert not first.done()
            registry.may_answer.set()
            assert isinstance(await first, Found)

    run(main())


def test_registries_that_were_away_are_asked_again_later_and_nobody_waits_for_it():
    async def main() -> None:
        clock, registry = Clock(), Recorder(RegistryError("away"))
        async with resolver(registry, clock=clock) as asked:
            assert await look_up(asked) == Unreachable("R0: away")
            registry.answer = TEXT
            clock.now = 0.9
            assert await look_up(asked) == Unreachable("R0: away")
            assert len(registry.asked) == 1
            clock.now = 1.1
            registry.may_answer.clear()
            assert await look_up(asked) == Unreachable("R0: away")
            registry.may_answer.set()
            await eventually(lambda: _is_found(asked))
        assert len(registry.asked) == 2

    async def _is_found(asked: Resolver) -> bool:
        return isinstance(await look_up(asked), Found)

    run(main())


def test_a_schema_that_was_not_found_is_there_once_it_is_published():
    async def main() -> None:
        clock, registry = Clock(), Recorder()
        async with resolver(registry, clock=clock) as asked:
            assert await look_up(asked) == NotFound(("R0",))
            registry.answer = TEXT
            clock.now = 59.0
            assert await look_up(asked) == NotFound(("R0",))
            clock.now = 61.0
            assert isinstance(await look_up(asked), Found)

    run(main())


def test_a_schema_that_was_found_stays_while_it_is_looked_up_anew_and_when_that_fails():
    async def main() -> None:
        clock, registry = Clock(), Recorder(TEXT)
        async with resolver(registry, clock=clock, cacheTtl=10) as asked:
            found = await look_up(asked)
            registry.answer = RegistryError("away")
            clock.now = 11.0
            assert await look_up(asked) == found
            await eventually(lambda: len(registry.asked) == 2)
            assert await look_up(asked) == found

    run(main())


def test_a_flood_of_made_up_schemas_is_not_passed_on():
    async def main() -> None:
        registry = Recorder()
        registry.may_answer.clear()
        uris = [CART._replace(addition=number) for number in range(500)]
        async with resolver(registry, wait=0.0) as asked:
            known = (await asked.look_up(uris)).by_uri
            assert known[uris[-1]] == Unreachable("too many schemas are being looked up")
            await eventually(lambda: len(registry.asked) == 50)
            assert len(known) == 500

    run(main())


def test_whoever_is_gone_does_not_end_the_look_up_of_the_others():
    async def main() -> None:
        registry = Recorder(TEXT)
        registry.may_answer.clear()
        async with resolver(registry) as asked:
            gone = asyncio.create_task(look_up(asked))
            stays = asyncio.create_task(look_up(asked))
            await eventually(lambda: registry.asked)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            registry.may_answer.set()
            assert isinstance(await stays, Found)

    run(main())


def test_closing_ends_what_is_under_way():
    async def main() -> None:
        registry = Recorder(TEXT)
        registry.may_answer.clear()
        asked = resolver(registry, wait=0.0)
        await asked.look_up([CART, ORDER])
        await eventually(lambda: len(registry.asked) == 2)
        await asked.close()
        assert not [task for task in asyncio.all_tasks() if "snowbus-iglu" in task.get_name()]

    run(main())


def test_any_number_is_looked_up_for_who_waits():
    async def main() -> None:
        uris = [CART._replace(addition=number) for number in range(120)]
        async with resolver(Recorder(TEXT)) as asked:
            lookups = await asked.look_up_all(uris)
        assert all(isinstance(lookups.by_uri[uri], Found) for uri in uris)

    run(main())


def test_a_schema_that_calls_itself_another_is_taken_and_told():
    own = {"vendor": "com.acme", "name": "order", "format": "jsonschema", "version": "1-0-0"}

    async def main() -> None:
        async with resolver(Recorder(json.dumps({"self": own}).encode())) as asked:
            assert isinstance(await look_up(asked, ORDER), Found)
            assert logged == []
            assert isinstance(await look_up(asked), Found)
        (line,) = logged
        assert (line["registry"], line["schema"]) == ("R0", str(CART))

    with capture_logs() as logged:
        run(main())


def test_nothing_is_remembered_where_the_cache_is_to_hold_nothing():
    async def main() -> None:
        registry = Recorder(TEXT)
        async with resolver(registry, cacheSize=0) as asked:
            assert isinstance(await look_up(asked), Found)
            assert isinstance(await look_up(asked), Found)
        assert len(registry.asked) == 2

    run(main())


def test_a_new_key_of_a_registry_is_used_once_it_stands_in_the_file(tmp_path: Path) -> None:
    file, clock = tmp_path / "resolver.json", Clock()
    registries = {"old": Recorder(RegistryError("it answers 403")), "new": Recorder(TEXT)}

    def write(key: str) -> None:
        http = {"uri": "http://x.example", "apikey": key}
        data = {"cacheSize": 10, "repositories": [{"name": "R", "priority": 0, "connection": {"http": http}}]}
        schema = "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3"
        file.write_text(json.dumps({"schema": schema, "data": data}) if key else "{}")

    async def found(resolver: Resolver, kind: type) -> bool:
        return isinstance((await resolver.look_up([CART])).by_uri[CART], kind)

    async def main() -> None:
        write("old")
        watched = watched_config(str(file))
        config = watched.value(now=clock())
        options = {"connect": lambda each: registries[each.connection.http.apikey], "clock": clock, "file": watched}
        async with Resolver(config, wait=30.0, **options) as resolver:
            for key, kind in (("", Unreachable), ("new", Found)):
                write(key)
                clock.now += 3600
                await eventually(partial(found, resolver, kind))
                assert watched.is_broken(now=clock()) is not bool(key)

    run(main())
