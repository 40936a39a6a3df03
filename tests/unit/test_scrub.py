"""What is taken out of addresses and texts, and what is left for attribution."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dayfold.collect import scrub
from dayfold.collect.lists import read
from dayfold.collect.scrub import ADDRESS_CHARACTERS, REMOVED, address, usual, words

HEX = "9e107d9d372bb6826bd81d3542a419d6"
RANDOM = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bD1fG"


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ("/a?email=x", "/a?email=(removed)"),
        (
            "/a?user[email]=x&billingEmail=y&contact.phone=1",
            "/a?user[email]=(removed)&billingEmail=(removed)&contact.phone=(removed)",
        ),
        ("/a?q=jane%40example.com", "/a?q=(removed)"),
        ("/a?q=jane%2540example.com", "/a?q=(removed)"),
        ("/a?jane@example.com", "/a?(removed)"),
        ("/a?jane@example.com=1", "/a?(removed)=(removed)"),
        ("/invite/jane%40example.com/x", "/invite/(removed)/x"),
        ("mailto:jane@example.com", "(removed)"),
        ("https://jane:pw@example.com/", "https://example.com/"),
        ("/a?x=%2B44%2020%2079%2046%2009%2058", "/a?x=(removed)"),
        ("/a?x=+14155552671", "/a?x=(removed)"),
        ("/a?x=(415)%20555-2671", "/a?x=(removed)"),
        ("/a?x=4111-1111-1111-1111", "/a?x=(removed)"),
        ("/a?x=123-45-6789", "/a?x=(removed)"),
        (f"/reset/{HEX}", "/reset/(removed)"),
        (f"/reset/{RANDOM}?a=1", "/reset/(removed)?a=1"),
        ("/a?x=eyJhbGciOi.eyJzdWIiOiI.sig", "/a?x=(removed)"),
        ("/a?x=sk_live_abc123def456ghi", "/a?x=(removed)"),
        ("/a;jsessionid=1F?b=2", "/a;jsessionid=(removed)?b=2"),
        ("/a#access_token=1&b=2", "/a#access_token=(removed)&b=2"),
        ("/a#/reset?token=1&b=2", "/a#/reset?token=(removed)&b=2"),
        ("/a?next=%2Freset%3Ftoken%3Dabc%26b%3D1", "/a?next=/reset?token%3D(removed)%26b%3D1"),
        ("/a?b=1;token=abc", "/a?b=1;token=(removed)"),
        ("/a?utm_content=jane@example.com", "/a?utm_content=(removed)"),
    ],
)
def test_what_tells_who_somebody_is_goes(sent: str, left: str) -> None:
    """By name or by value, in query, path and fragment, encoded or not; the rest stays as it was sent."""
    assert address(sent) == left


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "https://example.com/",
        "/articles/the-10-best-ways-to-license-your-image-in-2026",
        "/The-Best-10-Ways-To-License-Your-Image-Now",
        "/a?utm_source=news&utm_medium=email&utm_campaign=spring%20sale&utm_term=a+b&utm_content=x&utm_id=7",
        f"/a?gclid={RANDOM}&fbclid=IwAR0abcdefGHIJKLmnopqrstuvwxyz0123456789&msclkid={HEX}",
        "/a?day=2026-01-02&at=12:30&id=1234567890&campaign_id=120210000000000000&price=10.50",
        "/a?u=550e8400-e29b-41d4-a716-446655440000",
        "/a?&&=&b=",
        "/a?q=user+experience&sort_key=name",
    ],
)
def test_what_attribution_needs_stays(sent: str) -> None:
    """Campaigns, clicks, days, numbers and words are left letter for letter."""
    assert address(sent) == sent


def test_rules_can_be_extended() -> None:
    """More names, more patterns, and names to leave; the usual rules stay what they are."""
    rules = usual().extended(names=["Employee-No"], patterns=[r"EMP-\d+"]).extended(patterns=["XYZ"], kept=["token"])
    sent = "/EMP-1?employee_no=2&a=EMP-3&b=XYZ&token=4"
    assert address(sent, rules) == "/(removed)?employee_no=(removed)&a=(removed)&b=(removed)&token=4"
    assert words("for EMP-1", rules=rules) == REMOVED
    assert address(sent) == "/EMP-1?employee_no=2&a=EMP-3&b=XYZ&token=(removed)"


def test_long_addresses_lose_the_part_that_the_cut_goes_through() -> None:
    """Half a mail address would not be known as one."""
    sent = "/a?" + "b=1&" * 509 + "c=jane@example.com"
    assert sent.index("@") < ADDRESS_CHARACTERS < len(sent)
    left = address(sent)
    assert "jane" not in left
    assert left.startswith("/a?b=1&")


def test_texts_are_taken_out_whole() -> None:
    """A cut does not hide what would have been found."""
    assert words("x" * 195 + " jane@example.com", 200) == REMOVED
    assert words("x" * 300, 200) == "x" * 200


def test_each_pattern_is_found_by_the_hint() -> None:
    """What no hint announces would never be looked for; one example of each pattern."""
    samples = {
        "mail": "a@b.co",
        "telephone": "+44 20 79 46 09 58",
        "american telephone": "415-555-2671",
        "card": "4111 1111 1111 1111",
        "social security": "123-45-6789",
        "jwt": "eyJhbGciOi.eyJzdWIiOiI",
        "hexadecimal": HEX,
        "random": RANDOM,
        "key": "ghp_abcdef1234567890",
    }
    found = json.loads(read("scrub.json"))
    patterns = found["patterns"] | found["secrets"]
    assert samples.keys() == patterns.keys()
    for name, pattern in patterns.items():
        assert re.search(pattern, samples[name]), name
        assert re.search(found["hint"], samples[name]), name


def test_names_in_the_rules_can_fit() -> None:
    """Names are compared as letters and digits alone; one written otherwise would never fit."""
    for name in usual().names | usual().words:
        assert scrub._joined(name) == name


@given(st.text(alphabet=st.sampled_from("ab@.=&;?#/%25Etoken+1 (é\x00\ud800"), max_size=60))
@example("?a=b%3Dtoken%3D1%26token=2")
@example("/?a=%2526token%253D1")
@example("?=%25?token=%")
def test_scrubbing_again_changes_nothing(sent: str) -> None:
    """What was scrubbed is stored as it is, however often it is looked at."""
    once = address(sent)
    assert address(once) == once
    assert len(once) <= ADDRESS_CHARACTERS
    once.encode()


@given(st.text(max_size=100), st.text(max_size=100))
def test_no_mail_address_is_left(before: str, after: str) -> None:
    """Wherever it stands."""
    assert "jane.doe@example.com" not in address(f"{before}jane.doe@example.com{after}")


@given(st.one_of(st.none(), st.integers(), st.binary(), st.lists(st.text())))
def test_what_is_no_text_is_empty(junk: object) -> None:
    """Nothing raises."""
    assert address(junk) == words(junk) == ""
