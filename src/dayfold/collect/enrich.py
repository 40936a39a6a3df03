"""What an event says of itself, read out and made fit to be stored: campaign, channel, referrer, device, country. Collect floor, pure.

The same pages, referrers and agents come again and again, so what was found of them is kept; an event whose texts are known costs a
few microseconds.

Invariant: what a client said stands before what its address says. An address that the sender came from is looked up and dropped.
Enriching what was enriched changes nothing, for the same rules.

Weakness: of properties, only texts that are addresses as a whole are scrubbed; an address within a sentence stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from dayfold.collect import agents, campaigns, referrers
from dayfold.collect.agents import AGENT_CHARACTERS, agent_of
from dayfold.collect.campaigns import (
    CLICK_CHARACTERS,
    FIELD_CHARACTERS,
    Campaign,
    Channel,
    channel_of,
    of_address,
)
from dayfold.collect.country import Countries, open_countries
from dayfold.collect.event import Event
from dayfold.collect.plain import text
from dayfold.collect.reading import DEEPEST
from dayfold.collect.referrers import Referrer, referrer_of
from dayfold.collect.scrub import Rules, address, usual, words
from dayfold.memo import Memo
from dayfold.settings import CollectSettings

#: Places (page, referrer and what was said of a campaign) and agents that are kept: some 20 MB where all are long.
_KEPT_PLACES = 5_000
_KEPT_AGENTS = 5_000
_KEPT_TEXTS = 10_000
#: Longer texts seldom come again, and would fill the memory of whoever is sent many.
_KEPT_CHARACTERS = 1_000
#: Properties whose texts are addresses, whatever they look like.
_ADDRESSES = frozenset({"url", "href", "link", "path", "search", "hash", "referrer", "referer", "page", "landing_page"})
#: A text without gaps that begins as an address does: with a scheme, a path, a query, or a host before one.
_LOOKS_LIKE = re.compile(
    r"\s*(?:[A-Za-z][A-Za-z0-9+.\-]*://|mailto:|tel:|[/?#]|[\w\-]+(?:\.[\w\-]+)+(?::\d+)?[/?#])\S*\s*", re.IGNORECASE
)

_Place = tuple[
    str | None, str | None, str | None, str | None, str | None, str | None, str | None, str | None, str | None, str | None,
    str | None, str | None,
]  # fmt: skip
_Device = tuple[str | None, str | None, str | None, str | None, bool | None]


class Enricher:
    """Fills the columns of events that can be read out of themselves.

    Args:
        own_hosts: Hosts of the site, those below them too; coming from one is no visit from elsewhere.
        rules: What is taken out of addresses and texts.
        countries: A file of countries; without one, events have no country.

    >>> event = Event("", "page_viewed", 0, 0, 0, "public", "web", page="https://a.example/?utm_source=partner&email=a%40b.example")
    >>> Enricher(["a.example"]).fill([event])
    >>> event.page, event.utm_source, event.channel
    ('https://a.example/?utm_source=partner&email=(removed)', 'partner', 'other')
    """

    def __init__(
        self, own_hosts: Iterable[str] = (), rules: Rules | None = None, countries: Countries | None = None
    ) -> None:
        self.own_hosts = tuple(own_hosts)
        self.rules = rules or usual()
        self.countries = countries
        self._places: Memo[tuple[str | None, ...], _Place] = Memo(_KEPT_PLACES)
        self._devices: Memo[str, _Device] = Memo(_KEPT_AGENTS)
        self._texts: Memo[str, str] = Memo(_KEPT_TEXTS)

    def prepare(self) -> None:
        """All lists are read and compiled; until then the first event would wait for them.

        Raises:
            MissingDriver: where ua-parser is not installed.
        """
        agents.prepare()
        campaigns.prepare()
        referrers.prepare()

    def fill(self, events: Iterable[Event]) -> None:
        """Each event has all that it says of itself, and no address of its sender."""
        for event in events:
            self._place(event)
            agent = event.user_agent
            if agent is not None:
                device = self._devices.get(agent)
                if device is None:
                    device = _device(agent)
                    self._devices.learn(agent, device)
                event.user_agent, event.device_type, event.browser, event.os, event.is_bot = device
            if event.address is not None:
                if self.countries is not None:
                    event.country = self.countries.of(event.address) or None
                event.address = None
            if event.props:
                self._scrub_properties(event)

    def _place(self, event: Event) -> None:
        """Where the event happened, where its visitor came from, and by which campaign."""
        sent = (
            event.page, event.referrer, event.landing_page, event.utm_source, event.utm_medium, event.utm_campaign, event.utm_term,
            event.utm_content, event.click_id,
        )  # fmt: skip
        is_web = event.source == "web"
        key = (*sent, "web" if is_web else "")
        found = self._places.get(key)
        if found is None:
            found = self._placed(sent, is_web)
            if len(event.page or "") + len(event.referrer or "") <= _KEPT_CHARACTERS:
                self._places.learn(key, found)
        (
            event.page, event.referrer, event.landing_page, event.utm_source, event.utm_medium, event.utm_campaign, event.utm_term,
            event.utm_content, event.click_id, event.channel, event.referrer_class, event.referrer_name,
        ) = found  # fmt: skip

    def _placed(self, sent: tuple[str | None, ...], is_web: bool) -> _Place:
        page, came_from, landing, *said, click = sent
        campaign = self._campaign(page, said, click)
        referrer = referrer_of(came_from, self.own_hosts, self.rules)
        # What a server tells has no way there, unless it says one.
        is_placed = is_web or bool(page) or referrer.kind != "none"
        channel: Channel | None = channel_of(campaign, referrer) if is_placed or campaign else None
        return (
            self._address(page), self._address(came_from), self._address(landing),
            campaign.source or None, campaign.medium or None, campaign.name or None, campaign.term or None, campaign.content or None,
            campaign.click_id or None, channel, referrer.kind if is_placed else None, _name(referrer),
        )  # fmt: skip

    def _campaign(self, page: str | None, said: list[str | None], click: str | None) -> Campaign:
        """What was said of a campaign; where nothing was, what the page's address says. The mark of a click comes from either."""
        landed = of_address(page, self.rules)
        fields = [words(one, FIELD_CHARACTERS, self.rules) for one in said]
        mark = text(click, CLICK_CHARACTERS) or landed.click_id
        if any(fields):
            source, medium, name, term, content = fields
            return Campaign(source, medium, name, term, content, click=landed.click, click_id=mark)
        return Campaign(
            landed.source, landed.medium, landed.name, landed.term, landed.content, landed.id, landed.click, mark
        )

    def _address(self, sent: str | None) -> str | None:
        return address(sent, self.rules) or None

    def _scrub_properties(self, event: Event) -> None:
        """Addresses among the properties are scrubbed, and their JSON written anew where that changed one."""
        if "/" not in event.properties and "?" not in event.properties and "\\" not in event.properties:
            named = _ADDRESSES & event.props.keys()
            if not named:
                return
        scrubbed = self._scrubbed("", event.props, 0)
        if scrubbed is not event.props:
            event.props = scrubbed
            event.properties = msgspec.json.encode(scrubbed).decode()

    def _scrubbed(self, name: str, value: Any, depth: int) -> Any:
        """A value without what goes; the very same where nothing does."""
        if isinstance(value, str):
            return (
                self._scrubbed_text(value) if value and (name in _ADDRESSES or _LOOKS_LIKE.fullmatch(value)) else value
            )
        if depth >= DEEPEST:  # the door lets in none that are deeper
            return value
        if isinstance(value, dict):
            fresh = {key: self._scrubbed(key, one, depth + 1) for key, one in value.items()}
            return fresh if any(fresh[key] is not one for key, one in value.items()) else value
        if isinstance(value, list):
            some = [self._scrubbed(name, one, depth + 1) for one in value]
            return some if any(new is not old for new, old in zip(some, value, strict=True)) else value
        return value

    def _scrubbed_text(self, value: str) -> str:
        found = self._texts.get(value)
        if found is None:
            found = address(value, self.rules)
            if len(value) <= _KEPT_CHARACTERS:
                self._texts.learn(value, found)
        return value if found == value else found


def open_enricher(settings: CollectSettings) -> Enricher:
    """An enricher as the settings say, its file of countries open.

    Raises:
        ConfigError: where the file of countries is not there, or not one.

    >>> open_enricher(CollectSettings(own_hosts=["example.com"])).own_hosts
    ('example.com',)
    """
    rules = usual()
    if settings.scrub_names or settings.scrub_kept or settings.scrub_patterns:
        rules = rules.extended(names=settings.scrub_names, kept=settings.scrub_kept, patterns=settings.scrub_patterns)
    return Enricher(settings.own_hosts, rules, open_countries(settings.countries) if settings.countries else None)


def _name(referrer: Referrer) -> str | None:
    return referrer.name or None


def _device(sent: str) -> _Device:
    agent = agent_of(sent)
    kept = text(sent, AGENT_CHARACTERS)
    return (kept, agent.device_type, agent.browser, agent.os, agent.bot) if kept else (None, None, None, None, None)
