"""Browser, system and device of 31,000 agents, and which of them are programs, by lists with expected answers.

Data: test strings of uap-core (Apache-2.0) and crawler-user-agents (MIT).
"""

from __future__ import annotations

import gzip
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dayfold.collect.agents import agent_of
from dayfold.collect.bots import _FETCHERS, _NAMES
from tests.field import lists

FOLDER = Path(os.environ.get("DAYFOLD_FIELD_DATA", "nowhere"))
UAP = FOLDER / "ua_uap_core"
pytestmark = pytest.mark.skipif(
    not (UAP.is_dir() and (FOLDER / "ua_bots").is_dir()),
    reason="needs DAYFOLD_FIELD_DATA: the folder with ua_uap_core and ua_bots, user agents with what they are",
)
BROWSERS = (
    "test_ua",
    "firefox_user_agent_strings",
    "opera_mini_user_agent_strings",
    "pgts_browser_list",
    "podcasting_user_agent_strings",
)
SYSTEMS = ("test_os", "additional_os_tests")
#: What people look at pages with, among the families of the large list; the rest are robots, loaders of files, and what no rule knows.
# fmt: off
FAMILIES = frozenset({
    "Avant", "Bon Echo", "Camino", "Chimera", "Crazy Browser", "Dillo", "ELinks", "Epiphany", "Firefox", "Galeon",
    "IBrowse", "IE", "K-Meleon", "Konqueror", "Links", "Lunascape", "Lynx", "Maxthon", "MyIE2", "NCSA Mosaic", "NetFront",
    "Netscape", "Nokia Services (WAP) Browser", "OmniWeb", "Opera", "Opera Mobile", "Phoenix", "Safari", "Shiira",
    "UP.Browser", "iCab",
})
# fmt: on


@cache
def cases(name: str) -> list[dict[str, Any]]:
    with gzip.open(UAP / f"{name}.yaml.gz", "rb") as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["test_cases"]


def share(part: str, name: str) -> float:
    """The share of a list's agents whose family is the expected one."""
    some = cases(name)
    return sum(getattr(agent_of(case["user_agent_string"]), part) == case["family"] for case in some) / len(some)


@pytest.mark.parametrize("name", BROWSERS)
def test_browsers_are_as_expected(name: str) -> None:
    """Ninety-nine of a hundred, in each list."""
    assert share("browser", name) >= 0.99


@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_are_as_expected(name: str) -> None:
    """Ninety-nine of a hundred, in each list."""
    assert share("os", name) >= 0.99


def test_devices_are_as_expected() -> None:
    """Ninety-nine of a hundred."""
    assert share("device", "test_device") >= 0.99


def test_listed_bots_are_found() -> None:
    """All examples of the list: its own patterns lose nothing on the way into the package."""
    examples = [agent for entry in lists.crawlers(FOLDER) for agent in entry["instances"]]
    assert len(examples) > 2000
    missed = [agent for agent in examples if not agent_of(agent).bot]
    assert len(missed) / len(examples) <= 0.05
    assert missed == []


def test_general_rules_find_most_bots_that_no_list_names() -> None:
    """Two of three; the list adds the rest."""
    examples = [agent.lower() for entry in lists.crawlers(FOLDER) for agent in entry["instances"]]
    found = sum(bool(_NAMES.search(agent) or _FETCHERS.match(agent)) for agent in examples)
    assert found / len(examples) >= 0.66


@pytest.mark.parametrize(
    "name", ["firefox_user_agent_strings", "opera_mini_user_agent_strings", "pgts_browser_list", "test_device"]
)
def test_browsers_are_not_called_bots(name: str) -> None:
    """Five of a thousand at most: of the large list among what people look at pages with, of devices among those that are no robot's."""
    some = cases(name)
    if name == "pgts_browser_list":
        some = [case for case in some if case["family"] in FAMILIES]
        assert len(some) > 9_500
    elif name == "test_device":
        some = [case for case in some if case["family"] != "Spider"]
        assert len(some) > 16_000
    called = [case["user_agent_string"] for case in some if agent_of(case["user_agent_string"]).bot]
    assert len(called) / len(some) <= 0.005, called
