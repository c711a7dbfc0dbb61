"""The spool: what is written is read, in order, by whoever comes next, whatever happened to the files in between."""

import errno
import subprocess
import sys
import tempfile
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from snowbus.producers.emitters import spool as spool_module
from snowbus.producers.emitters.outbox import Outbox
from snowbus.producers.emitters.spool import Spool, SpoolError
from snowbus.producers.emitters.spool_lines import HEADER_BYTES, header, line_of, lines_in, position_in
from snowbus.producers.emitters.spool_segment import Segment
from snowbus.producers.emitters.tracked import Tracked

TEXT = st.text(st.characters(codec=None), max_size=20)  # lone surrogates, too
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVENTS = st.builds(
    Tracked, st.integers(0, 2**53), st.dictionaries(TEXT, TEXT, max_size=4), st.sampled_from(["", TRACE])
)


def event(number):
    return Tracked(number, {"e": "pv", "eid": str(number)})


def opened(folder, *, damaged=None, max_bytes=1 << 20):
    kept = damaged if damaged is not None else []
    return Spool(Path(folder), max_bytes=max_bytes, on_damaged=lambda value, _: kept.append(value))


def outbox_of(spool, *, max_queued=1000, durability="memory", spilled=None):
    tell = spilled.append if spilled is not None else [].append
    return Outbox(max_queued=max_queued, spool=spool, durability=durability, on_spilled=tell)


def drain(spool, *, at_once=7):
    """Everything that is there, orphans included, in order."""
    outbox = outbox_of(spool, max_queued=1)
    numbers = []
    while events := outbox.peek(at_once):
        numbers += [each.at for each in events]
        outbox.settle(len(events))
    return numbers


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@given(st.lists(EVENTS, max_size=8))
def test_lines_are_read_as_they_were_written(events):
    data = b"".join(map(line_of, events))
    lines = list(lines_in(data, start=100, count=100))
    assert [line.event for line in lines] == events
    assert not lines or lines[-1].end == 100 + len(data)


@given(st.lists(EVENTS, min_size=1, max_size=5), st.data())
def test_a_torn_or_damaged_line_costs_no_other(events, data):
    """Cut anywhere, and one byte changed anywhere: whatever comes out was put in, in order."""
    written = bytearray(b"".join(map(line_of, events)))
    del written[data.draw(st.integers(0, len(written))) :]
    if written:
        position = data.draw(st.integers(0, len(written) - 1))
        written[position] ^= data.draw(st.integers(1, 255))
    read = [line.event for line in lines_in(bytes(written), start=0, count=100) if line.event is not None]
    left = iter(events)
    assert all(any(each == other for other in left) for each in read)


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_a_header_says_where_reading_goes_on(position, end):
    possible = HEADER_BYTES <= position <= end
    assert position_in(header(position), end=end) == (position if possible else HEADER_BYTES)


@given(st.binary(max_size=60))
def test_a_header_that_is_damaged_costs_repeats_only(head):
    assert position_in(head, end=10**6) == HEADER_BYTES or head == header(position_in(head, end=10**6))


class Model(RuleBasedStateMachine):
    """An outbox beside a list of what was put and not settled: the first events are always the first of the list."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.model = []
        self.under_way = 0
        self.number = 0
        self.open("memory")

    def open(self, durability):
        self.spool = opened(self.folder.name)
        self.spool._segment_bytes = 300  # many small ones
        self.outbox = outbox_of(self.spool, max_queued=3, durability=durability)

    @rule(count=st.integers(1, 5))
    def put(self, count):
        for _ in range(count):
            self.number += 1
            if self.outbox.put(event(self.number)):
                self.model.append(self.number)
            else:
                assert self.outbox.queued == 3
                assert self.spool._full_until

    @rule(count=st.integers(1, 6))
    def peek(self, count):
        events = [each.at for each in self.outbox.peek(count)]
        assert events == self.model[: len(events)]
        assert bool(events) == bool(self.model)
        self.under_way = len(events)

    @rule(data=st.data())
    def settle(self, data):
        count = data.draw(st.integers(0, self.under_way))
        self.outbox.settle(count)
        del self.model[:count]
        self.under_way = 0

    @rule()
    def spill(self):
        with suppress(SpoolError):
            self.outbox.spill()

    @rule()
    def the_disk_is_full_for_a_while(self):
        self.spool._full_until, self.spool._why_full = float("inf"), "full"
        with suppress(SpoolError):
            self.outbox.spill()

    @rule()
    def the_disk_has_room_again(self):
        self.spool._full_until = 0.0

    @rule(durability=st.sampled_from(["memory", "written", "synced"]))
    def start_anew(self, durability):
        self.spool._full_until = 0.0
        while self.outbox.spill():
            pass
        self.spool.close()
        self.under_way = 0
        self.open(durability)

    @invariant()
    def nothing_is_lost(self):
        held = self.spool.pending + len(self.outbox._queue)
        assert held <= len(self.model)

    def teardown(self):
        self.spool._full_until = 0.0
        self.spool.close() if not len(self.outbox._queue) else self.start_anew("memory")
        last = opened(self.folder.name)
        assert drain(last) == self.model
        last.close()
        assert files(self.folder.name) == []
        self.folder.cleanup()


TestOutbox = Model.TestCase
TestOutbox.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("durability", ["memory", "written"])
def test_threads_that_fill_the_queue_lose_nothing_and_keep_their_order(tmp_path, durability):
    """They move what is in it to the spool themselves, while the sender peeks and settles."""
    spilled, arrived = [], []
    spool = opened(tmp_path, max_bytes=1 << 24)
    spool._segment_bytes = 2_000
    outbox = outbox_of(spool, max_queued=20, durability=durability, spilled=spilled)

    def write(start):
        for number in range(start, start + 1000):
            assert outbox.put(event(number))

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 1000, 2000, 3000)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or outbox.pending:
        events = outbox.peek(7)
        done = len(events) - len(arrived) % 2 * (len(events) > 1)
        arrived += [each.at for each in events[:done]]
        outbox.settle(done)
    assert len(arrived) == 4000
    for start in (0, 1000, 2000, 3000):
        assert [number for number in arrived if number // 1000 * 1000 == start] == list(range(start, start + 1000))
    assert spilled or durability == "written"
    spool.close()
    assert files(tmp_path) == []


def test_what_a_crash_has_left_empty_does_not_hide_the_rest(tmp_path):
    for number in range(3):
        crashed = opened(tmp_path)
        crashed.append([event(number)])
        if number < 2:
            crashed.peek(1)
            crashed.advance(1)
        crashed.abandon()
    assert drain(opened(tmp_path)) == [2]
    assert files(tmp_path) == []


def test_what_cannot_be_read_does_not_hide_the_rest(tmp_path, monkeypatch):
    """A folder by the name of a segment, and an orphan on a disk that fails; which is let go of, and read later."""
    (tmp_path / "0.spool").mkdir()
    for number in range(2):
        crashed = opened(tmp_path)
        crashed.append([event(number)])
        crashed.abandon()
    unreadable = files(tmp_path)[1]
    take_stock = Segment.take_stock

    def fail_for_one(segment):
        if segment._path.name == unreadable:
            raise OSError(errno.EIO, "Input/output error")
        return take_stock(segment)

    monkeypatch.setattr(Segment, "take_stock", fail_for_one)
    after = opened(tmp_path)
    assert drain(after) == [1]
    monkeypatch.undo()
    assert drain(opened(tmp_path)) == [0], "the one that cannot read it must not hold it"
    assert files(tmp_path) == ["0.spool"]


def test_a_crash_in_the_middle_repeats_little(tmp_path):
    """As after a SIGKILL: the locks are gone, and the files are as they were."""
    crashed = opened(tmp_path)
    crashed.append([event(number) for number in range(10)])
    crashed.peek(4)
    crashed.advance(4)
    crashed.peek(3)  # under way
    crashed.abandon()
    after = opened(tmp_path)
    assert drain(after) == [4, 5, 6, 7, 8, 9]
    after.close()
    assert files(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_last_line_that_is_cut_off_is_put_aside(tmp_path, cut):
    crashed = opened(tmp_path)
    crashed.append([event(1), event(2)])
    crashed.abandon()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    damaged = []
    after = opened(tmp_path, damaged=damaged)
    assert drain(after) == [1]
    assert damaged == [line_of(event(2))[:-cut]]
    assert files(tmp_path) == []


def test_poison_does_not_block_what_stands_behind_it(tmp_path):
    crashed = opened(tmp_path)
    crashed.append([event(number) for number in range(5)])
    crashed.abandon()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b'"eid":"2"', b'"eid":"x"'))
    damaged = []
    after = opened(tmp_path, damaged=damaged)
    assert drain(after) == [0, 1, 3, 4]
    assert len(damaged) == 1
    assert after.pending == 0


def test_segments_of_a_process_that_lives_are_left_alone(tmp_path):
    alive, other = opened(tmp_path), opened(tmp_path)
    alive.append([event(1)])
    assert drain(other) == []
    alive.close()
    other._look_at = 0.0
    assert drain(other) == [1]


def test_an_orphans_segments_are_drained_in_order_before_ones_own(tmp_path):
    crashed = opened(tmp_path)
    crashed._segment_bytes = 200
    for number in range(20):
        crashed.append([event(number)])
    crashed.abandon()
    assert len(files(tmp_path)) == 5
    first, second = opened(tmp_path), opened(tmp_path)
    first.append([event(100)])
    first.look_for_orphans()
    assert drain(second) == [], "two processes would have shared an orphan's events, and mixed up their order"
    assert drain(first) == [*range(20), 100]


def test_it_is_bounded(tmp_path):
    spool = opened(tmp_path, max_bytes=65_536)
    with pytest.raises(SpoolError, match="spool_bytes"):
        deque((spool.append([event(number)]) for number in range(10_000)), maxlen=0)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 65_536
    held = drain(spool)
    assert held == list(range(len(held)))
    assert len(held) > 500


def test_a_long_line_is_read_whole(tmp_path):
    spool = opened(tmp_path, max_bytes=1 << 24)
    long = Tracked(1, {"page": "x" * (spool_module._READ_BYTES * 3)})
    spool.append([event(0), long, event(2)])
    spool.peek(1)
    spool.advance(1)
    assert spool.peek(1) == [long]
    assert drain(spool) == [1, 2]


def test_a_full_disk_is_told_and_leaves_no_half_line(tmp_path):
    """A limit on the file's size stands in for a full disk: the write comes back short."""
    script = f"""
import resource, signal
from pathlib import Path
from snowbus.producers.emitters.spool import Spool, SpoolError
from snowbus.producers.emitters.tracked import Tracked
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spool = Spool(Path({str(tmp_path)!r}), max_bytes=1 << 20, on_damaged=print)
spool.append([Tracked(1, {{}})])
resource.setrlimit(resource.RLIMIT_FSIZE, (80, resource.RLIM_INFINITY))
try:
    spool.append([Tracked(2, {{"page": "x" * 100}})])
except SpoolError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool._full_until = 0
spool.append([Tracked(3, {{}})])
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "No space left on device\n"
    damaged = []
    assert drain(opened(tmp_path, damaged=damaged)) == [1, 3]


def test_threads_share_a_flush_and_lose_nothing(tmp_path):
    spool = opened(tmp_path)

    def write(number):
        for offset in range(5):
            spool.sync(spool.append([event(number * 5 + offset)]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drain(spool)) == list(range(100))
