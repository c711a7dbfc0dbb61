"""The events of one person in one time line, on the page."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.page_server import Message, PageServer, an_event, rows

from snowbus.bus.tracker_protocol import timestamp_from_ms

pytestmark = pytest.mark.browser


def at(ms: int, message: Message) -> Message:
    """The message of an event that happened at a time, in ms since 1970."""
    message["event"] |= {"collector_tstamp": timestamp_from_ms(ms + 5), "dvce_created_tstamp": timestamp_from_ms(ms)}
    message["event"] |= {"dvce_sent_tstamp": timestamp_from_ms(ms + 5)}
    return {**message, "timestamp": ms + 10}


def in_browser(name: str, **fields: Any) -> Message:
    return an_event(name, platform="web", v_tracker="js-4.0.0", **{"user_id": None, "domain_userid": "d-1"} | fields)


def on_server(name: str, **fields: Any) -> Message:
    return an_event(name, v_tracker="py-1.1.0", **{"domain_userid": None, "user_id": "u-1"} | fields)


def names(page: Page) -> list[str]:
    return page.locator("#panel .user-event .name").all_inner_texts()


def test_browser_and_server_events_of_a_user_are_one_time_line(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    now = round(time.time() * 1000)
    gateway.publish(
        at(now - 600_000, in_browser("long_before")),
        at(now - 3_000, on_server("charged")),  # it is on the log before the click that caused it
        at(now - 3_240, in_browser("click", user_id="u-1")),
        at(now - 2_000, on_server("of_another", user_id="u-2")),
    )
    page = open_page("?event_name=click&from=earliest")
    rows(page).click()
    page.click("#tab-user")
    expect(page.locator("#panel .user-event")).to_have_count(2)
    assert names(page) == ["click", "charged"]
    expect(page.locator("#panel .user-gap")).to_have_text("240 ms from browser to server")
    expect(page.locator("#panel .user-event .side")).to_have_text(["browser", "server"])
    expect(page.locator("#panel .identities")).to_contain_text("u-1")
    gateway.publish(at(now, in_browser("thanks")))
    expect(page.locator("#panel .user-event")).to_have_count(3)
    page.get_by_role("button", name="look further back").click()
    expect(page.locator("#panel .user-event")).to_have_count(4)
    assert names(page) == ["long_before", "click", "charged", "thanks"]
    assert "tab=user" in page.url


def test_what_other_events_tell_of_a_person_is_followed_too(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    now = round(time.time() * 1000)
    gateway.publish(
        at(now - 9_000, in_browser("anonymous")),
        at(now - 6_000, in_browser("login", user_id="u-1")),
        at(now - 3_000, on_server("charged")),
    )
    page = open_page()
    rows(page).filter(has_text="anonymous").click()
    page.click("#tab-user")
    expect(page.locator("#panel .user-event")).to_have_count(3)
    expect(page.locator("#panel .identities li").filter(has_text="u-1")).to_contain_text("named by their other events")


def test_an_event_of_the_time_line_can_be_chosen(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    now = round(time.time() * 1000)
    gateway.publish(at(now - 3_240, in_browser("click", user_id="u-1")), at(now - 3_000, on_server("charged")))
    page = open_page()
    rows(page).filter(has_text="click").click()
    page.click("#tab-user")
    expect(page.locator("#panel .user-event")).to_have_count(2)
    subscriptions = len(gateway.subscriptions)
    page.locator("#panel .user-event").filter(has_text="charged").get_by_role("button").click()
    expect(page.locator("#details h2")).to_have_text("charged")
    expect(page.locator(".row.active .name")).to_have_text("charged")
    expect(page.locator("#panel [aria-current]")).to_contain_text("charged")
    assert len(gateway.subscriptions) == subscriptions  # the time line is the same, nothing is asked for again
    page.keyboard.press("Escape")
    expect(page.locator("#details")).to_be_hidden()


def test_in_a_file_a_person_is_nobody_whose_events_have_the_same_text(open_page: Callable[..., Page]) -> None:
    events = [
        on_server("of_one", user_id="1"),
        on_server("also_of_one", user_id="1"),
        in_browser("of_seven", user_id="7", se_label="1"),
        in_browser("of_eight", user_id="8"),
    ]
    page = open_page()
    text = "".join(json.dumps(each) + "\n" for each in events)
    page.set_input_files("#file", files=[{"name": "e.ndjson", "mimeType": "text/plain", "buffer": text.encode()}])
    rows(page).filter(has=page.locator(".name", has_text=re.compile("^of_one$"))).click()
    page.click("#tab-user")
    expect(page.locator("#panel .user-event").filter(has_text="also_of_one")).to_have_count(1)
    assert set(names(page)) == {"of_one", "also_of_one"}
    expect(page.locator("#panel .identities li")).to_have_count(1)


def test_an_event_of_nobody_says_so(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event(user_id=None))
    page = open_page()
    rows(page).click()
    page.click("#tab-user")
    expect(page.locator("#panel")).to_contain_text("does not say who it is of")
