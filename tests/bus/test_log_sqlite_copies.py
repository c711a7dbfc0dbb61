"""Backups of an embedded log that is used meanwhile, and the space that it takes and gives back."""

import asyncio
import contextlib
import os
import sqlite3
from dataclasses import replace

import pytest
from support.aio import eventually, run
from support.diagnostics import capture_logs
from support.disks import read_only_copy, small_disk
from support.snowbus import snowbus

from snowbus.bus.errors import ConfigurationError, LogError
from snowbus.bus.event import ProducerRecord, TopicPartition
from snowbus.bus.log import Committed, LogOptions, open_log
from snowbus.bus.log.sqlite_copy import back_up, check, salvage

TOPIC = "snowbus.events"
ONE_PARTITION = LogOptions(partitions=1)
PARTITION = TopicPartition(TOPIC, 0)


def records(count, *, size=100, timestamp=None):
    return [ProducerRecord(b"k", b"x" * size, (), timestamp) for _ in range(count)]


@contextlib.asynccontextmanager
async def traffic(log):
    """Records are appended as fast as they can be, and a group reads and commits them."""

    async def publish():
        while True:
            await log.append(TOPIC, records(20))

    async def consume():
        async with await log.join([TOPIC], group_id="g") as reader:
            while True:
                if read := await reader.poll():
                    await reader.commit({PARTITION: read[-1].offset + 1})

    working = [asyncio.create_task(publish()), asyncio.create_task(consume())]
    try:
        yield
    finally:
        for task in working:
            task.cancel()
        await asyncio.wait(working)


def test_a_backup_is_of_one_moment_and_its_groups_go_on_where_they_stood_then(sqlite_url, tmp_path):
    """What they had handled since comes again: at least once."""
    copy = tmp_path / "copy.db"

    async def main():
        async with await open_log(sqlite_url, ONE_PARTITION) as log:
            await log.create_topics([TOPIC])
            await log.append(TOPIC, records(20_000))
            async with traffic(log):
                await eventually(lambda: log.group_offsets("g"))
                contents = await asyncio.to_thread(back_up, tmp_path / "log.db", copy)
            ended = (await log.end_offsets(TOPIC))[PARTITION]
        assert check(copy) == contents
        assert contents == (contents.records, 1, 0)
        assert 20_000 <= contents.records < ended
        async with await open_log(f"sqlite:///{copy}") as restored:
            (committed, _) = (await restored.group_offsets("g"))[PARTITION]
            assert committed <= contents.records == (await restored.end_offsets(TOPIC))[PARTITION]
            assert await restored.append(TOPIC, records(1)) == [(0, contents.records)]
            async with await restored.join([TOPIC], group_id="g") as reader:
                while not (read := await reader.poll()):
                    pass
                assert read[0].offset == committed

    run(main())


def test_the_commands_back_up_check_and_restore(sqlite_url, tmp_path):
    async def make():
        async with await open_log(sqlite_url, ONE_PARTITION) as log:
            await log.create_topics([TOPIC])
            await log.append(TOPIC, records(1000))
            await log.reset_group("g", {PARTITION: 7})

    async def read():
        async with await open_log(sqlite_url) as log:
            return await log.group_offsets("g"), await log.end_offsets(TOPIC)

    run(make())
    made = snowbus("log", "backup", "copy.db", "--log", sqlite_url, cwd=tmp_path)
    assert made.stdout == "copy.db: 1,000 records, and the offsets of 1 group\n"
    again = snowbus("log", "backup", "copy.db", "--log", sqlite_url, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (3, "snowbus: copy.db is there already, and a copy overwrites nothing\n")
    whole = snowbus("log", "check", "copy.db", cwd=tmp_path)
    assert whole.stdout == "copy.db is whole: 1,000 records, and the offsets of 1 group\n"
    (tmp_path / "log.db").unlink()
    (tmp_path / "copy.db").rename(tmp_path / "log.db")
    assert run(read()) == ({PARTITION: Committed(7)}, {PARTITION: 1000})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.db"]


@pytest.mark.parametrize("copy_log", [back_up, salvage])
@pytest.mark.parametrize(("mode", "copied"), [(0o600, 0o600), (0o640, 0o640), (0o400, 0o600)])
def test_who_may_not_read_the_log_may_not_read_a_copy(sqlite_url, tmp_path, copy_log, mode, copied):
    async def make():
        async with await open_log(sqlite_url, ONE_PARTITION) as log:
            await log.create_topics([TOPIC])

    run(make())
    (tmp_path / "log.db").chmod(mode)
    umask = os.umask(0o022)
    try:
        copy_log(tmp_path / "log.db", tmp_path / "copy.db")
    finally:
        os.umask(umask)
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == copied


def test_a_backup_to_a_disk_that_is_too_small_leaves_nothing_there(sqlite_url, tmp_path):
    async def make():
        async with await open_log(sqlite_url, ONE_PARTITION) as log:
            await log.create_topics([TOPIC])
            await log.append(TOPIC, records(3000, size=1000))

    run(make())
    with small_disk(mib=1) as disk:
        with pytest.raises(LogError, match="the disk is full"):
            back_up(tmp_path / "log.db", disk / "copy.db")
        assert list(disk.iterdir()) == []
    with pytest.raises(ConfigurationError, match="there is no folder"):
        back_up(tmp_path / "log.db", tmp_path / "no" / "copy.db")


def test_a_backup_to_where_nothing_can_be_written_is_told(sqlite_url, tmp_path):
    assert snowbus("topics", "--create", "--log", sqlite_url, cwd=tmp_path).returncode == 0
    with read_only_copy(tmp_path / "log.db") as other:
        made = snowbus("log", "backup", str(other.parent / "copy.db"), "--log", sqlite_url, cwd=tmp_path)
    assert made.returncode == 3
    assert made.stderr.count("\n") == 1
    assert "whether the file system is mounted read-only" in made.stderr


def test_what_expires_gives_its_space_back(sqlite_url):
    async def main():
        async with await open_log(sqlite_url, replace(ONE_PARTITION, retention_seconds=3600)) as log:
            await log.create_topics([TOPIC])
            await log.append(TOPIC, records(8000, size=1000, timestamp=1))
            await log.append(TOPIC, records(5, size=300_000, timestamp=1))  # larger than what goes at once
            assert log.disk().used > 8_000_000
        async with await open_log(sqlite_url) as log:
            await eventually(lambda: small(log))
            assert await log.beginning_offsets(TOPIC) == {PARTITION: 8005}
        async with await open_log(sqlite_url) as log:
            assert log.disk().used < 100_000

    async def small(log):
        return await log.file.fetch(lambda file: file.execute("PRAGMA page_count").fetchone()[0]) < 20

    run(main())


def test_what_is_written_ahead_is_cut_once_nobody_reads_on_in_one_transaction(sqlite_url, tmp_path, monkeypatch):
    """Until then the log goes on, and says what holds it up."""
    monkeypatch.setattr("snowbus.bus.log.sqlite_file._WAL_BYTES", 200_000)
    monkeypatch.setattr("snowbus.bus.log.sqlite_file._WAL_TOO_LARGE", 800_000)
    monkeypatch.setattr("snowbus.bus.log.sqlite_file._SHORTEN_AGAIN_SECONDS", 0.1)
    ahead = tmp_path / "log.db-wal"

    async def main():
        async with await open_log(sqlite_url, ONE_PARTITION) as log:
            await log.create_topics([TOPIC])
            holder = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
            holder.execute("BEGIN")
            holder.execute("SELECT * FROM topics").fetchall()
            with capture_logs() as said:
                while not said:
                    await log.append(TOPIC, records(100, size=1000))
            assert "does not end" in said[0]["event"]
            assert ahead.stat().st_size > 800_000
            holder.execute("ROLLBACK")
            holder.close()
            await eventually(lambda: cut(log))

    async def cut(log):
        await log.append(TOPIC, records(1))
        return ahead.stat().st_size < 200_000

    run(main())
