"""While developing: runs one worker, and starts it again whenever a Python file below the working directory changes."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import structlog
from watchfiles import PythonFilter, awatch

from snowbus.bus.settings import Settings

from . import exit_codes
from .worker_process import WorkerProcess

logger = structlog.get_logger(__name__)

# Python takes a compiled file for fresh when the source has the same second and size, as after a quick edit.
_ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1"}


async def run_reloading(arguments: Sequence[str], settings: Settings, *, stop: asyncio.Event) -> int:
    """Run a worker until `stop` is set, each time from what the files say now; returns its exit code.

    A worker that ends by itself, for example because its module cannot be imported, is not started again before the
    next change. When this is cancelled, it kills the worker.
    """
    changed = asyncio.Event()
    watching = asyncio.create_task(_note_changes(changed), name="snowbus-reload")
    try:
        while True:
            changed.clear()
            async with await WorkerProcess.start(
                arguments, listen=settings.consume_listen, environment=_ENVIRONMENT
            ) as worker:
                code = await _until(worker, changed, stop=stop, drain_timeout=settings.consume_drain_timeout)
            if stop.is_set():
                return code
            if watching.done():
                watching.result()
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _until(worker: WorkerProcess, changed: asyncio.Event, *, stop: asyncio.Event, drain_timeout: float) -> int:
    """Run the worker until something has changed or we are to stop, and drain it."""
    waits = [asyncio.create_task(event.wait()) for event in (changed, stop)]
    ended = asyncio.create_task(worker.wait())
    try:
        await asyncio.wait({ended, *waits}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() and not (changed.is_set() or stop.is_set()):
            logger.warning("worker ended; the next change of a file starts it again", exit_code=ended.result())
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return exit_codes.OK
        code = await worker.stop(within=drain_timeout)
        return exit_codes.FAILED if code < 0 else code
    finally:
        for task in (ended, *waits):
            task.cancel()


async def _note_changes(changed: asyncio.Event) -> None:
    async for changes in awatch(Path.cwd(), watch_filter=PythonFilter()):
        files = sorted({Path(file).name for _, file in changes})
        logger.info("files have changed; starting the worker again", files=files)
        changed.set()
