"""Lines of a stream: cut where they end, however they come, and handed over many at a time."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.aio import run

from snowbus.cli.stdin_lines import LineSplitter, StdinError, StdinLines

blocks = st.lists(st.lists(st.sampled_from([b"a", b"\xff", b" ", b"\n", b"\r\n"]), min_size=1).map(b"".join))


@given(blocks)
def test_lines_are_those_of_the_whole_text_in_whatever_blocks_it_comes(blocks):
    splitter = LineSplitter()
    lines = [line for block in blocks for line in splitter.feed(block)] + splitter.end()
    whole = b"".join(blocks).split(b"\n")
    assert lines == [(number, line) for number, line in enumerate(whole, 1) if line.strip()]


@pytest.fixture
def pipe():
    """Both ends; the reader has seen the end of it before its number is that of another file."""
    before = set(threading.enumerate())
    reading, writing = os.pipe()
    yield reading, writing
    os.close(writing)
    for thread in set(threading.enumerate()) - before:
        thread.join()
    os.close(reading)


async def read_all(lines):
    batches = []
    while (batch := await lines.next()) is not None:
        batches.append(batch)
    return batches


def test_a_file_comes_in_full_batches(tmp_path):
    (tmp_path / "file").write_bytes(b"line\n" * 1_200)

    async def main():
        with (tmp_path / "file").open("rb") as file:
            return await read_all(StdinLines(file.fileno()))

    assert [len(batch) for batch in run(main())] == [500, 500, 200]


def test_it_reads_only_a_few_batches_ahead(tmp_path):
    line = b"x" * 1_000_000 + b"\n"
    (tmp_path / "file").write_bytes(line * 40)

    async def main():
        with (tmp_path / "file").open("rb") as file:
            lines = StdinLines(file.fileno())
            await lines.next()
            ahead = [os.lseek(file.fileno(), 0, os.SEEK_CUR) for _ in range(100)]
            await read_all(lines)
            return ahead

    assert max(run(main())) <= 7 * len(line)


def test_what_has_come_is_given_before_the_next_line_is_there(pipe):
    async def main():
        lines = StdinLines(pipe[0])
        os.write(pipe[1], b"one\ntwo\nthr")
        first = await lines.next()
        os.write(pipe[1], b"ee\n")
        second = await lines.next()
        lines.wake()
        return first, second, await lines.next()

    assert run(main()) == ([(1, b"one"), (2, b"two")], [(3, b"three")], [])


def test_a_loop_that_has_ended_is_no_trouble_for_the_thread(pipe, monkeypatch):
    troubles = []
    monkeypatch.setattr(threading, "excepthook", troubles.append)

    async def main():
        StdinLines(pipe[0])

    before = set(threading.enumerate())
    run(main())
    (thread,) = set(threading.enumerate()) - before
    os.write(pipe[1], b"too late\n")
    thread.join(10)
    assert (troubles, thread.is_alive()) == ([], False)


def test_what_cannot_be_read_is_an_error(tmp_path):
    async def main():
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            await StdinLines(folder).next()
        finally:
            os.close(folder)

    with pytest.raises(StdinError, match="cannot be read: Is a directory"):
        run(main())
