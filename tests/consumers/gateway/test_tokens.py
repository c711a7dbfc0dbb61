"""Tokens at the door of a gateway: static ones and signed ones, what is wrong with them, and when they end."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import jwt
import pytest
from support.aio import eventually, run
from support.diagnostics import capture_logs
from support.gateway import Client, Running, client, gateway, publish
from support.memory_log import MemoryLog
from support.signing import SECRET, KeyServer, claims, hs256, jwk, public_pem, rs256, rsa_key
from support.snowbus import Process, environment
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from snowbus.bus.errors import ConfigurationError

LEEWAY = 5
AWAY = "the keys that tokens are signed with cannot be fetched now"
NOT_YET = "its key is not known yet, and is looked for once in 10 seconds"


def on_gateway(test: Callable[[Running], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        async with gateway(MemoryLog(), **settings) as running:
            await test(running)

    run(main())


async def tried(running: Running, *tokens: str, query: str = "") -> tuple[int, str]:
    """The answer to a handshake with tokens in the header: a status and a sentence."""
    headers = [("Authorization", f"Bearer {token}") for token in tokens]
    try:
        async with connect(running.url(query), additional_headers=headers) as connection:
            assert json.loads(await connection.recv())["type"] == "hello"
    except InvalidStatus as error:
        return error.response.status_code, (error.response.body or b"").decode().strip()
    return 101, ""


async def read_on(running: Running, reader: Client) -> None:
    while True:
        await publish(running.log, [1])
        await reader.next("event")


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_signed_token_is_taken_in_the_header_and_in_the_url() -> None:
    async def test(running: Running) -> None:
        assert await tried(running, hs256()) == (101, "")
        assert await tried(running, query=f"token={hs256()}") == (101, "")
        assert await tried(running, "wrong", query=f"token={hs256()}") == (101, "")
        assert (await tried(running))[0] == 401

    on_gateway(test, gateway_jwt_secret=SECRET)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (hs256(exp=int(time.time()) - LEEWAY - 1), "has expired"),
        (hs256(nbf=int(time.time()) + 3000), "is not valid yet"),
        (hs256(exp=None), "lacks the claim exp"),
        (hs256(exp="soon"), "is not a JWT that can be read"),
        (hs256(secret="another secret of thirty-two bytes"), "has a bad signature"),
        (hs256().rpartition(".")[0] + "." + "A" * 43, "has a bad signature"),
        (hs256(aud="others"), "is for another audience"),
        (hs256(iss="https://evil.example"), "is from another issuer"),
        (hs256(aud=None), "lacks the claim aud"),
        (hs256(sub=7), "has a claim that cannot be used"),
        ("nonsense", "is not a JWT that can be read"),
        ("a.b.c", "is not a JWT that can be read"),
        ("[" * 3000 + ".b.c", "is not a JWT that can be read"),
        (base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.c", "is not a JWT that can be read"),
        (rs256("a"), "is not signed with HS256"),
        (jwt.encode(claims(), None, algorithm="none"), "is not signed with HS256"),
        (jwt.encode(claims(), SECRET * 2, algorithm="HS512"), "is not signed with HS256"),
    ],
)
def test_a_token_that_is_not_right_is_refused_with_what_is_wrong_and_nothing_of_it(token: str, reason: str) -> None:
    settings = {"gateway_jwt_secret": SECRET}
    if "audience" in reason or "aud" in reason:
        settings["gateway_jwt_audience"] = "gateway"
    if "issuer" in reason:
        settings["gateway_jwt_issuer"] = "https://id.example"

    async def test(running: Running) -> None:
        status, told = await tried(running, token)
        assert (status, told) == (401, f"token: {reason}")
        assert running.sample("snowbus_gateway_refused_total", status="401") == 1

    on_gateway(test, **settings)


def test_audience_and_issuer_are_those_that_are_set() -> None:
    async def test(running: Running) -> None:
        token = hs256(aud=["others", "gateway"], iss="https://id.example")
        assert await tried(running, token) == (101, "")

    on_gateway(test, gateway_jwt_secret=SECRET, gateway_jwt_audience="gateway", gateway_jwt_issuer="https://id.example")


def test_a_public_key_is_no_secret_to_sign_with(tmp_path: Path) -> None:
    pem = public_pem("a")
    (tmp_path / "key.pem").write_bytes(pem)
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims())}"
    forged = base64.urlsafe_b64encode(hmac.digest(pem, signed.encode(), hashlib.sha256)).decode().rstrip("=")

    async def test(running: Running) -> None:
        assert await tried(running, f"{signed}.{forged}") == (401, "token: is not signed with RS256")
        assert await tried(running, rs256("a")) == (101, "")
        assert await tried(running, rs256("b")) == (401, "token: has a bad signature")

    on_gateway(test, gateway_jwt_public_key=str(tmp_path / "key.pem"))

    async def with_both(running: Running) -> None:
        assert (await tried(running, f"{signed}.{forged}"))[1] == "token: has a bad signature"
        assert await tried(running, hs256()) == (101, "")
        assert await tried(running, rs256("a")) == (101, "")

    on_gateway(with_both, gateway_jwt_public_key=str(tmp_path / "key.pem"), gateway_jwt_secret=SECRET)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"gateway_jwt_secret": "short"}, "gateway_jwt_secret: HS256 needs a secret of 32 bytes"),
        ({"gateway_jwt_secret": public_pem("a").decode()}, "gateway_jwt_secret: it is a key for RS256"),
        ({"gateway_jwt_public_key": "nowhere.pem"}, r"gateway_jwt_public_key: nowhere\.pem cannot be read"),
        ({"gateway_jwt_public_key": __file__}, "gateway_jwt_public_key: .* holds no public key"),
        ({"gateway_jwks_url": "ftp://keys.example"}, "gateway_jwks_url: it is neither an http"),
        ({"gateway_masked_fields": "nothing"}, "gateway_masked_fields: 'nothing'"),
    ],
)
def test_keys_that_cannot_work_are_told_at_the_start(settings: dict[str, str], reason: str) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match=reason):
            async with gateway(MemoryLog(), **settings):
                pass

    run(main())


def test_static_tokens_go_on_and_have_every_right() -> None:
    async def test(running: Running) -> None:
        async with client(running, "token=static&q=jane") as reader:
            assert reader.hello["subscription"]["masked"] == []
        assert await tried(running, hs256()) == (101, "")

    on_gateway(test, gateway_tokens="static", gateway_jwt_secret=SECRET)


def test_a_token_without_the_scope_for_what_is_asked_is_refused_with_403() -> None:
    async def test(running: Running) -> None:
        assert (await tried(running, hs256("openid")))[0] == 403
        shop = hs256("events app_id:shop")
        status, told = await tried(running, shop, query="app_id=bank")
        assert (status, told) == (403, "app_id: 'bank' is not among what the token's scopes allow, shop")
        assert (await tried(running, shop, query="q=jane"))[0] == 403
        assert (await tried(running, hs256("events pii"), query="q=jane"))[0] == 101

    on_gateway(test, gateway_jwt_secret=SECRET)


def test_a_reader_gets_only_the_app_ids_of_its_scopes() -> None:
    async def test(running: Running) -> None:
        await publish(running.log, range(3), aid="bank")
        await publish(running.log, range(3, 6), aid="shop")
        async with client(running, f"from=earliest&token={hs256('events app_id:shop')}") as reader:
            assert reader.hello["subscription"]["filters"] == {"app_id": ["shop"]}
            assert sorted(await reader.numbers(3)) == [3, 4, 5]
            await publish(running.log, range(6, 8), aid="bank")
            await publish(running.log, [8], aid="shop")
            assert await reader.numbers(1) == [8]

    on_gateway(test, gateway_jwt_secret=SECRET)


def test_a_connection_ends_with_its_token() -> None:
    async def test(running: Running) -> None:
        until = int(time.time()) - LEEWAY + 2
        async with client(running, f"token={hs256(exp=until)}") as reader:
            with pytest.raises(ConnectionClosed) as closed:
                await read_on(running, reader)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "the token has expired")
            assert until + LEEWAY <= time.time() <= until + LEEWAY + 2
        await eventually(lambda: running.sample("snowbus_gateway_connections") == 0)

    on_gateway(test, gateway_jwt_secret=SECRET)


def test_an_expiry_beyond_all_clocks_is_for_ever() -> None:
    async def test(running: Running) -> None:
        assert await tried(running, hs256(exp=10**400)) == (101, "")

    on_gateway(test, gateway_jwt_secret=SECRET)


def test_one_subject_has_only_so_many_connections() -> None:
    async def test(running: Running) -> None:
        async with client(running, f"token={hs256()}"), client(running, f"token={hs256('events pii')}"):
            status, told = await tried(running, hs256())
            assert (status, told) == (429, "as many readers as may be have this token")
            assert await tried(running, hs256(sub="joe")) == (101, "")
            assert await tried(running, hs256(sub=None)) == (101, "")
        await eventually(lambda: running.sample("snowbus_gateway_connections") == 0)
        assert await tried(running, hs256()) == (101, "")

    on_gateway(test, gateway_jwt_secret=SECRET, gateway_max_connections_per_token=2)


def test_a_token_is_given_once() -> None:
    async def test(running: Running) -> None:
        assert await tried(running, "t", "t") == (400, "token: is given twice")
        assert await tried(running, query="token=t&token=t") == (400, "token: is given twice")

    on_gateway(test, gateway_tokens="t")


def test_keys_of_a_registry_are_fetched_and_new_ones_found_without_asking_it_for_every_stranger() -> None:
    """A key that comes right after that may be good: whoever shows it is told to come again, not that it is bad."""

    async def test(running: Running) -> None:
        assert await tried(running, rs256("a", key_id="2026-1")) == (101, "")
        assert await tried(running, rs256("a")) == (101, ""), "the only key needs no name"
        registry.keys = [jwk("b", "2026-2"), jwk("a", "2026-1")]
        fetched = registry.requests
        assert await tried(running, rs256("b", key_id="2026-2")) == (101, "")
        assert registry.requests == fetched + 1
        for _ in range(5):
            told = await tried(running, rs256("c", key_id="2026-3"))
            assert told == (503, f"token: cannot be verified: {NOT_YET}")
        assert registry.requests == fetched + 1, "strangers make us ask again and again"

    with KeyServer(jwk("a", "2026-1")) as registry:
        on_gateway(test, gateway_jwks_url=registry.url)


def test_a_key_that_the_registry_does_not_have_is_none() -> None:
    async def test(running: Running) -> None:
        told = await tried(running, rs256("c", key_id="2026-3"))
        assert told == (401, "token: is signed with a key that is not known")

    with KeyServer(jwk("a", "2026-1")) as registry:
        on_gateway(test, gateway_jwks_url=registry.url)


def test_a_key_that_is_withdrawn_ends() -> None:
    async def test(running: Running) -> None:
        assert await tried(running, rs256("a", key_id="1")) == (101, "")
        registry.keys = [jwk("b", "2")]
        asked = registry.requests
        await eventually(lambda: registry.requests >= asked + 2)
        assert (await tried(running, rs256("a", key_id="1")))[0] == 401

    with KeyServer(jwk("a", "1")) as registry:
        on_gateway(test, gateway_jwks_url=registry.url, gateway_jwks_refresh=0.05)


def test_while_the_registry_is_away_the_last_keys_stay_in_force_and_it_is_told() -> None:
    async def test(running: Running) -> None:
        assert await tried(running, rs256("a", key_id="1")) == (101, "")
        registry.status = 500
        asked = registry.requests
        await eventually(lambda: registry.requests >= asked + 2)
        assert await tried(running, rs256("a", key_id="1")) == (101, "")
        for _ in range(2):
            assert await tried(running, rs256("b", key_id="2")) == (503, f"token: cannot be verified: {AWAY}")
        registry.status = 200
        await eventually(lambda: told[-1]["event"].startswith("the keys of tokens can"))

    with KeyServer(jwk("a", "1")) as registry, capture_logs() as told:
        on_gateway(test, gateway_jwks_url=registry.url, gateway_jwks_refresh=0.05)
    assert [line["event"] for line in told if line["event"] != "websockets are refused"] == [
        "the keys of tokens cannot be fetched",
        "the keys of tokens can be fetched again",
    ]
    assert told[0]["reason"] == "the registry answered 500"
    assert told[0]["consequence"] == "the last ones stay in force"
    assert told[0]["registry"] == registry.url


def test_without_any_keys_yet_a_reader_is_told_to_come_again() -> None:
    async def test(running: Running) -> None:
        assert await tried(running, rs256("a", key_id="1")) == (503, f"token: cannot be verified: {AWAY}")

    with KeyServer() as registry:
        registry.status = 404
        on_gateway(test, gateway_jwks_url=registry.url)


def test_a_registry_that_hangs_holds_nobody_up_who_needs_no_key() -> None:
    async def main() -> None:
        async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await released.wait()
            writer.close()

        released = asyncio.Event()
        silent = await asyncio.start_server(hang, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/"
        async with gateway(MemoryLog(), gateway_jwks_url=url, gateway_jwt_secret=SECRET) as running:
            async with asyncio.timeout(2):
                assert await tried(running, hs256()) == (101, "")
            released.set()
        silent.close()

    run(main())


def test_a_file_may_be_the_registry(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk("a", "1")]}))

    async def test(running: Running) -> None:
        assert await tried(running, rs256("a", key_id="1")) == (101, "")

    on_gateway(test, gateway_jwks_url=str(path))
    on_gateway(test, gateway_jwks_url=path.as_uri())


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="), "kid": "1"},
        jwk("a", "1", use="enc"),
        jwk("a", "1", alg="RS512"),
        {"kty": "RSA", "kid": "1", "n": "!", "e": "AQAB"},
    ],
)
def test_a_registry_gives_only_keys_that_verify_rs256(key: dict[str, Any]) -> None:
    async def test(running: Running) -> None:
        assert (await tried(running, rs256("a", key_id="1")))[0] == 401
        by_secret = jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": "1"})
        assert (await tried(running, by_secret))[0] == 401

    with KeyServer(key) as registry:
        on_gateway(test, gateway_jwks_url=registry.url)


def test_a_short_rsa_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short.pem").write_bytes(public_pem("short", bits=1024))

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="is no RSA key of 2048 bits"):
            async with gateway(MemoryLog(), gateway_jwt_public_key=str(tmp_path / "short.pem")):
                pass

    run(main())
    assert rsa_key("short", bits=1024).key_size == 1024


def test_a_message_that_is_too_large_closes_the_connection() -> None:
    async def test(running: Running) -> None:
        async with client(running) as reader:
            await reader.connection.send("x" * 70_000)
            with pytest.raises(ConnectionClosed) as closed:
                await reader.until(lambda _: False)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009

    on_gateway(test)


def test_no_token_is_in_the_diagnostics_of_the_command_even_when_all_is_told(tmp_path: Path) -> None:
    right, late, wrong = hs256(), hs256(exp=1), "pl4nted-wrong"
    variables = environment(
        gateway_jwt_secret=SECRET, gateway_tokens="pl4nted-static", logging_level="debug", logging_format="json"
    )

    async def visit(address: str) -> None:
        url = address.replace("http://", "ws://") + "/v1/events"
        for token in (right, late, wrong, "pl4nted-static"):
            for target, headers in ((f"{url}?token={token}", {}), (url, {"Authorization": f"Bearer {token}"})):
                try:
                    async with connect(target, additional_headers=headers) as connection:
                        await connection.recv()
                        await connection.send(f'{{"token":"{token}"}}')
                except InvalidStatus as error:
                    assert token not in (error.response.body or b"").decode()
        host, _, port = address.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"GET /v1/events?token={right} HTTP/1.1\r\nAuthorization: Bearer {wrong}\r\nbroken\r\n\r\n".encode()
        )
        assert right not in (await reader.read()).decode()
        writer.close()

    arguments = ("gateway", "--log", f"sqlite:///{tmp_path}/log.db", "--listen", "127.0.0.1:0")
    with Process(*arguments, cwd=tmp_path, variables=variables) as process:
        run(visit(process.address("gateway")))
        assert process.stop() == 0
    told = "".join(process.diagnostics) + process.text
    assert told
    for token in (right, late, wrong, "pl4nted-static", SECRET, right.split(".")[2]):
        assert token not in told
