"""Downloads a small document from the web: within bounds, and with a reason that gives nothing of the URL away."""

import os
import ssl
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp

from .errors import SnowbusError


class DownloadError(SnowbusError):
    """There is no answer; says why."""

    retriable = True


class Downloaded(NamedTuple):
    """The status of an answer, and its body where that is wanted, as it is of a 200: whole, or, of one that is larger
    than it may be, some more.
    """

    status: int
    body: bytes


async def download(
    url: str,
    *,
    whose: str,
    seconds: float,
    limit: int,
    headers: Mapping[str, str] | None = None,
    max_redirects: int = 0,
    post: bytes | None = None,
    context: ssl.SSLContext | None = None,
    refusals: bool = False,
) -> Downloaded:
    """Ask for a URL, and read no more of the answer than is needed to see that it is larger than `limit` bytes.

    With `post` that is sent; `context` says whom to trust, and with `refusals` the bodies of other answers than 200
    are wanted too.

    Raises DownloadError; `whose` stands in its text for the server's (`its`, or `the registry's`).
    """
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=seconds),
                connector=aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver()),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            ) as session,
            session.request(
                "GET" if post is None else "POST",
                url,
                data=post,
                headers=headers,
                allow_redirects=max_redirects > 0,
                max_redirects=max_redirects,
                ssl=context or True,
            ) as response,
        ):
            body = await _read(response.content, limit) if refusals or response.status == 200 else b""
            return Downloaded(response.status, body)
    except TimeoutError:
        raise DownloadError(f"no answer within {seconds:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise DownloadError(_reason(error, whose)) from None


async def _read(stream: aiohttp.StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= limit and (part := await stream.readany()):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _reason(error: Exception, whose: str) -> str:
    """What went wrong, without the texts of aiohttp: the whole URL stands in some."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"{whose} certificate is not to be trusted"
        case aiohttp.ClientConnectorDNSError():
            return f"{whose} name is not found"
        case aiohttp.ClientConnectorError() if error.errno:
            return f"cannot connect: {os.strerror(error.errno)}"
        case aiohttp.TooManyRedirects():
            return "it redirects too often"
    return "no answer that can be understood"
