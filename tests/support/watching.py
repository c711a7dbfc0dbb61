"""A plain `websockets` client that keeps what the gateway sends."""

import json
import threading
from contextlib import ExitStack
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class Watcher:
    """Reads messages in a thread, from the moment that the gateway said hello; use it with `with`."""

    def __init__(self, gateway: str, query: str = "") -> None:
        self.url = f"{gateway.replace('http://', 'ws://')}/v1/events" + (f"?{query}" if query else "")
        self.messages: list[dict[str, Any]] = []
        self.hello: dict[str, Any] = {}
        self._stack = ExitStack()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The event messages so far."""
        return [message for message in list(self.messages) if message["type"] == "event"]

    @property
    def event_ids(self) -> list[str]:
        """The `eid` of each event message so far."""
        return [message["payload"]["eid"] for message in self.events]

    def __enter__(self) -> Self:
        self._connection = self._stack.enter_context(connect(self.url, open_timeout=20, max_size=None))
        self.hello = json.loads(self._connection.recv(timeout=20))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._thread.join(20)

    def _read(self) -> None:
        try:
            for text in self._connection:
                self.messages.append(json.loads(text))
        except ConnectionClosed:
            pass
