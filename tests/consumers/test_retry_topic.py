"""Dead letters are found, and retried once each, whatever comes between."""

from contextlib import aclosing

import pytest
from support.aio import run
from support.forwarding import numbered, read_all
from support.logs import read_on

from snowbus.bus.errors import LogUnavailableError, RecordTooLargeError, TopicNotFoundError
from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC, RETRY_TOPIC, ProducerRecord
from snowbus.bus.filters import parse_filter
from snowbus.bus.log.interface import LogOptions
from snowbus.bus.log.memory import MemoryLog
from snowbus.consumers.dead_letters import Death, append_dead_letter
from snowbus.consumers.dead_topic import UnknownLettersError, find_letters, read_copies, read_letters
from snowbus.consumers.letters import Selection
from snowbus.consumers.retries import is_for, original_of, retry_of
from snowbus.consumers.retry_topic import retry_letters


def untold(*_):
    """Nobody is told."""


def death_of(record, *, group="stock", reason="failed"):
    return Death(reason, record.topic, record.partition, record.offset, group, 1_000 + record.offset)


async def with_letters(count, *, kind=MemoryLog, group="stock", **options):
    """A log with so many events, all of them dead."""
    log = kind(LogOptions(partitions=2, **options))
    await log.create_topics([EVENTS_TOPIC, DEAD_TOPIC])
    await log.append(EVENTS_TOPIC, [numbered(number) for number in range(count)])
    for record in await read_all(log, EVENTS_TOPIC) if count else ():
        await append_dead_letter(log, DEAD_TOPIC, record, death_of(record, group=group))
    return log


async def letters_of(log, selection=Selection(), topic=DEAD_TOPIC):  # noqa: B008 - it is frozen
    return [letter async for letters in read_letters(log, topic, selection, told=untold) for letter in letters]


async def retry(log, selection=Selection(), *, dry_run=False, refused=None):  # noqa: B008 - it is frozen
    copies = await read_copies(log, told=untold)
    async with aclosing(read_letters(log, DEAD_TOPIC, selection, told=untold)) as batches:
        return await retry_letters(
            log,
            batches,
            copies,
            dry_run=dry_run,
            on_refused=lambda letter, reason: (refused if refused is not None else []).append((letter.id, reason)),
        )


async def copies_on(log):
    return await read_all(log, RETRY_TOPIC)


def test_each_letter_is_retried_once_however_often_it_is_asked():
    async def main():
        log = await with_letters(5)
        first, second = await retry(log), await retry(log)
        assert (first.appended, first.waiting) == (5, 0)
        assert (second.appended, second.waiting) == (0, 5)
        copies = await copies_on(log)
        originals = await read_all(log, EVENTS_TOPIC)
        assert sorted(map(original_of, copies)) == sorted(originals)
        assert all(is_for(copy, "stock") for copy in copies)

    run(main())


def test_a_dry_run_appends_nothing_and_makes_no_topic():
    async def main():
        log = await with_letters(5)
        assert (await retry(log, dry_run=True)).appended == 5
        assert {topic.name for topic in await log.topics()} == {EVENTS_TOPIC, DEAD_TOPIC}

    run(main())


@pytest.mark.parametrize("survive", [0, 1, 3])
def test_a_retry_that_was_cut_off_goes_on_where_it_was(survive):
    class Failing(MemoryLog):
        left = None

        async def append(self, topic, records):
            if topic == RETRY_TOPIC and self.left is not None:
                if not self.left:
                    raise LogUnavailableError("cut off")
                self.left -= 1
            return await super().append(topic, records)

    async def main():
        log = await with_letters(5, kind=Failing)
        log.left = survive
        with pytest.raises(LogUnavailableError):
            await retry(log)
        log.left = None
        again = await retry(log)
        assert (again.appended, again.waiting) == (5 - survive, survive)
        assert len(set(map(retry_of, await copies_on(log)))) == len(await copies_on(log)) == 5

    run(main())


def test_two_letters_of_one_record_are_two():
    async def main():
        log = await with_letters(1)
        (record,) = await read_all(log, EVENTS_TOPIC)
        await append_dead_letter(log, DEAD_TOPIC, record, death_of(record))
        assert (await retry(log)).appended == 2

    run(main())


def test_what_the_group_has_handled_is_done():
    async def main():
        log = await with_letters(3)
        await retry(log)
        first = (await copies_on(log))[0]
        await log.reset_group("stock", {first.topic_partition: first.offset + 1})
        again = await retry(log)
        assert (again.done, again.waiting) == (1, 2)

    run(main())


def test_a_group_that_reads_from_the_latest_record_on_gets_what_waited_for_it():
    async def main():
        log = await with_letters(3)
        retried = await retry(log)
        assert retried.unknown_groups == {"stock": 3}
        async with await log.join([RETRY_TOPIC], group_id="stock", auto_offset_reset="latest") as reader:
            assert len(await read_on(reader, 3)) == 3

    run(main())


def test_the_offsets_of_a_group_that_reads_the_topic_stay():
    async def main():
        log = await with_letters(1)
        await log.create_topics([RETRY_TOPIC])
        before = dict.fromkeys(await log.partitions(RETRY_TOPIC), 0)
        async with await log.join([RETRY_TOPIC], group_id="stock") as reader:
            await reader.poll(timeout=0.01)
            retried = await retry(log)
        assert retried.unknown_groups == {}
        assert {place: found.offset for place, found in (await log.group_offsets("stock")).items()} == before

    run(main())


def test_a_copy_that_is_too_large_is_said_and_the_others_go():
    """The letter was too large as well, so its record is fetched from where it stands."""

    async def main():
        large = numbered(0, page="x" * 3_000)
        log = await with_letters(0, max_record_bytes=large.size + 120)
        await log.append(EVENTS_TOPIC, [large, numbered(1)])
        for record in await read_all(log, EVENTS_TOPIC):
            await append_dead_letter(log, DEAD_TOPIC, record, death_of(record))
        refused = []
        retried = await retry(log, refused=refused)
        assert (retried.appended, retried.refused) == (1, 1)
        ((letter_id, reason),) = refused
        assert letter_id in [letter.id for letter in await letters_of(log) if len(letter.original.value) > 3_000]
        assert "too large" in reason
        assert "snowbus replay --group stock --topic snowbus.events --from " in reason

    run(main())


def test_a_letter_without_its_value_is_retried_from_where_its_record_stands_while_it_does():
    async def main():
        large = numbered(0, page="x" * 3_000)
        log = await with_letters(0, max_record_bytes=large.size + 250)
        await log.append(EVENTS_TOPIC, [large])
        (record,) = await read_all(log, EVENTS_TOPIC)
        long = death_of(record, reason="long " * 100)
        await append_dead_letter(log, DEAD_TOPIC, record, long)
        assert [letter.value for letter in await read_all(log, DEAD_TOPIC)] == [b""]
        assert (await retry(log)).appended == 1
        assert [original_of(copy) for copy in await copies_on(log)] == [record]

        await append_dead_letter(log, DEAD_TOPIC, record, long)
        log.store.firsts[record.topic_partition] = record.offset + 1
        log.store.records[record.topic_partition] = []
        refused = []
        retried = await retry(log, refused=refused)
        assert (retried.appended, retried.waiting, retried.refused) == (0, 1, 1)
        assert "no longer at snowbus.events/" in refused[0][1]

    run(main())


def test_letters_are_filtered_by_the_record_even_if_it_is_fetched():
    async def main():
        log = await with_letters(0, max_record_bytes=3_300)
        await log.append(EVENTS_TOPIC, [numbered(0, page="x" * 2_900)])
        (record,) = await read_all(log, EVENTS_TOPIC)
        await append_dead_letter(log, DEAD_TOPIC, record, death_of(record, reason="long " * 100))
        assert [letter.value for letter in await read_all(log, DEAD_TOPIC)] == [b""]
        (letter,) = await letters_of(log, Selection(filter=parse_filter([("event", "page_view")])))
        assert letter.original == record
        assert await letters_of(log, Selection(filter=parse_filter([("event", "struct")]))) == []

    run(main())


def test_letters_are_found_by_their_ids():
    async def main():
        log = await with_letters(6)
        ids = [letter.id for letter in await letters_of(log)]
        wanted = [ids[4], ids[0], ids[4]]
        assert [letter.id for letter in await find_letters(log, DEAD_TOPIC, wanted)] == [ids[4], ids[0]]
        with pytest.raises(UnknownLettersError) as caught:
            await find_letters(log, DEAD_TOPIC, [ids[0], "0-99", "7-0"])
        assert caught.value.ids == ["0-99", "7-0"]

    run(main())


def test_letters_since_a_time_are_read_from_there():
    async def main():
        log = await with_letters(20)
        since = await letters_of(log, Selection(since=1_005))
        assert {letter.time for letter in since} == {letter.time for letter in await letters_of(log)} - set(
            range(1_005)
        )

    run(main())


def test_the_usual_topic_may_be_missing_and_another_may_not():
    async def main():
        log = MemoryLog()
        assert await letters_of(log) == []
        with pytest.raises(TopicNotFoundError):
            await letters_of(log, topic="my.dead")

    run(main())


def test_what_others_put_there_is_read_and_refused():
    async def main():
        log = await with_letters(1)
        await log.append(DEAD_TOPIC, [ProducerRecord(None, b"garbage", (("dead_offset", b"\xff"),))])
        await log.create_topics([RETRY_TOPIC])
        await log.append(
            RETRY_TOPIC, [ProducerRecord(None, b"garbage", (("retry_of", b"x"),)), ProducerRecord(None, b"")]
        )
        refused = []
        retried = await retry(log, refused=refused)
        assert (retried.appended, retried.refused) == (1, 1)
        assert "which group" in refused[0][1]

    run(main())


def test_the_error_of_a_copy_that_the_log_itself_refuses_leaves_the_others():
    class Refusing(MemoryLog):
        async def append(self, topic, records):
            if topic == RETRY_TOPIC and records[0].key == b"user-3":
                raise RecordTooLargeError(topic, size=1, limit=None)
            return await super().append(topic, records)

    async def main():
        log = await with_letters(7, kind=Refusing)
        retried = await retry(log)
        assert (retried.appended, retried.refused) == (6, 1)

    run(main())
