"""`stream`: what to read of a gateway's events, and how; what cannot work fails here."""

from typing import Literal, Unpack

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.filters import Filters

from ..websocket_protocol import Policy
from .address import read_address
from .client import Behaviour, EventStream, OnDeliveries, OnGap
from .connecting import Token


def stream(
    url: str,
    *,
    start: str | None = None,
    token: Token = "",
    policy: Policy | None = None,
    group: str | None = None,
    max_in_flight: int | None = None,
    ack_timeout: float | None = None,
    acks: Literal["auto", "manual"] = "auto",
    on_gap: OnGap | None = None,
    on_deliveries: OnDeliveries | None = None,
    silence: float = 45.0,
    give_up_after: float | None = None,
    **filters: Unpack[Filters],
) -> EventStream:
    """The events of the gateway at `url` (`ws://HOST:8081/v1/events`), to be read in an `async for`.

    `start`: `latest` (the default), `earliest`, `-N`, a time, or the `cursor` of a stream before. `token`: the text,
    or a function, async or plain, that gives one for each connection. `policy`: what a reader that is too slow gets.
    `filters`: those of the gateway.

    `group`: share the events with the others of the group, `max_in_flight` at once; what is not acknowledged within
    `ack_timeout` seconds comes again. `acks`: with `auto` an event is acknowledged when the body of the loop has
    ended without an exception, or `async with` has, and asked for again when an exception leaves that; with `manual`
    there is only its `ack()` and its `nack()`.

    `on_gap` is called where records are missing, `on_deliveries` with what becomes of events; both may be async, and
    are called between the events, in order. Without `on_gap` a gap is a warning in the diagnostics.

    A connection that is lost, or silent for `silence` seconds, is made again, for ever, or until there was none for
    `give_up_after` seconds. Raises ConfigurationError and FilterError for what cannot work; entering and reading it
    raises StreamRefusedError when the gateway refuses it, and StreamUnavailableError after `give_up_after`.
    """
    options = {"policy": policy, "group": group, "max_in_flight": max_in_flight, "ack_timeout": ack_timeout}
    asked = read_address(url, filters=dict(filters), **{"from": start or None}, **options)
    if asked.token and token:
        raise ConfigurationError("token: it is given in the URL and beside it")
    if asked.group and on_deliveries is not None:
        raise ConfigurationError("on_deliveries: a group is not told of deliveries; read them in a stream of its own")
    if acks not in ("auto", "manual"):
        raise ConfigurationError(f"acks={acks!r}: it is auto or manual")
    for name, seconds in (("silence", silence), ("give_up_after", give_up_after)):
        if seconds is not None and seconds <= 0:
            raise ConfigurationError(f"{name}={seconds!r}: it is a number of seconds above 0")
    behaviour = Behaviour(
        token=asked.token or token,
        acks=acks,
        on_gap=on_gap,
        on_deliveries=on_deliveries,
        silence=silence,
        give_up_after=give_up_after,
    )
    return EventStream(asked, behaviour)
