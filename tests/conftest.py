"""The logs that tests run on, and the machine's Kafka."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright
from support.diagnostics import capture_logs
from support.kafka import KafkaServer, MockCluster, NoKafkaError, external_kafka, temporary_folder, wipe_now
from support.requirements import require, require_program, required, stood_in, summary

if TYPE_CHECKING:
    from support.secure_kafka import SecureKafka

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# How long an example takes says how busy the machine is.
settings.register_profile("snowbus", deadline=None, max_examples=40)
settings.load_profile("snowbus")


class SharedKafka(NamedTuple):
    """The Kafka that tests share: a real one, or none and why."""

    bootstrap_servers: str
    missing: str


@pytest.fixture(scope="session")
def shared_kafka() -> Iterator[SharedKafka]:
    """A real Kafka for all tests, started when the first one asks; no test may harm it."""
    if external := external_kafka():
        yield SharedKafka(external, "")
        return
    folder = temporary_folder()
    try:
        with KafkaServer(folder, trains=True) as server:
            yield SharedKafka(server.bootstrap_servers, "")
            server.train()
    except NoKafkaError as reason:
        yield SharedKafka("", str(reason))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def real_kafka_url(shared_kafka: SharedKafka) -> str:
    """The URL of a real Kafka, with no topics and no groups."""
    require("real_kafka", shared_kafka.missing)
    wipe_now(shared_kafka.bootstrap_servers)
    return f"kafka://{shared_kafka.bootstrap_servers}"


@pytest.fixture
def kafka_url(request: pytest.FixtureRequest, shared_kafka: SharedKafka) -> Iterator[str]:
    """The URL of a Kafka without groups and records: a real one, else a mock cluster (which has the usual topics).

    A test marked `real_kafka` takes no mock.
    """
    if not shared_kafka.missing or request.node.get_closest_marker("real_kafka"):
        yield request.getfixturevalue("real_kafka_url")
        return
    if required("kafka"):
        require("kafka", shared_kafka.missing)
    try:
        cluster = MockCluster()
    except ImportError:
        require("kafka", f"{shared_kafka.missing}; and no confluent-kafka for a mock cluster")
    stood_in("kafka", f"a mock cluster stood in: {shared_kafka.missing}")
    yield cluster.url


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    """A real Kafka of this test's own, started, to be killed and paused."""
    folder = temporary_folder()
    try:
        server = KafkaServer(folder)
    except NoKafkaError as reason:
        shutil.rmtree(folder)
        require("real_kafka", str(reason))
        raise
    try:
        with server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def secure_kafka() -> Iterator["SecureKafka"]:
    """A Kafka with TLS, passwords, certificates and ACLs."""
    from support.secure_kafka import SecureKafka  # noqa: PLC0415 - confluent-kafka is not there on every machine

    folder = temporary_folder()
    try:
        with SecureKafka(folder) as server:
            yield server
    except NoKafkaError as reason:
        require("real_kafka", str(reason))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def quiet() -> Iterator[None]:
    """What our own emitters and streams say of a log that comes and goes is not for the one who reads the figures."""
    with capture_logs():
        yield


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an embedded log that does not exist yet."""
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty log: once the embedded one, once Kafka."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real chromium without a window; the one that can have none is first, as it takes half the work.

    While it is there its module cannot run event loops of its own.
    """
    chromium = require_program("browser", "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(chromium), args=list(CHROMIUM_FLAGS))
        yield launched
        launched.close()


def pytest_configure() -> None:
    """Let commands print as wide as they like: pytest-xdist tells its workers a width, which they would inherit."""
    os.environ.pop("COLUMNS", None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what this machine could not run."""
    if lines := summary():
        terminalreporter.section("not run on this machine")
        for line in lines:
            terminalreporter.line(line)
