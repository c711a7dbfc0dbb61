"""Jumping to a time, zooming into one, and the way back to live."""

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from support.aio import soon
from support.page_server import Message, PageServer, an_event, rows

from snowbus.bus.start import parse_time

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


def scroll(page: Page, to: str) -> None:
    page.locator("#scroller").evaluate(f"scroller => scroller.scrollTop = {to}")


def scroll_up_to(page: Page, name: str) -> None:
    while not rows(page).filter(has_text=name).count():
        scroll(page, "Math.max(1, scroller.scrollTop - 480)")
        page.evaluate("new Promise(requestAnimationFrame)")


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
    scroll_up_to(page, "e0999")
    expect(page.locator("#legend")).to_contain_text("1,500 received")
    expect(rows(page).filter(has_text="e0999")).to_be_attached()  # those that came stand above it
    gateway.publish(at(round(time.time() * 1000), "now"))
    expect(page.locator("#newer")).to_contain_text("new")
    expect(page.locator("#status")).to_contain_text("live")
    soon(lambda: gateway.said[-1] == {"type": "permit", "n": None})
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


def test_earlier_events_come_when_scrolled_to_or_by_a_button(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    now = round(time.time() * 1000)
    gateway.publish(*[at(now - (3300 - n) * 100, f"e{n:04}") | {"offset": n} for n in range(3300)])
    page = open_page("?hide=event_name%3De2000")
    expect(page.locator("#legend")).to_contain_text("200 received")
    expect(page.locator("#strip-title")).to_have_text(re.compile(r"^Since \d\d:\d\d:\d\d$"))
    before = page.locator("#row-190").bounding_box()
    page.get_by_role("button", name="Look for earlier events").dispatch_event("click")  # a click would scroll to it
    expect(page.locator("#legend")).to_contain_text("1,200 received")
    scroll(page, "scroller.scrollHeight")
    expect(page.locator("#legend")).to_contain_text("2,200 received")
    scroll(page, "0")
    assert page.locator("#row-190").bounding_box() == before
    for received in ("3,200", "3,299"):
        scroll(page, "scroller.scrollHeight")
        expect(page.locator("#legend")).to_contain_text(f"{received} received")
    scroll(page, "scroller.scrollHeight")
    expect(page.locator("#foot")).to_contain_text("The log holds nothing earlier.", timeout=15_000)
    expect(page.locator("#strip-title")).to_have_text("Last 30 minutes")
    expect(rows(page).filter(has_text="e0000")).to_be_in_viewport()
    gateway.publish(at(now, "now"))
    expect(page.locator("#newer")).to_contain_text("1 new")
    expect(page.locator("#legend")).to_contain_text("3,300 received")
    assert "from=" not in page.url


def test_a_log_that_is_shown_whole_offers_nothing_earlier_and_its_strip_counts_what_it_holds(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    now = round(time.time() * 1000)
    gateway.publish(at(now - HOUR_MS, "long_ago"), at(now, "now"))
    page = open_page()
    expect(rows(page)).to_have_count(2)
    expect(page.locator("#foot")).to_have_text(re.compile("The log holds nothing earlier."))
    expect(page.get_by_role("button", name="Look for earlier events")).to_be_hidden()
    expect(page.locator("#strip-title")).to_have_text("Last 30 minutes")
    expect(page.locator("#legend")).to_contain_text("1 received")
    page.click("#clear")
    gateway.publish(at(now, "new"))
    expect(page.get_by_role("button", name="Look for earlier events")).to_be_visible()


def test_what_was_cleared_and_is_read_again_is_counted_once(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    now = round(time.time() * 1000)  # of all of them: what is read of a time is all or nothing
    gateway.publish(*[an_event("order", event_id=f"e{number}") | {"timestamp": now} for number in range(350)])
    page = open_page("?from=-300")
    expect(page.locator("#legend")).to_contain_text("300 received")
    page.click("#clear")
    gateway.publish(an_event("new"))
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="Look for earlier events").click()
    expect(page.locator("#legend")).to_contain_text("351 received")
    expect(page.locator("#legend")).to_contain_text("351 valid")


def hold_fewer(page: Page, number: int) -> None:
    """Let the page hold so many rows at most."""

    def fewer(route: Route) -> None:
        script = route.fetch()
        route.fulfill(response=script, body=script.text().replace("MAX_ROWS = 20_000", f"MAX_ROWS = {number}"))

    page.route("**/rows.js", fewer)
    page.reload()


@pytest.mark.faults
def test_the_page_holds_a_stretch_and_reads_the_rest_again_on_both_sides(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    now = round(time.time() * 1000)
    gateway.publish(*[at(now - 60_000 + n * 10, f"e{n:04}") for n in range(3000)])
    page = open_page("?from=-100")
    hold_fewer(page, 1500)
    for received in ("100", "1,100", "2,100"):
        expect(page.locator("#legend")).to_contain_text(f"{received} received")
        scroll(page, "scroller.scrollHeight - scroller.clientHeight")
    expect(page.locator("#status")).to_have_text("history")
    expect(page.locator("#legend")).to_contain_text("3,000 received")
    gateway.publish(at(now, "now"))  # it is for later
    scroll_up_to(page, "now")
    expect(page.locator("#status")).to_contain_text("live")
    expect(page.locator("#legend")).to_contain_text("3,001 received")
    assert page.evaluate("document.querySelectorAll('.row').length") < 80


def test_rows_in_view_stay_when_the_page_is_full(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(*[an_event("order", event_id=f"e{number}") for number in range(1500)])
    page = open_page("?from=-1500")
    hold_fewer(page, 1500)
    expect(page.locator("#legend")).to_contain_text("1,500 received")
    scroll(page, "scroller.scrollHeight - 2000")
    row = page.locator("#row-70")
    before = row.bounding_box()
    gateway.publish(*[an_event(f"new_{number}") for number in range(50)])
    expect(page.locator("#status")).to_have_text("history")
    assert row.bounding_box() == before
    page.keyboard.press("l")
    expect(rows(page).filter(has_text="new_49")).to_be_in_viewport()
    expect(page.locator("#status")).to_contain_text("live")


def test_rows_that_left_the_page_can_be_read_again_from_the_log(open_page: Callable[..., Page]) -> None:
    page = open_page()
    cursor, oldest, fresh, first = page.evaluate(
        """async () => {
            const { Rows } = await import("./rows.js");
            const rows = new Rows({ maxRows: 2000 });
            const row = (offset) => ({ type: "event", text: "", offset, cursor: `c${offset}` });
            for (let offset = 0; offset < 9750; offset += 1) rows.append(row(offset));
            const found = [rows.olderCursor, rows.at(rows.first).offset];
            const fresh = rows.prepend([7748, 7749].map(row)).length;
            return [...found, fresh, rows.at(rows.first).offset];
        }"""
    )
    assert 500 < oldest - int(cursor[1:]) <= 1500
    assert (fresh, first) == (0, 7748)
