"""`snowbus topics`."""

import json

import pytest
from support.snowbus import snowbus

from snowbus.cli import exit_codes

USUAL = ["snowbus.bad", "snowbus.dead", "snowbus.deliveries", "snowbus.events", "snowbus.retry"]

pytestmark = pytest.mark.real_kafka  # the mock cluster has topics of its own, and does not tell how they are kept


def topics(folder, url, *arguments):
    """The topics that a command lists, by name."""
    answer = snowbus("topics", "--json", "--log", url, *arguments, cwd=folder)
    assert (answer.returncode, answer.stderr) == (exit_codes.OK, "")
    return {topic["topic"]: topic for topic in map(json.loads, answer.stdout.splitlines())}


def test_the_topics_of_snowbus_are_created_and_listed_with_how_they_are_kept(tmp_path, log_url):
    snowbus("publish", "--log", log_url, cwd=tmp_path, stdin='{"e":"pv"}\n{"e":"pv"}')
    told = topics(tmp_path, log_url, "--create", "--partitions", "4")
    assert list(told) == USUAL
    embedded = log_url.startswith("sqlite")
    size = told["snowbus.events"].pop("size")
    assert (size > 100) if embedded else size is None
    assert told["snowbus.events"] == {
        "topic": "snowbus.events",
        "partitions": 4,
        "records": 2,
        "end_offset": 2,
        "replication_factor": 1,
        "retention_seconds": 7 * 86_400,
        "retention_bytes": 0,
    }


def test_topics_of_other_names_are_created_as_asked(tmp_path, log_url):
    told = topics(tmp_path, log_url, "--create", "test.orders", "test.payments", "--partitions", "3")
    assert {name: topic["partitions"] for name, topic in told.items()} == {"test.orders": 3, "test.payments": 3}
    assert list(topics(tmp_path, log_url, "test.orders")) == ["test.orders"]


def test_creating_what_is_there_changes_nothing_and_is_no_mistake(tmp_path, sqlite_url):
    before = topics(tmp_path, sqlite_url, "--create", "test.orders", "--partitions", "3")
    assert topics(tmp_path, sqlite_url, "--create", "test.orders") == before


def test_a_name_that_no_topic_can_have_is_refused_and_no_other_is_created(tmp_path, sqlite_url):
    answer = snowbus("topics", "--create", "test.orders", "a b", "--log", sqlite_url, cwd=tmp_path)
    assert answer.returncode == exit_codes.CONFIGURATION
    assert answer.stderr.startswith("snowbus: 'a b' cannot be the name of a topic")
    assert topics(tmp_path, sqlite_url) == {}


def test_a_topic_that_is_there_with_other_partitions_or_replicas_is_told(tmp_path, log_url):
    snowbus("topics", "--create", "test.orders", "--partitions", "3", "--log", log_url, cwd=tmp_path)
    arguments = ["--create", "test.orders", "--partitions", "8", "--replication-factor", "2", "--log", log_url]
    answer = snowbus("topics", *arguments, cwd=tmp_path)
    assert answer.returncode == exit_codes.FAILED
    assert answer.stderr == (
        "snowbus: test.orders has 3 partitions, not 8: what is there already stays as it is\n"
        "snowbus: test.orders has 1 replica, not 2: what is there already stays as it is\n"
    )
    assert "test.orders" in answer.stdout


def test_more_replicas_than_brokers_are_refused(tmp_path, kafka_url):
    answer = snowbus("topics", "--create", "--replication-factor", "3", "--log", kafka_url, cwd=tmp_path)
    assert answer.returncode == exit_codes.CONFIGURATION
    assert "replication factor" in answer.stderr.lower()


def test_a_topic_that_is_not_there_is_told_with_what_makes_it(tmp_path, sqlite_url):
    snowbus("topics", "--create", "--log", sqlite_url, cwd=tmp_path)
    answer = snowbus("topics", "test.orders", "--log", sqlite_url, cwd=tmp_path)
    assert answer.returncode == exit_codes.FAILED
    assert answer.stderr == (
        "snowbus: the log has no topic 'test.orders'; make it with `snowbus topics --create test.orders`\n"
    )


def test_people_see_a_table(tmp_path, sqlite_url):
    arguments = ["--create", "orders", "--retention-hours", "0", "--retention-bytes", "5000000", "--log", sqlite_url]
    head, row = snowbus("topics", *arguments, cwd=tmp_path).stdout.splitlines()
    assert head.split() == ["topic", "partitions", "replicas", "records", "end", "offset", "size", "kept"]
    assert row.split() == ["orders", "4", "1", "0", "0", "0", "B", "5", "MB"]
    snowbus("topics", "--create", "orders", "--retention-bytes", "0", "--log", sqlite_url, cwd=tmp_path)
    assert snowbus("topics", "--log", sqlite_url, cwd=tmp_path).stdout.rstrip().endswith("for ever")
