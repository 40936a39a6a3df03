"""Sessions and touches, case by case; random histories are in tests/engines/test_touches.py."""

from __future__ import annotations

from typing import Any

import pytest

from dayfold.collect.event import Event
from dayfold.collect.visits import DIRECT, GAP, WINDOW, Session, Visitor, touch_of

MINUTE = 60_000_000
EMAIL = {"utm_source": "news", "utm_medium": "email", "utm_campaign": "may"}


def event(minute: float, **more: Any) -> Event:
    return Event("", "page_viewed", int(minute * MINUTE), 0, 0, "public", "web", **more)


def never(session: Session) -> None:
    raise AssertionError(session.id)


def names(*some: Event) -> list[str]:
    """The session of each event of a new visitor."""
    visitor = Visitor("0" * 32)
    return [visitor.visit(one, never)[0].id for one in some]


def test_a_pause_of_more_than_half_an_hour_ends_a_session() -> None:
    """Half an hour itself does not."""
    first, same, other = names(event(0), event(30), event(60 + 1 / MINUTE))
    assert first == same != other


def test_a_new_campaign_cuts_a_session() -> None:
    """The same one does not, nor a referrer; nor anything where the client names its sessions."""
    first, cut, same, none = names(
        event(0), event(1, **EMAIL), event(2, **EMAIL), event(3, referrer_class="search", referrer_name="Google")
    )
    assert first != cut == same == none
    assert set(names(event(0, session_id="s"), event(1, session_id="s", **EMAIL))) == {"s"}


def test_a_session_has_the_same_name_whoever_makes_it() -> None:
    """It comes from the visitor, the beginning and the campaign."""
    assert names(event(5)) == names(event(5)) != names(event(6))
    assert Visitor("1" * 32).visit(event(5), never)[0].id != names(event(5))[0]


def test_a_late_event_joins_what_it_belongs_to() -> None:
    """The session around it, or the next one that is near and no other campaign's."""
    around = names(event(0), event(20), event(10))
    assert len(set(around)) == 1
    assert len(set(names(event(100), event(80)))) == 1
    assert len(set(names(event(100), event(60)))) == 2
    assert len(set(names(event(100, **EMAIL), event(80)))) == 2
    assert len(set(names(event(100, **EMAIL), event(80, **EMAIL)))) == 1
    assert len(set(names(event(100), event(80, **EMAIL)))) == 1


def test_a_session_begins_with_its_first_page() -> None:
    """That of its earliest event, once that is known."""
    visitor = Visitor("0" * 32)
    session, _ = visitor.visit(event(10), never)
    assert session.landing is None
    visitor.visit(event(11, page="/b"), never)
    assert session.landing == "/b"
    visitor.visit(event(5, page="/a"), never)
    assert (session.landing, session.start) == ("/a", 5 * MINUTE)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, ("(direct)", "(none)", None)),
        ({"referrer_class": "internal", "referrer_name": "shop.example.com"}, ("(direct)", "(none)", None)),
        ({"referrer_class": "search", "referrer_name": "Google"}, ("google", "organic", None)),
        ({"referrer_class": "social", "referrer_name": "Facebook"}, ("facebook", "social", None)),
        ({"referrer_class": "ai", "referrer_name": "ChatGPT"}, ("chatgpt", "ai", None)),
        ({"referrer_class": "other", "referrer_name": "blog.example.org"}, ("blog.example.org", "referral", None)),
        ({**EMAIL, "referrer_class": "search", "referrer_name": "Google"}, ("news", "email", "may")),
        ({"utm_campaign": "may"}, ("(not set)", "(not set)", "may")),
        ({"utm_source": "News"}, ("News", "(not set)", None)),
    ],
)
def test_words_of_a_touch(words: dict[str, str], expected: tuple[str, str, str | None]) -> None:
    """Those that web analytics has for it."""
    from dayfold.collect.visits import campaign_key

    one = event(0, **words)
    assert touch_of(one, campaign_key(one)).words == expected


def test_the_last_touch_is_the_last_that_led_here() -> None:
    """For thirty days; then direct. The first is for life, and nothing is said of a time before it."""
    visitor = Visitor("0" * 32)
    visitor.visit(event(0), never)
    visitor.visit(event(60, **EMAIL), never)
    visitor.visit(event(120), never)
    at = 60 * MINUTE
    assert visitor.last(at - 1) == DIRECT
    assert visitor.last(at) == visitor.last(at + WINDOW) == ("news", "email", "may")
    assert visitor.last(at + WINDOW + 1) == visitor.first(at + WINDOW + 1) == DIRECT
    assert (visitor.first(-1), visitor.last(-1)) == (None, None)


def test_a_server_that_repeats_a_campaign_makes_one_touch() -> None:
    """Within half an hour; later it is another one."""
    visitor = Visitor("0" * 32)
    key = ("news", "email", "may")
    some = [visitor.claim(event(minute, **EMAIL), key) is not None for minute in (0, 10, 30, 31)]
    assert some == [True, False, False, True]


def test_an_event_twice_makes_nothing_new() -> None:
    """In any order with others."""
    visitor = Visitor("0" * 32)
    some = [event(0), event(0, **EMAIL), event(20, **EMAIL), event(90), event(95, session_id="s", **EMAIL)]
    for one in some:
        visitor.visit(one, never)
    known = len(visitor.touches), len(visitor.sessions)
    assert [visitor.visit(one, never)[1] for one in (*some, *reversed(some))] == [None] * 10
    assert (len(visitor.touches), len(visitor.sessions)) == known


def test_whose_a_browser_was() -> None:
    """Whoever had signed in last; before anybody had, whoever did first."""
    browser = Visitor("0" * 32)
    assert browser.owner(5) is None
    assert [browser.link(at, actor) for at, actor in ((10, "a"), (20, "b"), (15, "a"), (25, "b"), (5, "a"))] == [
        True, True, False, False, True,
    ]  # fmt: skip
    assert [browser.owner(at) for at in (1, 10, 19, 20, 99)] == ["a", "a", "a", "b", "b"]


def test_the_true_end_of_a_session_is_asked_for_only_where_it_matters() -> None:
    """Between half an hour after the end that is stored and half an hour after the latest that it may have."""
    asked: list[str] = []
    visitor = Visitor("0" * 32)
    session = Session("s", 0, None, None)
    session.until = session.stored = 0
    session.unsure = 5 * MINUTE
    visitor.sessions.append(session)

    def resolve(one: Session) -> None:
        asked.append(one.id)
        one.until, one.unsure = 4 * MINUTE, 0

    assert visitor.visit(event(33), resolve)[0] is session
    assert asked == ["s"]
    assert session.until == 33 * MINUTE
    assert visitor.visit(event(33 + GAP / MINUTE + 1), resolve)[0] is not session
    assert asked == ["s"]


def test_a_late_campaign_does_not_become_that_of_the_session() -> None:
    """Of a session that the client named, the campaign that was named last counts, by when that was."""
    visitor = Visitor("0" * 32)
    other = {"utm_source": "partner"}
    some = [event(20, session_id="s", **EMAIL), event(10, session_id="s", **other), event(15, session_id="s", **other)]
    for one in some:
        visitor.visit(one, never)
    assert visitor.visit(event(30, session_id="s", **EMAIL), never)[1] is None
