"""What scopes let a reader see."""

from typing import Any

import pytest

from snowbus.bus.filters import Filter, parse_filter
from snowbus.consumers.gateway.rights import EVERY_RIGHT, NotAllowedError, Rights, rights_of, scopes_of
from snowbus.consumers.masking import mask_of

MASK = mask_of(["page_url"], [])


def given(*scopes: str) -> Rights:
    return rights_of(scopes, mask=MASK, holder="jane", until=None)


def asked(**parameters: str) -> Filter:
    return parse_filter(parameters.items())


@pytest.mark.parametrize("scopes", [["events"], ["topic:snowbus.events"], ["topic:snowbus.*"], ["topic:*"]])
def test_a_scope_for_events_or_for_their_topic_lets_a_reader_in(scopes: list[str]) -> None:
    assert given(*scopes).narrow(asked(app_id="shop")) == asked(app_id="shop")


@pytest.mark.parametrize(
    "scopes", [[], ["pii"], ["app_id:shop"], ["topic:orders"], ["topic:snowbus.even"], ["topic:"], ["openid", "event"]]
)
def test_without_one_nobody_gets_in(scopes: list[str]) -> None:
    with pytest.raises(NotAllowedError, match=r"needs events, or topic:snowbus\.events"):
        given(*scopes)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "events  pii"}, ["events", "pii"]),
        ({"scp": ["events", "app_id:shop"]}, ["events", "app_id:shop"]),
        ({"scopes": ["events", 7, None]}, ["events"]),
        ({"scope": {"events": True}}, []),
        ({}, []),
    ],
)
def test_scopes_stand_in_a_token_as_a_text_or_a_list(claims: dict[str, Any], scopes: list[str]) -> None:
    assert scopes_of(claims) == scopes


def test_scopes_for_filters_narrow_what_is_asked_for() -> None:
    rights = given("events", "app_id:shop", "app_id:my%20blog", "event:page_view")
    both = (("app_id", ("my blog", "shop")), ("event", ("page_view",)))
    assert rights.narrow(asked()) == Filter(both)
    assert rights.narrow(asked(app_id="shop")) == asked(app_id="shop", event="page_view")
    assert rights.narrow(asked(schema="iglu:a/b/jsonschema/1-0-0")).conditions == (
        *both,
        ("schema", ("iglu:a/b/jsonschema/1-0-0",)),
    )


def test_what_scopes_do_not_allow_cannot_be_asked_for() -> None:
    with pytest.raises(NotAllowedError, match="app_id: 'bank' is not among what the token's scopes allow, shop"):
        given("events", "app_id:shop").narrow(asked(app_id="bank"))
    with pytest.raises(NotAllowedError, match="app_id: 'bank'"):
        given("events", "app_id:shop").narrow(parse_filter([("app_id", "shop"), ("app_id", "bank")]))


def test_a_scope_that_cannot_be_understood_lets_nobody_in() -> None:
    with pytest.raises(NotAllowedError, match="token: its scope platform: 'toaster' is not one of"):
        given("events", "platform:toaster")


@pytest.mark.parametrize("name", ["user_id", "domain_userid", "q"])
def test_a_reader_cannot_find_out_by_filters_what_is_masked(name: str) -> None:
    with pytest.raises(NotAllowedError, match=f"{name}: this filter needs the scope pii"):
        given("events").narrow(asked(**{name: "jane"}))
    assert given("events", "pii").narrow(asked(**{name: "jane"})) == asked(**{name: "jane"})
    assert EVERY_RIGHT.narrow(asked(**{name: "jane"})) == asked(**{name: "jane"})


@pytest.mark.parametrize(
    ("scopes", "groups"),
    [
        (["events"], {"warehouse", "ware house", "other", "oth*"}),
        (["events", "group:warehouse"], {"warehouse"}),
        (["events", "group:ware%20house", "group:oth*"], {"ware house", "other", "oth*"}),
        (["events", "group:oth%2A"], {"oth*"}),
        (["events", "app_id:shop"], set()),
        (["events", "app_id:shop", "group:*"], {"warehouse", "ware house", "other", "oth*"}),
    ],
)
def test_groups_are_for_those_who_may_read_everything_or_are_named_for_them(
    scopes: list[str], groups: set[str]
) -> None:
    rights, let_in = given(*scopes), set()
    for name in ("warehouse", "ware house", "other", "oth*"):
        try:
            rights.check_group(name)
            let_in.add(name)
        except NotAllowedError as error:
            assert str(error).startswith("group: the token needs the scope group:")
    assert let_in == groups
