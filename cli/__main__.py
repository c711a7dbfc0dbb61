"""Where the command begins, as `snowbus` and as `python -m snowbus.cli`: with Ctrl-C, which is quiet from then on."""

import os
import signal

from . import exit_codes


def main() -> None:
    """Run the command line."""
    may_be_interrupted = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if may_be_interrupted:
        signal.signal(signal.SIGINT, lambda *_: os._exit(exit_codes.INTERRUPTED))
    from .main import main as run  # noqa: PLC0415 - a while of imports, of which Ctrl-C would print a traceback

    if may_be_interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
