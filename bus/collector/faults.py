"""What went wrong between us and a collector, as a sentence: the one place where errors of aiohttp and TLS are read."""

import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp

from .verdicts import NoAnswer

_OTHER_NAME = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, …_IP_ADDRESS_MISMATCH; Python has no names for them
_EXPIRED = 10
_NOT_YET_VALID = 9
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
_LONGEST = 200


def no_answer(error: Exception, *, host: str) -> NoAnswer | None:
    """What an error of a request to a host says, or None for one that is no fault of the network or the other side.

    Timeouts are the caller's to tell, who knows what they were.
    """
    for kind, say in _SENTENCES:
        if isinstance(error, kind):
            return say(error, host)
    return None


def _certificate(error: Exception, host: str) -> NoAnswer:
    code = getattr(error, "verify_code", 0)
    if code in _OTHER_NAME:
        what = f"the certificate is not for {host}; use a name that it is for"
    elif code == _EXPIRED:
        what = "the certificate has expired"
    elif code == _NOT_YET_VALID:
        what = "the certificate is not valid yet, or the clock here is wrong"
    elif code in _UNKNOWN_AUTHORITY:
        what = (
            "the certificate is signed by nobody who is trusted here (collect_ssl_cafile, or ssl_cafile of an emitter)"
        )
    else:
        what = f"the certificate is refused: {getattr(error, 'verify_message', error)}"
    return NoAnswer(f"TLS: {what}", configuration=True)


def _tls(error: OSError, host: str) -> NoAnswer | None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _certificate(cause, host)
    reason = cause.reason or ""
    if reason in _NO_TLS:
        return NoAnswer("TLS: what listens there does not speak it; is http:// meant?", configuration=True)
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return NoAnswer(
            f"TLS: it does not take our certificate (collect_ssl_certfile): {reason.lower()}", configuration=True
        )
    if reason.endswith("ALERT_HANDSHAKE_FAILURE"):
        what = "it refuses us; does it want a certificate of ours (collect_ssl_certfile)?"
        return NoAnswer(f"TLS: {what}", configuration=True)
    return NoAnswer(f"TLS: {reason.lower().replace('_', ' ') or cause}")


def _text(error: OSError) -> str:
    """What the system says. The texts of aiohttp are left out: the whole URL stands in some."""
    if isinstance(error, socket.gaierror):
        return error.strerror or "no address"
    if error.errno:
        return os.strerror(error.errno)
    return "it was closed" if isinstance(error, aiohttp.ClientError | ConnectionError) else str(error)


def _not_http(error: Exception) -> NoAnswer:
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return NoAnswer(f"not HTTP: {text[:_LONGEST] or type(error).__name__}")


_SENTENCES: tuple[tuple[type[Exception], Callable[[Any, str], NoAnswer]], ...] = (
    (aiohttp.ClientConnectorCertificateError, lambda error, host: _certificate(error.certificate_error, host)),
    (
        aiohttp.ClientConnectorDNSError,
        lambda error, _: NoAnswer(f"the name {error.host} is not found: {_text(error.os_error)}"),
    ),
    (
        aiohttp.ClientProxyConnectionError,
        lambda error, _: NoAnswer(f"cannot connect to the proxy: {_text(error.os_error)}"),
    ),
    (
        aiohttp.ClientConnectorError,
        lambda error, host: _tls(error.os_error, host) or NoAnswer(f"cannot connect: {_text(error.os_error)}"),
    ),
    (
        aiohttp.ClientHttpProxyError,
        lambda error, _: NoAnswer(f"the proxy answered {error.status}", configuration=400 <= error.status < 500),
    ),
    (aiohttp.ServerDisconnectedError, lambda *_: NoAnswer("the connection was closed before an answer")),
    (aiohttp.ClientPayloadError, lambda *_: NoAnswer("the answer broke off")),
    (OSError, lambda error, host: _tls(error, host) or NoAnswer(f"the connection broke: {_text(error)}")),
    (aiohttp.ClientError, lambda error, _: _not_http(error)),
    (ValueError, lambda error, _: _not_http(error)),  # what the library makes of some broken answers
)
"""The first that fits counts."""
