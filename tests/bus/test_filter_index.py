"""The index of filters finds what asking each of them finds."""

from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.event import Record
from snowbus.bus.filter_index import FilterIndex
from snowbus.bus.filters import Candidate, Filter, parse_filter

SCHEMAS = [f"iglu:com.acme/{name}/jsonschema/1-0-{version}" for name in ("cart", "order") for version in range(2)]
WORDS = ["a", "b", "c"]
VALUES = {
    "app_id": WORDS,
    "event": ["unstruct", "page_view", "cart"],
    "event_id": WORDS,
    "event_name": ["cart", "page_view", "order"],
    "platform": ["web", "mob"],
    "q": WORDS,
    "schema": [*SCHEMAS, "iglu:com.acme/cart/jsonschema/1-*-*"],
    "user_id": WORDS,
    "valid": ["true", "false"],
}
conditions = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name]))
)
filters = st.lists(conditions, max_size=4).map(parse_filter)
headers = st.fixed_dictionaries(
    {},
    optional={
        "app_id": st.sampled_from(WORDS),
        "event": st.sampled_from(["unstruct", "page_view"]),
        "event_id": st.sampled_from(WORDS),
        "schema": st.sampled_from(SCHEMAS),
        "valid": st.sampled_from(["true", "false"]),
    },
)
views = st.fixed_dictionaries(
    {},
    optional={
        "event_name": st.sampled_from(["cart", "page_view", "order"]),
        "platform": st.sampled_from(["web", "mob"]),
        "user_id": st.sampled_from(WORDS),
    },
)


@given(st.lists(filters, max_size=12), st.sets(st.integers(0, 11)), st.lists(st.tuples(headers, views), min_size=1))
def test_it_finds_what_asking_each_filter_finds(
    wanted: list[Filter], removed: set[int], records: list[tuple[dict[str, str], dict[str, str]]]
) -> None:
    index: FilterIndex[int] = FilterIndex()
    for item, each in enumerate(wanted):
        index.add(item, each)
    for item in removed:
        index.remove(item)
    left = {item: each for item, each in enumerate(wanted) if item not in removed}
    assert bool(index) == bool(left)
    for names, view in records:
        record = Record("t", 0, 0, 1, None, b"", tuple((name, value.encode()) for name, value in names.items()))
        found = list(index.matching(Candidate(record, lambda view=view: view)))
        asked = Candidate(record, lambda view=view: view)
        assert sorted(found) == [item for item, each in left.items() if each.matches(asked)]


def test_what_no_filter_looks_at_is_not_decoded() -> None:
    def decode() -> dict[str, str]:
        raise AssertionError("decoded")

    index: FilterIndex[str] = FilterIndex()
    index.add("a", parse_filter([("app_id", "shop"), ("user_id", "u-1")]))
    record = Record("t", 0, 0, 1, None, b"", (("app_id", b"blog"),))
    assert list(index.matching(Candidate(record, decode))) == []
