"""Options of emitters are checked where an emitter is made, as nobody is there to hear of them in its thread."""

import math

from snowbus.bus.errors import ConfigurationError


def check_text(name: str, value: object) -> None:
    """Raise ConfigurationError for what is no text, as a variable of the environment that is not set."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a text; it is {value!r}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ConfigurationError for what is none of the choices."""
    if value not in choices:
        raise ConfigurationError(f"{name} {value!r} is not one of {', '.join(choices)}")


def check_whole(name: str, value: object, *, least: int) -> None:
    """Raise ConfigurationError for what is no whole number, or too small."""
    if not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} must be at least {least}, as a whole number; it is {value!r}")


def check_seconds(name: str, value: object, *, may_be_zero: bool = False) -> None:
    """Raise ConfigurationError for what is no duration."""
    if not isinstance(value, int | float) or not (0 < value < math.inf or (may_be_zero and value == 0)):
        least = "0 or more" if may_be_zero else "more than 0"
        raise ConfigurationError(f"{name} must be {least} seconds; it is {value!r}")


def check_authorities(path: str, *, secure: bool) -> None:
    """Raise ConfigurationError for a file of authorities that cannot be used, or that nobody would ask."""
    if not path:
        return
    if not secure:
        raise ConfigurationError("ssl_cafile is for https://; over http:// no certificate is looked at")
    import ssl  # noqa: PLC0415 - for those who need it

    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise ConfigurationError(f"ssl_cafile {path}: {error.strerror or error}") from None
