"""Remembers which events a consumer has handled, so that it does not handle them twice."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from snowbus.bus.database import Database, Rows
from snowbus.bus.errors import ConfigurationError

_FORGET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Dedupe:
    """Keeps the ids of handled events for `hours`, in a file of its own at `path`, which several processes of one
    machine may share.

    An event that comes again within that time is not handled again: after a SIGKILL, a replay, a producer that sent
    it twice. Two things it does not promise. A process that is killed between the effect of a handler and the note of
    it handles the event once more. And a file knows nothing of what other machines have handled.

    Raises ConfigurationError for a path or a time that is none.
    """

    path: str | Path
    hours: float = 24.0

    def __post_init__(self) -> None:
        path: Any = self.path
        hours: Any = self.hours
        if not isinstance(path, str | Path) or path in ("", Path()):
            raise ConfigurationError(f"Dedupe({path!r}): it is the path of a file")
        if not isinstance(hours, int | float) or isinstance(hours, bool) or not 0 < hours < float("inf"):
            raise ConfigurationError(f"Dedupe(hours={hours!r}): it is a number of hours above 0")


class DedupeStore:
    """The ids of the events that one consumer has handled."""

    def __init__(self, database: Database, dedupe: Dedupe, scope: str) -> None:
        self._database = database
        self._window = dedupe.hours * 3600
        self._scope = scope
        self._forgot = 0.0

    @classmethod
    async def open(cls, dedupe: Dedupe, *, scope: str) -> Self:
        """Open the file, or make it; `scope` keeps the consumers that share one apart. Raises ConfigurationError."""
        database = await asyncio.to_thread(Database.open, "dedupe file", Path(dedupe.path), _TABLES)
        return cls(database, dedupe, scope)

    async def seen(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Those of the events that have been handled within the window."""
        after = time.time() - self._window
        rows = await asyncio.to_thread(
            self._database.rows_of, _SEEN, [(self._scope, each, after) for each in event_ids]
        )
        return frozenset(row[0] for row in rows)

    async def add(self, event_ids: Sequence[str]) -> None:
        """These events have been handled."""
        now = time.time()
        statements: list[tuple[str, Rows]] = [(_ADD, [(self._scope, each, now) for each in event_ids])]
        if now - self._forgot > _FORGET_SECONDS:
            self._forgot = now
            statements.append((_FORGET, [(now - self._window,)]))
        await asyncio.to_thread(self._database.write, statements)

    async def close(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._database.close)


_TABLES = """
create table if not exists handled (scope text, event_id text, at real, primary key (scope, event_id)) without rowid;
create index if not exists handled_at on handled (at);
"""
_SEEN = "select event_id from handled where scope = ? and event_id = ? and at > ?"
_ADD = "insert into handled values (?, ?, ?) on conflict do update set at = excluded.at"
_FORGET = "delete from handled where at < ?"
