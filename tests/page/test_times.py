"""Jumping to a time, zooming into one, and the way back to live."""

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from support.page_server import Message, PageServer, an_event, rows

from snowbus.bus.start import parse_time
from snowbus.bus.tracker_protocol import timestamp_from_ms

pytestmark = pytest.mark.browser

HOUR_MS = 3_600_000


def at(ms: int, name: str) -> Message:
    return {**an_event(name), "timestamp": ms}


def started(gateway: PageServer) -> int:
    """From when, in ms, the last subscription reads."""
    return round(datetime.fromisoformat(gateway.subscription()["from"]).timestamp() * 1000)


def stop_the_clock(page: Page, ms: int) -> None:
    """Let it be that time for the page: its bars stay where they are."""
    page.clock.set_fixed_time(ms / 1000)
    page.reload()


def jump(page: Page, text: str) -> None:
    page.keyboard.press("t")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def test_a_jump_shows_history_from_there_a_part_at_a_time_and_runs_on_into_live(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    start = round(time.time() * 1000) - 2 * HOUR_MS
    gateway.publish(at(start - HOUR_MS, "before"), *[at(start + number, f"e{number:04}") for number in range(1500)])
    gateway.awaits_permits = True
    page = open_page("?from=latest")
    expect(page.locator("#status")).to_contain_text("live")
    jump(page, "2.01 hours ago")
    expect(page.locator("#status")).to_have_text("history")
    expect(rows(page).filter(has_text="e0000")).to_be_in_viewport()  # what happened then, not what happened last
    assert abs(started(gateway) - (time.time() * 1000 - 2.01 * HOUR_MS)) < 60_000
    assert re.search(r"[?&]from=20\d\d-", page.url)
    expect(page.locator("#legend")).to_contain_text("1,000 received")
    page.locator("#scroller").evaluate("scroller => scroller.scrollTop = 0")
    page.get_by_role("button", name="Read on").click()
    expect(page.locator("#newer")).to_contain_text("500 new")
    gateway.publish(at(round(time.time() * 1000), "now"))
    expect(page.locator("#newer")).to_contain_text("501 new")
    expect(page.locator("#status")).to_contain_text("live")
    assert gateway.said[-1] == {"type": "permit", "n": None}
    page.locator("#jump").get_by_role("button", name="Back to live").click()
    assert "from=" not in page.url


def test_a_time_that_is_none_is_told_in_place(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    page = open_page()
    expect(page.locator("#status")).to_contain_text("live")
    jump(page, "yesterdayish")
    expect(page.locator("[name=time]")).to_have_attribute("aria-invalid", "true")
    assert len(gateway.subscriptions) == 1


def test_times_are_read_as_people_write_them(open_page: Callable[..., Page]) -> None:
    page = open_page()
    now = round(time.time() * 1000)
    read = """async ([texts, now]) => {
        const { readTime } = await import('./when.js');
        return texts.map(text => readTime(text, now) ?? null);
    }"""
    ago = ["90s", "15m", "10m ago", "2 hours ago", "1 day ago"]
    assert page.evaluate(read, [ago, now]) == [now - 1000 * s for s in (90, 900, 600, 7200, 86400)]
    clocks = page.evaluate(read, [["12:04", "0:00:01.5", "23:59:59"], now])
    assert all(now - 90_000_000 < ms <= now for ms in clocks)
    iso = ["2026-01-31T12:04Z", "2026-01-31T12:04:05.678+02:00"]
    assert page.evaluate(read, [iso, now]) == [parse_time(text, now=now) for text in iso]
    assert page.evaluate(read, [["", "x", "25:00", "12", "-5m", "2026-99-99", "10 parsecs ago"], now]) == [None] * 7


def test_the_page_reads_the_start_of_a_view_as_the_gateway_does(open_page: Callable[..., Page]) -> None:
    page = open_page()
    now = round(time.time() * 1000)
    texts = ["15m", "7d", "2026-01-31", "2026-01-31T12:04", "2026-01-31T12:04:05.678Z", "2026-01-31T12:04:05+02:00"]
    shown = page.evaluate(
        "async ([texts, now]) => { const { timeOfStart } = await import('./when.js');"
        " return texts.map(text => timeOfStart(text, now)); }",
        [texts, now],
    )
    assert shown == [parse_time(text, now=now) for text in texts]


def drag(page: Page, first: int, last: int) -> None:
    box: Any = page.locator("#bars").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + (first + 0.5) * box["width"] / 30, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + (last + 0.5) * box["width"] / 30, middle, steps=3)
    page.mouse.up()


def test_dragging_over_the_strip_shows_that_time_only(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    minute = round(time.time() * 1000) // 60_000 * 60_000
    now = minute + 30_000
    times = {"too_early": -20, "inside": -9, "inside_too": -8, "too_late": -2}
    gateway.publish(*[at(minute + 60_000 * minutes + 1000, name) for name, minutes in times.items()])
    page = open_page()
    stop_the_clock(page, now)
    expect(rows(page)).to_have_count(4)
    drag(page, 30 - 1 - 10, 30 - 1 - 7)
    expect(rows(page)).to_have_count(2)
    assert sorted(rows(page).locator(".name").all_inner_texts()) == ["inside", "inside_too"]
    assert "from=" in page.url
    assert "until=" in page.url
    expect(page.locator("#strip-title")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d . \d\d:\d\d:\d\d$"))
    gateway.publish(at(now, "new"))
    expect(page.locator("#legend")).to_contain_text("2 received")
    page.reload()
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("l")
    expect(rows(page)).to_have_count(5)


def test_a_bar_leads_to_its_rows_or_to_the_log(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    minute = round(time.time() * 1000) // 60_000 * 60_000
    gateway.publish(at(minute - 5 * 60_000, "older"), at(minute - 60_000, "newer"))
    page = open_page()
    stop_the_clock(page, minute + 30_000)
    expect(rows(page)).to_have_count(2)
    drag(page, 29 - 5, 29 - 5)
    expect(page.locator(".row.active .name")).to_have_text("older")
    assert "from=" not in page.url
    drag(page, 3, 3)
    expect(page.locator("#jump").get_by_role("button", name="Back to live")).to_be_visible()
    expect(page.locator("#empty")).to_contain_text("No events")
    assert abs(started(gateway) - (minute - 26 * 60_000)) <= 60_000


def test_the_strip_is_used_by_keyboard(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    minute = round(time.time() * 1000) // 60_000 * 60_000
    gateway.publish(at(minute - 300_000, "outside"), at(minute - 120_000, "inside"))
    page = open_page()
    stop_the_clock(page, minute + 30_000)
    expect(rows(page)).to_have_count(2)
    page.locator(".minute[tabindex='0']").focus()
    page.keyboard.press("ArrowLeft")
    for _ in range(2):
        page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator(".minute.chosen")).to_have_count(3)
    page.keyboard.press("Enter")
    expect(rows(page).locator(".name")).to_have_text(["inside"])


def test_earlier_events_are_a_button_away(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(*[an_event("order", event_id=f"e{number}") for number in range(300)])
    page = open_page()
    expect(page.locator("#legend")).to_contain_text("200 received")
    page.get_by_role("button", name="Show earlier events").click()
    expect(page.locator("#legend")).to_contain_text("300 received")
    assert gateway.subscription()["from"] == "-2000"
    start = gateway.messages[0]["timestamp"]
    jump(page, "10m")
    expect(page.locator("#legend")).to_contain_text("300 received")
    page.get_by_role("button", name="Show earlier events").click()
    further_back = timestamp_from_ms(start - 10 * 60_000)
    expect(page).to_have_url(re.compile(re.escape(f"from={quote(further_back)}")))
    expect(rows(page).first).to_be_visible()


def test_rows_that_left_the_page_can_be_read_again_from_the_log(open_page: Callable[..., Page]) -> None:
    page = open_page()
    cursor, oldest = page.evaluate(
        """async () => {
            const { Rows } = await import("./rows.js");
            const rows = new Rows({ maxRows: 2000 });
            for (let offset = 0; offset < 9750; offset += 1)
                rows.append({ type: "event", text: "", offset, cursor: `c${offset}` });
            return [rows.olderCursor, rows.at(rows.first).offset];
        }"""
    )
    assert 500 < oldest - int(cursor[1:]) <= 1500
