"""Which user agents are programs and not people's browsers. Collect floor, pure.

Two kinds of rules: the published list of crawlers, letter for letter, and general ones for what calls itself a bot, crawler or
spider, leaves its address behind a plus sign or where to write to, or is a programming language's way to fetch a page.

Invariant: the list is data (`lists/bots.txt`); a pattern that also finds telephones is narrowed in `lists/own.json`, never dropped
from the copy.

Weakness: a program that sends a browser's own words is taken for that browser.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from functools import cache

from dayfold.collect.lists import read

#: One of these stands in every agent that `_NAMES` finds; looking for them is ten times quicker.
_HINTS = ("bot", "crawl", "spider", "slurp", "headless", "scrap", "validator", "://", "@", "mailto:")
#: How programs call themselves. CUBOT makes telephones.
_NAMES = re.compile(
    r"(?<!cu)bots?(?![a-z])|crawl|spider|slurp|headless|scrap(?:er|ing|y)|validator"
    r"|\+ ?https?:|mailto:|compatible;.*\w@[\w\-]+\.\w|^(?!mozilla|opera|http).*https?://"
)
#: How programming languages fetch a page where nobody gave the program a name.
_FETCHERS = re.compile(
    r"(?:python|java|curl|wget|libwww|lwp|go-http|ruby|perl|php|node|axios|okhttp|aiohttp|apache-http|httpx|guzzle)(?![a-z])"
)
#: What stands for a character of its own in a pattern.
_QUOTED = re.compile(r"\\([^A-Za-z0-9])")
_MEANT = re.compile(r"[\[\](){}|+*?^$.\\]")
#: What is not a run of plain characters: a group, a set, a class, a character that may be missing, an anchor.
_NOT_PLAIN = re.compile(r"(?:\(.*?\)|\[.*?\]|\\[A-Za-z])[*+?]?|.[*?]|[|+^$.]")
#: Agents of browsers hold these letters, so that they tell bots from nothing.
_EVERYWHERE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/ Version/ "
    "(Macintosh; Intel Mac OS X 10_15_7) (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/ OPR/ SamsungBrowser/ Mobile/15E148 "
    "(iPhone; CPU iPhone OS 18_0 like Mac OS X) (Linux; Android 15; Build/) (compatible; MSIE 9.0; Trident/5.0)"
)
#: Characters that are looked up at once.
_PIECE = 3


class _Rule:
    """A pattern of the list: plain words where it means nothing more, which are found faster."""

    __slots__ = ("pattern", "words")

    def __init__(self, source: str) -> None:
        bare = _QUOTED.sub("", source)
        self.pattern = re.compile(source) if _MEANT.search(bare) else None
        self.words = _QUOTED.sub(r"\1", source)

    def finds(self, agent: str) -> bool:
        return bool(self.pattern.search(agent)) if self.pattern else self.words in agent


def _pieces(text: str) -> set[str]:
    return {text[at : at + _PIECE] for at in range(len(text) - _PIECE + 1)}


def _runs(source: str) -> list[str]:
    r"""The runs of plain characters that every agent holds which a pattern finds.

    >>> _runs(r"S[eE]mrush\/Bot?"), _runs("[wW]get")
    (['S', 'mrush/Bo'], ['get'])
    """
    plain = _QUOTED.sub(lambda quoted: "\0" if quoted[1] in "()[]|+*?^$." else quoted[1], source)
    return [run for run in re.split("\0", _NOT_PLAIN.sub("\0", plain)) if run]


@cache
def _rules() -> dict[str, tuple[_Rule, ...]]:
    """The rules of the list under the three characters of each that are rarest."""
    narrowed: dict[str, str] = json.loads(read("own.json"))["bots"]
    lines = [line for line in read("bots.txt").splitlines() if line and not line.startswith("#")]
    sources = [
        source
        for line in lines
        for written in (narrowed.get(line, line),)
        for source in ([written] if "(" in written or "[" in written else written.split("|"))
    ]
    often = Counter(piece for source in sources for run in _runs(source) for piece in _pieces(run))
    often.update(dict.fromkeys(_pieces(_EVERYWHERE), len(sources)))
    found: dict[str, list[_Rule]] = defaultdict(list)
    for source in sources:
        pieces = {piece for run in _runs(source) for piece in _pieces(run)}
        found[min(sorted(pieces), key=often.__getitem__)].append(_Rule(source))
    return {piece: tuple(rules) for piece, rules in found.items()}


def prepare_bots() -> None:
    """The list is read."""
    _rules()


def is_bot(agent: str) -> bool:
    """Whether a user agent is that of a program.

    >>> is_bot("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), is_bot("curl/8.5.0")
    (True, True)
    >>> is_bot("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    False
    """
    lower = agent.lower()
    if _FETCHERS.match(lower) or (any(map(lower.__contains__, _HINTS)) and _NAMES.search(lower)):
        return True
    # Looking for all 1,500 takes 240 µs, one pattern of them all takes milliseconds; three characters leave a handful.
    rules = _rules()
    return any(rule.finds(agent) for piece in rules.keys() & _pieces(agent) for rule in rules[piece])
