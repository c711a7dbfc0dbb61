"""Keeps secrets out of arguments, which everyone on a machine sees of its processes."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.log import kafka_url

from .load_settings import environment_name

_URLS = ("collector", "collect_proxy", "log")
_INSTEAD = {"log": "--kafka-sasl-username, and --kafka-sasl-password-file or SNOWBUS_KAFKA_SASL_PASSWORD"}


def refuse_secrets(given: Mapping[str, Any], spelt: Mapping[str, str]) -> None:
    """Raise ConfigurationError for a flag whose value holds a password; `spelt` tells how the flags are spelt."""
    for name in _URLS:
        if any(map(_has_password, _texts(given.get(name)))):
            raise ConfigurationError(
                f"{spelt[name]}: no password can stand there, as everyone on a machine sees the arguments of its "
                f"processes: use {_INSTEAD.get(name) or environment_name(name)}"
            )


def _texts(value: Any) -> Iterable[str]:
    """The URLs of a flag, of which several may be written with commas."""
    values = value if isinstance(value, tuple | list) else (value,) if value else ()
    return (url.strip() for each in values for url in str(each).split(","))


def _has_password(url: str) -> bool:
    try:
        return bool(urlsplit(url).password) or kafka_url.has_password(url)
    except ValueError:
        return False
