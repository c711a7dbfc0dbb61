"""A plain `websockets` client that keeps what the gateway sends."""

import json
import threading
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class Watcher:
    """Reads messages in a thread, from the moment that the gateway said hello."""

    def __init__(self, gateway: str, query: str = "") -> None:
        self.url = f"{gateway.replace('http://', 'ws://')}/v1/events" + (f"?{query}" if query else "")
        self.messages: list[dict[str, Any]] = []
        self._connection = connect(self.url, open_timeout=20, max_size=None)
        self.hello: dict[str, Any] = json.loads(self._connection.recv(timeout=20))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The event messages so far."""
        return [message for message in list(self.messages) if message["type"] == "event"]

    @property
    def event_ids(self) -> list[str]:
        """The `event_id` of each event message so far, as it was sent."""
        return [message["payload"]["eid"] for message in self.events]

    def close(self) -> None:
        """Go away."""
        self._connection.close()
        self._thread.join(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        try:
            for text in self._connection:
                self.messages.append(json.loads(text))
        except ConnectionClosed:
            pass
