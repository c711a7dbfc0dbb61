"""The running totals: right, and right again when orders come more than once."""

import signal
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.aio import soon
from support.consuming import append, consume

from snowbus.bus.errors import ConfigurationError
from snowbus.cli import exit_codes
from snowbus.consumers.examples import running_totals as example
from snowbus.consumers.examples.running_totals import running_totals
from snowbus.consumers.testing import event, run_consumer

ORDER = "iglu:com.acme/order/jsonschema/1-0-0"
MODULE = "snowbus.consumers.examples.running_totals"


@pytest.fixture
def totals_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TOTALS_FILE", str(tmp_path / "totals.db"))
    return tmp_path / "totals.db"


def order(event_id, total, *, user_id="ann", currency="EUR"):
    return event(schema=ORDER, data={"total": total, "currency": currency}, event_id=event_id, user_id=user_id)


def totals(path):
    with closing(sqlite3.connect(path)) as connection:
        return {(user, currency): cents for user, currency, cents in connection.execute("SELECT * FROM totals")}


def test_orders_add_up_by_user_and_currency(totals_file):
    orders = [order("1", 19.9), order("2", 0.1), order("3", 5, user_id="bob"), order("4", 7, currency="SEK")]
    assert run_consumer(running_totals, orders).handled == 4
    assert totals(totals_file) == {("ann", "EUR"): 2000, ("bob", "EUR"): 500, ("ann", "SEK"): 700}


def test_an_order_counts_once_however_often_it_comes(totals_file):
    run_consumer(running_totals, [order("1", 10), order("2", 5), order("1", 10)])
    run_consumer(running_totals, [order("2", 5), order("3", 1)])
    assert totals(totals_file) == {("ann", "EUR"): 1600}


def test_other_events_and_orders_of_nobody_do_not_count(totals_file):
    nobody = event(schema=ORDER, data={"total": 3, "currency": "EUR"})
    result = run_consumer(running_totals, [event("page_view", user_id="ann"), nobody])
    assert (result.filtered, result.handled) == (1, 1)
    assert totals(totals_file) == {}


@pytest.mark.parametrize("total", ["12,5", None, float("1e400"), [1]])
def test_an_order_that_cannot_be_counted_dies_alone_and_its_neighbours_count(totals_file, total):
    result = run_consumer(running_totals, [order("1", 10), order("2", total), order("3", 5)])
    assert [dead.record.event_id for dead in result.dead_letters] == ["2"]
    assert totals(totals_file) == {("ann", "EUR"): 1500}


def test_a_file_that_is_busy_kills_no_order(totals_file, monkeypatch):
    real, failures = sqlite3.connect, iter(range(20))

    class Busy(sqlite3.Connection):
        def execute(self, statement, *parameters):
            if statement == example.ADD and next(failures, None) is not None:
                raise sqlite3.OperationalError("database is locked")
            return super().execute(statement, *parameters)

    monkeypatch.setattr(sqlite3, "connect", lambda *arguments, **options: real(*arguments, factory=Busy, **options))
    result = run_consumer(running_totals, [order("1", 10), order("2", 5, user_id="bob")])
    assert (result.handled, result.dead_letters) == (2, [])
    assert totals(totals_file) == {("ann", "EUR"): 1000, ("bob", "EUR"): 500}


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["ann", "bob"])), max_size=12))
def test_whatever_comes_again_the_totals_are_those_of_the_orders(comings):
    """Two runs over a file that is kept; each order is its user's, by its number."""
    orders = [(number, user) for number, user in comings]
    expected = {}
    for number, user in set(orders):
        expected[user, "EUR"] = expected.get((user, "EUR"), 0) + number * 100
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(example.TABLES)
        for part in (orders[:7], orders[4:]):
            for number, user in part:
                record = type("R", (), {})()
                record.event, record.event_id = {"user_id": user}, f"{user}-{number}"
                record.data = {"total": number, "currency": "EUR"}
                running_totals([record], connection)
        found = {(user, currency): cents for user, currency, cents in connection.execute("SELECT * FROM totals")}
    assert found == expected


def test_without_a_file_it_does_not_begin():
    with pytest.raises(ConfigurationError, match="TOTALS_FILE is not set"):
        run_consumer(running_totals, [order("1", 10)])


@pytest.mark.faults
def test_a_kill_leaves_the_totals_right(tmp_path, sqlite_url, totals_file):
    users, orders = 20, 4_000
    append(sqlite_url, [order(str(number), 1, user_id=f"u{number % users}") for number in range(orders)])
    with consume(tmp_path, sqlite_url, MODULE, "--session-timeout", "1") as process:
        soon(lambda: totals_file.exists() and counted(totals_file), every=0.001)
        process.send(signal.SIGKILL)
    with consume(tmp_path, sqlite_url, MODULE, "--session-timeout", "1") as process:
        soon(lambda: counted(totals_file) == orders)
        assert process.stop() == exit_codes.OK
    assert totals(totals_file) == {(f"u{number}", "EUR"): 100 * orders // users for number in range(users)}


def counted(path):
    with closing(sqlite3.connect(path)) as connection:
        try:
            return connection.execute("SELECT count(*) FROM counted").fetchone()[0]
        except sqlite3.OperationalError:
            return 0
