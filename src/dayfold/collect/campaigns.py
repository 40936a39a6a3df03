"""Which campaign brought a visitor, and over which channel. Collect floor, pure.

A campaign comes from what a client library says (`context.campaign` of Segment's API) or from the address that was landed on: the
UTM parameters, Matomo's, or the mark that an advertiser's click leaves, which names source and medium where nobody else does.

Invariant: what is written in an address or said by a client is kept as it is written, scrubbed and cut; only channels compare in
small letters.

Weakness: Facebook marks every click, paid or not, so without UTM it counts as social.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias, get_args
from urllib.parse import unquote_plus

from dayfold.collect.lists import read
from dayfold.collect.plain import text
from dayfold.collect.referrers import Referrer, referrer_of
from dayfold.collect.scrub import ADDRESS_CHARACTERS, REMOVED, Rules, words

Channel: TypeAlias = Literal[
    "direct",
    "internal",
    "spam",
    "paid-search",
    "paid-social",
    "paid-other",
    "display",
    "video",
    "email",
    "affiliate",
    "sms",
    "push",
    "audio",
    "ai",
    "organic-search",
    "organic-social",
    "referral",
    "other",
]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
#: Characters of a field that are kept.
FIELD_CHARACTERS = 200
#: Click ids are long; one that is longer than this is none.
CLICK_CHARACTERS = 500
_FIELDS = ("source", "medium", "name", "term", "content", "id")
_CLICK = re.compile(r"[A-Za-z0-9_.~\-]+")


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is known of a campaign; empty texts where nothing is. ``click`` is the name of the advertiser's mark, ``click_id`` its value."""

    source: str = ""
    medium: str = ""
    name: str = ""
    term: str = ""
    content: str = ""
    id: str = ""
    click: str = ""
    click_id: str = ""

    def __bool__(self) -> bool:
        return self != NONE


#: Where there is no campaign.
NONE = Campaign()


class _Lists(NamedTuple):
    clicks: dict[str, tuple[str, str]]
    fields: dict[str, tuple[str, int]]
    mediums: dict[str, Channel]
    paid: frozenset[str]
    sources: dict[str, str]


@cache
def _lists() -> _Lists:
    found: dict[str, Any] = json.loads(read("campaigns.json"))
    mediums: dict[str, Channel] = {
        _compared(word): channel for channel in CHANNELS for word in found["mediums"].get(channel, ())
    }
    return _Lists(
        {mark: (source, medium) for mark, source, medium in found["clicks"]},
        {
            parameter: (field, rank)
            for field, parameters in found["parameters"].items()
            for rank, parameter in enumerate(parameters)
        },
        mediums,
        frozenset(map(_compared, found["mediums"]["paid"])),
        {_compared(word): kind for kind, some in found["sources"].items() for word in some},
    )


def prepare() -> None:
    """The lists are read."""
    _lists()


def of_context(campaign: object, rules: Rules | None = None) -> Campaign:
    """The campaign of a Segment `context.campaign`; its keys may also be spelled as UTM parameters.

    >>> of_context({"name": "spring", "source": "newsletter", "medium": "email"})
    Campaign(source='newsletter', medium='email', name='spring', term='', content='', id='', click='', click_id='')
    >>> bool(of_context(["spring"]))
    False
    """
    if not isinstance(campaign, Mapping):
        return NONE
    fields = {}
    for field in _FIELDS:
        spelled = "utm_campaign" if field == "name" else f"utm_{field}"
        fields[field] = words(campaign.get(field), FIELD_CHARACTERS, rules) or words(
            campaign.get(spelled), FIELD_CHARACTERS, rules
        )
    return Campaign(**fields) if any(fields.values()) else NONE


def of_address(landing: object, rules: Rules | None = None) -> Campaign:
    """The campaign that an address names, in its query or in the query of its fragment.

    >>> of_address("https://example.com/?utm_source=x&utm_medium=cpc&utm_campaign=spring%20sale").name
    'spring sale'
    >>> of_address("/pricing?gclid=EAIaIQobChMI")
    Campaign(source='google', medium='cpc', name='', term='', content='', id='', click='gclid', click_id='EAIaIQobChMI')
    """
    if not isinstance(landing, str) or "=" not in landing:
        return NONE
    whole = text(landing, ADDRESS_CHARACTERS)
    ahead, _, fragment = whole.partition("#")
    pairs = ahead.partition("?")[2].split("&") + (fragment.rpartition("?")[2] or fragment).split("&")
    lists = _lists()
    fields: dict[str, str] = {}
    ranks: dict[str, int] = {}
    click, click_id = "", ""
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.lower()
        if not equals or not value:
            continue
        if known := lists.fields.get(key):
            field, rank = known
            if rank < ranks.get(field, len(lists.fields)):
                said = words(unquote_plus(value), FIELD_CHARACTERS, rules)
                if said:
                    fields[field], ranks[field] = said, rank
        elif key in lists.clicks and (not click or _rank(key) < _rank(click)):
            value = unquote_plus(value)
            if len(value) <= CLICK_CHARACTERS and _CLICK.fullmatch(value):
                click, click_id = key, value
    if not fields and not click:
        return NONE
    if click and "source" not in fields and "medium" not in fields:
        fields["source"], fields["medium"] = lists.clicks[click]
    return Campaign(**fields, click=click, click_id=click_id)


def _rank(mark: str) -> int:
    """Which of several marks counts: that of a paid click before one that is on every link."""
    return list(_lists().clicks).index(mark)


def campaign_of(context: object, landing: object, rules: Rules | None = None) -> Campaign:
    """What a client says of its campaign, with the click that its address names; what the address says where the client says nothing.

    >>> campaign_of({"source": "x"}, "/?utm_source=y&gclid=a").source, campaign_of(None, "/?utm_source=y").source
    ('x', 'y')
    """
    said, landed = of_context(context, rules), of_address(landing, rules)
    if not said:
        return landed
    return Campaign(
        said.source, said.medium, said.name, said.term, said.content, said.id, landed.click, landed.click_id
    )


def channel_of(campaign: Campaign, referrer: Referrer) -> Channel:
    """The channel over which a visitor came: what the campaign says, else what the referrer is.

    >>> channel_of(of_address("/?gclid=a"), Referrer()), channel_of(NONE, Referrer("search", "Google"))
    ('paid-search', 'organic-search')
    >>> channel_of(NONE, Referrer()), channel_of(Campaign("fb", "cpc"), Referrer())
    ('direct', 'paid-social')
    """
    if referrer.kind == "spam":
        return "spam"
    if not campaign:
        return _BY_CLASS[referrer.kind]
    lists = _lists()
    medium, kind = _compared(campaign.medium), _source_class(campaign.source) or referrer.kind
    if medium in lists.mediums and lists.mediums[medium] != "referral":
        return lists.mediums[medium]
    if medium in lists.paid or medium.startswith("paid"):
        return _PAID.get(kind, "paid-other")
    if kind in ("search", "social", "ai"):
        return _BY_CLASS[kind]
    if kind == "email":
        return "email"
    return "referral" if medium in lists.mediums else "other"


_BY_CLASS: Mapping[str, Channel] = {
    "none": "direct",
    "internal": "internal",
    "spam": "spam",
    "ai": "ai",
    "search": "organic-search",
    "social": "organic-social",
    "other": "referral",
}


_PAID: Mapping[str, Channel] = {"search": "paid-search", "social": "paid-social"}


def _source_class(source: str) -> str:
    """What kind of place a source is: by its name, or by its host as a referrer would be."""
    if not source or source == REMOVED:
        return ""
    if found := _lists().sources.get(_compared(source)):
        return found
    if "." not in source:
        return ""
    kind = referrer_of(f"https://{source}/").kind
    return kind if kind in ("search", "social", "ai") else ""


@lru_cache(maxsize=1000)
def _compared(word: str) -> str:
    """A medium or source as it is compared: small letters, one way to write a gap.

    >>> _compared("Paid-Social"), _compared(" E mail ")
    ('paid_social', 'e_mail')
    """
    return re.sub(r"[\s\-_+]+", "_", word.strip().lower())
