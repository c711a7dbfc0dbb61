"""How collectors stand, from what those who deliver to them report."""

from snowbus.consumers.collector_status import collector_statuses
from snowbus.consumers.receipts import CollectorState, Report

NOW = 1_700_000_000_000
DOWN = CollectorState(url="https://one", state="down", since=NOW - 60_000, error="HTTP 503", next_try=NOW + 5_000)


def up(url="https://one", since=NOW - 600_000):
    return CollectorState(url=url, state="up", since=since)


def report(*collectors, at=0, group="collector", sender="collect@a:1"):
    """A report of so many seconds ago."""
    return Report(group=group, time=NOW - round(1000 * at), sender=sender, collectors=collectors)


def states(*reports):
    return [
        (each.group, each.collector, each.state, each.state_members, each.members)
        for each in collector_statuses(reports, now=NOW)
    ]


def test_what_a_member_told_last_counts():
    (status,) = collector_statuses([report(up(), at=9), report(DOWN, at=2)], now=NOW)
    assert (status.state, status.state_age, status.heard_age) == ("down", 60, 2)
    assert (status.next_try_in, status.last_error) == (5, "HTTP 503")


def test_one_that_is_up_has_no_next_try():
    (status,) = collector_statuses([report(DOWN, at=9), report(up(since=NOW - 3_000))], now=NOW)
    assert (status.state, status.state_age, status.next_try_in, status.last_error) == ("up", 3, None, "")


def test_the_member_to_whom_it_stands_worst_tells_how_it_stands():
    refusing = DOWN.model_copy(update={"state": "refusing", "error": "HTTP 401"})
    reports = [
        report(refusing, sender="collect@a:1"),
        report(DOWN, sender="collect@b:1"),
        report(up(), sender="collect@c:1"),
    ]
    assert states(*reports) == [("collector", "https://one", "refusing", 1, 3)]
    assert collector_statuses(reports, now=NOW)[0].last_error == "HTTP 401"
    assert states(*reports[1:], report(DOWN, sender="collect@d:1")) == [("collector", "https://one", "down", 2, 3)]


def test_a_member_that_others_have_outlived_has_no_word():
    alone = report(DOWN, at=3_600)
    assert states(alone) == [("collector", "https://one", "down", 1, 1)]
    assert states(alone, report(up(), at=20, sender="collect@b:1")) == [("collector", "https://one", "up", 1, 1)]
    both = states(report(DOWN, at=29), report(up(), at=1, sender="collect@b:1"))
    assert both == [("collector", "https://one", "down", 1, 2)]


def test_one_that_some_have_tried_stands_as_they_tell():
    untried = up().model_copy(update={"state": "untried"})
    reports = [report(untried), report(up(), sender="collect@b:1")]
    assert states(*reports) == [("collector", "https://one", "up", 1, 2)]
    assert states(*reports[:1]) == [("collector", "https://one", "untried", 1, 1)]


def test_each_group_has_its_collectors_in_their_order():
    reports = [report(up("https://two"), up("https://one")), report(up("https://b"), group="backup")]
    assert [each[:2] for each in states(*reports)] == [
        ("backup", "https://b"),
        ("collector", "https://two"),
        ("collector", "https://one"),
    ]


def test_a_report_without_collectors_says_nothing_of_them():
    assert states(report(DOWN, at=5), report()) == [("collector", "https://one", "down", 1, 1)]


def test_a_try_that_is_due_is_due_now():
    late = DOWN.model_copy(update={"next_try": NOW - 1})
    assert collector_statuses([report(late)], now=NOW)[0].next_try_in == 0
