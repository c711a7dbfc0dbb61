"""Plans: which events are expected, held against those that come. `snowbus verify` and the pytest plugin run them."""

from .outcome import Outcome
from .plan import Plan
from .plan_text import as_plan, parse_plan_text, read_plan
from .report import report_json, report_lines
from .seen import Seen
from .verification import Verification

__all__ = [
    "Outcome",
    "Plan",
    "Seen",
    "Verification",
    "as_plan",
    "parse_plan_text",
    "read_plan",
    "report_json",
    "report_lines",
]
