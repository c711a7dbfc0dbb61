"""Which request means what."""

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.tracker_protocol import COLLECTOR_PATH
from snowbus.producers.ingest.routes import Endpoint, Routes, endpoints_of


@pytest.mark.parametrize(
    ("path", "method", "endpoint"),
    [
        ("/com.snowplowanalytics.snowplow/tp2", "POST", Endpoint.BATCH),
        ("/com.snowplowanalytics.snowplow/tp2", "GET", Endpoint.PIXEL),
        ("/com.acme/v1", "POST", Endpoint.BATCH),
        ("/com.acme/v1", "HEAD", Endpoint.PIXEL),
        ("/i", "GET", Endpoint.PIXEL),
        ("/i", "HEAD", Endpoint.PIXEL),
        ("/i", "POST", None),
        ("/ice.png", "GET", Endpoint.PIXEL),
        ("/tracking", "GET", Endpoint.PIXEL),
        ("/tracking", "POST", Endpoint.TRACKING),
        ("/tracking", "DELETE", None),
        ("/health", "GET", Endpoint.OPERATIONS),
        ("/ready", "HEAD", Endpoint.OPERATIONS),
        ("/metrics", "POST", None),
        ("/robots.txt", "GET", Endpoint.ROBOTS),
        ("/r/tp2", "GET", Endpoint.REDIRECT),
        ("/openapi.yaml", "GET", Endpoint.CONTRACT),
    ],
)
def test_a_method_on_a_path_means_one_thing(path: str, method: str, endpoint: Endpoint | None) -> None:
    assert endpoints_of(path).get(method) is endpoint


@pytest.mark.parametrize("path", ["/", "", "*", "/a", "//", "//a", "/a/", "/a/b/", "/a/b/c", "a/b", "a/b/c"])
def test_there_is_nothing_on_other_paths(path: str) -> None:
    assert not endpoints_of(path)


def test_a_path_of_ones_own_stands_for_one_of_the_collectors() -> None:
    routes = Routes((f"/com.acme/track={COLLECTOR_PATH}", "/com.acme/go=/r/tp2"), redirects=True)
    assert routes.real("/com.acme/track") == COLLECTOR_PATH
    assert routes.real("/com.acme/go") == "/r/tp2"
    assert routes.real("/sink-health") == "/ready"
    assert routes.real("/com.acme/other") == "/com.acme/other"


@pytest.mark.parametrize(
    "own",
    [
        "/track",
        "/a/b",
        "/a/b=/c/d",
        "/a/b/c=" + COLLECTOR_PATH,
        "/a/b=/r/tp2",
        COLLECTOR_PATH + "=" + COLLECTOR_PATH,
        "a",
    ],
)
def test_a_path_that_cannot_work_is_told(own: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ingest_paths: .* is not /VENDOR/VERSION=PATH"):
        Routes((own,), redirects=False)
