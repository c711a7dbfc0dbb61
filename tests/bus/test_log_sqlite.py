"""What only the embedded log does: retention, files that are no log, what happens when the disk refuses."""

import asyncio
import contextlib
import gc
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.aio import eventually, run

from snowbus.bus.errors import ConfigurationError, LogError, LogUnavailableError, NotAssignedError
from snowbus.bus.event import ProducerRecord, TopicPartition
from snowbus.bus.log import Committed, LogOptions, check_log_url, open_log
from snowbus.bus.log.packed_headers import pack_headers, unpack_headers
from snowbus.bus.log.quotas import quotas

TOPIC = "snowbus.events"
ONE_PARTITION = LogOptions(partitions=1)
PARTITION = TopicPartition(TOPIC, 0)


def records(count, *, timestamp=None, size=100):
    return [ProducerRecord(b"k", b"x" * size, (), timestamp) for _ in range(count)]


@contextlib.contextmanager
def locked(folder):
    """Nobody can write the log in a folder."""
    with contextlib.closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


def now_ms():
    return time.time_ns() // 1_000_000


def test_records_past_their_age_are_expired(sqlite_url):
    """The beginning moves, the end does not, and a reader below the beginning starts at it."""

    async def main():
        async with await open_log(sqlite_url, replace(ONE_PARTITION, retention_seconds=3600)) as log:
            await log.create_topics([TOPIC])
            await log.append(TOPIC, records(2500, timestamp=now_ms() - 7_200_000))
            await log.append(TOPIC, records(10))
        async with await open_log(sqlite_url) as log:  # retention is the topic's, whoever opens the log
            await eventually(lambda: beginning(log, 2500))
            assert await log.end_offsets(TOPIC) == {PARTITION: 2510}
            async with await log.read({PARTITION: 0}) as reader:
                assert [record.offset for record in await reader.poll()] == list(range(2500, 2510))
            assert await log.lag("nobody") == {}

    async def beginning(log, offset):
        return (await log.beginning_offsets(TOPIC))[PARTITION] == offset

    run(main())


def test_a_topic_past_its_size_loses_its_oldest_records(sqlite_url):
    async def main():
        async with await open_log(sqlite_url, LogOptions(partitions=4, retention_seconds=0)) as log:
            await log.create_topics([TOPIC])
            for number in range(40):
                await log.append(TOPIC, [ProducerRecord(b"%d" % number, b"x" * 1000, (), 1000 + number)])
        async with await open_log(
            sqlite_url, LogOptions(partitions=4, retention_bytes=10_000, retention_seconds=0)
        ) as log:
            await log.create_topics([TOPIC])
        async with await open_log(sqlite_url) as log:
            await eventually(lambda: kept(log, 9))  # each record has a key too, so nine fit
            async with await log.read(await log.beginning_offsets(TOPIC)) as reader:
                assert sorted(record.timestamp for record in await reader.poll()) == list(range(1031, 1040))

    async def kept(log, count):
        ends = await log.end_offsets(TOPIC)
        beginnings = await log.beginning_offsets(TOPIC)
        return sum(ends.values()) - sum(beginnings.values()) == count

    run(main())


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 50)), max_size=5), max_size=4), st.integers(0, 60)
)
@settings(max_examples=10, deadline=None)
def test_offsets_for_a_time_are_found_among_many_whose_times_do_not_rise(appends, wanted):
    """Each append is a few runs of so many records of one time."""
    times = [timestamp for runs in appends for count, timestamp in runs for _ in range(count)]
    expected = next((offset for offset, timestamp in enumerate(times) if timestamp >= wanted), len(times))

    async def main(folder):
        options = replace(ONE_PARTITION, retention_seconds=0)
        async with await open_log(f"sqlite:///{folder}/log.db", options) as log:
            await log.create_topics([TOPIC])
            for runs in appends:
                records = [ProducerRecord(None, b"", (), timestamp) for count, timestamp in runs for _ in range(count)]
                await log.append(TOPIC, records)
            assert await log.offsets_for_time(TOPIC, wanted) == {PARTITION: expected}

    with tempfile.TemporaryDirectory() as folder:
        run(main(folder))


def test_offsets_for_a_time_are_those_of_what_has_not_expired(sqlite_url):
    """Nor is a record beyond all times of today found once it is gone."""

    async def main():
        now = now_ms()
        async with await open_log(
            sqlite_url, LogOptions(partitions=1, retention_seconds=0, retention_bytes=70_000)
        ) as log:
            await log.create_topics([TOPIC])
            await log.append(TOPIC, records(10, timestamp=2**45))
            await log.append(TOPIC, records(2990, timestamp=now - 1000))
            await log.append(TOPIC, records(300, timestamp=now, size=199))
        async with await open_log(sqlite_url) as log:
            await eventually(lambda: beginning(log, 2901))
            assert await log.offsets_for_time(TOPIC, now - 1000) == {PARTITION: 2901}
            assert await log.offsets_for_time(TOPIC, now) == {PARTITION: 3000}
            assert await log.offsets_for_time(TOPIC, now + 1) == {PARTITION: 3300}

    async def beginning(log, offset):
        return (await log.beginning_offsets(TOPIC))[PARTITION] == offset

    run(main())


def test_what_is_appended_survives_a_kill_of_the_process(sqlite_url):
    """Whatever was acknowledged before the SIGKILL is there."""
    script = f"""
import asyncio
from snowbus.bus.log import open_log
from snowbus.bus.event import ProducerRecord
async def main():
    async with await open_log({sqlite_url!r}) as log:
        await log.create_topics([{TOPIC!r}])
        for number in range(10**9):
            await log.append({TOPIC!r}, [ProducerRecord(b"k", b"%d" % number)])
            print(number, flush=True)
asyncio.run(main())
"""

    async def read_all():
        async with await open_log(sqlite_url) as log:
            ends = await log.end_offsets(TOPIC)
            async with await log.read(dict.fromkeys(ends, 0)) as reader:
                values = []
                while len(values) < sum(ends.values()):
                    values += [int(record.value) for record in await reader.poll(max_records=10_000)]
                return values

    acknowledged = -1
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        for _ in range(200):
            acknowledged = int(process.stdout.readline())
        process.kill()
        for line in process.stdout:
            acknowledged = int(line) if line.endswith("\n") else acknowledged
    values = run(read_all())
    assert values == list(range(len(values)))
    assert len(values) > acknowledged >= 199


def test_a_lock_held_by_others_is_an_unavailable_log_that_heals(sqlite_url, tmp_path):
    async def main():
        async with await open_log(sqlite_url, replace(ONE_PARTITION, append_timeout=0.3)) as log:
            await log.create_topics([TOPIC])
            with locked(tmp_path), pytest.raises(LogUnavailableError, match="not durable within"):
                await log.append(TOPIC, records(1))
            await eventually(lambda: append(log))

    async def append(log):
        try:
            return await log.append(TOPIC, records(1))
        except LogUnavailableError:
            return None

    run(main())


def test_a_full_disk_is_an_unavailable_log_that_heals(sqlite_url, tmp_path, monkeypatch):
    """SQLite's own limit on pages stands in for the disk: the same error, from the same place."""
    connect = sqlite3.connect
    limit = {"pages": 60}

    def connect_with_limit(*arguments, **keywords):
        connection = connect(*arguments, **keywords)
        connection.execute(f"PRAGMA max_page_count = {limit['pages']}")
        return connection

    async def fill(log):
        for _ in range(100):
            await log.append(TOPIC, records(10, size=1000))

    async def main():
        monkeypatch.setattr("sqlite3.connect", connect_with_limit)
        async with await open_log(sqlite_url, ONE_PARTITION) as log:
            await log.create_topics([TOPIC])
            with pytest.raises(LogUnavailableError, match="full"):
                await fill(log)
            taken = (await log.end_offsets(TOPIC))[PARTITION]
            async with await log.read({PARTITION: 0}) as reader:
                assert len(await reader.poll(max_records=1000)) == taken
        limit["pages"] = 10_000
        async with await open_log(sqlite_url, ONE_PARTITION) as log:
            assert await log.append(TOPIC, records(1)) == [(0, taken)]

    run(main())


def test_a_member_that_died_before_the_clock_was_put_back_does_not_keep_its_partitions(sqlite_url, tmp_path):
    async def main():
        async with await open_log(sqlite_url, LogOptions(partitions=2, session_timeout=1.0)) as log:
            await log.create_topics([TOPIC])
            later = time.time_ns() // 1_000_000 + 3_600_000
            with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as file, file:
                file.execute("INSERT INTO members VALUES ('g', 'dead', 1, ?)", (later,))
                file.execute("INSERT INTO claims SELECT 'g', id, 'dead' FROM partitions")
            async with await log.join([TOPIC], group_id="g") as member:
                await eventually(lambda: assigned(member, 2))

    async def assigned(member, count):
        await member.poll(timeout=0.05)
        return len(member.assignment) == count

    run(main())


def test_a_file_that_is_no_database_is_told(sqlite_url, tmp_path):
    (tmp_path / "log.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(ConfigurationError, match=r"log\.db is no SQLite file, or its beginning is damaged"):
        run(open_log(sqlite_url))


def test_a_database_of_something_else_is_told(sqlite_url, tmp_path):
    other = sqlite3.connect(tmp_path / "log.db")
    other.execute("CREATE TABLE customers (name TEXT)")
    other.close()
    with pytest.raises(ConfigurationError, match="something else"):
        run(open_log(sqlite_url))


def test_a_log_of_a_newer_format_is_told(sqlite_url, tmp_path):
    async def make():
        await (await open_log(sqlite_url)).close()

    run(make())
    newer = sqlite3.connect(tmp_path / "log.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(ConfigurationError, match="format 99"):
        run(open_log(sqlite_url))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://h/x.db", "sqlite:///:memory:", "mysql://x", "x"])
def test_a_url_that_cannot_work_is_refused(url):
    with pytest.raises(ConfigurationError, match="sqlite:///"):
        run(open_log(url))


def test_a_log_that_must_be_there_is_not_made(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no log at"):
        run(open_log(f"sqlite:///{tmp_path}/missing/log.db", create=False))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_removed_or_replaced_takes_nothing_more(sqlite_url, tmp_path, replaced):
    """What would be written would vanish with it: nobody is told that it is durable."""

    async def main():
        async with await open_log(sqlite_url) as log:
            await log.create_topics([TOPIC])
            for file in tmp_path.iterdir():
                file.unlink()
            if replaced:
                await (await open_log(sqlite_url)).close()
            with pytest.raises(LogUnavailableError, match="restart"):
                await log.append(TOPIC, records(1))
            with pytest.raises(LogUnavailableError, match="restart"):
                await log.end_offsets(TOPIC)
        assert (tmp_path / "log.db").exists() == replaced

    run(main())


def test_an_empty_record_is_a_record(sqlite_url):
    async def main():
        async with await open_log(sqlite_url, ONE_PARTITION) as log:
            await log.create_topics([TOPIC])
            assert await log.append(TOPIC, [ProducerRecord(None, b"")]) == [(0, 0)]
            assert await log.append(TOPIC, records(1)) == [(0, 1)]

    run(main())


def test_a_value_that_the_file_cannot_hold_fails_alone(sqlite_url):
    """The thread that writes goes on, and the log can be closed."""

    async def main():
        async with await open_log(sqlite_url, ONE_PARTITION) as log:
            await log.create_topics([TOPIC])
            with pytest.raises(LogError):
                await log.reset_group("\udcff", {PARTITION: 0})
            assert await log.append(TOPIC, records(1)) == [(0, 0)]

    run(main())


@pytest.mark.parametrize(
    "bad",
    [
        ProducerRecord(b"k", b"v", (), 2**63),
        ProducerRecord(b"k", "text"),
        ProducerRecord("text", b"v"),
        ProducerRecord(b"k", b"v", (("name" * 20_000, b""),)),
    ],
    ids=["time", "value", "key", "header"],
)
def test_a_record_that_the_file_cannot_hold_fails_with_its_append_alone(sqlite_url, bad):
    """Neither the records before it in the same append are there, nor does it harm what is appended after it."""

    async def main():
        async with await open_log(sqlite_url, replace(ONE_PARTITION, append_timeout=2.0)) as log:
            await log.create_topics([TOPIC])
            first, failed, last = await asyncio.gather(
                log.append(TOPIC, records(1)),
                log.append(TOPIC, [*records(2), bad]),
                log.append(TOPIC, records(1)),
                return_exceptions=True,
            )
            assert (first, last) == ([(0, 0)], [(0, 1)])
            assert isinstance(failed, LogError)
            assert not failed.retriable
            assert await log.end_offsets(TOPIC) == {PARTITION: 2}

    run(main())


def test_what_nobody_waits_for_any_more_is_neither_kept_nor_written(sqlite_url, tmp_path):
    """While the file is locked, appends that have timed out take no memory."""

    async def main():
        value = b"x" * 100
        async with await open_log(sqlite_url, replace(ONE_PARTITION, append_timeout=0.1)) as log:
            await log.create_topics([TOPIC])
            alone = kept(value)
            with locked(tmp_path):
                appends = (log.append(TOPIC, [ProducerRecord(None, value)]) for _ in range(1000))
                failed = await asyncio.gather(*appends, return_exceptions=True)
                assert {type(error) for error in failed} == {LogUnavailableError}
                del failed, appends
                await eventually(lambda: kept(value) == alone)
        async with await open_log(sqlite_url) as log:
            assert await log.append(TOPIC, records(1)) == [(0, 0)]

    def kept(value):
        gc.collect()
        return sys.getrefcount(value)

    run(main())


def test_a_log_whose_file_was_away_as_it_began_sees_what_others_write(sqlite_url, tmp_path):
    async def main():
        async with await open_log(sqlite_url, ONE_PARTITION) as log:
            await log.create_topics([TOPIC])
            path = tmp_path / "log.db"
            reading = await open_log(sqlite_url)
            path.rename(tmp_path / "away.db")
            with pytest.raises(LogUnavailableError):
                await reading.check()
            (tmp_path / "away.db").rename(path)
            await reading.check()
            async with reading, await reading.read({PARTITION: 0}) as reader, asyncio.timeout(20):
                poll = asyncio.create_task(reader.poll(timeout=60))
                await eventually(lambda: append(log))
                assert await poll

    async def append(log):
        return await log.append(TOPIC, records(1))

    run(main())


def test_a_member_that_was_forgotten_does_not_put_offsets_back(sqlite_url, monkeypatch):
    """Frozen for longer than the session, it comes back when another has gone on, and left."""

    async def main():
        async with await open_log(sqlite_url, LogOptions(partitions=1, session_timeout=0.6)) as log:
            await log.create_topics([TOPIC])
            await log.append(TOPIC, records(10))

            async def commit_what_was_read(partitions):
                with contextlib.suppress(NotAssignedError):
                    await frozen.commit(dict.fromkeys(partitions, 3))

            frozen = await log.join([TOPIC], group_id="g", on_revoked=commit_what_was_read)
            await eventually(lambda: frozen.assignment)
            thaw = asyncio.Event()

            async def wait(*_):
                await thaw.wait()
                return False

            monkeypatch.setattr(frozen, "_group_moved", wait)
            await asyncio.sleep(0.9)  # longer than the session
            async with await log.join([TOPIC], group_id="g") as other:
                await eventually(lambda: other.assignment)
                await other.commit({PARTITION: 10})
            thaw.set()
            await eventually(lambda: frozen.assignment and frozen.position(PARTITION) == 10)
            assert await log.group_offsets("g") == {PARTITION: Committed(10)}
            await frozen.close()

    run(main())


def test_a_relative_url_is_below_the_working_directory(tmp_path, monkeypatch):
    async def make(url):
        await (await open_log(url)).close()

    monkeypatch.chdir(tmp_path)
    run(make("sqlite:///log.db"))
    Path("var").mkdir()
    run(make("sqlite:///var/log.db"))
    assert sorted(map(str, Path().rglob("*.db"))) == ["log.db", "var/log.db"]


@pytest.mark.parametrize("attempt", [lambda url: run(open_log(url)), check_log_url])
def test_a_folder_that_is_not_there_is_told_and_not_made(tmp_path, attempt):
    with pytest.raises(ConfigurationError, match=f"there is no folder {tmp_path}/vra; make it, or mend the path"):
        attempt(f"sqlite:///{tmp_path}/vra/log.db")
    assert list(tmp_path.iterdir()) == []


def test_readers_of_another_process_see_a_record_soon(sqlite_url):
    """The file's data version is watched, so that nobody needs to tell."""

    async def main():
        async with await open_log(sqlite_url) as ours, await open_log(sqlite_url) as theirs:
            await ours.create_topics([TOPIC])
            async with await theirs.read(await theirs.end_offsets(TOPIC)) as reader:
                polling = asyncio.create_task(reader.poll(timeout=30))
                await ours.append(TOPIC, records(1))
                assert len(await asyncio.wait_for(polling, 2)) == 1

    run(main())


def test_a_member_that_drains_for_longer_than_the_session_keeps_its_partitions_until_it_is_done(sqlite_url):
    """What it commits at the end of on_revoked counts, and nobody has read on before."""

    async def main():
        async with await open_log(sqlite_url, LogOptions(partitions=2, session_timeout=0.5)) as log:
            await log.create_topics([TOPIC])
            await log.append(TOPIC, [ProducerRecord(b"%d" % number, b"x") for number in range(20)])
            read_by_second = []
            committed = asyncio.Event()

            async def drain(partitions):
                await asyncio.sleep(1.5)  # three sessions
                await first.commit({partition: first.position(partition) for partition in partitions})
                assert not read_by_second
                committed.set()

            first = await log.join([TOPIC], group_id="g", on_revoked=drain)
            records = []
            while len(records) < 20:
                records += await first.poll()
            async with first, await log.join([TOPIC], group_id="g") as second:
                while not committed.is_set():
                    read_by_second += await second.poll(timeout=0.05)
                await eventually(lambda: second.assignment)
                assert await second.poll(timeout=0.3) == []

    run(main())


def test_a_member_drains_and_commits_though_it_cannot_renew_itself_meanwhile(sqlite_url, tmp_path):
    async def main():
        path, away = tmp_path / "log.db", tmp_path / "away.db"
        async with await open_log(sqlite_url, replace(ONE_PARTITION, session_timeout=0.6)) as log:
            await log.create_topics([TOPIC])
            await log.append(TOPIC, records(3))

            async def drain(_):
                path.rename(away)
                await asyncio.sleep(0.3)  # three times that it should renew itself
                away.rename(path)
                await member.commit({PARTITION: 3})

            async with await log.join([TOPIC], group_id="g", on_revoked=drain) as member:
                assert len(await member.poll(timeout=5)) == 3
            assert await log.group_offsets("g") == {PARTITION: Committed(3)}

    run(main())


def new_threads(before):
    """The threads that have begun since, and not ended; other tests may have left some that nobody waits for."""
    return set(threading.enumerate()) - before


def test_a_log_whose_closing_is_cancelled_has_ended_its_threads(sqlite_url):
    async def main():
        unhandled, before = [], set(threading.enumerate())
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        log = await open_log(sqlite_url, ONE_PARTITION)
        assert any(each.name == "snowbus-log-writer" for each in new_threads(before))
        await log.create_topics([TOPIC])
        appending = [asyncio.ensure_future(log.append(TOPIC, records(1))) for _ in range(100)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(log.close())
        await asyncio.sleep(0.001)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert len(await asyncio.gather(*appending)) == 100
        await eventually(lambda: not any(each.name.startswith("snowbus-log") for each in new_threads(before)))
        assert unhandled == []

    run(main())


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 20), min_size=1), st.integers(0, 50))
def test_quotas_share_out_everything_as_equally_as_can_be(held, partitions):
    shares = quotas(held, partitions)
    assert sum(shares.values()) == partitions
    assert max(shares.values()) - min(shares.values()) <= 1


@given(st.lists(st.tuples(st.text(), st.binary())).map(tuple))
def test_headers_come_back_equal(headers):
    assert unpack_headers(pack_headers(headers)) == headers
