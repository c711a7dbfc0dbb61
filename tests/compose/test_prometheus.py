"""The alerts fire when they should; what they and the dashboard ask for, a real Prometheus scrapes from the roles."""

import importlib.util
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from support.aio import soon
from support.collector_double import CollectorDouble
from support.kafka import free_ports
from support.requirements import require_program
from support.snowbus import Process

from snowbus.cli.metrics_docs import metrics

COMPOSE = Path(__file__).parents[2] / "compose"
DASHBOARD = COMPOSE / "grafana" / "dashboards" / "snowbus.json"
JOBS = ("ingest", "collect", "gateway")


def test_the_dashboard_is_what_its_table_says():
    specification = importlib.util.spec_from_file_location("dashboard", COMPOSE / "grafana" / "dashboard.py")
    assert specification
    assert specification.loader
    table = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(table)
    assert DASHBOARD.read_text("utf-8") == table.render(), "run `make docs`"


def test_every_metric_asked_for_is_one_and_every_one_is_asked_for():
    asked = " ".join([*dashboard_queries(), *(rule["expr"] for rule in alert_rules())])
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bsnowbus_\w+", asked)}
    known = {metric.name for metric in metrics()}
    assert not named - known
    assert known - named <= {
        "snowbus_collect_batch_bytes",
        "snowbus_consumer_call_seconds",
        "snowbus_consumer_held",
        "snowbus_consumer_in_flight",
    }, "a metric that nobody looks at"


def test_every_alert_fires_when_it_should_and_only_then():
    """By the cases in alerts_test.yaml, of which each alert has some."""
    cases = yaml.safe_load((COMPOSE / "prometheus" / "alerts_test.yaml").read_text("utf-8"))["tests"]
    tried = [(case["alertname"], bool(case["exp_alerts"])) for each in cases for case in each["alert_rule_test"]]
    assert set(tried) == {(rule["alert"], fires) for rule in alert_rules() for fires in (True, False)}
    promtool = require_program("prometheus", "promtool")
    command = [promtool, "test", "rules", COMPOSE / "prometheus" / "alerts_test.yaml"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus with the rules of compose/, which scrapes `snowbus up` after a few events."""
    program = require_program("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    port = free_ports(1)[0]
    with CollectorDouble() as collector:
        arguments = ("--ingest-listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0", "--collector", collector.url)
        with Process("up", *arguments, cwd=folder) as roles:
            ingest = roles.address("ingest")
            for number in range(3):
                urllib.request.urlopen(f"{ingest}/i?e=pv&p=srv&tv=test&eid={number}", timeout=10).close()
            soon(lambda: len(collector.accepted) == 3)
            with Process(*arguments_of(folder, port, roles), program=program, cwd=folder):
                yield f"http://127.0.0.1:{port}"


def test_prometheus_scrapes_the_roles_and_answers_every_query_of_the_dashboard_and_the_alerts(prometheus: str):
    soon(lambda: value(prometheus, "sum(snowbus_ingest_events_total)") == 3)
    soon(lambda: value(prometheus, "sum(snowbus_collect_delivered_events_total)") == 3)
    soon(lambda: value(prometheus, "count(up == 1)") == len(JOBS))
    assert value(prometheus, "sum(snowbus_log_bytes) > 0")
    for query in [*dashboard_queries(), *(rule["expr"] for rule in alert_rules())]:
        assert ask(prometheus, "query", query=query)["status"] == "success", query
    rules = ask(prometheus, "rules")["data"]["groups"][0]["rules"]
    assert [rule["name"] for rule in rules] == [rule["alert"] for rule in alert_rules()]


def arguments_of(folder: Path, port: int, roles: Process) -> list[str]:
    """The arguments of a Prometheus with the configuration of compose/, at our addresses."""
    configuration = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yaml").read_text("utf-8"))
    configuration["rule_files"] = [str(COMPOSE / "prometheus" / "alerts.yaml")]
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    assert [job["job_name"] for job in configuration["scrape_configs"]] == list(JOBS)
    for job in configuration["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [roles.address(job["job_name"]).removeprefix("http://")]}]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    options = {"config.file": folder / "prometheus.yaml", "storage.tsdb.path": folder / "data"}
    options["web.listen-address"] = f"127.0.0.1:{port}"
    return [f"--{name}={option}" for name, option in options.items()]


def dashboard_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(queries) > 20
    return [query.replace("$__rate_interval", "1m") for query in queries]


def alert_rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((COMPOSE / "prometheus" / "alerts.yaml").read_text("utf-8"))["groups"]
    return list(group["rules"])


def ask(address: str, what: str, **parameters: str) -> Any:
    try:
        with urllib.request.urlopen(f"{address}/api/v1/{what}?{urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return {"data": {"result": []}}


def value(address: str, query: str) -> float | None:
    """The one number that a query comes to; None when there is none yet."""
    found = ask(address, "query", query=query)["data"]["result"]
    return float(found[0]["value"][1]) if found else None
