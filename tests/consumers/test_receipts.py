"""Receipts tell what became of each event, compactly, and nothing that is not so."""

from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.event import Record
from snowbus.consumers.receipts import (
    CollectorState,
    Outcome,
    PendingReceipts,
    Receipt,
    Report,
    read_report,
    report_record,
)

DELIVERED = Outcome("delivered", 1, 200)
outcomes = st.builds(
    Outcome,
    status=st.sampled_from(["delivered", "dead"]),
    attempts=st.integers(1, 3),
    http_status=st.none() | st.sampled_from([200, 503]),
    error=st.sampled_from(["", "no answer"]),
)


def record(offset, partition=0):
    return Record("snowbus.events", partition, offset, 0, b"", b"", ())


def test_neighbours_are_one_range():
    pending = PendingReceipts()
    pending.add([record(offset) for offset in (5, 3, 4, 9)], DELIVERED)
    (receipt,) = pending.take()
    assert receipt.offsets == ((3, 5), (9, 9))
    assert len(pending) == 0
    assert pending.take() == []


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 2), outcomes), max_size=30))
def test_the_last_receipt_for_an_event_tells_what_became_of_it(events):
    """An event is retried some times, and then comes to its end."""
    pending, ended = PendingReceipts(), {}
    for partition, offset, retries, outcome in events:
        for attempt in range(retries):
            pending.add([record(offset, partition)], Outcome("retrying", attempt + 1))
        if (partition, offset) not in ended:
            pending.add([record(offset, partition)], outcome)
            ended[partition, offset] = outcome
    told = {}
    for receipt in pending.take():
        outcome = Outcome(receipt.status, receipt.attempts, receipt.http_status, receipt.error)
        told |= {
            (receipt.partition, offset): outcome for first, last in receipt.offsets for offset in range(first, last + 1)
        }
    assert told == ended
    assert len(pending) == 0


def test_what_a_record_cannot_carry_stays_for_the_next():
    pending = PendingReceipts()
    pending.add([record(offset) for offset in range(0, 24_000, 2)], DELIVERED)
    told = []
    while receipts := pending.take():
        assert sum(len(receipt.offsets) for receipt in receipts) <= 5_000
        told += [first for receipt in receipts for first, _ in receipt.offsets]
    assert told == list(range(0, 24_000, 2))


def test_what_could_not_be_reported_is_told_later():
    pending = PendingReceipts()
    pending.add([record(1), record(2)], DELIVERED)
    taken = pending.take()
    pending.add([record(3)], DELIVERED)
    pending.put_back(taken)
    assert [receipt.offsets for receipt in pending.take()] == [((1, 3),)]


def test_what_is_too_much_is_forgotten_and_retries_first():
    pending = PendingReceipts()
    pending.add([record(offset) for offset in range(10)], Outcome("retrying", 1))
    pending.add([record(offset) for offset in range(5)], DELIVERED)
    pending.forget_beyond(6)
    assert [(receipt.status, receipt.offsets) for receipt in pending.take()] == [("delivered", ((0, 4),))]
    pending.add([record(offset) for offset in range(10)], DELIVERED)
    pending.forget_beyond(6)
    assert len(pending) == 0


def test_a_report_comes_back_from_its_record():
    report = Report(
        group="collector",
        time=5,
        sender="collect/1@host",
        receipts=(Receipt(topic="t", partition=1, offsets=((0, 3),), status="dead", http_status=400, error="no"),),
        collectors=(CollectorState(url="http://c", state="down", since=3, error="away", next_try=9),),
    )
    made = report_record(report)
    assert (made.key, made.timestamp) == (b"collector", 5)
    assert read_report(Record("snowbus.deliveries", 0, 0, 5, made.key, made.value, ())) == report


def test_what_is_no_report_is_none():
    assert read_report(Record("snowbus.deliveries", 0, 0, 5, None, b'{"group": 1}', ())) is None
