"""What Snowbus says of itself: sentences with facts, by the standard library's `logging`.

The command line writes them to stderr, for people or as JSON. In somebody else's program its loggers are among others.
"""

import logging
import sys
import traceback
from typing import Any

_CALLER = 3  # frames up from the call of logging


class Diagnostics:
    """A logger of lines such as `logger.warning("the log is away", reason=str(error))`.

    The message of a record is the sentence and, in brackets, the facts; its attributes `sentence` and `facts` have them
    apart.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, sentence: str, **facts: Any) -> None:
        """Say what helps to find a mistake."""
        self._say(logging.DEBUG, sentence, facts)

    def info(self, sentence: str, **facts: Any) -> None:
        """Say what is as it should be."""
        self._say(logging.INFO, sentence, facts)

    def warning(self, sentence: str, **facts: Any) -> None:
        """Say what somebody should know."""
        self._say(logging.WARNING, sentence, facts)

    def error(self, sentence: str, **facts: Any) -> None:
        """Say what has failed."""
        self._say(logging.ERROR, sentence, facts)

    def exception(self, sentence: str, **facts: Any) -> None:
        """Say what has failed, with the exception that is handled now: what it is, and where it was raised.

        Not what it says: that may quote an event, and with it personal data.
        """
        error = sys.exception()
        frames = "".join(traceback.format_tb(error.__traceback__)) if error else ""
        self._say(logging.ERROR, sentence, {**facts, "error": type(error).__qualname__, "traceback": frames})

    def _say(self, level: int, sentence: str, facts: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            told = ", ".join(f"{name}={value}" for name, value in facts.items())
            message = f"{sentence} ({told})" if told else sentence
            extra = {"sentence": sentence, "facts": facts}
            self._logger.log(level, message, extra=extra, stacklevel=_CALLER)
