"""Where a visitor came from, by the address that the browser names. Collect floor, pure.

Matching follows the lists' own program: search engines are found by host, `{}` standing for a country's letters before or behind a
name, with a path where the list has one; social networks and assistants also by any host below theirs. An app names itself by its
package, whose parts turned round are a host.

Invariant: a host that several lists name is, in this order, the site's own, spam, an assistant, a network unless words were
searched for, a search engine.

Weakness: browsers mostly send the host alone, so words of a search are rare, and a page of a network is not told from its start page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from dayfold.collect.lists import read
from dayfold.collect.plain import text
from dayfold.collect.scrub import ADDRESS_CHARACTERS, Rules, words

ReferrerClass: TypeAlias = Literal["none", "internal", "spam", "ai", "search", "social", "other"]
_ADDRESS = re.compile(
    r"(?:(https?|android-app|ios-app):)?//(?:[^/?#\\@]*@)?(\[[0-9A-Fa-f:.]+\]|[^/?#\\:@\s]+)(?::\d*)?(?=[/?#]|\Z)([^?#]*)(?:\?([^#]*))?",
    re.IGNORECASE,
)
_HOST = re.compile(r"[a-z0-9_\-]+(?:\.[a-z0-9_\-]+)*|\[[0-9a-f:.]+\]")
#: No name is longer; what is, is none.
_HOST_CHARACTERS = 253
#: What comes before a host's own name and says nothing.
_AHEAD = re.compile(r"(?:www?\d*|m|mobile|l|lm|amp)\.(?=[^.]+\.)")
_COUNTRY_BEHIND = re.compile(r"\.(?:(?:com|org|net|co|it|edu)\.)?[a-z]{2}\Z")
_COUNTRY_AHEAD = re.compile(r"(?:\A|(?<=\.))[a-z]{2}\.")
#: Hosts whose class is kept: some 3 MB.
KEPT_HOSTS = 10_000


@dataclass(frozen=True, slots=True)
class Referrer:
    """Class and name of a referrer; for a search the words, scrubbed, where the engine still sends them. ``host`` has no ``www.``."""

    kind: ReferrerClass = "none"
    name: str = ""
    words: str = ""
    host: str = ""


#: Where no referrer was sent, or nothing that could be one.
NONE = Referrer()


class _Entry(NamedTuple):
    """What the lists know of a host, and of which paths below it."""

    kind: ReferrerClass
    name: str
    path: str = ""
    names: tuple[str, ...] = ()
    paths: tuple[re.Pattern[str], ...] = ()
    encodings: tuple[str, ...] = ()


class _Lists(NamedTuple):
    exact: dict[str, tuple[_Entry, ...]]
    below: dict[str, tuple[_Entry, ...]]
    spam: frozenset[str]
    apps: dict[str, _Entry]


@cache
def _lists() -> _Lists:
    """The lists by host; where several fit, those with the longest path come first, and assistants before the rest."""
    found: dict[str, Any] = json.loads(read("referrers.json"))
    exact: dict[str, list[_Entry]] = {}
    below: dict[str, list[_Entry]] = {}
    for kind in ("ai", "social"):
        for name, urls in found[kind]:
            for url in urls:
                host, slash, path = url.partition("/")
                below.setdefault(host, []).append(_Entry(kind, name, (slash + path).rstrip("/")))
    for name, urls, parameters, encodings in found["search"]:
        plain = tuple(parameter for parameter in parameters if not parameter.startswith("/") and parameter.strip())
        paths = tuple(re.compile(parameter[1:-1]) for parameter in parameters if parameter.startswith("/"))
        for url in urls:
            host, slash, path = url.partition("/")
            entry = _Entry("search", name, (slash + path).rstrip("/"), plain, paths, tuple(encodings))
            for form in dict.fromkeys((host, _AHEAD.sub("", host, count=1))):
                exact.setdefault(form, []).append(entry)
    apps = {package: _Entry(kind, name) for package, (kind, name) in json.loads(read("own.json"))["apps"].items()}

    def sorted_(entries: dict[str, list[_Entry]]) -> dict[str, tuple[_Entry, ...]]:
        return {host: tuple(sorted(some, key=lambda entry: -len(entry.path))) for host, some in entries.items()}

    return _Lists(sorted_(exact), sorted_(below), frozenset(map(_ascii, found["spam"])), apps)


def prepare() -> None:
    """The lists are read."""
    _lists()


def referrer_of(sent: object, own: Collection[str] = (), rules: Rules | None = None) -> Referrer:
    """What a referrer says; ``own``: hosts of the site itself, which stand for those below them too. Of anything else, nothing.

    >>> referrer_of("https://www.google.co.uk/search?q=daily+metrics")
    Referrer(kind='search', name='Google', words='daily metrics', host='google.co.uk')
    >>> referrer_of("https://l.facebook.com/").name, referrer_of("https://chatgpt.com/").kind
    ('Facebook', 'ai')
    >>> referrer_of("https://shop.example.com/cart", own=["example.com"]).kind, referrer_of("about:blank").kind
    ('internal', 'none')
    """
    if not isinstance(sent, str) or not sent:
        return NONE
    found = _ADDRESS.match(text(sent, ADDRESS_CHARACTERS))
    if not found:
        return NONE
    scheme, host, path, query = found.groups("")
    host = _ascii(host)
    if not host:
        return NONE
    if scheme.lower() in ("android-app", "ios-app"):
        return _of_app(host)
    shown = host.removeprefix("www.")
    if own and any(shown == one or shown.endswith("." + one) for one in map(_own, own)):
        return Referrer("internal", shown, "", shown)
    entries = _known(host)
    path = path or "/"
    fitting = [entry for entry in entries if not entry.path or path == entry.path or path.startswith(entry.path + "/")]
    if not fitting:
        return Referrer("other", shown, "", shown)
    entry, said = fitting[0], ""
    if entry.kind == "search":
        said = _searched(entry, path, query, rules)
        if not said:
            # Networks are listed as search engines too, for what is looked for within them.
            entry = next((one for one in fitting if one.kind == "social"), entry)
    return Referrer(entry.kind, entry.name, said, shown)


@lru_cache(maxsize=1000)
def _own(host: str) -> str:
    """A host of the site as it was configured, without what browsers may leave out."""
    bare = (host.partition("://")[2] or host).partition("/")[0]
    return _ascii(re.sub(r":\d*\Z", "", bare)).removeprefix("www.")


@lru_cache(maxsize=KEPT_HOSTS)
def _ascii(host: str) -> str:
    """A host in the letters that names are looked up in; empty where it is none."""
    if len(host) > _HOST_CHARACTERS:
        return ""
    host = host.lower().rstrip(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    return host if _HOST.fullmatch(host) else ""


def _of_app(package: str) -> Referrer:
    lists = _lists()
    if package in lists.apps:
        entry = lists.apps[package]
        return Referrer(entry.kind, entry.name, "", package)
    entry = next(
        (one for one in _known(".".join(reversed(package.split(".")))) if not one.path), _Entry("other", package)
    )
    return Referrer(entry.kind, entry.name, "", package)


@lru_cache(maxsize=KEPT_HOSTS)
def _known(host: str) -> tuple[_Entry, ...]:
    """What the lists know of a host, the best fit first."""
    lists = _lists()
    below: list[_Entry] = []
    at = 0
    while at >= 0:
        above = host[at:]
        if above in lists.spam:
            return (_Entry("spam", above),)
        below += lists.below.get(above, ())
        at = host.find(".", at) + 1 or -1
    exact = [entry for form in _forms(host) if form in lists.exact for entry in lists.exact[form]]
    if not exact and not below:
        return ()
    assistants = [entry for entry in below if entry.kind == "ai"]
    return (*assistants, *exact, *(entry for entry in below if entry.kind != "ai"))


def _forms(host: str) -> list[str]:
    """A host in the ways that the list of search engines may write it.

    >>> _forms("www.google.de"), _forms("fr.bing.com")
    (['www.google.de', 'google.de', 'google.{}'], ['fr.bing.com', '{}.bing.com'])
    """
    bare = _AHEAD.sub("", host, count=1)
    behind = _COUNTRY_BEHIND.sub(".{}", bare)
    ahead = _COUNTRY_AHEAD.sub("{}.", bare, count=1)
    return list(dict.fromkeys((host, bare, behind, ahead)))


def _searched(entry: _Entry, path: str, query: str, rules: Rules | None) -> str:
    """The words of a search; one name of a parameter may stand several times, the first with a value counts."""
    if query and entry.names:
        pairs = [pair.partition("=") for pair in query.split("&")]
        for name in entry.names:
            for key, _, value in pairs:
                if key == name and value:
                    return words(_read(value, entry.encodings), rules=rules)
    for pattern in entry.paths:
        found = pattern.search(path)
        if found and found[1]:
            return words(_read(found[1], entry.encodings), rules=rules)
    return ""


def _read(value: str, encodings: tuple[str, ...]) -> str:
    """Words out of an address, in whichever of the engine's encodings they are; UTF-8 is always tried first."""
    raw = unquote_to_bytes(value.replace("+", " "))
    for encoding in ("utf-8", *encodings):
        try:
            return raw.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return raw.decode("utf-8", "replace")
