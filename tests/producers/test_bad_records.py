"""The records of `snowbus.bad`."""

from snowbus.producers.bad_records import Bad, bad_record


def headers_of(bad: Bad, *, query: bytes = b"", max_bytes: int = 10_000) -> tuple[bytes, dict[str, bytes]]:
    record = bad_record(bad, source={"method": "POST", "ip": "::1"}, query=query, received=7, max_bytes=max_bytes)
    assert record.key is None
    assert record.timestamp == 7
    return record.value, dict(record.headers)


def test_what_was_refused_is_kept_as_it_came_with_why_and_from_whom() -> None:
    assert headers_of(Bad(b"\xff{", "not JSON"), query=b"aid=1") == (
        b"\xff{",
        {
            "reason": b"not JSON",
            "received": b"7",
            "method": b"POST",
            "ip": b"::1",
            "query": b"aid=1",
            "truncated": b"false",
        },
    )


def test_a_query_string_that_is_itself_refused_stands_once() -> None:
    assert "query" not in headers_of(Bad(b"e=xx", "e"), query=b"e=xx")[1]


def test_a_part_says_so_and_how_large_the_whole_was_where_that_is_known() -> None:
    assert headers_of(Bad(b"x", "large", truncated=True, size=99))[1]["size"] == b"99"
    unknown = headers_of(Bad(b"x", "large", truncated=True))[1]
    assert unknown["truncated"] == b"true"
    assert "size" not in unknown


def test_the_value_is_cut_to_what_the_log_takes() -> None:
    value, headers = headers_of(Bad(b"x" * 9_990, "why"), max_bytes=10_000)
    assert 8_000 < len(value) < 9_000
    assert headers["truncated"] == b"true"
    assert headers["size"] == b"9990"
    assert headers_of(Bad(b"x" * 100, "why"), max_bytes=100)[0] == b""


def test_a_reason_may_hold_what_no_utf_8_can() -> None:
    assert headers_of(Bad(b"", "e: '\ud800'"))[1]["reason"] == b"e: '\xed\xa0\x80'"
