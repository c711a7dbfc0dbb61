"""What docs/websocket.md and the README say of the websocket is what the contract says, and runs in a browser."""

import json

import pytest
from playwright.sync_api import Browser
from support.aio import soon
from support.asyncapi import (
    MESSAGES,
    PARAMETERS,
    check_client_message,
    check_gateway_message,
    message_names,
)
from support.documents import DOCUMENTS, JAVASCRIPT, read_sections, read_tables
from support.snowbus import Process, snowbus

(DOCUMENT,) = [path for path in DOCUMENTS if path.name == "websocket.md"]
SECTIONS = read_sections(DOCUMENT)
JSON_BLOCKS = [block for section in SECTIONS for block in section.blocks if block.language == "json"]
SCRIPTS = [
    block
    for path in DOCUMENTS
    for section in read_sections(path)
    for block in section.blocks
    if block.language in JAVASCRIPT and "WebSocket" in block.text
]


@pytest.mark.parametrize("block", JSON_BLOCKS, ids=lambda block: block.place)
def test_a_message_in_the_document_keeps_the_contract(block) -> None:
    message = json.loads(block.text)
    check = check_gateway_message if message["type"] in message_names("send") else check_client_message
    check(message)


def test_every_message_of_the_contract_is_in_the_document() -> None:
    assert {json.loads(block.text)["type"] for block in JSON_BLOCKS} == set(MESSAGES)


def test_every_parameter_of_the_contract_is_in_the_document() -> None:
    tables = [rows for rows in read_tables(DOCUMENT) if rows[0][0] == "parameter"]
    named = {name.strip("` ") for rows in tables for row in rows[1:] for name in row[0].split(",")}
    assert named == set(PARAMETERS)


@pytest.mark.browser
@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: block.place)
def test_the_script_reads_events_in_a_browser(block, browser: Browser, tmp_path) -> None:
    snowbus("publish", "--schema", "iglu:com.acme/hello/jsonschema/1-0-0", "--set", "app_id=shop", cwd=tmp_path)
    with Process("gateway", "--listen", "127.0.0.1:0", cwd=tmp_path) as process:
        address = process.address("gateway")
        page = browser.new_page()
        page.goto(address)
        printed: list[str] = []
        page.on("console", lambda message: printed.append(message.text))
        script = block.text.replace("127.0.0.1:8081", address.removeprefix("http://"))
        page.evaluate(f"() => {{\n{script}\n}}")
        soon(lambda: page.wait_for_timeout(10) or any(line.startswith("hello snowbus.events~") for line in printed))
        page.close()
        assert process.stop() == 0
