"""How far a verification is, live on stderr when that is a terminal; nothing otherwise."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from snowbus.consumers.verify.outcome import Outcome
from snowbus.consumers.verify.report import checks

from .terminal import printable

_OPEN = ("missing", "too_few", "not_seen")  # they may still come


class LiveView:
    """The checks of a plan, each on a line that changes while events come; it is gone when the report is printed."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._live = Live(console=console, transient=True, auto_refresh=False, redirect_stdout=False)
        self._is_shown = console.is_terminal

    def __enter__(self) -> Self:
        if self._is_shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_shown:
            self._live.stop()

    def show(self, outcome: Outcome) -> None:
        """Show how it stands."""
        if self._is_shown:
            self._live.update(_lines(outcome), refresh=True)


def _lines(outcome: Outcome) -> Text:
    lines = [Text(printable(f"{outcome.plan}: {outcome.events} events"), style="bold")]
    for check in checks(outcome):
        mark = "✓" if check.is_ok else "…" if check.status in _OPEN else "✗"
        style = "green" if check.is_ok else "dim" if check.status in _OPEN else "red"
        lines.append(Text(printable(f"  {mark} {check.name}  {check.summary}"), style=style))
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
