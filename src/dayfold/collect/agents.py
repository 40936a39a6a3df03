"""Browser, system and device of a user agent, and whether it is a bot. Collect floor, pure.

The rules are those of uap-core, which the package ua-parser brings, compiled by its part in Rust: the quickest of its three,
31 µs for an agent against 71 with RE2. What was found is kept for the agents that came last, so that most events pay for one look
into a dictionary.

Invariant: families are named as uap-core names them, "Other" where it knows none; no agent raises.

Weakness: the compiled rules take half a second and some 60 MB, once; `prepare` does it before the first event.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, TypeAlias

from dayfold.collect.bots import is_bot, prepare_bots
from dayfold.collect.lists import read
from dayfold.collect.plain import text
from dayfold.errors import MissingDriver

DeviceType: TypeAlias = Literal["desktop", "phone", "tablet", "tv", "console", "watch", "bot", "other"]
#: No browser sends more; the rest of a longer one is not looked at.
AGENT_CHARACTERS = 1024
#: Agents whose results are kept: some 6 MB.
KEPT_AGENTS = 10_000
OTHER = "Other"


@dataclass(frozen=True, slots=True)
class Agent:
    """What a user agent says of itself: families, the browser's first version number, what kind of device, and whether it is a program."""

    browser: str = OTHER
    browser_version: str = ""
    os: str = OTHER
    device: str = OTHER
    device_type: DeviceType = "other"
    bot: bool = False


#: Where no agent was sent.
NONE = Agent()
_Extracted: TypeAlias = tuple[str, str, str, str]
_compiling = threading.Lock()


def _compiled() -> Callable[[str], _Extracted]:
    """The rules, compiled once in a process whoever comes first."""
    with _compiling:
        return _compile()


@cache
def _compile() -> Callable[[str], _Extracted]:
    """A function that gives an agent's browser with its version, and the families of system and device."""
    try:
        from ua_parser import Domain, load_builtins
        from ua_parser.regex import Resolver
    except ImportError:
        raise MissingDriver(
            "Reading user agents needs ua-parser with its compiled rules, which is not installed.",
            hint="Install it: pip install 'dayfold[collect]'",
        ) from None
    resolve, everything = Resolver(load_builtins()), Domain.ALL

    def extract(agent: str) -> _Extracted:
        found = resolve(agent, everything)
        browser, system, device = found.user_agent, found.os, found.device
        return (
            browser.family if browser else OTHER,
            (browser.major or "") if browser else "",
            system.family if system else OTHER,
            device.family if device else OTHER,
        )

    return extract


def prepare() -> None:
    """The rules are compiled. Whoever reads events calls it before the first one.

    Raises:
        MissingDriver: where ua-parser is not installed.
    """
    _compiled()
    prepare_bots()


def agent_of(sent: object) -> Agent:
    """What a user agent says; of anything that is not one, nothing.

    Raises:
        MissingDriver: where ua-parser is not installed; never for what was sent.

    >>> agent_of("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E Safari/604.1")
    Agent(browser='Mobile Safari', browser_version='18', os='iOS', device='iPhone', device_type='phone', bot=False)
    >>> agent_of("curl/8.5.0").bot, agent_of(None) == NONE
    (True, True)
    """
    if not isinstance(sent, str) or not sent:
        return NONE
    return _known(sent if len(sent) <= AGENT_CHARACTERS else sent[:AGENT_CHARACTERS])


@lru_cache(maxsize=KEPT_AGENTS)
def _known(sent: str) -> Agent:
    agent = text(sent, AGENT_CHARACTERS)
    if not agent:
        return NONE
    browser, version, system, device = _compiled()(agent)
    # The list names programs; the rules name robots among devices, some of which the list lacks.
    bot = device == "Spider" or is_bot(agent)
    kind: DeviceType = "bot" if bot else device_type(agent)
    return Agent(text(browser, 100), text(version, 20), text(system, 100), text(device, 100), kind, bot)


def device_type(agent: str) -> DeviceType:
    """What kind of device an agent is of, by its own words. Tablets with Android are those that do not say that they are mobile.

    >>> device_type("Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/130.0 Mobile Safari/537.36")
    'phone'
    >>> device_type("Mozilla/5.0 (X11; CrOS x86_64) Chrome/130.0"), device_type("my own thing")
    ('desktop', 'other')
    """
    holds = agent.lower().__contains__
    return next((kind for kind, words in _devices() if any(map(holds, words))), "other")


@cache
def _devices() -> tuple[tuple[DeviceType, tuple[str, ...]], ...]:
    """Kinds of devices with words in small letters; the first kind one of whose words stands in an agent is that of its device."""
    return tuple((kind, tuple(words)) for kind, words in json.loads(read("own.json"))["devices"])
