"""From `track()` in a service to the row on the live page, by the official tracker, ingest, the log and the gateway."""

import random
import time
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Browser, Page
from snowplow_tracker import Emitter, StructuredEvent, Tracker
from support.snowbus import COMMAND, Process
from support.streams import Stream

PROBES = 300
BACKGROUND = 200
# A frame that begins after the one in which a row came finds it painted.
WATCH = """() => {
    window.painted = {};
    const seen = new Set();
    new MutationObserver(() => {
        for (const { textContent } of document.querySelectorAll("#rows .hint")) {
            if (!textContent.startsWith("probe ") || seen.has(textContent)) continue;
            seen.add(textContent);
            requestAnimationFrame(() => (painted[textContent] = Date.now()));
        }
    }).observe(document.querySelector("#rows"), { childList: true, subtree: true });
}"""


def figures(milliseconds: Iterable[float]) -> str:
    """The middle, the hundredth that is worst, and the worst."""
    ordered = sorted(milliseconds)
    return (
        f"p50 {ordered[len(ordered) // 2]:.0f} ms, p99 {ordered[len(ordered) * 99 // 100]:.0f}, most {ordered[-1]:.0f}"
    )


def watched(browser: Browser, url: str) -> Page:
    """The live page, which notes when rows are painted; it is high, so that no row leaves before it is seen."""
    page = browser.new_page(viewport={"width": 1280, "height": 2000})
    page.goto(url)
    page.locator("#status", has_text="live").wait_for()
    page.evaluate(WATCH)
    return page


def measure(page: Page, tracker: Tracker, what: str) -> None:
    """Track some events one after the other, at no fixed pace, and print what they took."""
    chance = random.Random(7)
    names = [f"probe {what} {number}" for number in range(PROBES)]
    begun: list[float] = []
    answered: list[float] = []
    for name in names:
        begun.append(time.time() * 1000)
        tracker.track(StructuredEvent("latency", "probe", label=name))
        answered.append(time.time() * 1000)
        time.sleep(chance.uniform(0.02, 0.05))
    page.wait_for_function("names => names.every(name => name in painted)", arg=names)
    painted = page.evaluate("names => names.map(name => painted[name])", names)
    print(f"  {what:<14} {figures(map(float.__sub__, map(float, painted), begun))}", end="; ")
    print(f"of that until the tracker has its answer: {figures(map(float.__sub__, answered, begun))}")


def test_an_event_is_painted_soon_after_it_was_tracked(browser: Browser, log_url: str, tmp_path: Path) -> None:
    common = ("--log", log_url, "--listen", "127.0.0.1:0")
    with (
        Process("ingest", *common, program=COMMAND, cwd=tmp_path) as ingest,
        Process("gateway", *common, program=COMMAND, cwd=tmp_path) as gateway,
    ):
        address = ingest.address("ingest").removeprefix("http://")
        tracker = Tracker("ns", Emitter(address, protocol="http", batch_size=1), app_id="latency")
        page = watched(browser, gateway.address("gateway"))
        print(f"\n{log_url.partition(':')[0]}: from track() to the row on the page, {PROBES} times")
        measure(page, tracker, "idle")
        stream = Stream(log_url, rate=BACKGROUND)
        stream.start()
        measure(page, tracker, f"{BACKGROUND} events/s")
        stream.stop()
        page.close()
