"""Addresses and texts without what tells who somebody is. Collect floor, pure.

Three kinds of rules, all of them data (`lists/scrub.json`) that `Rules.extended` adds to: names of parameters whose values go,
patterns of values (mail, telephone, card), and patterns of secrets, which spare the parameters that attribution needs: their values
look like secrets.

Invariant: a part is taken out whole or left as it was sent, and what is scrubbed stays as it is when it is scrubbed again.

Weakness: what no rule knows stays: a person's name in a path, or a telephone number without a sign before it, look like any other part.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from dayfold.collect.lists import read
from dayfold.collect.plain import text

#: What stands where something was taken out; letters that an address may hold.
REMOVED = "(removed)"
#: The rest of a longer address is cut off.
ADDRESS_CHARACTERS = 2048
#: How often an address may stand within another; deeper ones go.
_DEPTH = 2
_PARTS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.\-]{0,30}:)?//[^/?#\\]*)?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_BETWEEN = re.compile(r"([&;])")
_LAST = re.compile(r"[^&;/?#]*\Z")
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")


@dataclass(frozen=True, slots=True)
class Rules:
    """What is taken out.

    ``names``: whole names of parameters, ``words``: the last word of a name, both in small letters and digits alone; ``kept``: names
    that attribution needs, as they are written in small letters. ``values`` go from everywhere, ``secrets`` spare what is kept.
    Nothing of the two stands in a text in which ``hint`` finds nothing; ``more`` are patterns of values that were added, for which
    that does not hold.
    """

    names: frozenset[str]
    words: frozenset[str]
    kept: frozenset[str]
    values: re.Pattern[str]
    secrets: re.Pattern[str]
    hint: re.Pattern[str]
    more: re.Pattern[str] | None = None

    def extended(self, *, names: Iterable[str] = (), kept: Iterable[str] = (), patterns: Iterable[str] = ()) -> Rules:
        r"""The rules and some more: names of parameters to empty, names to leave, patterns of values that go.

        >>> address("/a?badge=7&code=x&n=EMP-12", usual().extended(names=["Badge"], kept=["code"], patterns=[r"EMP-\d+"]))
        '/a?badge=(removed)&code=x&n=(removed)'
        """
        added = [*([self.more.pattern] if self.more else []), *patterns]
        return replace(
            self,
            names=self.names.union(map(_joined, names)),
            kept=self.kept.union(name.lower() for name in kept),
            more=_either(added) if added else None,
        )

    def find_value(self, decoded: str) -> bool:
        """Whether a value of a person stands in a text."""
        if self.more and self.more.search(decoded):
            return True
        return bool(self.hint.search(decoded)) and bool(self.values.search(decoded))

    def find(self, decoded: str) -> bool:
        """Whether a value of a person or a secret stands in a text."""
        if self.more and self.more.search(decoded):
            return True
        return bool(self.hint.search(decoded)) and bool(self.values.search(decoded) or self.secrets.search(decoded))

    def name_goes(self, name: str) -> bool:
        """Whether the value of a parameter goes whatever it is.

        >>> usual().name_goes("user[email]"), usual().name_goes("billingEmail"), usual().name_goes("utm_source")
        (True, True, False)
        """
        if name.lower() in self.kept:
            return False
        words = [word.lower() for word in _WORD.findall(name)]
        whole = "".join(words)
        return bool(words) and (words[-1] in self.words or whole in self.names or whole in self.words)


def _joined(name: str) -> str:
    return "".join(_WORD.findall(name)).lower()


def _either(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


@cache
def usual() -> Rules:
    """The rules that stand in the package.

    >>> "utm_source" in usual().kept
    True
    """
    found: dict[str, Any] = json.loads(read("scrub.json"))
    return Rules(
        frozenset(found["names"]),
        frozenset(found["words"]),
        frozenset(found["kept"]),
        _either(found["patterns"].values()),
        _either(found["secrets"].values()),
        re.compile(found["hint"]),
    )


def words(sent: object, limit: int = 200, rules: Rules | None = None) -> str:
    """A text that can be stored; one in which a value of a person or a secret stands is taken out whole.

    >>> words(" spring sale "), words("for jane@example.com"), words(7)
    ('spring sale', '(removed)', '')
    """
    # What a cut would leave of a value is not known as one any more.
    whole = text(sent, ADDRESS_CHARACTERS)
    return REMOVED if whole and (rules or usual()).find(_decoded(whole)) else whole[:limit].rstrip()


def address(sent: object, rules: Rules | None = None) -> str:
    """An address without what tells who somebody is: no user, no values of people, no secrets.

    >>> address("https://me:pw@example.com/a?utm_source=x&email=me%40example.com#token=7")
    'https://example.com/a?utm_source=x&email=(removed)#token=(removed)'
    >>> address("https://example.com/invite/jane%40example.com"), address(None)
    ('https://example.com/invite/(removed)', '')
    """
    return _cut(_address(_cut(text(sent, ADDRESS_CHARACTERS + 1)), rules or usual(), 0))


def _cut(whole: str) -> str:
    """At most as long as an address may be, without the part that the cut went through."""
    return whole if len(whole) <= ADDRESS_CHARACTERS else _LAST.sub("", whole[:ADDRESS_CHARACTERS])


def _decoded(part: str) -> str:
    """What was encoded, as often as it was."""
    for _ in range(3):
        if "%" not in part:
            break
        part = unquote(part)
    return part


def _address(whole: str, rules: Rules, depth: int) -> str:
    found = _PARTS.match(whole)
    if not found:
        return ""
    origin, path, query, fragment = found.groups("")
    if "@" in origin:
        scheme, _, place = origin.partition("//")
        origin = f"{scheme}//{place.rpartition('@')[2]}"
    if rules.find(_decoded(origin)):
        origin = origin.partition("//")[0] + "//" + REMOVED
    if query:
        query = "?" + _pairs(query[1:], rules, depth)
    if fragment:
        ahead, mark, behind = fragment[1:].partition("?")
        ahead = _pairs(ahead, rules, depth) if "=" in ahead else _path(ahead, rules, depth)
        fragment = "#" + ahead + mark + _pairs(behind, rules, depth)
    return origin + _path(path, rules, depth) + query + fragment


def _path(path: str, rules: Rules, depth: int) -> str:
    if ";" not in path and not rules.find(_decoded(path)):
        return path
    parts = [_segment(part, rules, depth) for part in path.split("/")]
    left = "/".join(parts)
    return "/" + REMOVED if rules.find(_decoded(left)) else left


def _segment(part: str, rules: Rules, depth: int) -> str:
    ahead, mark, behind = part.partition(";")
    if rules.find(_decoded(ahead)):
        ahead = REMOVED
    return ahead + mark + _pairs(behind, rules, depth)


def _pairs(query: str, rules: Rules, depth: int) -> str:
    """What stands behind a question mark, pair by pair."""
    return "".join(part if part in "&;" else _pair(part, rules, depth) for part in _BETWEEN.split(query))


def _pair(pair: str, rules: Rules, depth: int) -> str:
    name, equals, value = pair.partition("=")
    if not equals:
        return REMOVED if rules.find(_decoded(pair)) or rules.find(_decoded(unquote_plus(pair))) else pair
    plain = _decoded(name)
    if rules.find(plain):
        return f"{REMOVED}={REMOVED}"
    if not value or value == REMOVED:
        return pair
    if rules.name_goes(plain):
        return f"{name}={REMOVED}"
    goes = rules.find_value if plain.lower() in rules.kept else rules.find
    decoded = _decoded(value)
    spaced = _decoded(unquote_plus(value)) if "+" in value else decoded
    if goes(decoded) or (spaced is not decoded and goes(spaced)):
        return f"{name}={REMOVED}"
    if "=" not in decoded:
        return pair
    if depth >= _DEPTH:
        return f"{name}={REMOVED}"
    within = (
        _address(decoded, rules, depth + 1) if "?" in decoded or "#" in decoded else _pairs(decoded, rules, depth + 1)
    )
    return pair if within == decoded else f"{name}={quote(within, safe='/:?(),')}"
