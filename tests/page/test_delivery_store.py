"""The page's own store of receipts, in a browser, beside a naive one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page
from support.page_server import PageServer

from snowbus.consumers.gateway.delivery_messages import report_message
from snowbus.consumers.receipts import Receipt, Report

pytestmark = pytest.mark.browser

TOPIC = "snowbus.events"
OFFSETS = 21
STORIES = """async () => {
    const { Deliveries } = await import("./deliveries.js");
    const { readMessage } = await import("./messages.js");
    window.storiesAfter = (texts, offsets, maxRanges) => {
        const deliveries = new Deliveries({ maxRanges });
        for (const text of texts) deliveries.take(readMessage(text));
        const stories = Array.from({ length: offsets }, (_, offset) => {
            const by = deliveries.of({ topic: "snowbus.events", partition: 0, offset, timestamp: 0 });
            return by.map(({ group, story }) => [group, story.map(({ status, attempts }) => [status, attempts])]);
        });
        return { stories, size: deliveries.size };
    };
}"""

offsets = st.integers(0, OFFSETS - 1)
reports = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["delivered", "dead", "retrying"]),
        st.lists(st.tuples(offsets, offsets), min_size=1, max_size=4),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def store(browser: Browser) -> Iterator[Page]:
    with PageServer() as server:
        page = browser.new_page()
        page.goto(server.url)
        page.evaluate(STORIES)
        yield page
        page.close()


@given(reports)
@settings(max_examples=50)
def test_the_page_makes_of_messages_what_they_tell(store: Page, told: list[Any]) -> None:
    texts: list[str] = []
    naive: dict[tuple[str, int], list[Any]] = {}
    for number, (group, status, ranges) in enumerate(told):
        one = Receipt(topic=TOPIC, partition=0, offsets=tuple(ranges), status=status, attempts=number)
        report = Report(group=group, time=number, receipts=(one,))
        texts.append(json.dumps(report_message(report, TOPIC, with_collectors=False)))
        for offset in {offset for first, last in ranges for offset in range(first, last + 1)}:
            naive.setdefault((group, offset), []).append([status, number])
    groups = dict.fromkeys(group for group, _, _ in told)
    ask = "([texts, offsets]) => [storiesAfter(texts, offsets, 1000), storiesAfter(texts, offsets, 5)]"
    everything, bounded = store.evaluate(ask, [texts, OFFSETS])
    assert bounded["size"] <= 5
    for offset in range(OFFSETS):
        wanted = {group: shortened(naive.get((group, offset), [])) for group in groups}
        assert dict(everything["stories"][offset]) == wanted
        for group, story in bounded["stories"][offset]:
            assert story == [] or story[-1] == wanted[group][-1]


def shortened(story: list[Any]) -> list[Any]:
    return story if len(story) <= 8 else [story[0], *story[-7:]]
