"""A Kafka for the tests: a real broker, run with the machine's Java from jars that Maven resolves, or a mock cluster.

SNOWBUS_TEST_KAFKA=host:port names a broker that runs already; everything on it is deleted, so it must hold nothing
but the topics of tests.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.protocol.group import LeaveGroupRequest

TESTS = Path(__file__).parents[1]
BUILD = TESTS.parent / "build" / "kafka"
TOPICS = ("snowbus.events", "snowbus.bad", "snowbus.dead", "snowbus.deliveries")
TEST_PREFIXES = ("snowbus.", "test.")

_START_TIMEOUT = 60.0
_POLL = 0.02


class NoKafkaError(Exception):
    """There can be no Kafka here; says why."""


class KafkaServer:
    """A real broker in a process of its own, on a port and in a folder that it keeps when it is started again.

    It dies with the process that made it: a shell stands between, which kills it when its standard input ends.
    """

    def __init__(
        self, folder: Path, *, trains: bool = False, node: int = 1, joins: "KafkaServer | None" = None
    ) -> None:
        self.folder = folder
        self.port, self._controller_port = free_ports(2)
        self._classpath = classpath()
        self._shell: subprocess.Popen[str] | None = None
        self.pid = 0
        (folder / "data").mkdir(parents=True, exist_ok=True)
        self._trains = trains and not _archive().exists()
        (folder / "data" / "meta.properties").write_text(
            f"version=1\ncluster.id=c25vd2J1cy10ZXN0cy0wMQ\nnode.id={node}\n"
        )
        self.properties = self._properties(node, joins or self)

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"kafka://{self.bootstrap_servers}"

    def start(self, *, wait: bool = True) -> None:
        """Start the process with its properties; unless told otherwise, return once the broker answers."""
        lines = [f"{name}={value}\n" for name, value in self.properties.items()]
        (self.folder / "server.properties").write_text("".join(lines))
        java = "java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        classes = "ArchiveClassesAtExit" if self._trains else "SharedArchiveFile"
        archive = self.folder / "classes.jsa" if self._trains else _archive()
        broker = f'{java} -XX:{classes}="$4" -cp "$1" kafka.Kafka "$2" </dev/null >>"$3" 2>&1'
        supervised = f"{broker} & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null"
        self._shell = subprocess.Popen(
            ["sh", "-c", supervised, "sh", self._classpath, self.folder / "server.properties", self._output, archive],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for pytest, which stops us when it is done
        )
        assert self._shell.stdout is not None
        self.pid = int(self._shell.stdout.readline())
        if wait:
            self.wait()

    def wait(self) -> None:
        """Return once the broker answers and takes part in its cluster."""
        deadline = time.monotonic() + _START_TIMEOUT
        while not brokers(self.bootstrap_servers):
            if time.monotonic() > deadline or not _alive(self.pid):
                output = self._output.read_text()[-4000:]
                self.kill()
                raise NoKafkaError(f"the broker did not start:\n{output}")
            time.sleep(_POLL)

    def kill(self) -> None:
        """End the process at once, as a crash does (SIGKILL); returns when it is gone."""
        if self._shell is None:
            return
        shell, self._shell = self._shell, None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        shell.communicate()  # ends its input; it reaps the broker

    def train(self) -> None:
        """Stop, and leave an archive of Java's classes behind that halves the time to start the next broker."""
        if not self._trains:
            return
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + _START_TIMEOUT
        while _alive(self.pid) and time.monotonic() < deadline:
            time.sleep(_POLL)
        with contextlib.suppress(OSError):  # it is only for speed
            shutil.move(self.folder / "classes.jsa", _archive().with_suffix(f".{os.getpid()}"))
            _archive().with_suffix(f".{os.getpid()}").replace(_archive())

    def restart(self) -> None:
        """Start again on the same port and folder; returns once the broker answers."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze the process: its sockets stay open and answer nothing (SIGSTOP); returns once all threads stand."""
        os.kill(self.pid, signal.SIGSTOP)
        while not _stopped(self.pid):
            time.sleep(_POLL / 10)

    def resume(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def _output(self) -> Path:
        return self.folder / "output.txt"

    def _properties(self, node: int, controller: "KafkaServer") -> dict[str, Any]:
        listeners = [f"PLAINTEXT://127.0.0.1:{self.port}"]
        if controller is self:
            listeners.append(f"CONTROLLER://127.0.0.1:{self._controller_port}")
        return {
            "process.roles": "broker,controller" if controller is self else "broker",
            "node.id": node,
            "controller.quorum.voters": f"1@127.0.0.1:{controller._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join(listeners),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "true",  # the default in the wild; we must not lean on it
            "num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 100,
            # After a crash the controller fences the broker until its old session has ended.
            "broker.session.timeout.ms": 1000,
            "broker.heartbeat.interval.ms": 200,
            "file.delete.delay.ms": 1000,
        }


class MockCluster:
    """librdkafka's mock cluster, in this process: it speaks the protocol, but makes topics only by being asked."""

    def __init__(self) -> None:
        from confluent_kafka import Producer  # noqa: PLC0415 - wanted on the last rung of the ladder only

        self._owner = Producer(
            {"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "logger": discard, "log_level": 0}
        )
        broker = next(iter(self._owner.list_topics(timeout=10).brokers.values()))
        self.bootstrap_servers = f"{broker.host}:{broker.port}"
        for topic in TOPICS:
            self._owner.list_topics(topic, timeout=10)

    @property
    def url(self) -> str:
        return f"kafka://{self.bootstrap_servers}"


def external_kafka() -> str:
    """The bootstrap servers in SNOWBUS_TEST_KAFKA, or an empty string. Raises AssertionError when they are silent."""
    servers = os.environ.get("SNOWBUS_TEST_KAFKA", "")
    assert not servers or brokers(servers), f"SNOWBUS_TEST_KAFKA={servers}, where no Kafka answers"
    return servers


def classpath() -> str:
    """The class path of Kafka's jars, as Maven resolves tests/pom.xml. Raises NoKafkaError."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise NoKafkaError(f"no {program} on the PATH")
    pom = TESTS / "pom.xml"
    cached = BUILD / f"classpath-{_jars()}.txt"
    if cached.exists() and all(map(os.path.exists, cached.read_text().split(os.pathsep))):
        return cached.read_text()
    BUILD.mkdir(parents=True, exist_ok=True)
    fresh = BUILD / f"classpath-{os.getpid()}.txt"
    outputs = []
    for offline in (["--offline"], []):
        command = ["mvn", *offline, "-q", "-B", "-f", pom, "dependency:build-classpath", f"-Dmdep.outputFile={fresh}"]
        maven = subprocess.run(command, capture_output=True, text=True, check=False)
        if maven.returncode == 0:
            fresh.replace(cached)
            return cached.read_text()
        outputs.append(maven.stdout + maven.stderr)
    raise NoKafkaError(f"Maven could not resolve {pom.name}: {' '.join(outputs[-1].split())[:300]}")


def brokers(bootstrap_servers: str) -> int:
    """How many brokers the cluster says it has, asked over a plain socket; 0 when there is no answer."""
    try:
        answer = _asked(bootstrap_servers, 3, 1, struct.pack(">i", 0))  # Metadata v1, of no topic
    except OSError:
        return 0
    return int.from_bytes(answer[:4])


def limit_producer(bootstrap_servers: str, client_id: str, bytes_per_second: int | None) -> None:
    """Give all who append as `client_id` together a quota, or take it away."""
    entity = struct.pack(">i", 1) + _string("client-id") + _string(client_id)
    quota = _string("producer_byte_rate") + struct.pack(">d?", bytes_per_second or 0, bytes_per_second is None)
    body = struct.pack(">i", 1) + entity + struct.pack(">i", 1) + quota + b"\0"
    answer = _asked(bootstrap_servers, 49, 0, body, seconds=10)  # AlterClientQuotas v0
    assert answer[8:10] == b"\0\0", answer


def _string(text: str) -> bytes:
    return struct.pack(f">h{len(text)}s", len(text), text.encode())


def _asked(bootstrap_servers: str, api: int, version: int, body: bytes, *, seconds: float = 1) -> bytes:
    """The body of the answer to a request of Kafka's protocol, over a plain socket."""
    host, _, port = bootstrap_servers.rpartition(":")
    request = struct.pack(">hhi", api, version, 1) + _string("tests") + body
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as answer:
            return answer.read(int.from_bytes(answer.read(4)))[4:]


async def wipe(bootstrap_servers: str) -> None:
    """Delete all groups and topics, and return when they are gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        groups = [group for group, _ in await admin.list_consumer_groups()]
        for group in groups:
            await _delete_group(admin, group)
        topics = [topic for topic in await admin.list_topics() if not topic.startswith("__")]
        foreign = [topic for topic in topics if not topic.startswith(TEST_PREFIXES)]
        assert not foreign, f"{bootstrap_servers} is not for tests only, it has topics {foreign}"
        if topics:
            await _delete_topics(admin, topics)
    finally:
        await admin.close()


async def administer(url: str, work: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> None:
    """Do something as the administrator of the Kafka at a log's URL."""
    admin = AIOKafkaAdminClient(bootstrap_servers=url.removeprefix("kafka://"))
    await admin.start()
    try:
        await work(admin)
    finally:
        await admin.close()


async def delete_topic(url: str, topic: str) -> None:
    """Delete a topic of the Kafka at a log's URL, and return when it is gone."""
    await administer(url, lambda admin: _delete_topics(admin, [topic]))


async def _delete_topics(admin: AIOKafkaAdminClient, topics: list[str]) -> None:
    await admin.delete_topics(topics)
    while set(topics) & set(await admin.list_topics()):  # noqa: ASYNC110 - the broker has to be asked
        await asyncio.sleep(_POLL)


def wipe_now(bootstrap_servers: str) -> None:
    """Delete all groups and topics, and return when they are gone."""
    with ThreadPoolExecutor(1) as thread:  # this one may be in the loop of a browser
        thread.submit(asyncio.run, wipe(bootstrap_servers)).result()


async def _delete_group(admin: AIOKafkaAdminClient, group: str) -> None:
    """Delete a group, with members that an earlier test killed and whose session has not ended yet."""
    node = await admin.find_coordinator(group)
    described: Any = (await admin.describe_consumer_groups([group], group_coordinator_id=node))[0]
    for member in described.to_object()["groups"][0]["members"]:
        await admin._send_request(LeaveGroupRequest(group, member["member_id"]), node)
    deleted = await admin._send_request(DeleteGroupsRequest([group]), node)
    error = for_code(deleted.results[0][1])
    if error.__name__ not in ("NoError", "GroupIdNotFound"):
        raise error(group)


def temporary_folder() -> Path:
    """A fresh folder outside pytest's own, which keeps the last three: a broker's is large."""
    return Path(tempfile.mkdtemp(prefix="snowbus-kafka-"))


def _archive() -> Path:
    """Where the archive of classes is, or will be, for these jars."""
    return BUILD / f"classes-{_jars()}.jsa"


def _jars() -> str:
    return hashlib.sha256((TESTS / "pom.xml").read_bytes()).hexdigest()[:16]


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, outside the range from which clients are given theirs: a broker that is down would not get
    back what a client has meanwhile.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            ports += [] if port in ports else [port]
    return ports


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _stopped(pid: int) -> bool:
    """Whether SIGSTOP has reached every thread of a process; some go on for a moment when the machine is busy."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads)


def discard(*_: object) -> None:
    """A logger that keeps librdkafka quiet."""
