"""How smooth the live page is while a thousand events arrive a second, with what becomes of each, and without."""

import time
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page
from support.page_server import PageServer, an_event, delivered, receipt, retrying

RATE = 1_000
SECONDS = 10
TICKS = 20
FRAMES = """seconds => new Promise(resolve => {
    const frames = [];
    let before = performance.now();
    const end = before + seconds * 1000;
    requestAnimationFrame(function frame(now) {
        frames.push(now - before);
        before = now;
        if (now < end) requestAnimationFrame(frame);
        else resolve(frames.slice(1).sort((one, other) => one - other));
    });
})"""


def publish(gateway: PageServer, *, with_deliveries: bool) -> None:
    """A thousand events a second, each told of a quarter of a second later: some twice, some in ranges of one."""
    batch = RATE // TICKS
    started = time.monotonic()
    for tick in range(SECONDS * TICKS):
        gateway.publish(*[an_event(event_id=f"e{tick}-{number}") for number in range(batch)])
        if with_deliveries and tick % 5 == 4:
            first = len(gateway.messages) - 10 * batch
            fresh = range(max(0, first), first + 5 * batch)
            gateway.tell(retrying(*fresh), receipt(*fresh[::40], status="dead"), delivered(*fresh[1::2], attempts=2))
        time.sleep(max(0.0, started + (tick + 1) / TICKS - time.monotonic()))


def busy(devtools: CDPSession) -> dict[str, float]:
    """The seconds that the page's thread has spent on each kind of work."""
    return {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}


def measure(browser: Browser, *, with_deliveries: bool) -> None:
    with PageServer() as gateway:
        page: Page = browser.new_page()
        page.goto(gateway.url)
        gateway.publish(an_event())
        if with_deliveries:
            gateway.tell(delivered(0))
        page.locator(".row").wait_for()
        page.evaluate(f"void (window.measured = ({FRAMES})({SECONDS}))")
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")
        before = busy(devtools)
        publish(gateway, with_deliveries=with_deliveries)
        used = {name: (value - before[name]) / SECONDS for name, value in busy(devtools).items()}
        frames: list[float] = page.evaluate("window.measured")
        heap: Any = page.evaluate("performance.memory.usedJSHeapSize")
        late = sum(frame > 50 for frame in frames)
        what = "with deliveries" if with_deliveries else "events alone"
        print(
            f"  {what:<16} {len(frames) / SECONDS:5.1f} frames/s, p50 {frames[len(frames) // 2]:.1f} ms, "
            f"p99 {frames[len(frames) * 99 // 100]:.1f} ms, longest {frames[-1]:.1f} ms, {late} over 50 ms, "
            f"heap {heap / 1e6:.0f} MB; {used['TaskDuration']:.0%} busy, scripts {used['ScriptDuration']:.1%}, "
            f"layout and style {used['LayoutDuration'] + used['RecalcStyleDuration']:.1%}"
        )
        page.close()


def test_the_page_stays_smooth(browser: Browser) -> None:
    print(f"\n{RATE:,} events/s on the page")
    measure(browser, with_deliveries=False)
    measure(browser, with_deliveries=True)
