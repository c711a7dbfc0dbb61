"""Keeps what each user has ordered so far, in an SQLite file: one row a user and currency.

    TOTALS_FILE=totals.db snowbus consume snowbus.consumers.examples.running_totals
    sqlite3 totals.db "SELECT * FROM totals WHERE user_id = 'u-481'"

An order counts once, however often it comes: that it was counted and what it adds up to are written in one
transaction, so both are there or neither. So it is in any database that has transactions. Processes of one machine may
share the file.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal

from snowbus.consumers import Record, Retry, consumer

KEPT_SECONDS = 30 * 86_400  # longer than the log keeps events: an order cannot come again after that

TABLES = """
CREATE TABLE IF NOT EXISTS totals (user_id TEXT, currency TEXT, cents INTEGER, PRIMARY KEY (user_id, currency));
CREATE TABLE IF NOT EXISTS counted (event_id TEXT PRIMARY KEY, at INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS counted_at ON counted (at);
"""
COUNT = "INSERT INTO counted VALUES (?, ?) ON CONFLICT DO NOTHING"
ADD = "INSERT INTO totals VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET cents = cents + excluded.cents"
FORGET = "DELETE FROM counted WHERE at < ?"


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """The file, with its tables."""
    if not (path := os.environ.get("TOTALS_FILE")):
        raise RuntimeError("TOTALS_FILE is not set; it names the file that keeps the totals")
    # A plain handler is called in a thread, but never in two at once: its concurrency is 1.
    with closing(sqlite3.connect(path, timeout=10, check_same_thread=False)) as connection:
        connection.executescript(TABLES)
        yield connection


@consumer(
    "snowbus.events",
    group_id="running-totals",
    schema="iglu:com.acme/order/jsonschema/1-*-*",
    batch=500,
    lifespan=database,
)
def running_totals(records: list[Record], database: sqlite3.Connection) -> None:
    """Add some orders to their users' totals, in one transaction."""
    now = int(time.time())
    try:
        with database:
            for record in records:
                _add(record, database, now)
            database.execute(FORGET, [now - KEPT_SECONDS])
    except sqlite3.OperationalError as error:  # the file is busy, or the disk full: no order is to blame
        raise Retry(str(error), delay=5) from error


def _add(record: Record, database: sqlite3.Connection, now: int) -> None:
    user_id = record.event.get("user_id")
    if user_id is None or not database.execute(COUNT, [record.event_id, now]).rowcount:
        return
    cents = round(100 * Decimal(str(record.data["total"])))
    database.execute(ADD, [user_id, record.data["currency"], cents])
