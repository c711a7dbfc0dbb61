"""The live page of the installed command, in a real browser."""

import pytest
from playwright.sync_api import expect
from snowplow_tracker import Emitter, StructuredEvent, Tracker
from support.collector_double import CollectorDouble, status
from support.snowbus import COMMAND, Process


@pytest.mark.browser
def test_an_event_is_on_the_live_page_a_moment_after_it_was_tracked(tmp_path, sqlite_url, browser):
    """Decoded, and with the mistake at the field where it is."""
    listen = [f"--{role}-listen=127.0.0.1:0" for role in ("ingest", "gateway")]
    with Process("up", "--log", sqlite_url, *listen, program=COMMAND, cwd=tmp_path) as up:
        page = browser.new_page()
        complaints = []
        page.on("console", lambda message: complaints.append(message.text))  # of a breach of the content policy, too
        page.goto(up.address("gateway"))
        expect(page.locator("#status")).to_contain_text("live")
        expect(page.locator("#empty")).to_contain_text(f"curl {up.address('ingest')}/tracking")
        tracker = Tracker("ns", Emitter(up.address("ingest"), protocol="http", batch_size=1))
        payment = StructuredEvent("payment", "captured")
        payment.payload.add("se_va", "12,50")
        tracker.track(payment)
        row = page.locator(".canvas .row").first
        expect(row.locator(".what")).to_contain_text("payment captured", timeout=2000)
        row.click()
        mistake = page.locator("#details .field", has=page.locator("bdi:text-is('se_value')"))
        expect(mistake.locator(".error-text")).to_contain_text("expected a number")
        page.close()
    assert complaints == []


ATTEMPTS = """async ([gateway, events]) => {
    const tried = (attempt) => attempt.then(() => "got in", () => "kept out");
    const socket = new WebSocket(gateway.replace("http", "ws") + "/v1/events");
    const connected = tried(new Promise((got, failed) => { socket.onopen = got; socket.onerror = failed; }));
    const frame = document.createElement("iframe");
    frame.src = gateway;
    const shown = new Promise((done) => { frame.onload = done; });
    document.body.append(frame);
    await shown;
    return {
        socket: await connected,
        read: await tried(fetch(events)),
        blind: await tried(fetch(events, {mode: "no-cors"})),
        script: await tried(import(gateway + "/main.js")),
        post: await tried(fetch(gateway + "/v1/events", {method: "POST", body: "{}"})),
    };
}"""


@pytest.mark.browser
def test_a_page_of_another_site_gets_nothing(tmp_path, sqlite_url, browser):
    """Not by a websocket, nor by asking, nor by putting the live page into a frame of its own."""
    listen = [f"--{role}-listen=127.0.0.1:0" for role in ("ingest", "gateway")]
    with Process("up", "--log", sqlite_url, *listen, cwd=tmp_path) as up:
        gateway = up.address("gateway")
        page = browser.new_page()
        refused = []
        page.on("console", lambda message: refused.append(message.text))
        page.goto(f"{up.address('ingest')}/robots.txt")
        found = page.evaluate(ATTEMPTS, [gateway, f"{gateway}/v1/events.ndjson?from=earliest"])
        assert set(found.values()) == {"kept out"}, found
        assert any("frame-ancestors 'none'" in each for each in refused), refused
        page.close()


@pytest.mark.browser
def test_the_live_page_follows_an_event_to_the_collector(tmp_path, sqlite_url, browser):
    """Through two refusals; and a page that is opened later knows it too."""
    listen = [f"--{role}-listen=127.0.0.1:0" for role in ("ingest", "gateway", "collect")]
    with CollectorDouble() as collector:
        collector.respond(status(503), status(503))
        options = ["--log", sqlite_url, "--collector", collector.url, "--collect-backoff=0.4", *listen]
        with Process("up", *options, program=COMMAND, cwd=tmp_path) as up:
            page = browser.new_page()
            page.goto(up.address("gateway"))
            tracker = Tracker("ns", Emitter(up.address("ingest"), protocol="http", batch_size=1))
            tracker.track(StructuredEvent("payment", "captured"))
            delivery = page.locator(".canvas .row .delivery")
            expect(delivery).to_have_text("delivered", timeout=10_000)
            for query in ("", "?from=-1"):
                page.goto(up.address("gateway") + query)
                expect(delivery).to_have_text("delivered")
            page.locator(".canvas .row").click()
            page.click("#tab-delivery")
            titles = page.locator("#panel .step-title")
            expect(titles.first).to_have_text("Tracked")
            assert titles.all_inner_texts()[3:] == ["Attempt 1 failed", "Attempt 2 failed", "Delivered"]
            expect(page.locator("#panel .step").last).to_contain_text("attempt 3, status 200")
            page.close()
