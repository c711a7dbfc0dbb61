"""What the official trackers send, on the page of all roles as they run: decoded, checked, followed on its way."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from support import page_trackers
from support.collector_double import CollectorDouble, status
from support.page_server import rows
from support.page_trackers import CART, PRODUCT, USER, Servers, Track, added_to_cart, over_http, with_python
from support.snowbus import Process

from snowbus.bus.iglu.config import own_config_file

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """All roles, on the embedded log, with a registry and a collector."""
    folder = tmp_path_factory.mktemp("servers")
    log = f"sqlite:///{folder / 'log.db'}"
    listen = [f"--{role}-listen=127.0.0.1:0" for role in ("ingest", "gateway", "collect")]
    retries = ("--collect-backoff=0.1", "--collect-backoff-max=0.2")
    with CollectorDouble() as collector:
        checked = ("--iglu-resolver", str(own_config_file()), "--collector", collector.url)
        with Process("up", "--log", log, *checked, *listen, *retries, cwd=folder) as up:
            yield Servers(up.address("gateway") + "/", up.address("ingest"), log, collector)


def row(page: Page, text: str) -> Locator:
    """The one row that has a text."""
    return rows(page).filter(has_text=text)


def field(page: Page, name: str) -> Locator:
    """A field of the event that is open."""
    return page.locator("#panel .field", has=page.locator(f".field-name bdi:text-is('{name}')"))


@pytest.mark.parametrize(
    "track",
    [
        page_trackers.python_over_http,
        page_trackers.python_over_the_bus,
        pytest.param(page_trackers.node, marks=pytest.mark.node),
        pytest.param(page_trackers.browser, marks=pytest.mark.node),
    ],
    ids=lambda track: track.__name__,
)
def test_what_a_tracker_sends_is_on_the_page(
    browser: Browser, gateway: Servers, open_page: Callable[..., Page], track: Track
) -> None:
    """In words and with real types; a mistake at its field; and taken by the collector."""
    app_id = track.__name__
    page = open_page(f"?app_id={app_id}")
    expect(page.locator("#status")).to_contain_text("live")
    track(gateway, browser, app_id)
    expect(rows(page)).to_have_count(3)
    right, wrong = row(page, "A-113"), row(page, "A-114")
    expect(row(page, "page_view").locator(".what")).to_have_text("page_view /checkout")
    expect(right.locator(".what")).to_have_text("add_to_cart sku A-113 · quantity 2 · unit_price 9.5")
    expect(right.locator(".app")).to_have_text(app_id)
    expect(right.locator(".who")).to_have_text(USER)
    expect(right.locator(".validity")).to_have_text("valid")
    expect(wrong.locator(".validity")).to_have_text("invalid")
    expect(rows(page).locator(".delivery")).to_have_text(["delivered"] * 3)
    right.click()
    expect(field(page, "quantity").locator(".field-type")).to_have_text("integer")
    expect(field(page, "unit_price").locator(".field-type")).to_have_text("number")
    expect(field(page, "user_id").locator(".field-value")).to_have_text(USER)
    page.click("#tab-entities")
    entity = page.locator("#panel .entity")
    expect(entity.locator("h3")).to_contain_text(PRODUCT)
    expect(field(page, "name")).to_contain_text("Käse 🧀")
    page.click("#tab-event")
    wrong.click()
    expect(field(page, "quantity").locator(".error-text")).to_contain_text('expected an integer, got "two"')
    expect(field(page, "quantity").locator(".error-where")).to_contain_text(CART)
    expect(page.locator("#panel .error-note")).to_have_count(1)


@pytest.mark.node
def test_the_browser_tracker_keeps_its_network_user_id(
    browser: Browser, gateway: Servers, open_page: Callable[..., Page]
) -> None:
    """Its requests carry the cookie that ingest gave to the one before, though the shop is another origin."""
    page = open_page("?app_id=cookies")
    page_trackers.browser(gateway, browser, "cookies")
    expect(rows(page)).to_have_count(3)
    users = []
    for each in rows(page).all():
        each.click()
        users.append(field(page, "network_userid").locator(".field-value").inner_text())
    assert len(set(users)) == 1


def test_the_delivery_of_an_event_is_followed_as_it_goes(gateway: Servers, open_page: Callable[..., Page]) -> None:
    """Queued until the collector answers; and in an outage retrying, until it is over."""
    answers = threading.Event()

    async def in_a_while(writer: asyncio.StreamWriter) -> bool:
        await asyncio.to_thread(answers.wait, 20)
        return await status(200)(writer)

    page = open_page("?app_id=delivery")
    expect(page.locator("#status")).to_contain_text("live")

    def track(sku: str) -> Locator:
        with_python(over_http(gateway), "delivery", added_to_cart(sku, 1))
        return row(page, sku).locator(".delivery")

    expect(track("first")).to_have_text("delivered")
    gateway.collector.respond(in_a_while)
    slow = track("slow")
    expect(slow).to_have_text("queued")
    answers.set()
    expect(slow).to_have_text("delivered")
    gateway.collector.down()
    caught = track("caught")
    expect(caught).to_contain_text("retrying")
    expect(page.locator("#collectors")).to_be_visible()
    gateway.collector.up()
    expect(caught).to_have_text("delivered")
    expect(page.locator("#collectors")).to_be_hidden()
    caught.click()
    page.click("#tab-delivery")
    titles = page.locator("#panel .step-title")
    expect(titles.first).to_have_text("Tracked")
    assert {"Received", "On the log", "Attempt 1 failed", "Delivered"} <= set(titles.all_inner_texts())
