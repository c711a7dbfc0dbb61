"""Asks a server for something over a raw connection, and reads the whole answer."""

import asyncio
import json
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """The status, headers (lower case) and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, which is JSON."""
        assert self.status == 200, self.body
        return json.loads(self.body)


async def get(address: str, path: str, *headers: str, host: str = "localhost") -> Answer:
    """GET a path of the server at `http://HOST:PORT`."""
    name, _, port = address.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(name.strip("[]"), int(port))
    writer.write("\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    found = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split()[1]), found, body)
