"""Asks which topics there are, who leads them, and their ids: with Kafka's own request, of which aiokafka knows no
version that tells ids.
"""

import base64
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

_API = MetadataRequest.API_KEY
_VERSION = 10  # of Kafka 2.8
_ID = (("id_high", Int64), ("id_low", Int64))
_NAME = CompactString("utf-8")


class _ResponseWithIds(Response):  # type: ignore[misc] # aiokafka has no types
    API_KEY = _API
    API_VERSION = _VERSION
    _PARTITION = (
        ("error_code", Int16),
        ("partition", Int32),
        ("leader", Int32),
        ("leader_epoch", Int32),
        ("replicas", CompactArray(Int32)),
        ("isr", CompactArray(Int32)),
        ("offline_replicas", CompactArray(Int32)),
        ("tags", TaggedFields),
    )
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(("node_id", Int32), ("host", _NAME), ("port", Int32), ("rack", _NAME), ("tags", TaggedFields)),
        ),
        ("cluster_id", _NAME),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", _NAME),
                *_ID,
                ("is_internal", Boolean),
                ("partitions", CompactArray(*_PARTITION)),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _RequestWithIds(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    FLEXIBLE_VERSION = True
    API_KEY = _API
    API_VERSION = _VERSION
    RESPONSE_TYPE = _ResponseWithIds
    SCHEMA = Schema(
        ("topics", CompactArray(*_ID, ("topic", _NAME), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicsRequest(MetadataRequest):  # type: ignore[misc] # aiokafka has no types
    """Asks for these topics (None: all), and makes none. A Kafka before 2.8 is asked as aiokafka does."""

    def __init__(self, topics: list[str] | None) -> None:
        super().__init__(topics, allow_auto_topic_creation=False)
        self._wanted = topics

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        """The request in the newest version that we and a broker speak."""
        lowest, highest = versions.get(_API, (0, 0))
        if not lowest <= _VERSION <= highest:
            return super().prepare(versions)
        wanted = self._wanted
        topics: list[Any] | None = None if wanted is None else [(0, 0, topic, {}) for topic in wanted]
        return _RequestWithIds(topics, False, False, False, {})


class Topics(NamedTuple):
    """What a broker knows of a cluster, in the form that aiokafka keeps it in; `ids` by the names of topics."""

    brokers: list[Any]
    controller_id: int
    topics: list[Any]
    ids: dict[str, str]
    API_VERSION: int = 5

    @classmethod
    def of(cls, response: Any) -> "Topics":
        """What the response to a TopicsRequest says."""
        if response.API_VERSION < _VERSION:
            return cls(response.brokers, response.controller_id, response.topics, {})
        topics: list[Any] = []
        ids: dict[str, str] = {}
        for code, topic, high, low, internal, partitions, *_ in response.topics:
            topics.append((code, topic, internal, [(*each[:3], *each[4:7]) for each in partitions]))
            if not code and (high or low):
                ids[topic] = base64.urlsafe_b64encode(struct.pack(">qq", high, low)).decode().rstrip("=")
        return cls([tuple(broker[:4]) for broker in response.brokers], response.controller_id, topics, ids)
