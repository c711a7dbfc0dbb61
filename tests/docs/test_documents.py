"""What the documents tell a reader to run is run: every block of shell and Python, in order, on a real log.

A test is a heading. It runs what stands under it, and before it whatever of its document has not been run.
"""

import json
import re

import pytest
import yaml
from support.collector_double import CollectorDouble
from support.documents import DOCUMENTS, JAVASCRIPT, PYTHON, SHELL, read_sections
from support.walkthrough import Walkthrough

SECTIONS = {path.name: read_sections(path) for path in DOCUMENTS}
BLOCKS = [block for sections in SECTIONS.values() for section in sections for block in section.blocks]


def runnable(section):
    return any(block.language in SHELL | PYTHON | JAVASCRIPT and block.note != "not run" for block in section.blocks)


@pytest.fixture(scope="module")
def walkthroughs(tmp_path_factory):
    """The walk through each document, as far as it has come."""
    with CollectorDouble() as collector:
        found = {}
        for name, sections in SECTIONS.items():
            folder = tmp_path_factory.mktemp("document") / "folder"
            folder.mkdir()
            found[name] = Walkthrough(sections, folder, collector=collector.url)
        yield found
        for walkthrough in found.values():
            walkthrough.close()


@pytest.mark.parametrize("section", [s for each in SECTIONS.values() for s in each if runnable(s)], ids=str)
def test_what_a_document_says_to_run_runs(walkthroughs, section):
    walkthroughs[section.document].follow(section)


def test_json_in_a_document_is_json():
    blocks = [block for block in BLOCKS if block.language == "json"]
    assert blocks
    for block in blocks:
        json.loads(block.text)


def test_every_block_says_what_it_is():
    known = SHELL | PYTHON | JAVASCRIPT | {"json", "text", "toml", "yaml", "ini", "dockerfile", "html", "php", "go"}
    assert [block.place for block in BLOCKS if block.language not in known] == []


def test_nothing_says_to_install_from_an_index_where_there_is_no_package_of_ours():
    assert [block.place for block in BLOCKS if re.search(r"pip install\b.*[ ']snowbus\b", block.text)] == []


def test_a_file_that_is_written_down_is_used():
    """A block that is a file runs when a command, or another file, names it."""
    texts = {block.place: block.text for block in BLOCKS if block.language in SHELL or block.file_name}
    for block in BLOCKS:
        if block.file_name.endswith(".py"):
            others = " ".join(text for place, text in texts.items() if place != block.place)
            assert block.file_name.rpartition("/")[2].removesuffix(".py") in others, block.place


def test_the_job_for_ci_runs_what_its_page_has_run():
    (job,) = [yaml.safe_load(block.text) for block in BLOCKS if block.file_name == "tracking.yaml"]
    lines = " ".join(step.get("run", "") for step in job["jobs"]["plan"]["steps"])
    told = [block.text for section in SECTIONS["plan-in-ci.md"] for block in section.blocks if block.language in SHELL]
    commands = [line for text in told for line in text.splitlines() if line.startswith("snowbus")]
    assert len(commands) == 2
    assert all(command in lines for command in commands)
