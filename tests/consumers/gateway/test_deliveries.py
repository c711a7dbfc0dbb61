"""Readers are told what becomes of events, with sockets that stall when the test says so: nobody misses the end."""

import json
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.event import TopicPartition
from snowbus.bus.metrics import Metrics
from snowbus.consumers.gateway.deliveries import Deliveries, DeliveryReader
from snowbus.consumers.gateway.wire import GatewayConnection
from snowbus.consumers.receipts import CollectorState, Receipt, Report

TOPIC = "snowbus.events"
P0 = TopicPartition(TOPIC, 0)


class Socket:
    """A connection that keeps what it is given, and takes nothing while it is `stalled`, or after `room` writes."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.stalled = False
        self.room = 1 << 30

    @property
    def is_writable(self) -> bool:
        return not self.stalled and self.room > 0

    def slip_in(self, frames: bytes) -> None:
        assert self.is_writable
        self.writes.append(frames)
        self.room -= 1

    @property
    def messages(self) -> list[dict[str, Any]]:
        data = b"".join(self.writes)
        found = []
        while data:
            header = {126: 4, 127: 10}.get(data[1], 2)
            length = data[1] if header == 2 else int.from_bytes(data[2:header])
            found.append(json.loads(data[header : header + length]))
            data = data[header + length :]
        return found

    @property
    def states(self) -> dict[int, str]:
        """The state of each offset, as a reader understands it."""
        states: dict[int, str] = {}
        for message in self.messages:
            for receipt in message["receipts"]:
                for first, last in receipt["offsets"]:
                    for offset in range(first, last + 1):
                        if receipt["status"] != "done" or states.get(offset, "retrying") == "retrying":
                            states[offset] = receipt["status"]
        return states


class Bench:
    def __init__(self, *, begun: bool = True, max_frames: int = 30) -> None:
        self.metrics = Metrics()
        self.deliveries = Deliveries(TOPIC, max_ranges=100_000, metrics=self.metrics, max_frames=max_frames)
        self.time = 100_000_000
        if begun:
            self.deliveries.begin()

    def report(self, *offsets: int, status: str = "delivered", group: str = "collector", **more: Any) -> None:
        self.time += 250
        ranges = tuple((offset, offset) for offset in offsets)
        receipt = Receipt(topic=TOPIC, partition=0, offsets=ranges, status=status, http_status=200)
        self.deliveries.take([Report(group=group, time=self.time, receipts=(receipt,) if offsets else (), **more)])

    def join(self, start: int = 0, since: int | None = None) -> tuple[Socket, DeliveryReader]:
        socket = Socket()
        return socket, self.deliveries.join(cast("GatewayConnection", socket), {P0: start}, since=since)


def test_all_readers_are_sent_the_very_same_bytes_in_one_write() -> None:
    bench = Bench()
    (first, _), (second, _) = bench.join(), bench.join()
    bench.report(1, 2)
    assert len(first.writes) == 1
    assert first.writes[0] is second.writes[0]
    assert first.states == {1: "delivered", 2: "delivered"}
    assert bench.metrics.registry.get_sample_value("snowbus_gateway_messages_total", {"type": "delivery"}) == 2


def test_who_joins_is_told_what_was_and_what_is_told_before_it_began_is_told_once() -> None:
    bench = Bench(begun=False)
    early, _ = bench.join(3)
    bench.report(1, 3, 5)
    assert early.writes == []
    bench.deliveries.begin()
    late, _ = bench.join(4)
    assert early.states == dict.fromkeys((3, 5), "delivered")
    assert late.states == {5: "delivered"}
    assert [message["group"] for message in late.messages] == ["collector"] * 2


def test_who_resumes_is_told_what_became_since_of_earlier_events() -> None:
    bench = Bench()
    bench.report(1)
    left = bench.time + 1
    bench.report(2)
    socket, _ = bench.join(50, since=left)
    assert socket.states == {2: "delivered"}


def test_a_stalled_reader_is_not_written_to_and_gets_what_it_missed_in_one_write() -> None:
    bench = Bench()
    (slow, _), (quick, _) = bench.join(), bench.join()
    slow.stalled = True
    for offset in range(20):
        bench.report(offset)
    assert slow.writes == []
    slow.stalled = False
    bench.deliveries.flush()
    assert len(slow.writes) == 1
    assert slow.messages == quick.messages


def test_a_reader_who_missed_more_than_is_held_is_told_the_states_and_no_old_ones() -> None:
    bench = Bench()
    slow, _ = bench.join()
    bench.report(*range(10))
    bench.time += 3_600_000
    bench.report(10, status="retrying")
    slow.stalled = True
    for number in range(40):
        bench.report(20 + number % 5, status="retrying")
    bench.report(10)
    slow.stalled = False
    told = len(slow.writes)
    bench.deliveries.flush()
    assert slow.states == {**dict.fromkeys(range(11), "delivered"), **dict.fromkeys(range(20, 25), "retrying")}
    again = [message for message in slow.messages[told:] if message["receipts"]]
    assert {receipt["offsets"][0][0] for message in again for receipt in message["receipts"]}.isdisjoint(range(10))


def test_what_a_socket_does_not_take_of_a_snapshot_follows() -> None:
    bench = Bench()
    for start in range(0, 5000, 500):
        bench.report(*range(start, start + 500, 2))
    socket = Socket()
    socket.room = 2
    bench.deliveries.join(cast("GatewayConnection", socket), {}, since=None)
    assert len(socket.writes) == 2
    bench.report(9000)
    socket.room = 1 << 30
    bench.deliveries.flush()
    assert socket.states == dict.fromkeys([*range(0, 5000, 2), 9000], "delivered")


def test_many_who_join_at_once_do_not_hold_up_the_others() -> None:
    bench = Bench()
    for start in range(0, 6_000, 500):
        bench.report(*range(start, start + 500, 2))
    sockets = [Socket() for _ in range(10)]
    for socket in sockets:
        socket.stalled = True
        bench.deliveries.join(cast("GatewayConnection", socket), {}, since=None)
    for socket in sockets:
        socket.stalled = False
    flushes = 0
    while any(len(socket.states) < 3000 for socket in sockets):
        before = sum(len(socket.writes) for socket in sockets)
        bench.deliveries.flush()
        assert 0 < sum(len(socket.writes) for socket in sockets) - before <= 64
        flushes += 1
    assert flushes > 1


def test_how_collectors_stand_is_told_when_it_changes() -> None:
    bench = Bench()
    socket, _ = bench.join()
    down = CollectorState(url="https://c.example", state="down", since=5, error="503", next_try=9)
    bench.report(collectors=(down,))
    bench.report(1, collectors=(down,))
    bench.report(collectors=(down,))
    bench.report(collectors=(down.model_copy(update={"state": "up"}),))
    assert [[state["state"] for state in message["collectors"]] for message in socket.messages] == [
        ["down"],
        [],
        ["up"],
    ]


def test_a_group_is_told_of_when_it_is_first_heard() -> None:
    bench = Bench()
    socket, _ = bench.join()
    bench.report()
    bench.report()
    assert [message["group"] for message in socket.messages] == ["collector"]


def test_what_is_committed_is_told_when_it_moves() -> None:
    bench = Bench()
    socket, _ = bench.join()
    bench.deliveries.commit("collector", {P0: 3})
    bench.deliveries.commit("collector", {P0: 3})
    assert [message["receipts"][0]["offsets"] for message in socket.messages] == [[[0, 2]]]
    assert socket.states == dict.fromkeys(range(3), "done")


def test_a_log_that_begins_anew_takes_everything_with_it() -> None:
    bench = Bench()
    (slow, _), (quick, _) = bench.join(), bench.join()
    slow.stalled = True
    bench.report(1)
    bench.deliveries.restart()
    bench.report(2)
    slow.stalled = False
    bench.deliveries.flush()
    assert slow.states == {2: "delivered"}
    assert quick.states == {1: "delivered", 2: "delivered"}
    late, _ = bench.join()
    assert late.states == {2: "delivered"}


def test_who_left_is_told_no_more() -> None:
    bench = Bench()
    socket, reader = bench.join()
    bench.deliveries.leave(reader)
    bench.report(1)
    bench.deliveries.flush()
    assert socket.writes == []


actions = st.lists(
    st.tuples(st.just("report"), st.integers(0, 20), st.sampled_from(["delivered", "retrying", "dead"]))
    | st.tuples(st.just("join"), st.integers(0, 20), st.none())
    | st.tuples(st.just("room"), st.integers(0, 4), st.integers(0, 3))
    | st.tuples(st.just("commit"), st.integers(0, 20), st.none()),
    max_size=30,
)


@given(actions, st.integers(1, 6))
def test_whatever_stalls_every_reader_knows_the_end_once_its_socket_takes_it(
    actions: list[Any], max_frames: int
) -> None:
    bench = Bench(max_frames=max_frames)
    readers: list[tuple[Socket, int]] = []
    truth: dict[int, str] = {}
    committed = 0
    for action, number, more in actions:
        if action == "report":
            bench.report(number, number + 1, status=more)
            truth |= dict.fromkeys((number, number + 1), more)
        elif action == "join":
            readers.append((bench.join(number)[0], number))
        elif action == "commit":
            committed = max(committed, number)
            bench.deliveries.commit("collector", {P0: committed})
        elif readers:
            readers[number % len(readers)][0].room = more
    for socket, _ in readers:
        socket.room = 1 << 30
    bench.deliveries.flush()
    for socket, start in readers:
        states = socket.states
        for offset, status in truth.items():
            if offset >= start:
                wanted = "done" if status == "retrying" and offset < committed else status
                assert states[offset] in (status, wanted)
