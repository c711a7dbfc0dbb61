"""Keeps a number of workers running: starts again what dies or is stuck, and drains all of them at the end."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp

from snowbus.bus.backoff import Backoff
from snowbus.bus.diagnostics import Diagnostics

from . import exit_codes
from .worker_process import WorkerProcess, listen_addresses

logger = Diagnostics(__name__)

_HOPELESS = (exit_codes.CONFIGURATION, exit_codes.USAGE)


class Limits(NamedTuple):
    """How long workers may take for what, in seconds."""

    opening: float  # to open the log, before /health is served
    stuck: float  # without a good /health
    draining: float  # at the end
    backoff: float  # until one that died is started again, about; twice as long each time
    backoff_max: float


class Supervisor:
    """Runs `count` workers of one command line (the command's name first) until it is stopped.

    The first listens on `listen`, the others on the ports after it. Raises ConfigurationError where that cannot be.
    """

    def __init__(self, arguments: Sequence[str], *, listen: str, count: int, limits: Limits) -> None:
        self._arguments = arguments
        self._limits = limits
        self._addresses = listen_addresses(listen, count)
        self._codes: list[int] = []

    async def run(self, stop: asyncio.Event) -> int:
        """Keep the workers running until `stop` is set, or one cannot start for a reason that will not heal.

        Returns the worst of their exit codes. When it is cancelled, it kills them.
        """
        connector = aiohttp.TCPConnector(force_close=True)  # a worker that is started again has the same address
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as tasks:
            for number, listen in enumerate(self._addresses):
                if stop.is_set():
                    break
                keeper = _Keeper(number, listen, self._arguments, http=http, limits=self._limits)
                tasks.create_task(self._keep(keeper, stop), name=f"snowbus-worker-{number}")
                if number == 0:  # what keeps every worker from beginning is said by one, not by all
                    await _first_of(keeper.has_begun, stop)
        return max(self._codes, default=exit_codes.OK)

    async def _keep(self, keeper: "_Keeper", stop: asyncio.Event) -> None:
        self._codes.append(await keeper.run(stop))
        stop.set()


class _Keeper:
    """Keeps one worker running."""

    def __init__(
        self, number: int, listen: str, arguments: Sequence[str], *, http: aiohttp.ClientSession, limits: Limits
    ) -> None:
        self.has_begun = asyncio.Event()  # set for good once a worker's consumers have begun
        self._number = number
        self._listen = listen
        self._arguments = arguments
        self._http = http
        self._limits = limits
        self._backoff = Backoff(limits.backoff, maximum=limits.backoff_max)

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set; the exit code of the worker that ran last."""
        while True:
            started = time.monotonic()
            async with await WorkerProcess.start(self._arguments, listen=self._listen) as worker:
                code = await self._watch(worker, stop)
            if stop.is_set():
                return exit_codes.FAILED if code < 0 else code
            if code in _HOPELESS and not self.has_begun.is_set():
                return code
            if time.monotonic() - started > self._limits.backoff_max:
                self._backoff.reset()
            wait = self._backoff.next_wait()
            logger.error(
                "worker ended; starting it again",
                worker=self._number,
                pid=worker.pid,
                **({"signal": -code} if code < 0 else {"exit_code": code}),
                seconds=round(wait, 2),
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait)
                return exit_codes.FAILED

    async def _watch(self, worker: WorkerProcess, stop: asyncio.Event) -> int:
        """The code of the worker's end, which comes by itself, because it is stuck or because of `stop`."""
        ended = asyncio.create_task(worker.wait())
        stopping = asyncio.create_task(stop.wait())
        stuck = asyncio.create_task(self._until_stuck(worker))
        try:
            await asyncio.wait({ended, stopping, stuck}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                if not worker.has_told:  # it imports modules still, and has nothing in hand
                    worker.kill()
                    await ended
                    return exit_codes.OK
                return await worker.stop(within=self._limits.draining)
            if not ended.done():
                logger.error("worker is stuck; killing it", worker=self._number, pid=worker.pid, reason=stuck.result())
                worker.kill()
            return await ended
        finally:
            for task in (ended, stopping, stuck):
                task.cancel()

    async def _until_stuck(self, worker: WorkerProcess) -> str:
        """Return why the worker's /health was not good for too long.

        Imports may take as long as they like; after them, opening the log may take a while.
        """
        address = await worker.told()
        if address:
            try:
                address = await asyncio.wait_for(worker.told(), self._limits.stuck + self._limits.opening)
            except TimeoutError:
                return "/health is not served"
        if not address:
            await worker.wait()
            return ""
        hearing = asyncio.create_task(self._hear_that_it_has_begun(worker))
        try:
            return await self._until_ill(address)
        finally:
            hearing.cancel()
            await asyncio.wait({hearing})

    async def _hear_that_it_has_begun(self, worker: WorkerProcess) -> None:
        if await worker.told():
            self.has_begun.set()

    async def _until_ill(self, address: str) -> str:
        """Return why /health was not good for as long as it may be so."""
        limit = self._limits.stuck
        last_good = time.monotonic()
        while True:
            await asyncio.sleep(limit / 10)
            reason = await self._health(address, timeout=limit / 3)
            if not reason:
                last_good = time.monotonic()
            elif time.monotonic() - last_good >= limit:
                return reason

    async def _health(self, address: str, *, timeout: float) -> str:
        """What is wrong with a worker, or an empty string."""
        try:
            async with self._http.get(f"{address}/health", timeout=aiohttp.ClientTimeout(total=timeout)) as answer:
                return "" if answer.status == 200 else (await answer.text()).strip() or f"/health says {answer.status}"
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            return f"/health does not answer: {str(error) or type(error).__name__}"


async def _first_of(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
