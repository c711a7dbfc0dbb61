"""Roles whose schema registry comes and goes: nothing is taken that cannot be written, nothing read dies of it."""

import json
import urllib.error
import urllib.request

import pytest
from support.aio import soon
from support.collector_double import CollectorDouble
from support.schema_registry import double
from support.snowbus import Process, environment, snowbus

from snowbus.cli import exit_codes

pytestmark = pytest.mark.real_kafka

EVENT = {"e": "pv", "uid": "ann", "eid": "8a5e1d0a-6f5b-4d6c-9c1f-2f7c4d1e3a10"}


def asked(url, body=None):
    """The status and the text of an answer."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def running(role, *arguments, folder, **settings):
    variables = environment(**settings, **{f"{role}_listen": "127.0.0.1:0"})
    return Process(role, *arguments, cwd=folder, variables=variables)


def test_ingest_and_the_collector_consumer_wait_for_it(tmp_path, real_kafka_url):
    with double() as registry, CollectorDouble() as collector:
        settings = {"log": real_kafka_url, "kafka_schema_registry": registry.url, "append_timeout": "1"}
        registry.is_away = True
        with running("ingest", folder=tmp_path, **settings) as ingest:
            address = ingest.address("ingest")
            assert asked(f"{address}/tracking", EVENT)[0] == 503
            status, reason = asked(f"{address}/ready")
            assert (status, "the schema registry at" in reason) == (503, True), reason
            registry.is_away = False
            soon(lambda: asked(f"{address}/tracking", EVENT)[0] == 200)
            registry.is_away = True
            assert asked(f"{address}/tracking", EVENT)[0] == 200
            assert ingest.stop() == exit_codes.OK
        with running("collect", "--collector", collector.url, folder=tmp_path, **settings) as collect:
            soon(lambda: any("records with schema 1 wait: the schema registry" in line for line in collect.diagnostics))
            assert collector.requests == []
            registry.is_away = False
            soon(lambda: {payload["eid"] for payload in collector.accepted} == {EVENT["eid"]})
            assert collect.stop() == exit_codes.OK
        dead = snowbus("dead", "list", "--json", cwd=tmp_path, settings=settings)
        assert (dead.returncode, dead.stdout) == (exit_codes.OK, "")
