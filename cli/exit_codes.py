"""What the command's exit codes mean."""

OK = 0
FAILED = 1
USAGE = 2  # click's own
CONFIGURATION = 3
LOG_UNAVAILABLE = 4
DOES_NOT_FIT = 5
INTERRUPTED = 130

MEANINGS = {
    OK: "All went well.",
    FAILED: "Something was refused or failed; stderr says what.",
    USAGE: "The command line could not be understood, or the plan that `verify` was given.",
    CONFIGURATION: "A setting cannot work: a taken address, a URL that is none, a file that is no log or damaged; or "
    "Kafka does not take our password or certificate, or does not give us a right.",
    LOG_UNAVAILABLE: "The log could not be reached, or not in time; the same command may succeed later.",
    DOES_NOT_FIT: "`verify`: the events do not fit the plan; the report says what is missing or wrong.",
    INTERRUPTED: "A second Ctrl-C, before everything was drained; or `publish` was stopped before the end of stdin.",
}
