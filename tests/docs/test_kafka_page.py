"""The lines of docs/kafka.md for kcat, run on a real Kafka with records of ours."""

import json
import shlex
import subprocess

import pytest
from support.documents import ROOT, read_sections
from support.requirements import require_program
from support.schema_registry import double
from support.snowbus import snowbus

pytestmark = pytest.mark.real_kafka

EVENT = {"e": "pv", "uid": "ann", "aid": "shop", "eid": "8a5e1d0a-6f5b-4d6c-9c1f-2f7c4d1e3a10"}


def kcat_lines():
    (section,) = [each for each in read_sections(ROOT / "docs" / "kafka.md") if each.heading == "kcat"]
    return section.blocks[0].text.splitlines()


def test_kcat_reads_our_records(tmp_path, real_kafka_url):
    program = require_program("kcat", "kcat")
    speaks_avro = "Avro" in subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stdout
    with double() as registry:

        def kcat(line):
            there = real_kafka_url.removeprefix("kafka://")
            line = line.replace("kafka.example:9092", there).replace("http://registry.example", registry.url)
            return subprocess.run(shlex.split(line), check=True, capture_output=True, text=True, timeout=30).stdout

        settings = {"log": real_kafka_url, "kafka_schema_registry": registry.url, "partitions": "1"}
        for arguments in (["topics", "--create"], ["publish"]):
            answer = snowbus(*arguments, cwd=tmp_path, stdin=json.dumps(EVENT), settings=settings)
            assert answer.returncode == 0, answer.stderr
        plain, bad, framed = kcat_lines()
        _, partition, offset, key, headers = kcat(plain).split()
        assert (partition, offset, key) == ("0", "0", "ann")
        told = dict(header.split("=", 1) for header in headers.split(","))
        assert (told["event_id"], told["app_id"], told["event"]) == (EVENT["eid"], "shop", "page_view")
        assert kcat(bad) == ""
        if speaks_avro:
            assert json.loads(kcat(framed))["event_id"] == EVENT["eid"]
