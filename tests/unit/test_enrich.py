"""What is read out of an event itself, and what is taken out of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dayfold.collect.campaigns import CHANNELS
from dayfold.collect.country import Countries
from dayfold.collect.enrich import Enricher, open_enricher
from dayfold.collect.event import Event
from dayfold.collect.reading import DEEPEST, Reader, Sender
from dayfold.collect.scrub import usual
from dayfold.errors import ConfigError
from dayfold.settings import CollectSettings, load

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
)


def event(**more: Any) -> Event:
    return Event("", "page_viewed", 0, 0, 0, "public", more.pop("source", "web"), **more)


def filled(enricher: Enricher | None = None, **more: Any) -> Event:
    one = event(**more)
    (enricher or Enricher(["example.com"])).fill([one])
    return one


def test_a_page_view_has_all_that_it_says() -> None:
    """Campaign and click of its address, class and name of where it came from, and the browser."""
    found = filled(
        page="https://example.com/?utm_source=bing&utm_medium=cpc&utm_campaign=spring&utm_term=a+b&utm_content=c&msclkid=abc",
        referrer="https://www.bing.com/search?q=x",
        user_agent=CHROME,
    )
    assert (found.utm_source, found.utm_medium, found.utm_campaign, found.utm_term, found.utm_content) == (
        "bing", "cpc", "spring", "a b", "c",
    )  # fmt: skip
    assert (found.click_id, found.channel) == ("abc", "paid-search")
    assert (found.referrer_class, found.referrer_name) == ("search", "Bing")
    assert (found.device_type, found.browser, found.os, found.is_bot) == ("desktop", "Chrome", "Windows", False)
    assert found.channel in CHANNELS


def test_what_a_client_says_of_its_campaign_stands() -> None:
    """Its words win as a whole over the address; a click is taken from the address all the same, unless it names one."""
    page = "https://example.com/?utm_source=a&utm_medium=email&utm_campaign=b&gclid=landed"
    found = filled(page=page, utm_campaign="said")
    assert (found.utm_source, found.utm_medium, found.utm_campaign, found.click_id) == (None, None, "said", "landed")
    assert filled(page=page, click_id="told").click_id == "told"
    assert filled(page=page).utm_source == "a"


@pytest.mark.parametrize("source", ["server", "import"])
def test_what_a_server_tells_without_a_page_is_kept(source: str) -> None:
    """Nothing is made up for it: no channel, no class of a referrer, no device."""
    found = filled(source=source)
    assert (found.channel, found.referrer_class, found.page, found.device_type, found.is_bot) == (None,) * 5
    told = filled(source=source, utm_source="google", utm_medium="cpc", landing_page="/start")
    assert (told.channel, told.utm_source, told.landing_page) == ("paid-search", "google", "/start")
    assert filled(source=source, page="https://example.com/?utm_source=a").utm_source == "a"


def test_coming_from_the_own_site_is_internal() -> None:
    """Also from a host below one of the own."""
    found = filled(page="https://example.com/b", referrer="https://shop.example.com/a")
    assert (found.referrer_class, found.channel) == ("internal", "internal")
    assert filled(Enricher(), page="https://example.com/b", referrer="https://shop.example.com/a").channel == "referral"


def test_addresses_and_words_are_scrubbed() -> None:
    """Page, first page, referrer and the words of a campaign hold no address of a person."""
    sent = "https://example.com/a?email=jane%40example.com"
    found = filled(page=sent, landing_page=sent, referrer=sent, utm_campaign="for jane@example.com")
    assert found.page == found.landing_page == found.referrer == "https://example.com/a?email=(removed)"
    assert found.utm_campaign == "(removed)"


def test_addresses_among_the_properties_are_scrubbed() -> None:
    """Those that are called so and those that look so, however deep; other texts and the rest of the JSON stay."""
    props = {
        "url": "https://example.com/?token=abc", "search": "?email=jane@example.com", "path": "jane@example.com", "title": "A/B",
        "email": "jane@example.com", "n": 1.5, "deep": [{"to": "https://example.com/?phone=1", "text": "see /a?email=b"}],
        "at": "example.com/?password=x", "mail": "mailto:jane@example.com",
    }  # fmt: skip
    found = filled(props=props, properties="{…/…}")
    assert found.props == {
        "url": "https://example.com/?token=(removed)", "search": "?email=(removed)", "path": "(removed)", "title": "A/B",
        "email": "jane@example.com", "n": 1.5, "deep": [{"to": "https://example.com/?phone=(removed)", "text": "see /a?email=b"}],
        "at": "example.com/?password=(removed)", "mail": "(removed)",
    }  # fmt: skip
    assert '"n":1.5' in found.properties
    assert "token=abc" not in found.properties


def test_whatever_the_door_lets_in_is_scrubbed() -> None:
    """Addresses in the deepest properties that are taken, too."""
    value: Any = "https://example.com/?email=jane@example.com"
    for _ in range(DEEPEST - 1):
        value = {"in": value}
    raw = msgspec.Raw(msgspec.json.encode({"event_type": "a", "properties": {"in": value}}))
    [event] = Reader({}).native([raw], Sender("server", 0)).events
    Enricher().fill([event])
    assert "jane" not in event.properties


def test_properties_without_addresses_keep_their_very_text() -> None:
    """JSON that nothing is taken out of is not written anew."""
    found = filled(props={"path": "/a", "n": 1}, properties='{"path" : "/a", "n":1}')
    assert found.properties == '{"path" : "/a", "n":1}'


@pytest.mark.parametrize("text", ["\x00", "https://exa\x00mple.com/\x1f?a=b", "\ud800", "x" * 100_000, "%00", "//["])
def test_nothing_that_is_sent_raises(text: str) -> None:
    """Whatever it is, what comes out can be stored, and is not long."""
    found = filled(
        page=text, referrer=text, landing_page=text, user_agent=text, utm_source=text, click_id=text, address=text
    )
    for one in (found.page, found.referrer, found.landing_page, found.user_agent, found.utm_source, found.click_id):
        assert one is None or (one.isprintable() and len(one) <= 2048)
    assert found.address is None


def test_the_sender_is_looked_up_and_dropped() -> None:
    """With a file of countries the event has one; with none, or where it is not known, none. The address goes in any case."""

    class Reader:
        def get(self, address: str) -> object:
            return {"country": {"iso_code": "NZ"}} if address == "203.0.113.7" else None

    enricher = Enricher(countries=Countries(Reader()))  # type: ignore[arg-type]
    found = filled(enricher, address="203.0.113.7")
    assert (found.country, found.address) == ("NZ", None)
    assert filled(enricher, address="192.0.2.1").country is None
    assert filled(address="203.0.113.7").address is None
    kept = filled(country="NZ")
    assert kept.country == "NZ"


def test_enriching_again_changes_nothing() -> None:
    """So stored events can go through it."""
    once = filled(
        page="https://example.com/?gclid=a&email=b%40c.example",
        referrer="https://t.co/x?token=1",
        user_agent=f" {CHROME}\x00",
    )
    words = {name: getattr(once, name) for name in Event.__struct_fields__}
    Enricher(["example.com"]).fill([once])
    assert words == {name: getattr(once, name) for name in Event.__struct_fields__}


def test_the_settings_say_how(tmp_path: Any) -> None:
    """Hosts, more names, names that stay and patterns; a file of countries that is not there is refused."""
    settings = load(
        {
            "collect": {
                "own_hosts": ["a.example"],
                "scrub_names": ["badge"],
                "scrub_kept": ["code"],
                "scrub_patterns": [r"EMP-\d+"],
            }
        }
    ).collect
    found = filled(open_enricher(settings), page="/x?badge=7&code=x&n=EMP-12", referrer="https://a.example/")
    assert (found.page, found.referrer_class) == ("/x?badge=(removed)&code=x&n=(removed)", "internal")
    assert open_enricher(CollectSettings()).rules is usual()
    with pytest.raises(ConfigError, match="There is no file"):
        open_enricher(CollectSettings(countries=tmp_path / "none.mmdb"))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a(", "the regular expression 1 cannot be read: missing ), unterminated subpattern at position 1"),
        ("a*", "the regular expression 1 fits a text that has nothing in it"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(pattern: str, message: str) -> None:
    """At the start, and not with the first event."""
    with pytest.raises(ConfigError) as refused:
        load({"collect": {"scrub_patterns": [pattern]}})
    assert str(refused.value) == f"the configuration: collect.scrub_patterns: {message}."


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that never come again do not stay, nor do long ones."""
    enricher = Enricher()
    for number in range(6_000):
        filled(enricher, page=f"/{number}")
    filled(enricher, page="/" + "x" * 1_500, props={"url": "/" + "y" * 1_500}, properties="/")
    assert len(enricher._places) <= 5_000
    assert len(enricher._texts) == 0
