"""Plans: which events are expected, held against those that come. `snowbus verify` and the pytest plugin run them."""

from .events import Events
from .outcome import Outcome
from .plan import Plan
from .plan_text import as_plan, parse_plan_text, read_plan
from .report import report_json, report_lines
from .seen import Seen
from .verification import Verification

__all__ = [
    "Events",
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
