"""Tokens and keys are replaced while the gateway runs: by changing their files, as its command reads them."""

import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from support.aio import eventually, run
from support.asking import get
from support.signing import hs256, jwk, public_pem, rs256
from support.snowbus import Process, environment, snowbus
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

OLD, NEW = "an old secret of thirty-two bytes", "a new secret of thirty-two bytes"
TAKEN_AWAY = (4001, "the token has been taken away or changed")


def put(file: Path, text: str) -> None:
    """Replace a file in one step, as rotating tools do."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(file)


def digest(token: str) -> str:
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


class Gateway:
    """A gateway's command, and the readers that are connected to it."""

    def __init__(self, process: Process, readers: AsyncExitStack) -> None:
        self.process = process
        self._readers = readers
        self._address = process.address("gateway")

    async def reader(self, token: str, query: str = "") -> ClientConnection:
        """Somebody who is let in with a token. Raises InvalidStatus."""
        url = f"{self._address.replace('http', 'ws', 1)}/v1/events?{query}"
        headers = {"Authorization": f"Bearer {token}"}
        connection = await self._readers.enter_async_context(connect(url, additional_headers=headers))
        assert json.loads(await connection.recv())["type"] == "hello"
        return connection

    async def lets_in(self, token: str) -> bool:
        with suppress(InvalidStatus):
            await (await self.reader(token)).close()
            return True
        return False

    async def broken(self) -> set[str]:
        """The settings whose files cannot be used."""
        metrics = (await get(self._address, "/metrics")).body.decode()
        return set(re.findall(r'^snowbus_settings_file_broken{setting="(\w+)"} 1', metrics, re.MULTILINE))


@asynccontextmanager
async def gateway(folder: Path, **settings: str) -> AsyncIterator[Gateway]:
    """Run the command on files in a folder."""
    files = {f"gateway_{name}": str(folder / file) for name, file in settings.items()}
    arguments = ("gateway", "--listen", "127.0.0.1:0")
    with Process(*arguments, cwd=folder, variables=environment(gateway_heartbeat="0.2", **files)) as process:
        async with AsyncExitStack() as readers:
            yield Gateway(process, readers)


async def closed(reader: ClientConnection) -> tuple[int | None, str | None]:
    """How the gateway closes a connection."""
    with suppress(ConnectionClosed):
        while await reader.recv():
            pass
    return reader.close_code, reader.close_reason


def test_static_tokens_are_replaced_without_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        tokens = tmp_path / "tokens"
        tokens.write_text(f"# ours\nshop {digest('old')} events app_id:shop\nops ops events pii group:ops-*\n")
        async with gateway(tmp_path, tokens_file="tokens") as running:
            old, ops = await running.reader("old"), await running.reader("ops", "group=ops-1")
            put(tokens, f"shop new events\nshop {digest('old')} events app_id:shop\nops ops events pii group:ops-*\n")
            await eventually(lambda: running.lets_in("new"))
            put(tokens, "ops ops\n")
            await eventually(running.broken)
            assert await running.lets_in("old")
            put(tokens, "shop new events\nops ops events pii\n")
            assert await closed(old) == TAKEN_AWAY
            assert await closed(ops) == TAKEN_AWAY  # it has other scopes now
            assert not await running.lets_in("old")
            assert not await running.lets_in(digest("old"))
            assert await running.lets_in("new")
            assert await running.broken() == set()
        told = "".join(running.process.diagnostics)
        assert "line 1 is not NAME TOKEN SCOPE" in told
        assert not re.search(r"\bold\b", told)

    run(main())


def test_keys_of_signed_tokens_are_replaced_without_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        secrets, public, registry = (tmp_path / name for name in ("secrets", "public.pem", "jwks.json"))
        secrets.write_text(f"{OLD}\n")
        public.write_bytes(public_pem("one"))
        registry.write_text(json.dumps({"keys": [jwk("a", "a")]}))
        files = {"jwt_secret_file": "secrets", "jwt_public_key": "public.pem", "jwks_url": "jwks.json"}
        async with gateway(tmp_path, **files) as running:
            olds = [hs256(secret=OLD), rs256("one"), rs256("a", key_id="a")]
            news = [hs256(secret=NEW), rs256("two"), rs256("b", key_id="b")]
            readers = [await running.reader(token) for token in olds]
            put(secrets, f"{NEW}\n{OLD}\n")
            put(public, (public_pem("one") + public_pem("two")).decode())
            put(registry, json.dumps({"keys": [jwk("a", "a"), jwk("b", "b")]}))
            for token in news + olds:
                await eventually(lambda token=token: running.lets_in(token))
            for file in (secrets, public, registry):
                put(file, "none")
            names = {"gateway_jwt_secret_file", "gateway_jwt_public_key", "gateway_jwks_url"}
            await eventually(lambda: _same(running, names))
            put(secrets, NEW)
            put(public, public_pem("two").decode())
            put(registry, json.dumps({"keys": [jwk("b", "b")]}))
            assert [await closed(reader) for reader in readers] == [TAKEN_AWAY] * 3
            assert [await running.lets_in(token) for token in news + olds] == [True] * 3 + [False] * 3
            assert await running.broken() == set()

    run(main())


async def _same(running: Gateway, names: set[str]) -> bool:
    return await running.broken() == names


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it holds no token"),
        ("shop pl4nted", "line 1 is not NAME TOKEN SCOPE; every right is given by the scopes: events pii"),
        ("shop pl4nted pii", "line 1: token: has no scope to read here"),
        ("shop secret events appid:pl4nted", "line 1: scope 2 is none of events, pii, topic:, group:, app_id:, "),
        ("the shop pl4nted events", "line 1: scope 1 is none of events, "),
        ("\nshop sha256:pl4nted events", "line 2: what follows sha256: is not 64 hexadecimal digits"),
    ],
)
def test_a_file_of_tokens_that_cannot_work_is_told_at_the_start(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "tokens").write_text(text)
    told = snowbus("gateway", "--listen", "127.0.0.1:0", "--tokens-file", "tokens", cwd=tmp_path)
    assert told.returncode == 3
    assert f"--tokens-file: tokens: {reason}" in told.stderr
    assert "pl4nted" not in told.stderr
