"""Which campaign brought a visitor, and over which channel."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfold.collect.campaigns import CHANNELS, NONE, Campaign, campaign_of, channel_of, of_address, of_context
from dayfold.collect.lists import read
from dayfold.collect.referrers import Referrer, referrer_of


def test_parameters_of_an_address() -> None:
    """All six, decoded; names in any case; a fragment's query too."""
    whole = Campaign("news", "email", "spring sale", "a b", "top", "7")
    query = "utm_source=news&UTM_medium=email&utm_campaign=spring%20sale&utm_term=a+b&utm_content=top&utm_id=7"
    assert of_address(f"https://example.com/?{query}&x=1") == whole
    assert of_address(f"https://example.com/#/shop?{query}") == whole
    assert of_address(f"/?{query}#utm") == whole


def test_utm_counts_before_other_families() -> None:
    """Matomo's parameters stand in where UTM says nothing."""
    assert of_address("/?mtm_source=b&utm_source=a&mtm_campaign=c") == Campaign(source="a", name="c")


@pytest.mark.parametrize(
    ("query", "source", "medium", "click"),
    [
        ("gclid=abc", "google", "cpc", "gclid"),
        ("GCLID=abc", "google", "cpc", "gclid"),
        ("msclkid=abc", "bing", "cpc", "msclkid"),
        ("fbclid=abc", "facebook", "social", "fbclid"),
        ("fbclid=abc&gclid=def", "google", "cpc", "gclid"),
        ("utm_source=x&gclid=abc", "x", "", "gclid"),
        ("gclid=", "", "", ""),
        ("gclid=%3Cscript%3E", "", "", ""),
        ("gclid=" + "a" * 501, "", "", ""),
    ],
)
def test_clicks_name_source_and_medium_where_nobody_else_does(query: str, source: str, medium: str, click: str) -> None:
    """That of a paid click before one that stands on every link; junk is none."""
    found = of_address(f"/?{query}")
    assert (found.source, found.medium, found.click) == (source, medium, click)


def test_context_of_a_client() -> None:
    """As Segment's API has it, or spelled as UTM; what is no text is nothing."""
    assert of_context({"name": "spring", "source": "news", "utm_medium": "email", "term": 7, "other": "x"}) == Campaign(
        "news", "email", "spring"
    )
    for junk in (None, [], "spring", 7, {}, {"name": None}, {7: 8}):
        assert of_context(junk) == NONE


def test_client_counts_before_the_address() -> None:
    """Which still adds the click."""
    assert campaign_of({"source": "a"}, "/?utm_source=b&gclid=c") == Campaign(source="a", click="gclid", click_id="c")
    assert campaign_of(None, "/?utm_source=b") == campaign_of({}, "/?utm_source=b") == Campaign(source="b")


def test_campaigns_hold_no_persons() -> None:
    """A mail address in a parameter or a context goes."""
    assert of_address("/?utm_source=x&utm_content=jane%40example.com").content == "(removed)"
    assert of_context({"content": "jane@example.com"}).content == "(removed)"


@pytest.mark.parametrize(
    ("landing", "referrer", "channel"),
    [
        ("/", None, "direct"),
        ("/", "https://www.google.com/", "organic-search"),
        ("/?gclid=a", "https://www.google.com/", "paid-search"),
        ("/?utm_source=google&utm_medium=cpc", None, "paid-search"),
        ("/?utm_source=google&utm_medium=PPC", None, "paid-search"),
        ("/?utm_medium=cpc", "https://www.bing.com/", "paid-search"),
        ("/?utm_source=fb&utm_medium=cpc", None, "paid-social"),
        ("/?utm_source=linkedin.com&utm_medium=paid", None, "paid-social"),
        ("/?ttclid=a", None, "paid-social"),
        ("/?utm_source=partner-site&utm_medium=cpc", None, "paid-other"),
        ("/?utm_source=x&utm_medium=Paid-Social", None, "paid-social"),
        ("/?dclid=a", None, "display"),
        ("/?fbclid=a", "https://l.facebook.com/", "organic-social"),
        ("/", "https://www.reddit.com/", "organic-social"),
        ("/", "https://chatgpt.com/", "ai"),
        ("/?utm_source=chatgpt.com", None, "ai"),
        ("/?utm_source=news&utm_medium=E-Mail", None, "email"),
        ("/?utm_source=newsletter&utm_campaign=may", None, "email"),
        ("/?utm_medium=affiliate", "https://www.google.com/", "affiliate"),
        ("/?utm_source=x&utm_medium=sms", None, "sms"),
        ("/", "https://blog.example.net/", "referral"),
        ("/?utm_source=blog&utm_medium=referral", None, "referral"),
        ("/?utm_source=poster&utm_medium=print", None, "other"),
        ("/", "https://www.0n-line.tv/", "spam"),
        ("/?utm_source=google&utm_medium=cpc", "https://www.0n-line.tv/", "spam"),
        ("/", "https://own.example.com/", "internal"),
    ],
)
def test_channel(landing: str, referrer: str | None, channel: str) -> None:
    """What the campaign says, then what the referrer is."""
    assert channel_of(of_address(landing), referrer_of(referrer, ["example.com"])) == channel


def test_lists_name_channels_and_classes_that_there_are() -> None:
    """A word under another name would be read by nobody."""
    found = json.loads(read("campaigns.json"))
    assert set(found["mediums"]) - {"paid"} <= set(CHANNELS)
    assert set(found["sources"]) == {"search", "social", "ai", "email"}
    marks = [mark for mark, _, _ in found["clicks"]]
    assert len(marks) == len(set(marks))
    assert all(mark == mark.lower() for mark in marks)
    kept = json.loads(read("scrub.json"))["kept"]
    assert set(marks) <= set(kept)


TEXT = st.text(max_size=80)


@given(TEXT, st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.none())), TEXT)
def test_nothing_raises_and_results_can_be_stored(landing: str, context: dict[str, object], referrer: str) -> None:
    """Nothing that a client sends leaves letters that a database refuses."""
    found = campaign_of(
        context | {"name": landing, "source": referrer}, f"/?utm_source={landing}&gclid={landing}&{referrer}"
    )
    for part in (found.source, found.medium, found.name, found.term, found.content, found.id, found.click_id):
        part.encode()
        assert "\x00" not in part
        assert len(part) <= 500
    assert channel_of(found, referrer_of(referrer)) in CHANNELS
    assert channel_of(found, Referrer()) in CHANNELS


@given(st.one_of(st.none(), st.integers(), st.binary(), st.lists(TEXT)))
def test_what_is_no_address_has_no_campaign(junk: object) -> None:
    """Nothing raises."""
    assert of_address(junk) == NONE
