"""Browser, system and device of a user agent, and which agents are programs."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfold.collect import agents, bots
from dayfold.collect.agents import NONE, Agent, agent_of, device_type
from dayfold.collect.lists import read
from dayfold.errors import MissingDriver

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
)


def test_agent_names_browser_system_and_device() -> None:
    """Families are those of uap-core; the version is the first number."""
    assert agent_of(CHROME) == Agent("Chrome", "130", "Windows", "Other", "desktop")


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        (CHROME, "desktop"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/130.0.0.0 Mobile Safari/537.36", "phone"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36", "tablet"),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_5 like Mac OS X) AppleWebKit/605.1.15 Version/16.5 Mobile/15E148 Safari/604.1",
            "tablet",
        ),
        ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; Tablet PC 1.7)", "desktop"),
        ("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 Chrome/108.0.5359.211 Safari/537.36", "tv"),
        ("Mozilla/5.0 (PlayStation; PlayStation 5/6.50) AppleWebKit/605.1.15 Version/15.4 Safari/605.1.15", "console"),
        ("atc/1.0 watchOS/5.1.3 model/Watch3,4", "watch"),
        ("something nobody knows", "other"),
    ],
)
def test_device_type_follows_the_words_of_the_agent(agent: str, kind: str) -> None:
    """A telephone, a tablet without the word, a television, and so on."""
    assert device_type(agent) == kind


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessNewcomer/130.0.0.0 Safari/537.36",
        "curl/8.5.0",
        "python-requests/2.32",
        # Only the list knows these.
        "WhatsApp/2.19.244 A",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/132.0.0.0 Safari/537.36; Manus-User/1.0",
        # Nobody listed these.
        "NeverSeenBefore-Crawler/0.1",
        "Mozilla/5.0 (compatible; brandnew; +https://example.com/about)",
        "Mozilla/5.0 (compatible; brandnew; help@example.com)",
        "brandnew (http://example.com/about)",
    ],
)
def test_programs_are_bots(agent: str) -> None:
    """By the list, by how programs call themselves, by the address they leave."""
    assert agent_of(agent).bot
    assert agent_of(agent).device_type == "bot"


@pytest.mark.parametrize(
    "agent",
    [
        CHROME,
        "Mozilla/5.0 (Linux; Android 4.2.2; CUBOT X6 Build/JDQ39) AppleWebKit/537.36 Chrome/34.0.1847.114 Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 4.4.2; HTC Butterfly Build/KOT49H) AppleWebKit/537.36 Chrome/30.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 2.3; ViewSonic-ViewPad7e Build/ERE27) AppleWebKit/533.1 Mobile Safari/533.1",
    ],
)
def test_telephones_with_the_name_of_a_bot_are_not_bots(agent: str) -> None:
    """Patterns that also fit devices are narrowed."""
    assert not agent_of(agent).bot


def test_narrowed_patterns_stand_in_the_list() -> None:
    """A pattern that the list gave up would be narrowed for nothing."""
    import json

    assert set(json.loads(read("own.json"))["bots"]) <= set(read("bots.txt").splitlines())


def test_each_rule_is_looked_up_under_letters_that_it_needs() -> None:
    """Whatever fits a pattern holds the three characters under which the pattern is kept."""
    for piece, rules in bots._rules().items():
        for rule in rules:
            if rule.pattern is None:
                assert piece in rule.words
            else:
                without = re.sub(re.escape(piece), "", rule.words)
                assert without != rule.words, rule.words


@pytest.mark.parametrize("junk", [None, "", 7, b"Mozilla", ["x"], {}, "\x00", "\ud800", " \t "])
def test_what_is_no_agent_says_nothing(junk: object) -> None:
    """Neither an error nor a bot."""
    assert agent_of(junk) == NONE


@given(st.text(max_size=300))
def test_no_agent_raises_and_results_can_be_stored(sent: str) -> None:
    """Nothing that a client sends leaves letters that a database refuses."""
    found = agent_of(sent)
    for part in (found.browser, found.browser_version, found.os, found.device):
        part.encode()
        assert "\x00" not in part
        assert len(part) <= 100


def test_long_agents_are_cut_and_few_are_kept() -> None:
    """Whoever sends new agents for ever fills no memory: what is kept is bounded in number and length."""
    agents._known.cache_clear()
    assert agent_of(CHROME + " x" * 100_000) == agent_of(CHROME + " x" * 1_000) == agent_of(CHROME)
    assert agents._known.cache_info().currsize == 2
    assert agents._known.cache_info().maxsize == agents.KEPT_AGENTS


def test_missing_package_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "ua_parser", None)
    agents._compile.cache_clear()
    with pytest.raises(MissingDriver) as error:
        agents.prepare()
    assert str(error.value) == (
        "Reading user agents needs ua-parser with its compiled rules, which is not installed.\n"
        "  Install it: pip install 'dayfold[collect]'"
    )
    agents._compile.cache_clear()
