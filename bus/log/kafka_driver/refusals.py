"""Finds out why a broker hangs up on us, which Kafka's protocol has no words for: by asking once more, and looking."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator

from ..interface import LogOptions
from ..kafka_url import Address

_SECONDS = 2.0
_ANSWER_BYTES = 1024
_TLS_ALERT = b"\x15"
_ILLEGAL_SASL_STATE = 34
_OTHER_NAME = "the names in kafka://… and in the brokers' advertised.listeners must be the certificate's"
_CURES = {10: "the broker needs a new one", 62: _OTHER_NAME, 64: _OTHER_NAME}
"""By OpenSSL's codes for what is wrong with a certificate (X509_V_ERR_…)."""
_ASKED = b"PLAIN"
# A SaslHandshake, v0: a listener of any kind answers it, given the right TLS, and tells whether it asks for SASL.
_BODY = struct.pack(f">hhihh{len(_ASKED)}s", 17, 0, 1, -1, len(_ASKED), _ASKED)
_QUESTION = struct.pack(">i", len(_BODY)) + _BODY


async def why_refused(address: Address, options: LogOptions, context: ssl.SSLContext | None) -> str:
    """What is set wrong, as a sentence; or an empty string, when nothing is as far as we can see."""
    return await asyncio.to_thread(_why_refused, address, options, context)


def _why_refused(address: Address, options: LogOptions, context: ssl.SSLContext | None) -> str:
    broker = f"{address[0]}:{address[1]}"
    try:
        answer = _answer(address, context)
    except ssl.SSLCertVerificationError as error:
        cure = _CURES.get(error.verify_code, "name the authority that signed it in kafka_ssl_cafile")
        return f"the certificate of {broker} is not to be trusted, {error.verify_message.rstrip('.')}: {cure}"
    except ssl.SSLError as error:
        if told := _alert(str(error.reason), options):
            return f"{broker} {told}"
        answer = b""
    except OSError:
        answer = b""
    if context is None:
        if answer[:1] == _TLS_ALERT or (not answer and _speaks_tls(address)):
            secure = "SASL_SSL" if options.security_protocol.startswith("SASL") else "SSL"
            return f"{broker} speaks TLS: set kafka_security_protocol to {secure}, not {options.security_protocol}"
    elif not answer and _speaks_kafka(address):
        plain = "SASL_PLAINTEXT" if options.security_protocol == "SASL_SSL" else "PLAINTEXT"
        return f"{broker} speaks no TLS: kafka_security_protocol={plain} would fit, or take the port that does"
    return _without_sasl(broker, answer, options)


def _alert(reason: str, options: LogOptions) -> str:
    """What the alert of a broker means that does not like our certificate."""
    if "CERTIFICATE_REQUIRED" in reason or ("CERTIFICATE" in reason and not options.ssl_certfile):
        return "asks for a certificate of ours: set kafka_ssl_certfile and kafka_ssl_keyfile"
    if "CERTIFICATE_EXPIRED" in reason:
        return f"refuses our certificate, which has expired: renew {options.ssl_certfile} (kafka_ssl_certfile)"
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        return (
            f"refuses our certificate, {options.ssl_certfile} (kafka_ssl_certfile): "
            "it has expired, or its authority is not one that the broker trusts"
        )
    return ""


def _without_sasl(broker: str, answer: bytes, options: LogOptions) -> str:
    """That a broker asks for SASL, when that is so and we come without."""
    if options.security_protocol.startswith("SASL") or len(answer) < 10:
        return ""
    code = int.from_bytes(answer[8:10])
    if code == _ILLEGAL_SASL_STATE:
        return ""
    protocol = f"SASL_{options.security_protocol}"
    return f"{broker} asks who we are: set kafka_security_protocol to {protocol}, and kafka_sasl_…{_mechanisms(answer)}"


def _mechanisms(answer: bytes) -> str:
    names, at = [], 14
    for _ in range(int.from_bytes(answer[10:14])):
        length = int.from_bytes(answer[at : at + 2])
        names.append(answer[at + 2 : at + 2 + length].decode("ascii", "replace"))
        at += 2 + length
    return f" (it takes {', '.join(sorted(names))})" if names else ""


def _answer(address: Address, context: ssl.SSLContext | None) -> bytes:
    """What a broker says to our question, or b"" when it hangs up. Raises OSError."""
    with _connected(address, context) as connection:
        connection.sendall(_QUESTION)
        return connection.recv(_ANSWER_BYTES)


def _speaks_kafka(address: Address) -> bool:
    with contextlib.suppress(OSError):
        return _answer(address, None)[:1] == b"\0"
    return False


def _speaks_tls(address: Address) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is said, we only look
    with contextlib.suppress(OSError), _connected(address, context):
        return True
    return False


@contextlib.contextmanager
def _connected(address: Address, context: ssl.SSLContext | None) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=_SECONDS) as plain:
        if context is None:
            yield plain
            return
        with context.wrap_socket(plain, server_hostname=address[0]) as secure:
            yield secure
