"""Every way into a Kafka, what is said of what does not get in, and which rights each role needs there."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from support.aio import eventually, run, soon
from support.collector_double import CollectorDouble
from support.consuming import write_consumer
from support.documents import ROOT, read_tables
from support.logs import numbered, read_on
from support.secure_kafka import ADMIN, PASSWORD
from support.snowbus import Process, environment, snowbus
from websockets.sync.client import connect

from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.log import open_log
from snowbus.bus.settings import Settings
from snowbus.cli import exit_codes

pytestmark = pytest.mark.real_kafka


@pytest.fixture(scope="module")
def client(secure_kafka):
    """A certificate of ours, and its key in a file that a password opens."""
    issued = secure_kafka.authority.issue("client", "DNS:client")
    locked, password = issued.key.with_suffix(".locked"), issued.key.with_suffix(".password")
    password.write_text(f"{PASSWORD}\n")
    command = ["openssl", "pkcs8", "-topk8", "-in", issued.key, "-out", locked, "-passout", f"pass:{PASSWORD}"]
    subprocess.run(command, check=True, capture_output=True)
    return {
        "kafka_ssl_certfile": str(issued.file),
        "kafka_ssl_keyfile": str(locked),
        "kafka_ssl_key_password_file": str(password),
    }


def over_tls(kafka, port, **more):
    return {
        "log": kafka.url_of(port),
        "kafka_security_protocol": "SSL",
        "kafka_ssl_cafile": str(kafka.authority.file),
        **more,
    }


@pytest.mark.parametrize("way", ["TLS", "mutual TLS", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_producers_readers_groups_and_the_admin_come_in(secure_kafka, client, tmp_path, way):
    if way == "TLS":
        given = over_tls(secure_kafka, secure_kafka.tls)
    elif way == "mutual TLS":
        given = over_tls(secure_kafka, secure_kafka.mutual_tls, **client)
    else:
        given = secure_kafka.by_sasl(ADMIN, mechanism=way, password="")
        file = tmp_path / "password"
        file.write_text(PASSWORD)
        given["kafka_sasl_password_file"] = str(file)
    settings = Settings(**given)
    topic = f"test.{way.replace(' ', '-')}"

    async def main():
        async with await open_log(settings.log, settings.log_options()) as log:
            assert [made.partitions for made in await log.create_topics([topic])] == [4]
            await log.append(topic, numbered(3))
            async with await log.join([topic], group_id=topic) as member:
                records = await read_on(member, 3)
                await member.commit({records[-1].topic_partition: 3})
            async with await log.read(await log.beginning_offsets(topic)) as reader:
                assert len(await read_on(reader, 3)) == 3
            assert sum((await log.lag(topic)).values()) == 0

    run(main())


def wrong(kafka, client, folder):
    """What is set wrong, and what must be said of it, by name."""
    other = folder / "other.pem"
    issue = kafka.authority.issue
    expired, stranger = issue("expired", "DNS:client", days=-1), type(kafka.authority)(folder / "other")
    foreign = stranger.issue("foreign", "DNS:client")
    other.write_text(stranger.file.read_text())
    (folder / "wrong").write_text("wrong")

    def with_certificate(certificate):
        return over_tls(
            kafka,
            kafka.mutual_tls,
            kafka_ssl_certfile=str(certificate.file),
            kafka_ssl_keyfile=str(certificate.key),
        )

    return {
        "a wrong password": (kafka.by_sasl(ADMIN, password="wrong-4711"), "does not take our user and password"),
        "a wrong password by SCRAM": (
            kafka.by_sasl(ADMIN, mechanism="SCRAM-SHA-512", password="wrong-4711"),
            "does not take our user and password",
        ),
        "an unknown authority": (
            {**kafka.by_sasl(ADMIN), "kafka_ssl_cafile": str(other)},
            "is not to be trusted, unable to get local issuer certificate: name the authority",
        ),
        "another host": (
            {**over_tls(kafka, kafka.tls), "log": f"kafka://localhost:{kafka.tls}"},
            "certificate is not valid for 'localhost': the names in kafka://",
        ),
        "no certificate of ours": (over_tls(kafka, kafka.mutual_tls), "asks for a certificate of ours: set kafka_ssl"),
        "an expired one": (with_certificate(expired), "refuses our certificate"),
        "one of a stranger": (with_certificate(foreign), "refuses our certificate"),
        "a locked key": (
            {**over_tls(kafka, kafka.mutual_tls, **client), "kafka_ssl_key_password_file": str(folder / "wrong")},
            "or the key's password is wrong",
        ),
        "a file that is not there": (over_tls(kafka, kafka.tls, kafka_ssl_cafile="/no/such.pem"), "No such file"),
        "no TLS to a port with it": (
            {"log": kafka.url_of(kafka.tls)},
            "speaks TLS: set kafka_security_protocol to SSL",
        ),
        "TLS to a port without it": (over_tls(kafka, kafka.port), "speaks no TLS: kafka_security_protocol=PLAINTEXT"),
        "no SASL to a port with it": (
            over_tls(kafka, kafka.sasl),
            "set kafka_security_protocol to SASL_SSL, and kafka_sasl_… (it takes PLAIN, SCRAM-SHA-256, SCRAM-SHA-512)",
        ),
        "SASL to a port without it": (
            {**kafka.by_sasl(ADMIN), "log": kafka.url_of(kafka.tls)},
            "does not ask for a user and password",
        ),
    }


def test_what_keeps_us_out_is_told_in_a_sentence_at_once(secure_kafka, client, tmp_path):
    for name, (settings, told) in wrong(secure_kafka, client, tmp_path).items():
        patient = {**settings, "append_timeout": "3600"}
        answer = snowbus("publish", cwd=tmp_path, stdin='{"e":"pv"}', settings=patient)
        assert answer.returncode == exit_codes.CONFIGURATION, (name, answer.stderr)
        assert told in answer.stderr, (name, answer.stderr)
        lines = answer.stderr.splitlines()
        assert len(lines) == 1, (name, lines)
        assert "4711" not in answer.stderr


def test_a_password_that_is_changed_at_the_broker_is_an_outage_for_those_who_were_let_in(secure_kafka):
    """What is appended and read with it goes on once it is changed back."""
    given = secure_kafka.by_sasl(ADMIN, mechanism="SCRAM-SHA-512")
    settings = Settings(**given, append_timeout=1.0)

    async def main():
        async with await open_log(settings.log, settings.log_options()) as log:
            await log.create_topics(["test.password"])
            await log.append("test.password", numbered(1))
            async with await log.join(["test.password"], group_id="test.password") as member:
                secure_kafka.set_password(ADMIN, "another")
                try:
                    await eventually(lambda: refused(log))
                    with suppress(LogUnavailableError):
                        assert await member.poll() == []
                finally:
                    secure_kafka.set_password(ADMIN, PASSWORD)
                await eventually(lambda: taken(log))
                assert len(await read_on(member, 2)) >= 2

    async def refused(log):
        for connection in log._driver._connections.values():
            connection.close()  # a broker looks at a password when somebody connects
        try:
            await log.append("test.password", numbered(1))
        except LogUnavailableError as error:
            return "user and password" in str(error)
        return False

    async def taken(log):
        with suppress(LogUnavailableError):
            return bool(await log.append("test.password", numbered(1)))
        return False

    run(main())


def test_a_password_is_in_no_arguments_help_or_status(secure_kafka, tmp_path):
    settings = secure_kafka.by_sasl(ADMIN)
    answer = snowbus("status", "--log", f"{settings['log']}?sasl_password={PASSWORD}", cwd=tmp_path)
    assert answer.returncode == exit_codes.CONFIGURATION
    assert "--log: no password can stand there" in answer.stderr
    assert "use --kafka-sasl-username, and --kafka-sasl-password-file or" in answer.stderr
    told = [answer.stderr]
    for arguments in (["status"], ["status", "--json"], ["topics"], ["collect", "--help"]):
        answer = snowbus(*arguments, cwd=tmp_path, settings=settings)
        assert answer.returncode == 0, answer.stderr
        told += [answer.stdout, answer.stderr]
    variables = environment(**settings, logging_level="debug", gateway_listen="127.0.0.1:0")
    with Process("gateway", cwd=tmp_path, variables=variables) as gateway:
        gateway.address("gateway")
        told.append(Path(f"/proc/{gateway.pid}/cmdline").read_text("utf-8"))
        assert gateway.stop() == 0
    assert PASSWORD not in "".join([*told, gateway.text, *gateway.diagnostics])


@pytest.fixture(scope="module")
def granted(secure_kafka, tmp_path_factory):
    """The broker with the usual topics, made by the administrator, and each role's user with the rights of the page."""
    folder = tmp_path_factory.mktemp("admin")
    made = snowbus("topics", "--create", cwd=folder, settings=secure_kafka.by_sasl(ADMIN))
    assert made.returncode == exit_codes.OK, made.stderr
    (rows,) = [rows for rows in read_tables(ROOT / "docs" / "kafka.md") if rows[0] == ["role", "on", "operations"]]
    for role, on, operations in rows[1:]:
        kind = "TOPIC" if on.startswith("topic") else "GROUP"
        for name in re.findall(r"`(.+?)`", on):
            secure_kafka.grant(role.strip("`"), kind, name, *operations.upper().split(", "))
    return secure_kafka


def running(kafka, user, *arguments, folder):
    """A role, as its own user."""
    settings = {**kafka.by_sasl(user), f"{user}_listen": "127.0.0.1:0"}
    return Process(user, *arguments, cwd=folder, variables=environment(**settings))


def test_each_role_does_its_work_with_the_rights_that_the_page_names(granted, tmp_path):
    write_consumer(tmp_path, 'print("handled", record.event_id, flush=True)')
    event = {"e": "pv", "uid": "ann", "eid": "8a5e1d0a-6f5b-4d6c-9c1f-2f7c4d1e3a10"}
    with (
        CollectorDouble() as collector,
        running(granted, "ingest", folder=tmp_path) as ingest,
        running(granted, "gateway", folder=tmp_path) as gateway,
        running(granted, "collect", "--collector", collector.url, folder=tmp_path) as collect,
        running(granted, "consume", "stock", folder=tmp_path) as consume,
    ):
        url = gateway.address("gateway").replace("http", "ws")
        with connect(f"{url}/v1/events?from=earliest") as reader:
            assert json.loads(reader.recv(timeout=20))["type"] == "hello"
            request = urllib.request.Request(f"{ingest.address('ingest')}/tracking", json.dumps(event).encode())
            request.add_header("Content-Type", "application/json")
            soon(lambda: status_of(request) == 200)
            seen = set()
            while not {"event", "delivery"} <= seen:
                seen.add(json.loads(reader.recv(timeout=20))["type"])
        consume.line(f"handled {event['eid']}")
        soon(lambda: [payload["eid"] for payload in collector.accepted] == [event["eid"]])
        answer = snowbus("status", "--json", cwd=tmp_path, settings=granted.by_sasl("status"))
        assert answer.returncode == exit_codes.OK, answer.stderr
        groups = {told["group"] for told in map(json.loads, answer.stdout.splitlines())}
        assert groups == {"collector", "stock"}
        assert [process.stop() for process in (ingest, gateway, collect, consume)] == [0] * 4


def status_of(request):
    try:
        return urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("publish", "Kafka shows no topic snowbus.events, and does not let us create it"),
        ("topics --create test.orders", "kafka-topics.sh --bootstrap-server"),
        ("collect --collector http://127.0.0.1:9 --listen 127.0.0.1:0", "and does not let us create it"),
        ("tail --count 1 --from earliest", "and does not let us create it"),
    ],
)
def test_who_has_no_rights_is_told_at_once(granted, tmp_path, command, told):
    answer = snowbus(*command.split(), cwd=tmp_path, stdin='{"e":"pv"}', settings=granted.by_sasl("nobody"))
    assert answer.returncode == exit_codes.CONFIGURATION, answer.stderr
    assert told in answer.stderr


def test_a_group_that_is_not_ours_is_told(granted, tmp_path):
    arguments = ["--collector", "http://127.0.0.1:9", "--group", "other", "--listen", "127.0.0.1:0"]
    answer = snowbus("collect", *arguments, cwd=tmp_path, settings=granted.by_sasl("collect"))
    assert answer.returncode == exit_codes.CONFIGURATION, answer.stderr
    assert "GroupAuthorizationFailedError" in answer.stderr
    assert "our user lacks a right there: docs/kafka.md lists the ACLs" in answer.stderr
