"""What Snowbus says of itself is said by `logging`, and by nothing else until somebody asks for it."""

import logging
import subprocess
import sys

import pytest

from snowbus.bus.diagnostics import Diagnostics


def test_a_line_is_a_record_of_logging_with_its_facts_in_words_and_apart(caplog: pytest.LogCaptureFixture) -> None:
    Diagnostics("snowbus.test").warning("the log is away", reason="refused", waiting=3)
    (record,) = caplog.records
    assert record.getMessage() == "the log is away (reason=refused, waiting=3)"
    assert (record.name, record.levelno, record.filename) == ("snowbus.test", logging.WARNING, "test_diagnostics.py")
    assert (record.sentence, record.facts) == ("the log is away", {"reason": "refused", "waiting": 3})


def test_an_exception_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("of no use")
    except ValueError:
        Diagnostics("snowbus.test").exception("a reader failed")
    assert "ValueError: of no use" in caplog.text


def test_in_a_program_that_configures_nothing_warnings_go_to_stderr_alone() -> None:
    script = 'from snowbus.bus.diagnostics import Diagnostics as D; D("a").info("well"); D("a").warning("not", at=1)'
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("", "not (at=1)\n")
