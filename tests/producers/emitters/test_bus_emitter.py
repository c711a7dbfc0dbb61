"""The bus emitter on a log: events are checked before they are there."""

from collections import Counter

import pytest
from snowplow_tracker import PageView, SelfDescribing, SelfDescribingJson, Tracker
from support.aio import run
from support.forwarding import read_all

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC
from snowbus.bus.iglu.config import own_config_file
from snowbus.bus.log import LogOptions, open_log
from snowbus.producers.emitters import BusEmitter

HELLO = "iglu:dev.snowbus.demo/hello/jsonschema/1-0-0"


def bad_and_good_on(url):
    """The reasons on `snowbus.bad`, and what was found of the events, with how often."""

    async def main():
        async with await open_log(url) as log:
            await log.create_topics([BAD_TOPIC])
            bad = [dict(record.headers)["reason"].decode() for record in await read_all(log, BAD_TOPIC)]
            good = [decode_event(record.value).validation for record in await read_all(log, EVENTS_TOPIC)]
            return bad, Counter(good)

    return run(main())


@pytest.mark.parametrize("diverts", [False, True])
def test_events_are_checked_before_they_are_on_the_log(sqlite_url, diverts):
    on_invalid = "divert" if diverts else "forward"
    emitter = BusEmitter(sqlite_url, iglu_resolver=str(own_config_file()), on_invalid=on_invalid)
    tracker = Tracker("ns", [emitter])
    for data in ({"from": "me"}, {"from": ""}):
        tracker.track(SelfDescribing(SelfDescribingJson(HELLO, data)))
    tracker.track(PageView("https://shop.example/"))
    emitter.close()
    assert (emitter.counts.delivered, emitter.counts.refused, emitter.pending) == (3, 0, 0)
    bad, good = bad_and_good_on(sqlite_url)
    if diverts:
        assert good == {"valid": 2}
        assert bad == ['invalid: unstruct_event/from: expected a string of at least 1 character, got ""']
    else:
        assert (bad, good) == ([], {"valid": 2, "invalid": 1})


def test_an_event_that_is_too_large_is_kept_and_harms_no_other(sqlite_url):
    """As ingest does: invalid or not, and whether the invalid ones are diverted or not."""
    emitter = BusEmitter(
        sqlite_url,
        options=LogOptions(max_record_bytes=2_000),
        iglu_resolver=str(own_config_file()),
        on_invalid="divert",
    )
    for uid in ("1", "2" * 3_000, "3"):
        emitter.input({"e": "pv", "uid": uid})
        emitter.input({"e": "pv", "uid": uid, "tr_tt": "no number"})
    emitter.close()
    assert (emitter.counts.delivered, emitter.counts.refused) == (4, 2)
    bad, good = bad_and_good_on(sqlite_url)
    assert good == {"valid": 2}
    assert Counter("a record of" in reason for reason in bad) == {True: 2, False: 2}


def test_the_time_of_an_event_is_when_it_was_tracked(sqlite_url, tmp_path):
    """Not when the log took it, which may be long after."""
    first = BusEmitter("sqlite:////dev", spool=tmp_path / "spool")
    first.input({"e": "pv", "eid": "1"})
    first.close(timeout=0)
    (segment,) = (tmp_path / "spool").iterdir()
    tracked_at = int(segment.read_text().splitlines()[1].split()[1])
    second = BusEmitter(sqlite_url, spool=tmp_path / "spool")
    second.input({"e": "pv", "eid": "2"})
    assert second.flush() is True
    second.close()

    async def main():
        async with await open_log(sqlite_url) as log:
            return {event.event_id: event.ingest_tstamp for event in map(decode, await read_all(log, EVENTS_TOPIC))}

    times = run(main())
    assert times["1"] == tracked_at <= times["2"]


def decode(record):
    return decode_event(record.value)
