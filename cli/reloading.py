"""While developing: runs one worker, and starts it again whenever a Python file below the working directory changes."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from watchfiles import PythonFilter, awatch

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import ConfigurationError

from . import exit_codes
from .worker_process import WorkerProcess

logger = Diagnostics(__name__)

# Python takes a compiled file for fresh when the source has the same second and size, as after a quick edit.
_ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1"}


async def run_reloading(arguments: Sequence[str], *, listen: str, drain_timeout: float, stop: asyncio.Event) -> int:
    """Run a worker until `stop` is set, each time from what the files say now; returns its exit code.

    `arguments` and `listen` are those of WorkerProcess.start; draining may take `drain_timeout` seconds. A worker that
    ends by itself, for example because its module cannot be imported, is not started again before the next change. When
    this is cancelled, it kills the worker. Raises ConfigurationError when files cannot be watched.
    """
    changed = asyncio.Event()
    watching = asyncio.create_task(_note_changes(changed), name="snowbus-reload")
    stopping = asyncio.create_task(stop.wait())
    try:
        while True:
            changed.clear()
            async with await WorkerProcess.start(arguments, listen=listen, environment=_ENVIRONMENT) as worker:
                code = await _run_until_change(worker, changed, ends=(watching, stopping), drain_timeout=drain_timeout)
            if watching.done():
                watching.result()
            if stopping.done():
                return code
    finally:
        for task in (watching, stopping):
            task.cancel()
        await asyncio.wait((watching, stopping))


async def _run_until_change(
    worker: WorkerProcess, changed: asyncio.Event, *, ends: Iterable[asyncio.Task[Any]], drain_timeout: float
) -> int:
    """Let the worker run until something has changed or one of `ends` is done, and drain it. Its exit code."""
    changing = asyncio.create_task(changed.wait())
    ended = asyncio.create_task(worker.wait())
    waits = (changing, *ends)
    try:
        await asyncio.wait((ended, *waits), return_when=asyncio.FIRST_COMPLETED)
        if not any(task.done() for task in waits):
            logger.warning("worker ended; the next change of a file starts it again", exit_code=ended.result())
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return exit_codes.OK
        code = await worker.stop(within=drain_timeout)
        return exit_codes.FAILED if code < 0 else code
    finally:
        changing.cancel()
        ended.cancel()


async def _note_changes(changed: asyncio.Event) -> None:
    folder = Path.cwd()
    try:
        async for changes in awatch(folder, watch_filter=PythonFilter()):
            files = sorted({file.removeprefix(f"{folder}{os.sep}") for _, file in changes})
            logger.info("files have changed; starting the worker again", files=files)
            changed.set()
    except OSError as error:
        raise ConfigurationError(f"--reload cannot watch {folder}: {error}") from None
