"""What the command's exit codes mean."""

OK = 0
"""All went well."""

FAILED = 1
"""Something was refused or failed; stderr says what."""

USAGE = 2
"""The command line could not be understood (click's own code)."""

CONFIGURATION = 3
"""A setting cannot work: an address that is taken, a URL that is none, a file that is no log."""

LOG_UNAVAILABLE = 4
"""The log could not be reached, or not in time; the same command may succeed later."""

INTERRUPTED = 130
"""A second Ctrl-C, before everything was drained."""
