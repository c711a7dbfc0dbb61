"""Embedded logs that are damaged, cut, not ours or in the wrong place are told in one sentence; older ones upgraded."""

import asyncio
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.aio import run
from support.disks import read_only_copy
from support.snowbus import snowbus

from snowbus.bus.errors import ConfigurationError, LogDamagedError, LogError, LogUnavailableError
from snowbus.bus.event import ProducerRecord, TopicPartition
from snowbus.bus.log import Committed, LogOptions, open_log
from snowbus.bus.log.file_systems import file_system_of
from snowbus.bus.log.sqlite_copy import check, salvage

TOPIC = "snowbus.events"
PARTITION = TopicPartition(TOPIC, 0)
COUNT = 3000
PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A log of some hundred pages, closed."""
    path = tmp_path_factory.mktemp("whole") / "log.db"

    async def main():
        async with await open_log(f"sqlite:///{path}", LogOptions(partitions=1)) as log:
            await log.create_topics([TOPIC])
            await log.append(TOPIC, [ProducerRecord(b"k", b"%06d" % number * 100) for number in range(COUNT)])
            await log.reset_group("g", {PARTITION: 7}, {PARTITION: "text"})

    run(main())
    return path


@pytest.fixture
def damaged(whole, tmp_path):
    """A copy of that log, to be damaged."""
    return Path(shutil.copy(whole, tmp_path))


def overwrite(path, pages, *, seed=1):
    noise = random.Random(seed)
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(noise.randbytes(PAGE))


async def read_all(path):
    async with await open_log(f"sqlite:///{path}", create=False) as log:
        ends = await log.end_offsets(TOPIC)
        async with await log.read(dict.fromkeys(ends, 0)) as reader:
            records = []
            while more := await reader.poll(timeout=0.2):
                records += more
            return records


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(1, 6))])
def test_pages_overwritten_at_random_are_told_when_they_are_read_and_the_rest_is_saved(damaged, tmp_path, seed):
    pages = damaged.stat().st_size // PAGE
    overwrite(damaged, random.Random(seed).sample(range(20, pages), 5), seed=seed)
    with pytest.raises(LogDamagedError, match="snowbus log salvage"):
        run(read_all(damaged))
    checked = snowbus("log", "check", str(damaged), cwd=tmp_path)
    assert checked.returncode == 3
    assert "is damaged" in checked.stderr
    assert "Traceback" not in checked.stderr
    saved = snowbus("log", "salvage", "saved.db", "--log", f"sqlite:///{damaged}", cwd=tmp_path)
    assert saved.returncode == 1
    assert "could not be read" in saved.stdout
    assert snowbus("log", "check", "saved.db", cwd=tmp_path).returncode == 0
    records = run(read_all(tmp_path / "saved.db"))
    assert COUNT * 0.9 < len(records) < COUNT
    assert all(record.value[:6] == b"%06d" % record.offset for record in records)


def test_what_is_whole_of_a_log_that_was_cut_is_saved(damaged, tmp_path):
    with damaged.open("r+b") as file:
        file.truncate(damaged.stat().st_size * 3 // 4)
    assert salvage(damaged, tmp_path / "saved.db").missing > 0
    assert check(tmp_path / "saved.db").groups == 1
    records = run(read_all(tmp_path / "saved.db"))
    assert COUNT * 0.7 < len(records) < COUNT
    assert all(record.value[:6] == b"%06d" % record.offset for record in records)


def test_the_record_in_front_of_one_that_cannot_be_read_is_saved(damaged, tmp_path):
    with closing(sqlite3.connect(damaged)) as file:
        (page,) = file.execute(
            "SELECT pageno FROM dbstat WHERE name = 'records' AND pagetype = 'leaf' LIMIT 1 OFFSET 50"
        )
    overwrite(damaged, [page[0] - 1])
    salvage(damaged, tmp_path / "saved.db")
    with closing(sqlite3.connect(damaged)) as file:
        readable = [offset for offset in range(COUNT) if is_readable(file, offset)]
    assert [record.offset for record in run(read_all(tmp_path / "saved.db"))] == readable


def is_readable(file, offset):
    try:
        return file.execute("SELECT value FROM records WHERE id = ?", ((1 << 40) + offset,)).fetchone() is not None
    except sqlite3.DatabaseError:
        return False


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE partitions SET next_offset = 1 << 62",
        "UPDATE partitions SET id = 1 << 40",
        "UPDATE partitions SET first_offset = -1",
    ],
)
def test_partitions_that_cannot_be_are_told_and_not_looked_for_for_ever(damaged, tmp_path, harm):
    with closing(sqlite3.connect(damaged)) as file, file:
        file.execute(harm)
    with pytest.raises(LogDamagedError, match="its topics cannot be read"):
        salvage(damaged, tmp_path / "saved.db")
    assert not (tmp_path / "saved.db").exists()


def test_a_log_with_holes_is_found_in_by_time_and_goes_on_where_it_ended(damaged, tmp_path):
    overwrite(damaged, [100, 101])
    snowbus("log", "salvage", "saved.db", "--log", f"sqlite:///{damaged}", cwd=tmp_path)

    async def main():
        async with await open_log(f"sqlite:///{tmp_path}/saved.db") as log:
            assert await log.offsets_for_time(TOPIC, 2**45) == {PARTITION: COUNT}
            places = [(PARTITION, offset) for offset in range(COUNT)]
            assert len(await log.timestamps(places)) == COUNT
            assert await log.append(TOPIC, [ProducerRecord(b"k", b"new")]) == [(0, COUNT)]
            assert await log.group_offsets("g") == {PARTITION: Committed(7, "text")}

    run(main())


def cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // PAGE * PAGE)


def empty(path):
    path.write_bytes(b"")


def scramble_the_beginning(path):
    overwrite(path, [0])


def lose_all_but_what_was_written_ahead(path):
    path.rename(f"{path}-wal")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (cut, "is damaged: database disk image is malformed"),
        (empty, "is damaged: the file is empty"),
        (scramble_the_beginning, "is no SQLite file, or its beginning is damaged"),
        (lose_all_but_what_was_written_ahead, "is damaged: the file is gone"),
    ],
)
def test_no_empty_log_takes_the_place_of_a_damaged_one(damaged, tmp_path, harm, told):
    harm(damaged)
    before = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    process = snowbus("up", "--log", f"sqlite:///{damaged}", cwd=tmp_path)
    assert process.returncode == 3
    assert told in process.stderr
    assert "Traceback" not in process.stderr
    left = {path.name: path.stat().st_size for path in tmp_path.iterdir() if not path.name.endswith(("-shm", "-wal"))}
    assert left.items() <= before.items()


def test_what_was_written_ahead_is_read_only_as_far_as_it_is_whole(tmp_path, sqlite_url):
    """A log whose write-ahead file is cut, by a crash of the machine say, opens with what was durable before."""
    path = tmp_path / "log.db"

    async def main():
        async with await open_log(sqlite_url, LogOptions(partitions=1)) as log:
            await log.create_topics([TOPIC])
            for number in range(50):
                await log.append(TOPIC, [ProducerRecord(b"k", b"%06d" % number)])
            for name in ("log.db", "log.db-wal"):
                shutil.copy(tmp_path / name, tmp_path / f"crashed{name.removeprefix('log')}")

    run(main())
    ahead = tmp_path / "crashed.db-wal"
    with ahead.open("r+b") as file:
        file.truncate(ahead.stat().st_size - 6000)
    records = run(read_all(path.with_name("crashed.db")))
    assert 40 < len(records) < 50
    assert [record.offset for record in records] == list(range(len(records)))


def test_a_log_of_the_first_format_is_upgraded_with_all_that_it_holds(tmp_path):
    """The fixture was made by the Snowbus of that time."""
    path = Path(shutil.copy(Path(__file__).with_name("log_of_format_1.db"), tmp_path))
    told = snowbus("log", "backup", "copy.db", "--log", f"sqlite:///{path}", cwd=tmp_path)
    assert "has format 1: start Snowbus on it once" in told.stderr

    async def main():
        async with await open_log(f"sqlite:///{path}") as log:
            assert await log.group_offsets("old") == {PARTITION: Committed(2, "")}
            assert await log.end_offsets(TOPIC) == {PARTITION: 3}
            await log.reset_group("old", {PARTITION: 3}, {PARTITION: "text"})
        return await read_all(path)

    assert [record.value for record in run(main())] == [b"zero", b"one", b"two"]
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_log_of_the_second_format_is_copied_as_it_is_and_upgraded(tmp_path):
    """So that one that is damaged can be saved; the fixture was made by the Snowbus of that time."""
    path = Path(shutil.copy(Path(__file__).with_name("log_of_format_2.db"), tmp_path))
    assert salvage(path, tmp_path / "copy.db") == (3, 1, 0)

    async def offsets(path):
        async with await open_log(f"sqlite:///{path}") as log:
            assert await log.group_offsets("old") == {PARTITION: Committed(2, "text")}
            return [(await log.offsets_for_time(TOPIC, time_ms))[PARTITION] for time_ms in (1000, 2001, 3001)]

    assert run(offsets(path)) == run(offsets(tmp_path / "copy.db")) == [0, 2, 3]


def test_an_upgrade_that_fails_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    path = Path(shutil.copy(Path(__file__).with_name("log_of_format_1.db"), tmp_path))
    steps = ("ALTER TABLE commits ADD COLUMN metadata TEXT NOT NULL DEFAULT ''", "nonsense")
    monkeypatch.setattr("snowbus.bus.log.sqlite_tables.UPGRADES", {1: steps})
    with pytest.raises(LogError):
        run(open_log(f"sqlite:///{path}"))
    monkeypatch.undo()
    assert len(run(read_all(path))) == 3


def test_a_log_that_may_not_be_written_is_told(whole):
    with (
        read_only_copy(whole) as copy,
        pytest.raises(ConfigurationError, match=r"permissions.*read-only"),
    ):
        run(open_log(f"sqlite:///{copy}"))


def test_a_log_that_becomes_unreadable_is_away_not_gone(damaged):
    """A consumer or the gateway says why, and the process is not left with a traceback."""
    overwrite(damaged, range(60, 120))

    async def main():
        async with await open_log(f"sqlite:///{damaged}") as log:
            with pytest.raises(LogDamagedError):
                await read_all(damaged)
            assert await log.append(TOPIC, [ProducerRecord(b"k", b"x")])  # the end of the log is whole

    run(main())


def test_a_file_system_that_other_machines_share_is_refused(tmp_path, monkeypatch):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        f"2 1 0:9 / {tmp_path} rw,relatime shared:3 - nfs4 server:/export rw,vers=4.2\n"
        "3 1 0:9 / /mnt/with\\040blank rw - xfs /dev/sdb rw\n"
    )
    text = mounts.read_text()
    assert file_system_of("/mnt/with blank/x", text) == "xfs"
    assert file_system_of("/mnt/within", text) == "ext4"
    monkeypatch.setattr("snowbus.bus.log.file_systems._MOUNTS", mounts)
    with pytest.raises(ConfigurationError, match=r"on a network file system \(nfs4\)"):
        run(open_log(f"sqlite:///{tmp_path}/log.db"))


def test_two_that_make_a_log_at_the_same_time_make_one(sqlite_url, tmp_path):
    async def main():
        first, second = await asyncio.gather(open_log(sqlite_url), open_log(sqlite_url))
        async with first, second:
            await first.create_topics([TOPIC])
            assert (await second.topics())[0].name == TOPIC
        assert [path.name for path in tmp_path.iterdir()] == ["log.db"]

    run(main())


def test_a_record_that_cannot_be_written_is_unavailable_not_lost(sqlite_url):
    async def main():
        async with await open_log(sqlite_url, LogOptions(partitions=1, disk_reserve=2**60)) as log:
            await log.create_topics([TOPIC])
            with pytest.raises(LogUnavailableError, match=r"the disk is full: .* bytes are left"):
                await log.append(TOPIC, [ProducerRecord(b"k", b"x")])
            with pytest.raises(LogUnavailableError, match="the disk is full"):
                await log.check()
            await log.reset_group("g", {PARTITION: 0})  # what is left is for this

    run(main())
