"""Nothing secret, and nobody's data, is told: not in diagnostics at their most talkative, nor metrics, nor arguments.

What must not be told is planted, and all roles are driven through failures.
"""

import json
import socket
import subprocess
import sys
import threading
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

import jwt
import pytest
import requests
from support.aio import soon
from support.collector_double import PATH, CollectorDouble, hang, late, status
from support.processes import children
from support.snowbus import COMMAND, Process, environment, snowbus

SECRETS = {
    "collector_user": "planted-collector-user",
    "collector_password": "planted-collector-password",
    "collector_header": "planted-collector-header",
    "api_key": "planted-api-key-0123456789abcdef",
    "wrong_api_key": "planted-wrong-api-key-0123456789",
    "token": "planted-gateway-token-0123456789",
    "wrong_token": "planted-wrong-token",
    "jwt_secret": "planted-jwt-secret-0123456789-0123456789",
    "sasl_password": "planted-sasl-password",
    "cookie": "planted-cookie",
    "network_userid": "5ec7e700-0000-4000-8000-000000000001",
    "user": "planted-user",
    "domain_userid": "planted-domain-userid",
    "email": "planted@shop.example",
    "ip": "203.0.113.77",
    "forwarded": "203.0.113.78",
    "query": "planted-query",
    "payload": "planted-payload",
    "referer": "planted-referer",
    "answer": "planted-answer",
    "handler": "planted-handler",
}
EVENT = {
    "e": "ue",
    "p": "web",
    "tv": "test",
    "aid": "shop",
    "uid": SECRETS["user"],
    "duid": SECRETS["domain_userid"],
    "nuid": SECRETS["network_userid"],
    "ip": SECRETS["ip"],
    "url": f"https://shop.example/?email={SECRETS['email']}&q={SECRETS['query']}",
    "ue_pr": json.dumps(
        {
            "schema": "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
            "data": {"schema": "iglu:com.acme/added/jsonschema/1-0-0", "data": {"sku": SECRETS["payload"]}},
        }
    ),
}
SENT = {
    "Cookie": f"sp={SECRETS['network_userid']}; session={SECRETS['cookie']}",
    "Referer": f"https://shop.example/{SECRETS['referer']}",
    "X-Forwarded-For": SECRETS["forwarded"],
    "Content-Type": "application/json",
}
DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
HANDLER = """
from snowbus.consumers import Retry, consumer

@consumer("snowbus.events", group_id="failing", retries=1, backoff=0.01)
async def fail(record):
    int(record.payload["uid"])
"""
EMITTING = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from snowbus.producers.emitters import BusEmitter, CollectorEmitter
event, collector, spool = eval(sys.stdin.read())
def raises(outcome):
    raise ValueError(event["uid"])
emitters = [
    BusEmitter("http://127.0.0.1:9", max_queued=2, spool=spool, on_outcome=raises),
    BusEmitter("kafka://127.0.0.1:9?security_protocol=SASL_PLAINTEXT&sasl_username=u&sasl_password=planted-sasl-password"),
    CollectorEmitter(collector, max_queued=2),
    BusEmitter("memory:planted"),
]
for emitter in emitters:
    for number in range(20):
        emitter.input(event)
    emitter.input({"e": object, 3: event["uid"]})
    emitter.input({**event, "ue_pr": event["uid"] * 500_000})
for emitter in emitters:
    emitter.close(0.3)
"""


def body_of(*events):
    return json.dumps({"schema": DATA, "data": events})


class HangsUp:
    """A server that takes connections and closes them, as a broker does that wants none of our credentials."""

    def __enter__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self):
        try:
            while True:
                self._socket.accept()[0].close()
        except OSError:
            pass

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Told:
    """Everything that anybody may read: by where it was told."""

    def __init__(self):
        self.texts = []

    def add(self, where, text):
        self.texts.append((where, text))

    def add_process(self, process):
        for pid in {process.pid, *children(process.pid)}:
            self.add(f"arguments of {pid}", Path(f"/proc/{pid}/cmdline").read_bytes().decode())

    def add_answers(self, address):
        for path in ("/metrics", "/health", "/ready"):
            self.add(path, requests.get(address + path, timeout=10).text)

    def found(self):
        return [
            (name, where, text[max(0, text.index(secret) - 200) : text.index(secret) + 80])
            for where, text in self.texts
            for name, planted in SECRETS.items()
            for secret in {planted, urllib.parse.quote(planted, safe="")}
            if secret in text
        ]


@pytest.fixture
def stack():
    with ExitStack() as found:
        yield found


@pytest.fixture
def collector(stack):
    return stack.enter_context(CollectorDouble())


@pytest.fixture(params=["json", "human"])
def logging_format(request):
    return request.param


@pytest.fixture
def settings(tmp_path, collector):
    keys = tmp_path / "keys"
    keys.write_text(f"shop {SECRETS['api_key']}\n")
    credentials = f"{SECRETS['collector_user']}:{SECRETS['collector_password']}@"
    (tmp_path / "failing.py").write_text(HANDLER)
    return {
        "log": f"sqlite:///{tmp_path}/log.db",
        "logging_level": "debug",
        "collector": collector.url.replace("://", f"://{credentials}"),
        "collect_headers": f"X-Secret: {SECRETS['collector_header']}",
        "collect_backoff": "0.05",
        "collect_backoff_max": "0.2",
        "collect_timeout": "0.3",
        "collect_refusals": "100",
        "ingest_api_keys_file": str(keys),
        "ingest_trusted_proxies": "127.0.0.1",
        "ingest_max_body_bytes": "20000",
        "gateway_tokens": SECRETS["token"],
        "gateway_jwt_secret": SECRETS["jwt_secret"],
        "kafka_sasl_username": "shop",
        "kafka_sasl_password": SECRETS["sasl_password"],
        **{f"{role}_listen": "127.0.0.1:0" for role in ("ingest", "collect", "gateway", "consume")},
    }


def send_what_is_bad(address):
    """Events that are good, bad, broken, too large and not allowed; with keys in a header, in the URL, and wrong."""
    url, key = address + PATH, {"X-API-Key": SECRETS["api_key"]}
    invalid = {**EVENT, "dtm": SECRETS["payload"], "cx": SECRETS["payload"]}
    bodies = [
        body_of(EVENT, {**EVENT, "uid": f"{SECRETS['user']}-2"}),
        body_of(EVENT, invalid, {"e": SECRETS["payload"]}, 3),
        body_of(EVENT)[:-20],
        SECRETS["payload"],
        body_of({**EVENT, "page": SECRETS["payload"] * 2000}),
        json.dumps({"schema": SECRETS["payload"], "data": EVENT}),
    ]
    answers = [requests.post(url, body, headers={**SENT, **key}, timeout=10).status_code for body in bodies]
    requests.post(url, bodies[0], headers={**SENT, **key, "Content-Type": SECRETS["payload"]}, timeout=10)
    requests.post(url, bodies[0], headers={**SENT, "X-API-Key": SECRETS["wrong_api_key"]}, timeout=10)
    requests.post(url, bodies[0], headers={**SENT, **key, "traceparent": SECRETS["query"]}, timeout=10)
    for name in ("api_key", "wrong_api_key"):
        query = {**EVENT, "api_key": SECRETS[name]}
        requests.get(f"{address}/i", query, headers=SENT, timeout=10)
    requests.get(f"{address}/{SECRETS['query']}", {"q": SECRETS["query"]}, headers={**SENT, **key}, timeout=10)
    return answers


def read_what_is_bad(address):
    """Readers with a token that is wrong, badly signed or expired, with filters that are bad; and one that may read."""
    old = jwt.encode({"exp": 1, "sub": SECRETS["user"], "scope": "events"}, SECRETS["jwt_secret"], "HS256")
    other = jwt.encode({"exp": 4e9, "sub": SECRETS["user"]}, SECRETS["wrong_token"] * 3, "HS256")
    statuses = []
    for token in (SECRETS["wrong_token"], old, other, f"{SECRETS['wrong_token']}.x.y"):
        asked = {"token": token, "q": SECRETS["query"]}
        statuses.append(requests.get(f"{address}/v1/events", asked, timeout=10).status_code)
        shown = {"Authorization": f"Bearer {token}", "Cookie": SENT["Cookie"]}
        statuses.append(requests.get(f"{address}/api/requests/http", headers=shown, timeout=10).status_code)
    right = {"Authorization": f"Bearer {SECRETS['token']}"}
    queries = (f"user_id={SECRETS['user']}&schema={SECRETS['query']}", f"{SECRETS['query']}=1")
    statuses += [requests.get(f"{address}/v1/events?{each}", headers=right, timeout=10).status_code for each in queries]
    assert requests.get(f"{address}/api/requests/http", headers=right, timeout=10).status_code == 200
    return statuses


def test_no_role_tells_what_is_secret_or_somebodys(logging_format, stack, collector, settings, tmp_path):
    told, variables = Told(), environment(**settings, logging_format=logging_format)
    answer = SECRETS["answer"] + json.dumps(EVENT)
    collector.respond(status(500, answer), hang(0.1), late(1.0), status(400, answer), status(400, answer))
    commands = {
        "ingest": ("ingest",),
        "collect": ("collect", "--workers", "2") if logging_format == "json" else ("collect",),
        "gateway": ("gateway",),
        "consume": ("consume", "failing:fail"),
    }
    processes = {
        role: stack.enter_context(Process(*command, program=COMMAND, cwd=tmp_path, variables=variables))
        for role, command in commands.items()
    }
    assert send_what_is_bad(processes["ingest"].address("ingest")) == [200, 200, 400, 400, 413, 400]
    assert set(read_what_is_bad(processes["gateway"].address("gateway"))) <= {400, 401, 403, 426}
    soon(lambda: len(collector.requests) > 5)
    soon(lambda: any("dead letter" in line for line in processes["consume"].diagnostics))
    for role in ("ingest", "gateway", "collect", "consume"):
        told.add_answers(processes[role].address(role))
        told.add_process(processes[role])
    for command in (("status",), ("status", "--json"), ("topics",)):
        shown = snowbus(*command, cwd=tmp_path, settings=settings)
        told.add(" ".join(command), shown.stdout + shown.stderr)
    for role, process in processes.items():
        process.stop()
        told.add(role, "".join(process.diagnostics) + process.text)
    assert told.found() == []


def test_neither_does_one_that_kafka_refuses(stack, settings, tmp_path):
    told = Told()
    broker = stack.enter_context(HangsUp())
    settings = {**settings, "log": f"kafka://{broker.address}", "kafka_security_protocol": "SASL_PLAINTEXT"}
    settings["append_timeout"] = "0.5"
    for role in ("ingest", "collect", "gateway"):
        process = stack.enter_context(Process(role, cwd=tmp_path, variables=environment(**settings)))
        address = process.address(role)
        if role == "ingest":
            key = {"X-API-Key": SECRETS["api_key"]}
            assert requests.post(address + PATH, body_of(EVENT), headers={**SENT, **key}, timeout=10).status_code == 503
        soon(lambda shown=process: any("away" in line or "takes nothing" in line for line in shown.diagnostics))
        told.add_answers(address)
        process.stop()
        told.add(role, "".join(process.diagnostics) + process.text)
    shown = snowbus("status", cwd=tmp_path, settings=settings)
    told.add("status", shown.stdout + shown.stderr)
    assert told.found() == []


def test_nor_an_emitter_in_an_app(collector, settings, tmp_path):
    told = Told()
    collector.always(status(400, SECRETS["answer"]))
    given = repr((EVENT, settings["collector"], str(tmp_path / "spool")))
    command = [sys.executable, "-c", EMITTING]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=True)
    assert "events lost" in done.stderr
    assert "on_outcome raised" in done.stderr
    told.add("emitters", done.stdout + done.stderr)
    assert told.found() == []
