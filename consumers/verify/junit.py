"""What came of a verification as JUnit XML: a test case for each thing that the plan asks for."""

import re
from xml.etree import ElementTree as ET

from .outcome import Outcome
from .report import checks

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(outcome: Outcome, *, seconds: float, error: str = "") -> bytes:
    """The report as a JUnit file of one suite, in UTF-8; it took so many seconds. An `error` is why not all could be
    seen: it stands in a test case of its own.
    """
    found = list(checks(outcome))
    failed = sum(not check.is_ok for check in found)
    name = _text(outcome.plan)
    tests, errors = len(found) + bool(error), int(bool(error))
    counts = {"name": name, "tests": str(tests), "failures": str(failed), "errors": str(errors)}
    counts |= {"time": f"{seconds:.3f}"}
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", counts | {"skipped": "0"})
    if error:
        case = ET.SubElement(suite, "testcase", classname=name, name="all events can be read", time="0")
        ET.SubElement(case, "error", type="error", message=_text(error)).text = _text(error)
    for check in found:
        case = ET.SubElement(suite, "testcase", classname=name, name=_text(check.name), time="0")
        if not check.is_ok:
            failure = ET.SubElement(case, "failure", type=check.status, message=_text(check.summary))
            failure.text = _text("\n".join((check.summary, *check.details)))
    ET.indent(suites)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode").encode() + b"\n"


def _text(text: str) -> str:
    """The text without characters that XML cannot hold."""
    return _NOT_XML.sub(lambda found: repr(found[0])[1:-1], text)
