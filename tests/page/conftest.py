"""The page in a browser, and a gateway for it."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from support.page_server import PageServer

TIMEOUT_MS = 20_000  # how long anything may take on a machine that does much else
expect.set_options(timeout=TIMEOUT_MS)
REFUSED_BY_PLAN = re.compile(r"WebSocket connection to|Failed to load resource")


@pytest.fixture
def gateway() -> Iterator[PageServer]:
    with PageServer() as server:
        yield server


@pytest.fixture
def open_page(browser: Browser, gateway: PageServer) -> Iterator[Callable[..., Page]]:
    """Opens the page; when the test ends, no dialog, no error and no breach of the content policy was seen."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    context.set_default_timeout(TIMEOUT_MS)

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not REFUSED_BY_PLAN.search(message.text):
            complaints.append(message.text)

    def opened(query: str = "", **viewport: int) -> Page:
        page = context.new_page()
        page.on("console", console)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        if viewport:
            page.set_viewport_size({"width": viewport["width"], "height": viewport["height"]})
        page.goto(gateway.url + query)
        return page

    yield opened
    context.close()
    assert complaints == []
