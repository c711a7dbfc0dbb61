"""Registries: folders, and servers on a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.aio import run

from snowbus.bus.errors import RegistryError, SchemaError
from snowbus.bus.iglu.config import Http
from snowbus.bus.iglu.http_registry import HttpRegistry
from snowbus.bus.iglu.registries import FolderRegistry
from snowbus.bus.iglu.schema import MAX_BYTES
from snowbus.bus.iglu.uri import parse_iglu_uri

CART = parse_iglu_uri("iglu:com.acme/cart/jsonschema/1-0-0")


def put(folder: Path, path: str, text: str = "{}") -> None:
    file = folder / "schemas" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_a_folder_has_the_schemas_below_it(tmp_path):
    put(tmp_path, "com.acme/cart/jsonschema/1-0-0", '{"a": 1}')
    put(tmp_path, "com.acme/cart/jsonschema/1-0-1")
    put(tmp_path, "README.md")
    (tmp_path / "schemas" / "com.acme" / "order" / "jsonschema" / "1-0-0").mkdir(parents=True)

    async def main() -> None:
        registry = FolderRegistry(tmp_path)
        assert await registry.fetch(CART) == b'{"a": 1}'
        assert await registry.fetch(CART._replace(addition=2)) is None
        assert await registry.fetch(CART._replace(name="order")) is None
        assert list(map(str, await registry.list_schemas())) == [str(CART), str(CART._replace(addition=1))]
        assert await FolderRegistry(tmp_path / "away").fetch(CART) is None
        assert await FolderRegistry(tmp_path / "away").list_schemas() == []

    run(main())


def test_a_schema_that_is_too_large_is_not_read_whole(tmp_path):
    put(tmp_path, CART.path, " " * (MAX_BYTES + 1))
    with pytest.raises(SchemaError, match="larger than"):
        run(FolderRegistry(tmp_path).fetch(CART))


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.StreamResponse]], **options: Any) -> AsyncIterator[Any]:
    """A registry on the web, and what it was asked."""
    asked: list[web.Request] = []

    async def record(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return await answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", record)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield HttpRegistry(Http(uri=f"http://127.0.0.1:{port}/api/", **options)), asked
    finally:
        await runner.cleanup()


def answering(status: int = 200, body: bytes = b"{}", **options: Any) -> Any:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, **options)

    return answer


def test_a_registry_on_the_web_is_asked_by_path_and_with_its_key():
    async def main() -> None:
        async with serving(answering(body=b'{"a": 1}'), apikey="key") as (registry, asked):
            assert await registry.fetch(CART) == b'{"a": 1}'
            (request,) = asked
            assert request.path == "/api/schemas/com.acme/cart/jsonschema/1-0-0"
            assert request.headers["apikey"] == "key"

    run(main())


def test_404_says_that_there_is_no_such_schema_and_any_other_status_says_nothing():
    async def main() -> None:
        async with serving(answering(404)) as (registry, _):
            assert await registry.fetch(CART) is None
        for status in (204, 301, 401, 403, 429, 500, 503):
            async with serving(answering(status)) as (registry, _):
                with pytest.raises(RegistryError):
                    await registry.fetch(CART)

    run(main())


def test_what_is_no_json_object_is_no_answer():
    async def main() -> None:
        for body in (b"<html>", b"", b"[]", b"null", b"\xff"):
            async with serving(answering(body=body)) as (registry, _):
                with pytest.raises(RegistryError, match="it answers 200 with something that is no schema"):
                    await registry.fetch(CART)
        async with serving(answering(body=b"\xef\xbb\xbf {")) as (registry, _):
            assert await registry.fetch(CART)  # what is wrong with it is wrong with the schema

    run(main())


def test_a_redirect_is_followed_but_not_with_a_key():
    async def redirect(request: web.Request) -> web.StreamResponse:
        if "moved" in request.path:
            return web.Response(body=b"{}")
        return web.Response(status=302, headers={"Location": "/moved"})

    async def main() -> None:
        async with serving(redirect) as (registry, _):
            assert await registry.fetch(CART) == b"{}"
        async with serving(redirect, apikey="key") as (registry, asked):
            with pytest.raises(RegistryError, match="it answers 302"):
                await registry.fetch(CART)
            assert len(asked) == 1

    run(main())


def test_an_answer_without_an_end_is_cut():
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" " * 65_536)
        except ConnectionError:
            return response

    async def main() -> None:
        async with serving(endless) as (registry, _):
            with pytest.raises(SchemaError, match="larger than"):
                await registry.fetch(CART)

    run(main())


def test_nobody_there_and_nonsense_are_no_answer():
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"hello\r\n\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
        registry = HttpRegistry(Http(uri=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        async with server:
            with pytest.raises(RegistryError, match="no answer that can be understood"):
                await registry.fetch(CART)
        with pytest.raises(RegistryError, match="cannot connect: "):
            await registry.fetch(CART)

    run(main())


def test_a_registry_that_lists_its_schemas_is_listed():
    async def main() -> None:
        async with serving(answering(body=f'["{CART}"]'.encode())) as (registry, _):
            assert await registry.list_schemas() == [CART]
        for body in (b"{}", b"<html>", b'["x"]', b"null"):
            async with serving(answering(body=body)) as (registry, _):
                with pytest.raises(RegistryError, match="it does not list its schemas"):
                    await registry.list_schemas()

    run(main())
