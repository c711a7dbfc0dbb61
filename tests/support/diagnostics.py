"""What Snowbus says of itself while a test looks on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Keeps(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, Any] = getattr(record, "facts", {})
        sentence = getattr(record, "sentence", record.getMessage())
        self.lines.append({**facts, "event": sentence, "log_level": record.levelname.lower()})


@contextmanager
def capture_logs() -> Iterator[list[dict[str, Any]]]:
    """The lines said meanwhile: each its facts, and its sentence and level as `event` and `log_level`."""
    logger, keeps = logging.getLogger("snowbus"), _Keeps()
    level = logger.level
    logger.addHandler(keeps)
    logger.setLevel(logging.DEBUG)
    try:
        yield keeps.lines
    finally:
        logger.removeHandler(keeps)
        logger.setLevel(level)
