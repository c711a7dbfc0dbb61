"""Reads the URL of a Kafka log: kafka://host:9092,host2:9092?security_protocol=SASL_SSL&sasl_username=…"""

import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from ..errors import ConfigurationError
from ..shown_urls import without_secrets
from ..tls import client_context, read_secret
from .interface import LogOptions

Address = tuple[str, int]

DEFAULT_PORT = 9092
_SECRETS = {"sasl_password"}
_SIGN_IN = "set kafka_sasl_username, and kafka_sasl_password_file or SNOWBUS_KAFKA_SASL_PASSWORD"
_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "partitions": int,
    "replication_factor": int,
    "append_timeout": float,
    "max_record_bytes": int,
    "session_timeout": float,
    "client_id": str,
    "create_topics": str,
    "min_insync_replicas": int,
    "security_protocol": str,
    "ssl_cafile": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_key_password_file": str,
    "sasl_mechanism": str,
    "sasl_username": str,
    "sasl_password": str,
    "sasl_password_file": str,
    "schema_registry": str,
    "schema_registry_mode": str,
    "schema_registry_subjects": str,
    "schema_registry_username": str,
    "schema_registry_password_file": str,
    "schema_registry_ssl_cafile": str,
}
_CHOICES = {
    "create_topics": ("missing", "never"),
    "security_protocol": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "sasl_mechanism": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    "schema_registry_mode": ("register", "look-up"),
    "schema_registry_subjects": ("topic", "record", "topic-record"),
}


def parse_url(url: str, options: LogOptions) -> tuple[list[Address], LogOptions]:
    """The bootstrap servers of a URL, and the options with what its query says in their place.

    Raises ConfigurationError.
    """
    parts = urlsplit(url)
    if parts.scheme == "kafka" and _has_user(url):
        raise ConfigurationError(f"log {without_password(url)!r}: no user can stand there; {_SIGN_IN}")
    if parts.scheme != "kafka" or parts.path.strip("/") or parts.fragment:
        raise ConfigurationError(f"log {without_password(url)!r}: write kafka://host:9092,host2:9092?name=value")
    changes = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _PARAMETERS:
            raise ConfigurationError(f"log: no parameter {name!r}; there are {', '.join(_PARAMETERS)}")
        try:
            changes[name] = _PARAMETERS[name](text)
        except ValueError:
            raise ConfigurationError(f"log: {name}={text!r} is not a number") from None
    options = replace(options, **changes)
    if options.security_protocol.startswith("SASL") and not options.sasl_mechanism:
        options = replace(options, sasl_mechanism="PLAIN")
    _check(options, protocol_from="log" if "security_protocol" in changes else "kafka_security_protocol")
    return [_address(server) for server in parts.netloc.split(",")], options


def ssl_context(options: LogOptions) -> ssl.SSLContext | None:
    """How to make sure of the brokers, and of us, or None without TLS. Raises ConfigurationError."""
    if not options.security_protocol.endswith("SSL"):
        return None
    return client_context(
        "kafka",
        cafile=options.ssl_cafile,
        certfile=options.ssl_certfile,
        keyfile=options.ssl_keyfile,
        key_password_file=options.ssl_key_password_file,
    )


def sasl_password(options: LogOptions) -> str:
    """The password at Kafka, from its file where there is one. Raises ConfigurationError."""
    file = options.sasl_password_file
    return read_secret("kafka_sasl_password_file", file) if file else options.sasl_password


def has_password(url: str) -> bool:
    """Whether a URL holds what must not stand in the arguments of a process, which everyone on the machine can see."""
    return not _SECRETS.isdisjoint(map(_name_of, _parameters(url)))


def without_password(url: str) -> str:
    """The URL of a log without a value that is secret, for messages; what is none has no parameters shown."""
    parameters = _parameters(url)
    if any(_name_of(each) not in _PARAMETERS for each in parameters):
        return without_secrets(url)
    kept = [each for each in parameters if _name_of(each) not in _SECRETS]
    return "?".join([without_secrets(url.partition("?")[0]), *(["&".join(kept)] if kept else [])])


def _has_user(url: str) -> bool:
    """Whether a user, and perhaps a password with any sign in it, stands in front of a host, as in other URLs."""
    address, *rest = re.split("[?#]", url, maxsplit=1)
    return "@" in address or any("@" in _name_of(each) for text in rest for each in text.split("&"))


def _parameters(url: str) -> list[str]:
    return [each for each in url.partition("?")[2].split("&") if each]


def _name_of(parameter: str) -> str:
    """A parameter's name, as it is understood."""
    return unquote_plus(parameter.partition("=")[0])


def _address(server: str) -> Address:
    host, colon, port = server.rpartition(":")
    if not colon or server.endswith("]"):  # an IPv6 address stands in brackets
        host, port = server, str(DEFAULT_PORT)
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(f"log: {server!r} is not HOST:PORT, for example kafka://127.0.0.1:9092")
    return host.strip("[]"), int(port)


def _check(options: LogOptions, *, protocol_from: str) -> None:
    for name, choices in _CHOICES.items():
        value = getattr(options, name)
        if value and value not in choices:
            raise ConfigurationError(f"log: {name}={value!r}; use one of {', '.join(choices)}")
    has_secret = options.sasl_password or options.sasl_password_file
    if options.security_protocol.startswith("SASL") and not (options.sasl_username and has_secret):
        raise ConfigurationError(
            f"{protocol_from}: {options.security_protocol} needs a user and a password; {_SIGN_IN}"
        )
