"""Marks what is committed with the id of its topic: an offset says nothing of a topic that was made anew."""

import re
from collections.abc import Mapping

from ...event import TopicPartition
from ..interface import Committed, Metadata, Offsets

_TAG = re.compile(r"topic=([\w-]{22}) (.*)", re.ASCII | re.DOTALL)


def tagged(offsets: Offsets, metadata: Metadata, topic_ids: Mapping[str, str]) -> dict[TopicPartition, str]:
    """The metadata to commit beside offsets, which those ids make sense of; as it is where an id is not known."""
    tags = {topic: f"topic={topic_id} " for topic, topic_id in topic_ids.items() if topic_id}
    return {place: tags.get(place.topic, "") + metadata.get(place, "") for place in offsets}


def untagged(committed: Committed, topic_id: str) -> Committed:
    """What was committed, as its committer gave it; the beginning, when that was for a topic with another id.

    What another program has committed bears no mark, and counts as it is.
    """
    if not (found := _TAG.fullmatch(committed.metadata)):
        return committed
    if topic_id and found[1] != topic_id:
        return Committed(0)
    return Committed(committed.offset, found[2])
