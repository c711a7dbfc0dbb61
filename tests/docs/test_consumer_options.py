"""The table of options in docs/consumers.md: none is missing, none is made up, and the defaults are right."""

import ast
import dataclasses
import inspect
import re

from support.documents import ROOT, read_tables

from snowbus.bus.filters import PARAMETERS
from snowbus.consumers import Consumer, Dedupe
from snowbus.consumers.declare import Options

(TABLE,) = [table for table in read_tables(ROOT / "docs" / "consumers.md") if table[0][0] == "option"]
ROWS = {name: default for names, default, _ in TABLE[1:] for name in re.findall(r"`(\w+)`", names)}


def test_every_option_has_a_row_and_every_row_is_an_option():
    assert ROWS.keys() == Options.__annotations__.keys()


def test_each_default_is_the_real_one():
    real = {field.name: field.default for field in dataclasses.fields(Consumer)}
    for name in ROWS.keys() - {"name", *PARAMETERS}:
        assert ast.literal_eval(ROWS[name].strip("`")) == real[name], name


def test_what_has_no_default_says_what_it_is_instead():
    assert ROWS["name"] == "the function's"
    assert {ROWS[name] for name in PARAMETERS} == {"everything"}


def test_dedupe_remembers_for_as_long_as_the_table_says():
    text = next(meaning for names, _, meaning in TABLE if names == "`dedupe`")
    assert f"hours={inspect.signature(Dedupe).parameters['hours'].default:g}" in text
