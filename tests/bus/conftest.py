"""What every log does is tested on the one in memory too."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from snowbus.bus.log.memory import named_store


@pytest.fixture
def memory_url() -> Iterator[str]:
    """The URL of an empty log in memory, which is there until the test ends."""
    name = str(uuid4())
    store = named_store(name)
    yield f"memory:{name}"
    del store


@pytest.fixture(params=["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def log_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty log: the one in memory, the embedded one, Kafka."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
