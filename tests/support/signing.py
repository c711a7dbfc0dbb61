"""Signs tokens as an identity provider does, and publishes its keys over HTTP."""

import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = "a secret of thirty-two bytes at least"


def rsa_key(name: str, *, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A private key; the same one for the same name."""
    return _made(name, bits)


@cache
def _made(_: str, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def public_pem(name: str, *, bits: int = 2048) -> bytes:
    """The public half of a key, as it stands in a file."""
    return rsa_key(name, bits=bits).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(scope: str = "events", **changes: Any) -> dict[str, Any]:
    """What a token claims, for an hour; None takes a claim out."""
    all_claims = {"sub": "jane", "scope": scope, "exp": int(time.time()) + 3600} | changes
    return {name: value for name, value in all_claims.items() if value is not None}


def hs256(scope: str = "events", *, secret: str = SECRET, **changes: Any) -> str:
    """A token that is signed with a secret."""
    return jwt.encode(claims(scope, **changes), secret, algorithm="HS256")


def rs256(key: str, scope: str = "events", *, key_id: str | None = None, **changes: Any) -> str:
    """A token that is signed with a private key, and names it as `key_id`, or not."""
    headers = None if key_id is None else {"kid": key_id}
    return jwt.encode(claims(scope, **changes), rsa_key(key), algorithm="RS256", headers=headers)


def jwk(key: str, key_id: str | None, **changes: Any) -> dict[str, Any]:
    """The public half of a key, as it stands in a registry; its bits are 2048."""
    found = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key(key).public_key(), as_dict=True)
    return {**found, "use": "sig", "alg": "RS256"} | ({} if key_id is None else {"kid": key_id}) | changes


class KeyServer:
    """A registry of keys: answers every GET with `status` and the set of `keys`; counts the `requests`."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.status = 200
        self.requests = 0
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.requests += 1
                body = json.dumps({"keys": registry.keys}).encode()
                self.send_response(registry.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where the keys are."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/.well-known/jwks.json"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
