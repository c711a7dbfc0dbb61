"""Schema registries for the tests: Apicurio's real one, by its Confluent-compatible interface; and a quick double."""

import base64
import json
import os
import ssl
import subprocess
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .kafka import BUILD, NoKafkaError, free_ports

APICURIO = "3.0.9"
"""The version of the real one."""

_ARTIFACT = f"io.apicurio:apicurio-registry-app:{APICURIO}:tar.gz:all"
_START_SECONDS = 120.0


class RegistryDouble(ThreadingHTTPServer):
    """Answers as Confluent's documentation says: subjects, versions, ids, errors with codes, basic authentication.

    `incompatible` holds subjects that take no new schema; while it `is_away` it hangs up; while `instead` is set
    it answers 200 with that whatever it is asked, as the maintenance page of a proxy does.
    Source: Confluent's "Schema Registry API Reference".
    """

    daemon_threads = True

    def __init__(self, *, password: str = "", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.password = password
        self.schemas: list[str] = []
        self.subjects: dict[str, list[int]] = {}
        self.incompatible: set[str] = set()
        self.is_away = False
        self.instead = b""
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """The status and the body of the answer to a request."""
        match method, [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]:
            case "POST", ["subjects", subject, "versions"] if subject in self.incompatible:
                return 409, {"error_code": 409, "message": f"Schema being registered is incompatible; {subject}"}
            case "POST", ["subjects", subject, "versions"]:
                if body["schema"] not in self.schemas:
                    self.schemas.append(body["schema"])
                schema_id = self.schemas.index(body["schema"]) + 1
                self.subjects.setdefault(subject, []).append(schema_id)
                return 200, {"id": schema_id}
            case "POST", ["subjects", subject] if subject in self.subjects:
                schema_id = self.schemas.index(body["schema"]) + 1
                return 200, {"subject": subject, "id": schema_id, "version": 1, "schema": body["schema"]}
            case "GET", ["schemas", "ids", number] if int(number) <= len(self.schemas):
                return 200, {"schema": self.schemas[int(number) - 1]}
        return 404, {"error_code": 40403, "message": "not found"}


class _Handler(BaseHTTPRequestHandler):
    server: RegistryDouble

    def do_GET(self) -> None:
        self._answer("GET", None)

    def do_POST(self) -> None:
        self._answer("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, method: str, body: Any) -> None:
        if self.server.is_away:
            self.close_connection = True
            return
        wanted = f"Basic {base64.b64encode(self.server.password.encode()).decode()}"
        if self.server.password and self.headers.get("Authorization") != wanted:
            status, answer = 401, {"error_code": 401, "message": "Unauthorized"}
        else:
            status, answer = self.server.answer(method, self.path, body)
        text = json.dumps(answer).encode()
        if self.server.instead:
            status, text = 200, self.server.instead
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_request(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def double(*, password: str = "", tls: ssl.SSLContext | None = None) -> Iterator[RegistryDouble]:
    """A double that serves in a thread."""
    with RegistryDouble(password=password, tls=tls) as registry:
        thread = threading.Thread(target=registry.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield registry
        finally:
            registry.shutdown()
            thread.join()


@contextmanager
def apicurio(folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of a real registry, which keeps what it is given in memory unless its variables say otherwise. Raises
    NoKafkaError.
    """
    jar = _unpacked() / f"apicurio-registry-app-{APICURIO}-runner.jar"
    (port,) = free_ports(1)
    options = ["-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dquarkus.http.port={port}"]
    with (folder / "registry.txt").open("w") as output:
        process = subprocess.Popen(
            ["java", *options, "-Dquarkus.http.host=127.0.0.1", "-jar", jar],
            stdout=output,
            stderr=output,
            env={**os.environ, **(variables or {})},
        )
        try:
            url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
            deadline = time.monotonic() + _START_SECONDS
            while not _answers(f"{url}/subjects"):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise NoKafkaError(f"Apicurio did not start:\n{(folder / 'registry.txt').read_text()[-3000:]}")
                time.sleep(0.1)
            yield url
        finally:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    with suppress(OSError):
        return bool(urllib.request.urlopen(url, timeout=1).status == 200)
    return False


def _unpacked() -> Path:
    """The folder of the registry's jars, as Maven has them."""
    folder = BUILD.with_name("apicurio") / APICURIO
    if not folder.exists():
        archives = folder.with_name("archives")
        command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={archives}"]
        try:
            maven = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise NoKafkaError("no mvn on the PATH") from None
        if maven.returncode:
            raise NoKafkaError(f"Maven could not get {_ARTIFACT}: {' '.join(maven.stdout.split())[:300]}")
        fresh = folder.with_name(f"{os.getpid()}")
        with tarfile.open(next(archives.glob("*.tar.gz"))) as archive:
            archive.extractall(fresh, filter="data")
        fresh.rename(folder)
    return folder
