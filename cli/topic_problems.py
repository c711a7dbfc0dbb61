"""What is wrong with the topics on a log, each with what mends it. Nothing is asked here: it is all in what is told."""

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from snowbus.bus.log import LogOptions, TopicDetails, TopicInfo
from snowbus.bus.log.kafka_tools import Tools, least_message_bytes

from .tables import counted, duration

_LEAST_HOURS = 24


class Stated(NamedTuple):
    """What topics should be like: the options of the log, and the names of settings that somebody has stated."""

    options: LogOptions
    names: Collection[str]


class Problem(NamedTuple):
    """What is wrong with a topic, and the line that mends it, where there is one."""

    sentence: str
    line: str = ""


def problems(topic: TopicInfo, details: TopicDetails, stated: Stated, tools: Tools | None) -> Iterator[Problem]:
    """Of one topic of events; `tools` are Kafka's, where the log is one."""

    def mended(write: Callable[[Tools], str]) -> str:
        return write(tools) if tools is not None else ""

    name, options = topic.name, stated.options
    yield from _differences(topic, details, stated, tools)
    least, replicas = details.min_insync_replicas, details.replication_factor
    if least is not None and replicas is not None and least > replicas:
        yield Problem(
            f"{name} wants {least} replicas in sync (min.insync.replicas), and has {replicas}: older brokers take no "
            "record then, and newer ones are content with fewer",
            mended(lambda tools: tools.set(name, {"min.insync.replicas": str(replicas)})),
        )
    if details.max_message_bytes is not None and details.max_message_bytes < least_message_bytes(options):
        yield Problem(
            f"{name} takes {details.max_message_bytes} bytes at once (max.message.bytes), too few for a record of "
            f"{options.max_record_bytes} (max_record_bytes), which it would refuse",
            mended(lambda tools: tools.set(name, {"max.message.bytes": str(least_message_bytes(options))})),
        )
    if "compact" in (details.cleanup_policy or ""):
        yield Problem(
            f"{name} is compacted (cleanup.policy): of all events of a user only the last is kept",
            mended(lambda tools: tools.set(name, {"cleanup.policy": "delete"})),
        )
    hours = _LEAST_HOURS if options.retention_seconds is None else options.retention_seconds / 3600
    if details.retention_seconds and (details.retention_seconds < hours * 3600 or not hours):
        wanted = duration(hours * 3600) if hours else "ever"
        yield Problem(
            f"{name} keeps records for {duration(details.retention_seconds)}, not for {wanted}: what a reader that "
            "is away has not read by then, it never gets",
            mended(lambda tools: tools.set(name, {"retention.ms": str(round(hours * 3_600_000) or -1)})),
        )


def missing(topic: str, tools: Tools | None) -> Problem:
    """That a topic is not there."""
    line = tools.create(topic) if tools is not None else f"snowbus topics --create {topic}"
    return Problem(f"{topic} is not there", line)


def _differences(topic: TopicInfo, details: TopicDetails, stated: Stated, tools: Tools | None) -> Iterator[Problem]:
    """In what a topic differs from what was stated, by settings or in the URL of the log."""
    asked = stated.options
    if "partitions" in stated.names and topic.partitions != asked.partitions:
        grows = tools is not None and topic.partitions < asked.partitions
        yield Problem(
            f"{topic.name} has {counted(topic.partitions, 'partition')}, not {asked.partitions}: what is there "
            "already stays as it is",
            tools.add_partitions(topic.name, asked.partitions) if tools is not None and grows else "",
        )
    replicas = details.replication_factor
    if "replication_factor" in stated.names and replicas not in (None, asked.replication_factor):
        yield Problem(
            f"{topic.name} has {counted(replicas or 0, 'replica')}, not {asked.replication_factor}: what is there "
            "already stays as it is (kafka-reassign-partitions.sh gives it others)"
        )
