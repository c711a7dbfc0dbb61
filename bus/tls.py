"""Reads what a client needs for TLS, and secrets, from files; what cannot work is told with its setting."""

import ssl
from pathlib import Path

from .errors import ConfigurationError


def client_context(
    prefix: str, *, cafile: str, certfile: str = "", keyfile: str = "", key_password_file: str = ""
) -> ssl.SSLContext:
    """How a client makes sure of a server, and shows who it is. `prefix` begins the names of the settings.

    Raises ConfigurationError.
    """
    try:
        context = ssl.create_default_context(cafile=cafile or None)
    except OSError as error:
        raise ConfigurationError(f"{prefix}_ssl_cafile: {cafile}: {_reason(error, 'no certificate in it')}") from None
    if keyfile and not certfile:
        raise ConfigurationError(f"{prefix}_ssl_keyfile is the key to a certificate: name it, {prefix}_ssl_certfile")
    if certfile:
        password = read_secret(f"{prefix}_ssl_key_password_file", key_password_file) if key_password_file else ""
        try:
            context.load_cert_chain(certfile, keyfile or None, password=lambda: password)  # unless told, OpenSSL asks
        except (OSError, ValueError) as error:
            files = f"{certfile} and {keyfile}" if keyfile else certfile
            wrong = "no certificate and key that fit together; or the key's password is wrong, or missing"
            told = _reason(error, wrong)
            raise ConfigurationError(
                f"{prefix}_ssl_certfile: {files}: {told} ({prefix}_ssl_keyfile, {prefix}_ssl_key_password_file)"
            ) from None
    return context


def read_secret(setting: str, path: str) -> str:
    """The one line of a file. Raises ConfigurationError."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(f"{setting}: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{setting}: {path} is not text in UTF-8") from None
    if len(lines) != 1 or not lines[0]:
        raise ConfigurationError(f"{setting}: {path} must hold one line")
    return lines[0]


def _reason(error: Exception, unless_known: str) -> str:
    """What the operating system says; OpenSSL names only the place in its code."""
    known = isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.strerror
    return str(known or unless_known)
