"""A member of a group on the embedded log: it renews itself, and moves partitions when the group has changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from ..clock import now_ms
from ..database import Connection
from ..diagnostics import Diagnostics
from ..errors import LogClosedError, LogError
from ..sparingly import SparingDiagnostics
from . import sqlite_groups as groups
from .embedded_reader import EmbeddedGroupReader
from .interface import Metadata, Offsets, OnAssigned, OnRevoked, check_metadata

if TYPE_CHECKING:
    from .sqlite import SqliteLog

logger = Diagnostics(__name__)

_LOOK_SECONDS = 0.2
"""How often a member looks whether its group has changed."""
_RENEWALS = 6
"""How often a member renews itself within the session timeout."""
_SILENCE = 0.75
"""When a silent member is forgotten, as a share of the session timeout: in the rest of it another takes over."""


class SqliteGroupReader(EmbeddedGroupReader):
    """A member that other processes know by what it has written."""

    def __init__(
        self,
        log: SqliteLog,
        topics: Sequence[str],
        *,
        group_id: str,
        from_latest: bool,
        on_revoked: OnRevoked | None,
        on_assigned: OnAssigned | None,
    ) -> None:
        super().__init__(log, group_id=group_id, on_revoked=on_revoked, on_assigned=on_assigned)
        self._file = log.file
        self._options = log.options
        self._topics = topics
        self._member_id = str(uuid4())
        self._from_latest = from_latest
        self._generation = -1
        self._diagnostics = SparingDiagnostics(logger)

    async def commit(self, offsets: Offsets, metadata: Metadata | None = None) -> None:
        """See GroupReader.commit."""
        places, texts = dict(offsets), dict(check_metadata(metadata))
        await self._file.write(
            lambda connection: groups.commit(connection, self._group_id, self._member_id, places, texts)
        )

    async def _leave(self) -> None:
        with contextlib.suppress(LogError):  # those who stay notice by the session timeout
            await self._file.write(lambda connection: groups.leave(connection, self._group_id, self._member_id))

    async def _stay_member(self) -> None:
        session = self._options.session_timeout
        renewed = 0.0
        while True:
            now = time.monotonic()
            try:
                if now - renewed >= session / _RENEWALS or await self._group_moved():
                    await self._renew()
                    renewed = now
            except LogClosedError:
                return
            except LogError as error:
                self._say_not_renewed(error)
            await asyncio.sleep(min(_LOOK_SECONDS, session / 10))

    async def _group_moved(self) -> bool:
        def moved(connection: Connection) -> bool:
            changed = groups.generation(connection, self._group_id) != self._generation
            return changed or groups.has_silent(connection, self._group_id, now=now_ms(), silence_ms=self._silence_ms)

        return await self._file.fetch(moved)

    @property
    def _silence_ms(self) -> int:
        return round(_SILENCE * self._options.session_timeout * 1000)

    async def _renew(self) -> None:
        now = now_ms()
        joining = self._generation < 0

        def renew(connection: Connection) -> groups.Membership:
            return groups.renew(
                connection,
                self._group_id,
                self._member_id,
                topics=self._topics,
                now=now,
                silence_ms=self._silence_ms,
                from_latest=self._from_latest,
                joining=joining,
            )

        membership = await self._file.write(renew)
        self._generation = -1 if membership.forgotten else membership.generation
        if leaving := self.assignment - (membership.claimed.keys() - membership.surplus):
            await self._revoke(leaving)
        if membership.surplus:
            await self._file.write(
                lambda connection: groups.release(connection, self._group_id, self._member_id, membership.surplus)
            )
        await self._take_over(
            {
                partition: offset
                for partition, offset in membership.claimed.items()
                if partition not in self._next and partition not in membership.surplus
            }
        )

    async def _while_alive(self, callback: Awaitable[None]) -> None:
        task = asyncio.ensure_future(callback)
        try:
            while not (await asyncio.wait({task}, timeout=self._options.session_timeout / _RENEWALS))[0]:
                try:
                    await self._file.write(
                        lambda connection: groups.keep_alive(
                            connection,
                            self._group_id,
                            self._member_id,
                            now=now_ms(),
                            silence_ms=self._silence_ms,
                        )
                    )
                except LogError as error:
                    self._say_not_renewed(error)
        finally:
            task.cancel()
        task.result()

    def _say_not_renewed(self, error: LogError) -> None:
        self._diagnostics.warning("group membership not renewed", group_id=self._group_id, reason=str(error))
