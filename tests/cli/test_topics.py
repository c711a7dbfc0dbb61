"""`snowbus topics`."""

import json
import shlex
import subprocess

import pytest
from aiokafka.admin import NewTopic
from support.aio import run
from support.kafka import administer, classpath
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
        "cleanup_policy": None if embedded else "delete",
        "min_insync_replicas": None if embedded else 1,
        "max_message_bytes": None if embedded else 1_114_112,
    }


def test_topics_with_which_nothing_is_wrong_are_said_to_be_well(tmp_path, log_url):
    """Their sizes are shown where the log tells them."""
    topics(tmp_path, log_url, "--create", "test.orders")
    answer = snowbus("topics", "--check", "test.orders", "--log", log_url, cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (exit_codes.OK, "All is well with test.orders.\n")
    assert (" size " in answer.stdout) == log_url.startswith("sqlite")


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
    words = "--alter --topic test.orders --partitions 8"
    embedded = log_url.startswith("sqlite")
    line = "" if embedded else f"  kafka-topics.sh --bootstrap-server {log_url.partition('//')[2]} {words}\n"
    assert answer.stderr == (
        "snowbus: test.orders has 3 partitions, not 8: what is there already stays as it is\n"
        f"{line}"
        "snowbus: test.orders has 1 replica, not 2: what is there already stays as it is "
        "(kafka-reassign-partitions.sh gives it others)\n"
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


async def misconfigured(url):
    """Topics as somebody made them who has not read what Snowbus needs."""
    wrong = {
        "snowbus.events": {"cleanup.policy": "compact"},
        "snowbus.bad": {"min.insync.replicas": "2"},
        "snowbus.dead": {"max.message.bytes": "1000"},
        "snowbus.deliveries": {"retention.ms": "3600000"},
    }
    topics = [NewTopic(name, 2 if "events" in name else 4, 1, topic_configs=each) for name, each in wrong.items()]
    await administer(url, lambda admin: admin.create_topics(topics))


def checked(folder, url):
    """What `topics --check` says of the topics."""
    arguments = ["topics", "--check", "--partitions", "4", "--log", url]
    answer = snowbus(*arguments, cwd=folder, settings={"create_topics": "never"})
    assert answer.returncode == (exit_codes.OK if answer.stderr.startswith("All is well with ") else exit_codes.FAILED)
    return answer.stderr.splitlines()


def test_what_is_wrong_with_topics_is_told_with_the_lines_that_mend_it(tmp_path, real_kafka_url):
    run(misconfigured(real_kafka_url))
    sentences = checked(tmp_path, real_kafka_url)
    for told, mended in (
        ("snowbus.events has 2 partitions, not 4", "--alter --topic snowbus.events --partitions 4"),
        ("snowbus.events is compacted (cleanup.policy): of all", "--add-config cleanup.policy=delete"),
        ("snowbus.bad wants 2 replicas in sync", "--add-config min.insync.replicas=1"),
        ("snowbus.dead takes 1000 bytes at once (max.message.bytes), too", "--add-config max.message.bytes=1114112"),
        ("snowbus.deliveries keeps records for 60 min, not for 24 h", "--add-config retention.ms=86400000"),
        ("snowbus.retry is not there", "--create --topic snowbus.retry --partitions 4 --replication-factor 1"),
    ):
        at = next(at for at, sentence in enumerate(sentences) if told in sentence)
        assert mended in sentences[at + 1]


@pytest.mark.faults
def test_the_lines_that_mend_topics_do(tmp_path, real_kafka_url):
    run(misconfigured(real_kafka_url))
    tools = {"kafka-topics.sh": "org.apache.kafka.tools.TopicCommand", "kafka-configs.sh": "kafka.admin.ConfigCommand"}
    for line in checked(tmp_path, real_kafka_url):
        if line.startswith("  "):
            tool, *words = shlex.split(line)
            ran = subprocess.run(
                ["java", "-XX:TieredStopAtLevel=1", "-cp", classpath(), tools[tool], *words],
                check=False,
                capture_output=True,
            )
            assert ran.returncode == 0, (line, ran.stdout, ran.stderr)
    assert checked(tmp_path, real_kafka_url) == [f"All is well with {', '.join(USUAL)}."]


def test_topics_that_are_not_to_be_created_are_asked_for(tmp_path, real_kafka_url):
    settings = {"create_topics": "never", "log": real_kafka_url}
    for command in ("topics --create", "collect --collector http://127.0.0.1:9 --listen 127.0.0.1:0"):
        answer = snowbus(*command.split(), cwd=tmp_path, settings=settings)
        assert answer.returncode == exit_codes.CONFIGURATION, (command, answer.stderr)
        assert "which is not to be created (create_topics); to do so:\n  kafka-topics.sh" in answer.stderr
    assert snowbus("topics", "--json", cwd=tmp_path, settings=settings).stdout == ""


def test_topics_are_created_with_the_retention_and_the_replicas_that_were_stated(tmp_path, real_kafka_url):
    arguments = ["--create", "test.orders", "--retention-hours", "48", "--retention-bytes", "4000000"]
    told = topics(tmp_path, real_kafka_url, *arguments, "--min-insync-replicas", "1")["test.orders"]
    assert (told["retention_seconds"], told["retention_bytes"], told["min_insync_replicas"]) == (172_800, 4_000_000, 1)
