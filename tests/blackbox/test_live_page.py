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
