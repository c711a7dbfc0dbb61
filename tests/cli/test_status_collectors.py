"""What `snowbus status` tells of the collectors."""

import json
import re
import time

import pytest
from support.aio import run, soon
from support.collector_double import PATH, CollectorDouble, status
from support.consuming import publish
from support.snowbus import Process, environment, snowbus

from snowbus.bus.event import DELIVERIES_TOPIC
from snowbus.bus.log import open_log
from snowbus.cli import exit_codes
from snowbus.consumers.receipts import CollectorState, Report, report_record

pytestmark = pytest.mark.real_kafka  # the mock cluster has no groups

QUICK = ("--backoff", "0.05", "--backoff-max", "30", "--failback", "30", "--listen", "127.0.0.1:0")


def collecting(folder, url, *collectors):
    variables = environment(collector=",".join(collectors))
    return Process("collect", "--log", url, *QUICK, cwd=folder, variables=variables)


def statuses(folder, url):
    """How each collector stands, by its URL."""
    answer = snowbus("status", "--json", "--rate", "0", "--log", url, cwd=folder)
    assert answer.returncode == exit_codes.OK, answer.stderr
    lines = map(json.loads, answer.stdout.splitlines())
    return {each["collector"]: each for line in lines for each in line["collectors"]}


def test_each_collector_is_told_with_its_state_its_error_and_its_next_try(tmp_path, log_url):
    with CollectorDouble() as first, CollectorDouble() as second:
        first.always(status(401))
        url, other = first.url + PATH, second.url + PATH
        secret = first.url.replace("//", "//snow:plough@")
        with collecting(tmp_path, log_url, secret, second.url) as process:
            publish(tmp_path, log_url, "one")
            soon(lambda: second.accepted)
            told = soon(lambda: (found := statuses(tmp_path, log_url)) and found[url]["state"] == "refusing" and found)
            assert told[other]["state"] == "up"
            assert (told[other]["next_try_in"], told[other]["last_error"]) == (None, "")
            assert told[url]["last_error"] == "HTTP 401: it asks for credentials"
            assert 0 < told[url]["next_try_in"] <= 180
            assert told[url]["group"] == "collector"
            answer = snowbus("status", "--log", log_url, cwd=tmp_path)
            assert re.search(rf"\ncollector +{re.escape(url)} +refusing for .* in .* ago\n", answer.stdout)
            assert re.search(rf"\ncollector +{re.escape(other)} +up for .* ago\n", answer.stdout)
            assert f"\n{url}: HTTP 401: it asks for credentials\n" in answer.stdout
            assert "plough" not in answer.stdout
            assert process.stop() == exit_codes.OK


def test_a_collector_is_untried_then_down_until_it_is_back_and_nothing_once_nobody_delivers(tmp_path, sqlite_url):
    with CollectorDouble() as collector:
        with collecting(tmp_path, sqlite_url, collector.url) as process:
            process.address("collect")
            soon(lambda: _state(statuses(tmp_path, sqlite_url), "untried"))
            collector.down()
            publish(tmp_path, sqlite_url, "one")
            told = soon(lambda: (found := statuses(tmp_path, sqlite_url)) and _state(found, "down"))
            assert told["last_error"]
            collector.up()
            soon(lambda: _state(statuses(tmp_path, sqlite_url), "up"))
            assert process.stop() == exit_codes.OK
        (left,) = statuses(tmp_path, sqlite_url).values()
        assert (left["state"], left["state_age"], left["next_try_in"]) == (None, None, None)
        (again,) = statuses(tmp_path, sqlite_url).values()
        assert left["heard_age"] < again["heard_age"]
        answer = snowbus("status", "--log", sqlite_url, cwd=tmp_path)
        assert re.search(rf"\ncollector +{re.escape(collector.url + PATH)} +\d.* ago\n", answer.stdout)


def _state(found, state):
    return next((status for status in found.values() if status["state"] == state), None)


def test_of_a_group_that_is_asked_for_only_its_collectors_are_told(tmp_path, sqlite_url):
    async def main():
        async with await open_log(sqlite_url) as log:
            await log.create_topics([DELIVERIES_TOPIC])
            (place, *_) = await log.partitions(DELIVERIES_TOPIC)
            for group in ("one", "two"):
                state = CollectorState(url=f"https://{group}\x1b[31m", state="up", since=0)
                report = Report(group=group, time=time.time_ns() // 1_000_000, collectors=(state,))
                await log.append(DELIVERIES_TOPIC, [report_record(report)])
                await log.reset_group(group, {place: 0})

    run(main())
    answer = snowbus("status", "--group", "one", "--rate", "0", "--log", sqlite_url, cwd=tmp_path)
    assert "https://one" in answer.stdout
    assert "https://two" not in answer.stdout
    assert "\x1b" not in answer.stdout
