"""Which request means what."""

import pytest

from snowbus.producers.ingest.routes import Endpoint, endpoints_of


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
    ],
)
def test_a_method_on_a_path_means_one_thing(path: str, method: str, endpoint: Endpoint | None) -> None:
    assert endpoints_of(path).get(method) is endpoint


@pytest.mark.parametrize("path", ["/", "", "*", "/a", "//", "//a", "/a/", "/a/b/", "/a/b/c", "a/b", "a/b/c"])
def test_there_is_nothing_on_other_paths(path: str) -> None:
    assert not endpoints_of(path)
