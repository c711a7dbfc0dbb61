"""What filters cost the fan-out: µs an event for the first reader with one, and for each further distinct one."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvloop
from support.fanout import page_view

from snowbus.bus.event import EVENTS_TOPIC, Record, TopicPartition
from snowbus.bus.filters import Filter, parse_filter
from snowbus.bus.metrics import Metrics
from snowbus.consumers.gateway.live import Live
from snowbus.consumers.gateway.wire import GatewayConnection

EVENTS = 2_000
ROUNDS = 3
FILTERS: dict[str, Callable[[int], tuple[str, str]]] = {
    "app_id": lambda number: ("app_id", f"app-{number}"),
    "event_name": lambda number: ("event_name", f"name_{number}"),
    "schema": lambda number: ("schema", f"iglu:com.acme/name_{number}/jsonschema/1-*-*"),
    "user_id, decoded for": lambda number: ("user_id", f"nobody-{number}"),
    "q, decoded for": lambda number: ("q", f"nothing {number}"),
}


class Socket:
    """A connection that takes everything and keeps nothing."""

    is_open = is_writable = True
    deflates = False
    on_writable: Callable[[], None] | None = None

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.writes = 0

    def deliver(self, _: bytes) -> None:
        self.writes += 1


def records(*, apps: int = 0) -> list[Record]:
    """Events of one app, or of several in turn."""
    made = [page_view(number, app=f"app-{number % apps}" if apps else "shop") for number in range(EVENTS)]
    return [Record(EVENTS_TOPIC, 0, at, 0, one.key, one.value, one.headers) for at, one in enumerate(made)]


def cost(found: list[Record], filters: list[Filter], *, batch: int, wanted: bool = False) -> float:
    """µs an event of the fan-out to one reader a filter, the best of some rounds; each event is wanted by one, or none
    is by any.
    """

    async def once() -> float:
        live = Live(max_entries=2_000, max_bytes=1 << 30, metrics=Metrics())
        start = {TopicPartition(EVENTS_TOPIC, 0): 0}
        live.start(start)
        sockets = [Socket() for _ in filters]
        for socket, each in zip(sockets, filters, strict=True):
            assert live.join(cast("GatewayConnection", socket), each, start)
        began = time.process_time()
        for place in range(0, len(found), batch):
            live.append(found[place : place + batch])
        took = time.process_time() - began
        assert all(bool(socket.writes) == wanted for socket in sockets)
        return took / len(found) * 1e6

    return min(uvloop.run(once()) for _ in range(ROUNDS))


def floor(found: list[Record], filters: int) -> float:
    """µs an event for as many calls of the simplest filter there is."""
    checks: list[Callable[[dict[str, Any]], bool]] = [
        lambda headers, wanted=frozenset({f"app-{number}"}): headers.get("app_id") in wanted
        for number in range(filters)
    ]
    headers = {"app_id": "shop"}
    began = time.process_time()
    for _ in found:
        for check in checks:
            check(headers)
    return (time.process_time() - began) / len(found) * 1e6


@pytest.mark.timeout(120)
def test_filters() -> None:
    found = records()
    print(f"\n{'Filters that let nothing through: µs an event':<50} {'first':>8} {'of 10':>8} {'of 100':>8} {'100':>8}")
    for batch, names in ((500, list(FILTERS)), (1, ["app_id"])):
        none = cost(found, [], batch=batch)
        for name, make in ((name, FILTERS[name]) for name in names):
            figures = {
                count: cost(found, [parse_filter([make(at)]) for at in range(count)], batch=batch) - none
                for count in (1, 10, 100)
            }
            ten, hundred = (figures[10] - figures[1]) / 9, (figures[100] - figures[1]) / 99
            what = f"{name}, {f'{batch} events a batch' if batch > 1 else 'one event at a time'}"
            print(f"  {what:<48} {figures[1]:>8.2f} {ten:>8.2f} {hundred:>8.2f} {figures[100]:>8.1f}")
    apps = records(apps=100)
    filters = [parse_filter([("app_id", f"app-{at}")]) for at in range(100)]
    for batch in (500, 1):
        one, hundred = (cost(apps, each, batch=batch, wanted=True) for each in ([Filter()], filters))
        what = f"wanted by one of 100, {batch} a batch; by an only reader"
        print(f"  {what:<48} {one:>8.2f} {'':>17} {hundred:>8.1f}")
    print(f"  {'floor: a call and a lookup a filter':<48} {'':>8} {'':>8} {floor(found, 100) / 100:>8.2f}")
