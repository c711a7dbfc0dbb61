"""The official browser tracker in a real chromium, on a page of another origin, as docs/other-languages.md has it."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support.documents import program
from support.ingest import TP2
from support.node import node_package
from support.snowbus import Process, snowbus

ADDRESS = "127.0.0.1:8080"
UMD, GLOBAL = Path("dist") / "index.umd.min.js", "snowplowBrowserTracking"
PARTITIONED = ("--cookie-attributes", "SameSite=None; Secure; HttpOnly; Partitioned")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing of each request."""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder that is served, with the tracker's bundle, and its port."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "tracker.js").write_bytes((node_package("@snowplow/browser-tracker") / UMD).read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.parametrize(("host", "flags"), [("localhost", ()), ("127.0.0.1", PARTITIONED)])
def test_a_browser_tracks_across_origins_and_keeps_the_cookie(
    browser: Browser, shop: tuple[Path, int], tmp_path: Path, *, host: str, flags: tuple[str, ...]
) -> None:
    """From another port of the same host, and from another site, whose cookies chromium keeps apart."""
    folder, port = shop
    url = f"http://{host}:{port}/index.html"
    with Process("ingest", "--listen", "127.0.0.1:0", *flags, cwd=tmp_path) as ingest:
        address = ingest.address("ingest").removeprefix("http://").replace("127.0.0.1", "localhost")
        script = program("other-languages.md", "html").replace(ADDRESS, address)
        script = script.replace('} from "@snowplow/browser-tracker"', f"}} = {GLOBAL}").replace("import {", "const {")
        (folder / "index.html").write_text(f"<title>Shop</title><script src='tracker.js'></script>{script}")
        tab = browser.new_page()
        for _ in range(2):  # the second time it has the cookie
            with tab.expect_response(lambda answer: answer.url.endswith(TP2) and answer.request.method == "POST"):
                tab.goto(url)
        tab.close()
        told = snowbus("tail", "--from", "earliest", "--count", "4", "--json", cwd=tmp_path)
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert [event["event"]["event_name"] for event in events] == ["page_view", "opened"] * 2
    assert {event["event"]["page_url"] for event in events} == {url}
    assert {event["event"]["app_id"] for event in events} == {"shop-web"}
    assert len({event["source"]["network_userid"] for event in events}) == 1
