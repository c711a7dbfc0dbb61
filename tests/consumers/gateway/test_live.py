"""The fan-out, with readers whose sockets are told when to stall: no hole, no repeat, nobody waits."""

import asyncio
import gc
import json
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.aio import eventually, run
from support.gateway import numbered

from snowbus.bus.cursor import decode_cursor
from snowbus.bus.event import Record, TopicPartition
from snowbus.bus.filters import Candidate, Check, Filter, parse_filter
from snowbus.bus.metrics import Metrics
from snowbus.bus.start import Gap
from snowbus.consumers.gateway.chunks import MAX_WRITE_BYTES
from snowbus.consumers.gateway.deflate import WINDOW_BITS
from snowbus.consumers.gateway.flow import Flow
from snowbus.consumers.gateway.live import Live
from snowbus.consumers.gateway.reader import LiveReader
from snowbus.consumers.gateway.skipping import KEPT_EVENTS
from snowbus.consumers.gateway.wire import GatewayConnection
from snowbus.consumers.masking import Mask

TOPIC = "snowbus.events"
PARTITIONS = [TopicPartition(TOPIC, number) for number in range(3)]
EVERYTHING = Filter()


class Socket:
    """A connection that keeps what it is given; it takes no more when it is `stalled`, or after `room` writes."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.writes: list[bytes] = []
        self.on_writable: Callable[[], None] | None = None
        self.stalled = False
        self.is_open = True
        self.deflates = False
        self.given_up = ""
        self.close_code = 0

    @property
    def is_writable(self) -> bool:
        return self.is_open and not self.stalled

    def deliver(self, frames: bytes) -> None:
        self.writes.append(frames)

    def give_up(self, reason: str, *, code: int = 1011) -> None:
        self.given_up = reason
        self.close_code = code
        self.is_open = False

    def resume(self) -> None:
        self.stalled = False
        if self.on_writable is not None:
            self.on_writable()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What a client gets."""
        data = b"".join(self.writes)
        window = zlib.decompressobj(-WINDOW_BITS)
        found = []
        while data:
            header, length = 2, data[1]
            if length == 126:
                header, length = 4, int.from_bytes(data[2:4])
            elif length == 127:
                header, length = 10, int.from_bytes(data[2:10])
            message = data[header : header + length]
            if data[0] & 0x40:
                assert self.deflates
                message = window.decompress(message + b"\x00\x00\xff\xff")
            found.append(json.loads(message))
            data = data[header + length :]
        return found

    @property
    def offsets(self) -> list[tuple[int, int]]:
        return [(message["partition"], message["offset"]) for message in self.messages if message["type"] == "event"]


class Bench:
    """A Live, and records for it."""

    def __init__(self, loop: Any, *, max_entries: int = 1000, max_bytes: int = 50_000_000) -> None:
        self.metrics = Metrics()
        self.live = Live(max_entries=max_entries, max_bytes=max_bytes, metrics=self.metrics)
        self.live.start(dict.fromkeys(PARTITIONS, 0))
        self.loop = loop
        self.records: list[Record] = []

    def make(self, partition: int, **parameters: str) -> Record:
        offset = sum(record.partition == partition for record in self.records)
        produced = numbered(len(self.records), **parameters)
        record = Record(TOPIC, partition, offset, 0, produced.key, produced.value, produced.headers)
        self.records.append(record)
        return record

    def append(self, *partitions: int, **parameters: str) -> None:
        self.live.append([self.make(partition, **parameters) for partition in partitions])

    def join(
        self,
        positions: dict[TopicPartition, int] | None = None,
        wanted: Filter = EVERYTHING,
        *,
        deflates: bool = False,
        **options: Any,
    ) -> tuple[Socket, LiveReader]:
        socket = Socket(self.loop)
        socket.deflates = deflates
        ring = self.live.ring
        assert ring is not None
        reader = self.live.join(
            cast("GatewayConnection", socket),
            wanted,
            dict(ring.positions) if positions is None else positions,
            **options,
        )
        assert reader is not None
        return socket, reader

    @property
    def positions(self) -> Any:
        assert self.live.ring is not None
        return self.live.ring.positions

    def after(self, positions: dict[TopicPartition, int], *, users: Sequence[int] = range(7)) -> list[tuple[int, int]]:
        """What a reader who stands there, and wants what these users did, must get."""
        return [
            (record.partition, record.offset)
            for number, record in enumerate(self.records)
            if record.offset >= positions.get(record.topic_partition, 0) and number % 7 in users
        ]


def events_of(users: Sequence[int]) -> Filter:
    """What these of the seven users do; everything, when it is all of them."""
    return parse_filter([("user_id", f"user-{user}") for user in users]) if len(users) < 7 else EVERYTHING


def on_bench(test: Callable[[Bench], Awaitable[None]], **options: int) -> None:
    async def main() -> None:
        await test(Bench(asyncio.get_running_loop(), **options))

    run(main())


def test_readers_at_one_place_are_sent_the_very_same_bytes() -> None:
    async def test(bench: Bench) -> None:
        (first, _), (second, _) = bench.join(), bench.join()
        bench.append(0, 1, 0)
        assert first.offsets == [(0, 0), (1, 0), (0, 1)]
        assert len(first.writes) == 1
        assert first.writes[0] is second.writes[0]
        assert bench.metrics.registry.get_sample_value("snowbus_gateway_messages_total", {"type": "event"}) == 6

    on_bench(test)


def test_a_backlog_pushes_nobody_out_of_the_ring_but_who_takes_nothing() -> None:
    """It has far more bytes than one write takes, and the ring is much smaller."""

    async def test(bench: Bench) -> None:
        (quick, reader), (stalled, slow) = bench.join(), bench.join()
        stalled.stalled = True
        for _ in range(3):
            bench.append(*[0] * 50, page="x" * (MAX_WRITE_BYTES // 10))
            await bench.live.sent()
        assert quick.offsets == [(0, offset) for offset in range(150)]
        assert not reader.gone.done()
        stalled.resume()
        assert slow.gone.done()

    on_bench(test, max_entries=60)


def test_readers_who_inflate_share_one_compressor_and_those_who_come_later_begin_with_a_new_one() -> None:
    async def test(bench: Bench) -> None:
        sockets = [bench.join(deflates=True)[0] for _ in range(3)]
        for _ in range(5):
            bench.append(0)
        late = bench.join(deflates=True)[0]
        for _ in range(5):
            bench.append(0)
        assert [socket.offsets for socket in sockets] == [[(0, offset) for offset in range(10)]] * 3
        assert late.offsets == [(0, offset) for offset in range(5, 10)]
        assert sockets[0].writes[2] is sockets[1].writes[2]
        assert sockets[0].writes[-1] is late.writes[-1]
        sizes = [len(write) for write in sockets[0].writes]
        assert max(sizes[1:5]) < sizes[0] / 2
        assert max(len(write) for write in late.writes[2:]) < len(late.writes[0]) / 2

    on_bench(test)


@pytest.mark.parametrize("wanted", ["nothing", "1"])
def test_what_was_made_for_readers_with_a_filter_of_their_own_goes_with_them(wanted: str) -> None:
    async def test(bench: Bench) -> None:
        async def visit(number: int) -> None:
            own = parse_filter([("event_id", wanted), ("event_id", f"nothing-{number}")])
            _, reader = bench.join(dict.fromkeys(PARTITIONS, 0), own, deflates=True)
            for _ in range(10):
                await asyncio.sleep(0)
            assert decode_cursor(bench.live.cursor(reader).decode()) == dict(bench.positions)
            bench.live.leave(reader)

        bench.append(*[0] * 3000)
        await visit(0)
        tracemalloc.start()
        try:
            for number in range(1, 10):
                await visit(number)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 200_000
        finally:
            tracemalloc.stop()

    on_bench(test, max_entries=4000)


def test_a_stalled_reader_is_not_written_to_and_catches_up_in_few_writes() -> None:
    async def test(bench: Bench) -> None:
        (slow, _), (quick, _) = bench.join(), bench.join()
        slow.stalled = True
        for _ in range(30):
            bench.append(0)
        assert slow.writes == []
        assert len(quick.writes) == 30
        slow.resume()
        assert len(slow.writes) == 1
        assert slow.offsets == quick.offsets

    on_bench(test)


def test_a_write_is_bounded_and_the_rest_follows_at_once() -> None:
    async def test(bench: Bench) -> None:
        socket, _ = bench.join()
        socket.stalled = True
        for _ in range(60):
            bench.append(0, page="x" * 5000)
        socket.resume()
        assert len(socket.writes) == 1
        await eventually_all(socket, 60)
        assert all(len(write) < MAX_WRITE_BYTES + 20_000 for write in socket.writes)
        assert len(socket.writes) < 10

    on_bench(test)


async def eventually_all(socket: Socket, count: int) -> None:
    await eventually(lambda: len(socket.offsets) == count)


def test_a_reader_whom_the_ring_has_passed_is_sent_back_with_its_place() -> None:
    async def test(bench: Bench) -> None:
        socket, reader = bench.join()
        bench.append(0, 1)
        socket.stalled = True
        bench.append(*[0] * 10)
        assert not reader.gone.done()
        bench.append(*[1] * 10)
        socket.resume()
        assert reader.gone.result() == {PARTITIONS[0]: 1, PARTITIONS[1]: 1, PARTITIONS[2]: 0}
        assert socket.offsets == [(0, 0), (1, 0)]
        assert bench.live.join(cast("GatewayConnection", socket), EVERYTHING, reader.gone.result()) is None

    on_bench(test, max_entries=12)


def test_a_reader_ahead_of_the_others_is_given_cursors_of_its_own_until_they_meet() -> None:
    async def test(bench: Bench) -> None:
        bench.append(0, 1, 0, 1, 0)  # 0 has three, 1 has two
        socket, reader = bench.join({PARTITIONS[0]: 1, PARTITIONS[1]: 3, PARTITIONS[2]: 0})
        assert socket.offsets == [(0, 1), (0, 2)]
        assert [message["cursor"] for message in socket.messages] == [
            "snowbus.events~0.2~1.3~2.0",
            "snowbus.events~0.3~1.3~2.0",
        ]
        bench.append(1, 1, 2)  # offset 2 of partition 1 it has had already
        await asyncio.sleep(0)
        assert socket.offsets == [(0, 1), (0, 2), (1, 3), (2, 0)]
        assert reader.own is None
        assert socket.messages[-1]["cursor"] == "snowbus.events~0.3~1.4~2.1"

    on_bench(test)


def test_filters_are_shared_and_a_late_reader_gets_what_matched_before_it_came() -> None:
    asked = []

    class Counting(Filter):
        @property
        def check(self) -> Check:
            check = super().check
            return lambda candidate: asked.append(candidate) or check(candidate)

    async def test(bench: Bench) -> None:
        shop = Counting(parse_filter([("app_id", "shop")]).conditions)
        bench.append(0, 0, aid="blog")
        bench.append(0, aid="shop")
        start = dict.fromkeys(PARTITIONS, 0)
        (first, _), (second, _) = bench.join(start, shop), bench.join(start, shop)
        assert first.offsets == second.offsets == [(0, 2)]
        assert len(asked) == 3
        bench.append(0, aid="shop")
        bench.append(0, aid="blog")
        assert first.offsets == second.offsets == [(0, 2), (0, 3)]
        assert len(asked) == 4  # what the index does not find is not asked about

    on_bench(test)


def test_the_cursor_moves_on_when_the_filter_lets_nothing_through() -> None:
    async def test(bench: Bench) -> None:
        socket, reader = bench.join(wanted=parse_filter([("app_id", "none")]))
        bench.append(0, 1, 1)
        assert socket.writes == []
        assert decode_cursor(bench.live.cursor(reader).decode()) == {
            PARTITIONS[0]: 1,
            PARTITIONS[1]: 2,
            PARTITIONS[2]: 0,
        }

    on_bench(test)


def test_gaps_reach_everyone_whatever_the_filter_and_in_their_place() -> None:
    async def test(bench: Bench) -> None:
        (plain, _), (filtered, _) = bench.join(), bench.join(wanted=parse_filter([("app_id", "none")]))
        ahead, _ = bench.join({PARTITIONS[0]: 0, PARTITIONS[1]: 5, PARTITIONS[2]: 0})
        bench.append(0)
        bench.live.add_gap(Gap(PARTITIONS[0], 1, 4, 3, "expired"))
        for socket in (plain, filtered, ahead):
            gap = socket.messages[-1]
            assert (gap["type"], gap["count"], gap["to"]["offset"]) == ("gap", 3, 4)
        assert plain.messages[-1]["cursor"] == "snowbus.events~0.4~1.0~2.0"
        assert ahead.messages[-1]["cursor"] == "snowbus.events~0.4~1.5~2.0"

    on_bench(test)


def test_a_reader_who_has_had_some_of_what_is_missing_is_told_the_rest() -> None:
    async def test(bench: Bench) -> None:
        start = dict.fromkeys(PARTITIONS, 0)
        inside, _ = bench.join({**start, PARTITIONS[0]: 60})
        beyond, _ = bench.join({**start, PARTITIONS[0]: 100})
        bench.live.add_gap(Gap(PARTITIONS[0], 10, 100, 90, "expired"))
        (gap,) = inside.messages
        assert (gap["from"]["offset"], gap["to"]["offset"], gap["count"]) == (60, 100, 40)
        assert gap["cursor"] == "snowbus.events~0.100~1.0~2.0"
        assert beyond.messages == []

    on_bench(test)


@pytest.mark.parametrize("policy", ["sample", "latest"])
def test_who_skips_is_told_what_was_missing_there_too(policy: Any) -> None:
    async def test(bench: Bench) -> None:
        socket, reader = bench.join(policy=policy)
        socket.stalled = True
        bench.append(*[0] * 300)
        bench.live.add_gap(Gap(PARTITIONS[1], 0, 40, 40, "expired"))
        bench.append(*[0] * 300)
        reader.behind_since -= 10
        socket.resume()
        for _ in range(5):
            await asyncio.sleep(0)
        gaps = {(gap["reason"], gap["to"]["partition"]): gap["count"] for gap in socket.messages if "reason" in gap}
        assert gaps == {("expired", 1): 40, ("slow", 0): 600 - len(socket.offsets)}

    on_bench(test)


def test_when_the_log_begins_anew_readers_are_told_and_go_on_there() -> None:
    async def test(bench: Bench) -> None:
        socket, reader = bench.join(wanted=parse_filter([("app_id", "shop")]))
        bench.append(0, 0, aid="shop")
        bench.live.restart({PARTITIONS[0]: 0}, [Gap(PARTITIONS[0], 2, 0, None, "log restarted")])
        assert socket.messages[-1]["reason"] == "log restarted"
        assert socket.messages[-1]["cursor"] == bench.live.cursor(reader).decode() == "snowbus.events~0.0"
        bench.records.clear()
        bench.append(0, aid="shop")
        assert socket.messages[-1]["cursor"] == "snowbus.events~0.1"

    on_bench(test)


def test_a_failure_of_one_reader_leaves_the_others_alone() -> None:
    def fail(_: Candidate) -> bool:
        raise RuntimeError("broken")

    class Broken(Filter):
        @property
        def check(self) -> Check:
            return fail

    async def test(bench: Bench) -> None:
        bench.append(0)
        broken, _ = bench.join(dict.fromkeys(PARTITIONS, 0), Broken((("app_id", ("x",)),)))
        good, _ = bench.join()
        bench.append(0)
        assert broken.given_up == "internal error"
        assert good.offsets == [(0, 1)]

    on_bench(test)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 2), min_size=1, max_size=6)),
        st.tuples(st.just("join"), st.lists(st.integers(0, 8), min_size=3, max_size=3)),
        st.tuples(st.just("stall"), st.integers(0, 5)),
        st.tuples(st.just("resume"), st.integers(0, 5)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("turn"), st.none()),
    ),
    max_size=40,
)


def test_a_failure_among_followers_leaves_the_others_alone() -> None:
    class BrokenMask:
        def key(self, _: str | None) -> str | None:
            raise RuntimeError("broken")

    async def test(bench: Bench) -> None:
        broken, _ = bench.join(mask=cast("Mask", BrokenMask()))
        good, _ = bench.join()
        bench.append(0)
        assert broken.given_up == "internal error"
        assert good.offsets == [(0, 0)]

    on_bench(test)


def check_what_it_got(
    bench: Bench, socket: Socket, reader: LiveReader, positions: dict[TopicPartition, int], users: Sequence[int]
) -> None:
    """It has had all that it wanted up to where it stands, and each cursor tells what it had had by then."""
    wanted = bench.after(positions, users=users)
    stands = decode_cursor(bench.live.cursor(reader).decode())
    if reader.gone.done() or socket.on_writable is None:
        rest = bench.after(stands)
        assert [place for place in wanted if place not in rest] == socket.offsets
    else:
        assert socket.offsets == wanted
        assert stands == {partition: max(positions[partition], bench.positions[partition]) for partition in PARTITIONS}
    for message in socket.messages:
        after = bench.after(decode_cursor(message["cursor"]))
        place = socket.offsets.index((message["partition"], message["offset"]))
        assert [each for each in wanted if each not in after] == sorted(socket.offsets[: place + 1], key=wanted.index)


@given(
    actions,
    st.sampled_from([3, 10, 1000]),
    st.sampled_from([(False,), (True,), (True, False, True)]),
    st.sampled_from([(range(7),), ((1, 2),), (range(7), (1, 2), (3,))]),
    st.sampled_from(["", "x" * 30_000]),
)
@settings(max_examples=200)
def test_whatever_readers_do_each_gets_every_event_after_its_position_once(
    steps: list[Any], max_entries: int, deflates: tuple[bool, ...], users: tuple[Sequence[int], ...], page: str
) -> None:
    async def test(bench: Bench) -> None:
        joined: list[tuple[Socket, LiveReader, dict[TopicPartition, int], Sequence[int]]] = []
        for action, argument in steps:
            if action == "append":
                bench.append(*argument, page=page)
            elif action == "turn":
                await asyncio.sleep(0)
            elif action == "join":
                positions = dict(zip(PARTITIONS, argument, strict=True))
                socket = Socket(bench.loop)
                socket.deflates = deflates[len(joined) % len(deflates)]
                who = users[len(joined) % len(users)]
                reader = bench.live.join(cast("GatewayConnection", socket), events_of(who), positions)
                if reader is not None:
                    joined.append((socket, reader, positions, who))
            elif argument < len(joined):
                socket, reader, *_ = joined[argument]
                if action == "stall":
                    socket.stalled = True
                elif action == "resume":
                    socket.resume()
                else:
                    bench.live.leave(reader)
        for socket, *_ in joined:
            socket.resume()
        for _ in range(20):
            await asyncio.sleep(0)
        for each in joined:
            check_what_it_got(bench, *each)

    on_bench(test, max_entries=max_entries)


@given(
    st.sampled_from(["sample", "latest"]),
    st.sampled_from([EVERYTHING, parse_filter([("user_id", "user-1"), ("user_id", "user-2")])]),
    st.lists(st.integers(1, 250), min_size=1, max_size=6),
    st.sampled_from([30, 300, 10_000]),
)
@settings(max_examples=60)
def test_what_a_reader_who_skips_was_sent_and_what_it_was_told_of_make_up_all_it_wanted(
    policy: Any, wanted: Filter, bursts: list[int], max_entries: int
) -> None:
    async def test(bench: Bench) -> None:
        socket, reader = bench.join(wanted=wanted, policy=policy)
        socket.stalled = True
        for burst in bursts:
            bench.append(*[number % 3 for number in range(burst)])
        reader.behind_since -= 10
        socket.resume()
        for _ in range(5):
            await asyncio.sleep(0)
        owed = Counter(
            record.partition for number, record in enumerate(bench.records) if not wanted or number % 7 in (1, 2)
        )
        sent = Counter(partition for partition, _ in socket.offsets)
        if reader.gone.done():  # little was skipped, and what is missing is in the log
            assert owed.total() <= KEPT_EVENTS or max(bursts) > max_entries
            return
        told: Counter[int] = Counter()
        for gap in socket.messages:
            if gap["type"] == "gap":
                told[gap["to"]["partition"]] += gap["count"]
        assert sent + told == owed
        assert sent.total() <= KEPT_EVENTS or not told
        assert len(set(socket.offsets)) == len(socket.offsets)
        assert decode_cursor(bench.live.cursor(reader).decode()) == dict(bench.positions)

    on_bench(test, max_entries=max_entries)


@pytest.mark.parametrize("policy", ["sample", "latest"])
def test_who_was_sent_some_of_what_it_was_behind_by_is_told_exactly_how_much_it_skips_later(policy: Any) -> None:
    async def test(bench: Bench) -> None:
        socket, reader = bench.join(policy=policy)
        socket.stalled = True
        bench.append(*[0, 1] * 200, page="x" * 3_000)
        socket.resume()
        socket.stalled = True
        assert 0 < len(socket.offsets) < 100
        bench.append(*[0, 1] * 200)
        reader.behind_since -= 10
        socket.resume()
        for _ in range(5):
            await asyncio.sleep(0)
        told = sum(message["count"] for message in socket.messages if message["type"] == "gap")
        assert len(socket.offsets) + told == 800

    on_bench(test)


def test_a_burst_makes_nobody_slow() -> None:
    async def test(bench: Bench) -> None:
        socket, _ = bench.join(policy="latest")
        socket.stalled = True
        bench.append(*[0] * 500)
        socket.resume()
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(socket.offsets) == 500

    on_bench(test)


def test_a_pause_is_no_slowness() -> None:
    async def test(bench: Bench) -> None:
        flow = Flow(paused=True)
        socket, reader = bench.join(policy="disconnect", flow=flow)
        bench.append(*[0] * 50)
        assert not socket.given_up
        flow.paused = False
        bench.live.go_on(reader)
        assert reader.gone.done()  # the log has the rest

    on_bench(test, max_entries=10)


@pytest.mark.parametrize("policy", ["sample", "latest"])
@pytest.mark.parametrize("stop", [{"paused": True}, {"permits": 200}])
def test_who_pauses_while_behind_for_a_moment_is_left_out_nothing(policy: Any, stop: dict[str, Any]) -> None:
    async def test(bench: Bench) -> None:
        flow = Flow()
        socket, reader = bench.join(policy=policy, flow=flow)
        socket.stalled = True
        bench.append(*[0] * 300)
        for name, value in stop.items():
            setattr(flow, name, value)
        socket.resume()
        for _ in range(5):
            await asyncio.sleep(0)
        bench.append(*[0] * 300)
        reader.behind_since -= 10
        flow.paused, flow.permits = False, None
        bench.live.go_on(reader)
        for _ in range(5):
            await asyncio.sleep(0)
        assert socket.offsets == [(0, offset) for offset in range(600)]

    on_bench(test)
