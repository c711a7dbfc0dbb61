"""How an app tracks: where its events go, who its users are, and what stands beside its events."""

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from snowplow_tracker import Subject, Tracker

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import ConfigurationError
from snowbus.bus.payload import as_payload
from snowbus.bus.sparingly import SparingDiagnostics

from ..contexts import Context, candidate_of
from ..ingest.source import Head, parse_networks
from .background_loop import BackgroundLoop
from .builder import Builder, UserId
from .endpoint import IngestEndpoint
from .hand_over import Emitter, HandOver
from .processes import look_after
from .tracked_request import TrackedRequest, current_request
from .visitor import UNKNOWN, Cookies, Visit, subject_of, visit_of

logger = Diagnostics(__name__)

T = TypeVar("T")


class _SafeTracker(Tracker):
    """The official tracker, but that what cannot be tracked does not fail the view."""

    diagnostics = SparingDiagnostics(logger)

    def track(self, event: Any) -> str | None:
        try:
            return super().track(event)
        except Exception as error:  # noqa: BLE001 - whatever is in an event, the view must go on
            self.diagnostics.warning("an event was not tracked", reason=f"{type(error).__name__}: {error}")
            return None


class Tracking:
    """`Tracking([BusEmitter("kafka://localhost:9092")], namespace="shop", app_id="shop-web")`; one for each app.

    `tracker` is the official tracker: in a request that of the request, whose events leave after the response is
    complete; elsewhere one whose events leave at once. `user_id`, a plain or async function, is asked for the `uid` of
    events that have none, with the request as the framework has it. `trusted_proxies` are networks (CIDR) whose
    `X-Forwarded-…` are believed.
    `contexts` are the builders of the app (see `snowbus.producers.contexts`). `endpoint` takes the browsers' events, at
    `/tracking` of the app.
    Events wait for each emitter in a queue of `max_waiting`, from which a thread hands them over: an emitter that hangs
    hangs nobody else. What comes beyond is dropped, and counted in `dropped`.
    Raises ConfigurationError for what cannot work.
    """

    def __init__(
        self,
        emitters: Sequence[Emitter],
        *,
        namespace: str,
        app_id: str | None = None,
        user_id: Callable[[Any], Any] | None = None,
        contexts: Sequence[Context] = (),
        endpoint: IngestEndpoint | None = None,
        trusted_proxies: Sequence[str] = (),
        cookie_prefix: str = "_sp_",
        network_cookie: str = "sp",
        encode_base64: bool = True,
        max_waiting: int = 10_000,
    ) -> None:
        if not isinstance(emitters, list | tuple) or not emitters:
            raise ConfigurationError("Tracking needs a list of emitters: Tracking([BusEmitter(…)], namespace=…)")
        for each in emitters:
            if isinstance(each, type) or not callable(getattr(each, "input", None)):
                raise ConfigurationError(f"emitters: {each!r} is no emitter, such as BusEmitter(…)")
        for each in contexts:
            if not isinstance(each, Context):
                raise ConfigurationError(f"contexts: {each!r} is no builder; write @context(…) above it")
        self.endpoint = endpoint
        self._emitters = list(emitters)
        self._namespace = namespace
        self._app_id = app_id
        self._user_id = UserId(user_id) if user_id else None
        self._builders = [Builder(each) for each in contexts]
        self._proxies = parse_networks(trusted_proxies, setting="trusted_proxies")
        if endpoint is not None:
            endpoint.trust(trusted_proxies)
        self._cookies = Cookies(cookie_prefix, network_cookie)
        self._encode_base64 = encode_base64
        self._hand_overs = [HandOver(emitter, max_waiting=max_waiting) for emitter in emitters]
        self._diagnostics = SparingDiagnostics(logger)
        self._later: set[concurrent.futures.Future[None]] = set()
        self.open_requests: set[TrackedRequest] = set()
        self.background = BackgroundLoop(closing=self.close_endpoint)
        look_after(self)

    @property
    def tracker(self) -> Tracker:
        """The tracker of the request that this code runs for, or, outside of requests, of the app."""
        request = current_request()
        request = request.of(self) if request else None
        return request.tracker if request else self._own_tracker

    @property
    def dropped(self) -> int:
        """Events that found an emitter's queue full."""
        return sum(each.dropped for each in self._hand_overs)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until the emitters have sent what was tracked, so many seconds at most; says whether they have."""
        return self._drain(timeout, flush=True)

    # What follows is for the adapters of frameworks.

    def visit(self, head: Head, *, scheme: str) -> Visit:
        """What a request tells."""
        return visit_of(head, scheme=scheme, cookies=self._cookies, proxies=self._proxies)

    def tracker_of(self, emitters: Sequence[Any], subject: Subject) -> Tracker:
        """A tracker of this app."""
        return _SafeTracker(self._namespace, list(emitters), subject, self._app_id, self._encode_base64)

    def adds_to(self, payload: Mapping[str, Any], path: str) -> bool:
        """Whether an event of a request for a path may lack something that the app knows."""
        return self.user_id_for(payload) is not None or any(each.context.is_for_path(path) for each in self._builders)

    def user_id_for(self, payload: Mapping[str, Any]) -> UserId | None:
        """Who is asked for the user of an event, where it does not say so itself."""
        return None if "uid" in payload else self._user_id

    def warn(self, what: str, error: Exception) -> None:
        """Say now and then what failed."""
        self._diagnostics.warning(what, reason=f"{type(error).__name__}: {error}")

    def builders_for(self, payload: Mapping[str, Any], path: str) -> list[Builder]:
        """The builders whose entities belong on an event of a request for a path."""
        builders = [each for each in self._builders if each.context.is_for_path(path)]
        if any(each.context.wanted for each in builders):
            candidate = candidate_of(as_payload(payload))
            builders = [each for each in builders if each.context.wanted.matches(candidate)]
        return builders

    def builders_for_page(self, path: str) -> list[Builder]:
        """The builders whose entities belong in a page."""
        return [each for each in self._builders if each.context.is_for_page and each.context.is_for_path(path)]

    def hand_over(self, payload: Mapping[str, Any], traceparent: str) -> None:
        """Let an event go to the emitters; neither blocks nor raises."""
        for each in self._hand_overs:
            each.put(payload, traceparent)

    def later(self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop | None) -> None:
        """As `run`, for what events wait for."""
        future = self.run(coroutine, loop)
        self._later.add(future)
        future.add_done_callback(self._later.discard)

    def run(
        self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None
    ) -> "concurrent.futures.Future[T]":
        """Run a coroutine in the app's loop, while it has one that runs; else in the one in the background."""
        if loop is not None and loop.is_running():
            return asyncio.run_coroutine_threadsafe(coroutine, loop)
        return self.background.submit(coroutine)

    async def aclose(self, timeout: float = 5.0) -> None:
        """Give what waits so many seconds before the server ends, and close the endpoint.

        Some servers end by a signal then, so that nobody could do so at the end of the process, nor say what is lost.
        """
        if not await asyncio.to_thread(self.flush, timeout):
            waiting = sum(getattr(each, "pending", 0) for each in self._emitters)
            logger.warning(
                "the server ends before all events are out; what is in no spool may be lost", waiting=waiting
            )
        await self.close_endpoint()

    async def close_endpoint(self) -> None:
        """Close the log of the endpoint, if it is open in this loop."""
        if self.endpoint is not None:
            await self.endpoint.aclose()

    def begin_anew(self) -> None:
        """Forget what waits and runs: this is a child, and it stayed with the parent."""
        self._later = set()
        self.open_requests = set()
        self.background.begin_anew()
        for each in self._hand_overs:
            each.begin_anew()

    def end(self, timeout: float) -> None:
        """Give what waits so many seconds before the process ends; also events of responses that nobody has closed."""
        until = time.monotonic() + timeout
        for each in self._hand_overs:
            each.end()
        for request in list(self.open_requests):
            request.complete_now()
        self._drain(timeout, flush=False)  # emitters have an end of their own
        self.background.end(max(0.0, until - time.monotonic()))

    def _drain(self, timeout: float, *, flush: bool) -> bool:
        until = time.monotonic() + timeout
        _, late = concurrent.futures.wait(list(self._later), timeout)
        marks = [each.mark(flush=flush) for each in self._hand_overs]
        return not late and all(each.wait(max(0.0, until - time.monotonic())) for each in marks)

    @cached_property
    def _own_tracker(self) -> Tracker:
        return self.tracker_of(self._emitters, subject_of(UNKNOWN))
