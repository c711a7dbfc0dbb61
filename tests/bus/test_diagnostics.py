"""What Snowbus says of itself is said by `logging`, and by nothing else until somebody asks for it."""

import logging
import subprocess
import sys

import pytest
from support.diagnostics import capture_logs

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.sparingly import SparingDiagnostics


def test_a_line_is_a_record_of_logging_with_its_facts_in_words_and_apart(caplog: pytest.LogCaptureFixture) -> None:
    Diagnostics("snowbus.test").warning("the log is away", reason="refused", waiting=3)
    (record,) = caplog.records
    assert record.getMessage() == "the log is away (reason=refused, waiting=3)"
    assert (record.name, record.levelno, record.filename) == ("snowbus.test", logging.WARNING, "test_diagnostics.py")
    assert (record.sentence, record.facts) == ("the log is away", {"reason": "refused", "waiting": 3})


def test_of_an_exception_is_told_what_and_where_and_not_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    try:
        int("ann@shop.example")
    except ValueError:
        Diagnostics("snowbus.test").exception("a reader failed")
    assert "a reader failed (error=ValueError, traceback=" in caplog.text
    assert "test_diagnostics.py" in caplog.text
    assert caplog.text.count("ann@") == 1  # in the line of this file


def test_in_a_program_that_configures_nothing_warnings_go_to_stderr_alone() -> None:
    script = 'from snowbus.bus.diagnostics import Diagnostics as D; D("a").info("well"); D("a").warning("not", at=1)'
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("", "not (at=1)\n")


def test_a_line_that_comes_again_and_again_is_said_at_once_and_then_seldom_with_how_many_were_left_out() -> None:
    now = 0.0
    with capture_logs() as lines:
        sparing = SparingDiagnostics(Diagnostics("snowbus.test"), seconds=10.0, clock=lambda: now)
        for each in range(25):
            now = float(each)
            sparing.warning("the log is away", reason="refused")
            sparing.warning("the collector is away", about=f"collector {each % 2}")
    told = [(line["event"], line.get("left_out")) for line in lines]
    assert told[:3] == [("the log is away", None), ("the collector is away", None), ("the collector is away", None)]
    assert [left_out for event, left_out in told if event == "the log is away"] == [None, 9, 9]
    assert [left_out for event, left_out in told if event == "the collector is away"] == [None, None, 4, 4, 4, 4]


def test_what_comes_after_it_is_over_is_said_at_once() -> None:
    with capture_logs() as lines:
        sparing = SparingDiagnostics(Diagnostics("snowbus.test"))
        sparing.warning("the log is away")
        sparing.reset()
        sparing.warning("the log is away")
    assert len(lines) == 2
