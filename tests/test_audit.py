"""`make audit` fails for what is known to be vulnerable, and says when nobody could be asked."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VULNERABLE = {
    ("jinja2", "2.4.1"): "GHSA-1",
    ("known", "1.0"): "GHSA-2",
    ("excused", "1.0"): "GHSA-3",
    ("late", "1.0"): "GHSA-4",
}
LOCK = "\n".join(f"{name}==1.0 --hash=sha256:{'0' * 64}" for name in ("good", "known", "excused", "late"))
IGNORED = """
[[ignored]]
id = "CVE-of-GHSA-3"
reason = "not used"
until = 9999-12-31

[[ignored]]
id = "GHSA-4"
reason = "not used"
until = 2020-01-01
"""


class Osv(BaseHTTPRequestHandler):
    """Answers as the service does."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, version = asked["package"]["name"], asked["version"]
        found = VULNERABLE.get((name, version))
        fixed = {
            "package": {"name": name, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "2"}]}],
        }
        told = {"id": found, "aliases": [f"CVE-of-{found}"], "affected": [fixed], "summary": "bad"}
        body = json.dumps({"vulns": [told]} if found else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    lock, ignored = tmp_path / "some.lock", tmp_path / "ignored.toml"
    lock.write_text(LOCK)
    ignored.write_text(IGNORED)
    return lock, ignored


def audit(files: tuple[Path, Path], port: int) -> subprocess.CompletedProcess[str]:
    lock, ignored = files
    command = [sys.executable, ROOT / "requirements" / "audit.py", lock, "--ignored", ignored]
    command += ["--osv-url", f"http://127.0.0.1:{port}/v1/query"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_what_is_known_to_be_vulnerable_fails_unless_it_is_ignored_and_still_may_be(files: tuple[Path, Path]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        told = audit(files, server.server_address[1])
        server.shutdown()
    assert told.returncode == 1, told.stderr
    assert told.stdout.splitlines() == [
        "VULNERABLE known 1.0: CVE-of-GHSA-2, GHSA-2; mended in 2",
        "VULNERABLE late 1.0: CVE-of-GHSA-4, GHSA-4; mended in 2",
        "osv: 2 known vulnerabilities, and 1 that audit.toml ignores",
    ]


def test_a_service_that_is_not_there_is_told_and_is_no_failure(files: tuple[Path, Path]) -> None:
    told = audit(files, 1)
    assert told.returncode == 0, told.stderr
    assert "AUDIT NOT DONE" in told.stdout
