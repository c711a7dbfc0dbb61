"""What is known about aiokafka's connections, and about the answers that come on them."""

# ruff: noqa: SLF001 - what aiokafka does not offer is done here, and nowhere else

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, create_conn

from ..kafka_url import Address

Node = int | str
REFUSED = (errors.KafkaError, OSError)
"""What a connection raises."""

_IDLE_MS = 540_000


async def connect(
    address: Address, client_id: str, *, timeout_ms: int, security: Mapping[str, Any]
) -> AIOKafkaConnection:
    """A new connection to a broker, which has let us in. Raises aiokafka's errors."""
    host, port = address
    try:
        return await create_conn(
            host, port, client_id=client_id, request_timeout_ms=timeout_ms, max_idle_ms=_IDLE_MS, **security
        )
    except TimeoutError:
        raise errors.RequestTimedOutError(f"{host}:{port} does not answer") from None
    except errors.KafkaError:
        raise
    except (OSError, RuntimeError) as error:  # RuntimeError is uvloop's for a connection that is lost already
        raise errors.KafkaConnectionError(f"{host}:{port}: {error}") from error


def is_alive(connection: AIOKafkaConnection) -> bool:
    """Whether a connection takes a request; aiokafka hears a moment later that it is lost, and uvloop minds."""
    return connection.connected() and not connection._writer.transport.is_closing()


def drop(connection: AIOKafkaConnection) -> asyncio.Future[None]:
    """Close a connection at once: what it has not sent yet would keep it open while the broker does not read."""
    writer = connection._writer  # close() lets go of it
    closed: asyncio.Future[None] = connection.close()
    if writer is not None:
        writer.transport.abort()
    return closed


def check(code: int, about: str = "") -> None:
    """Raise the error that a code in an answer stands for, if it stands for one."""
    error = errors.for_code(code)
    if error is not errors.NoError:
        raise error(about)
