"""What is written from the contracts is up to date, and what stands beside it is so."""

import re
import urllib.request
from asyncio import run, to_thread
from collections.abc import Iterator

import pytest
from support.documents import DOCUMENTS, ROOT, read_tables
from support.gateway import gateway, publish

from snowbus.bus.log.memory import MemoryLog
from snowbus.cli import http_docs, websocket_docs

HTTP = ROOT / "docs" / "http.md"
PLACES = {"FILTERS": "app_id=shop", "INDEX": "any", "VENDOR/NAME": "dev.snowbus.demo/hello", "VERSION": "1-0-0"}


@pytest.mark.parametrize(
    ("path", "written"), [(HTTP, http_docs), (ROOT / "docs" / "websocket-messages.md", websocket_docs)]
)
def test_a_reference_is_what_the_contract_says(path, written):
    assert path.read_text("utf-8") == written.render(), "run `make docs`"


def gateway_paths() -> Iterator[str]:
    """The paths in the table of what the gateway answers, with real names in the places for some."""
    _, *rows = next(iter(read_tables(HTTP)))
    for path in re.findall(r"`(/[^`]*)`", " ".join(row[0] for row in rows)):
        for place, name in PLACES.items():
            path = path.replace(place, name)  # noqa: PLW2901 - one after the other
        yield path


def test_the_gateway_answers_each_path_of_the_table():
    async def main():
        log = MemoryLog()
        await publish(log, range(1))
        async with gateway(log) as running:

            def statuses() -> dict[str, int]:
                return {path: urllib.request.urlopen(running.address + path).status for path in gateway_paths()}

            found = await to_thread(statuses)
            assert len(found) > 12
            assert set(found.values()) == {200}

    run(main())


@pytest.mark.parametrize(("name", "least"), [("promises.md", 50), ("threat-model.md", 25)])
def test_each_proof_is_a_test(name, least):
    text = (ROOT / "docs" / name).read_text("utf-8")
    proofs = re.findall(r"\[([^]]+)\]\(\.\./(tests/[^)]+)\)", text)
    assert len(proofs) > least
    for words, path in proofs:
        assert f"def test_{words.replace(' ', '_')}(" in (ROOT / path).read_text("utf-8"), words


def test_what_documents_import_is_in_the_reference_of_python():
    reference = (ROOT / "docs" / "python.rst").read_text("utf-8")
    imports = {
        found
        for path in DOCUMENTS
        for found in re.findall(r"^from (snowbus\.\S+) import ([\w, ]+)$", path.read_text("utf-8"), re.MULTILINE)
    }
    assert len(imports) > 15
    for module, names in imports:
        assert f"automodule:: {module}\n" in reference or all(
            re.search(rf":: ({re.escape(module)}\.)?{name}$", reference, re.MULTILINE) for name in names.split(", ")
        ), (module, names)
