"""What is true of the licensing example, counted by hand from what was sent. Nothing of the product is imported."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import sys
import urllib.parse
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parents[2] / "examples" / "licensing"


def module(name: str) -> Any:
    """A file of the example."""
    spec = importlib.util.spec_from_file_location(f"licensing_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


drawn = module("traffic")
PAGE_TYPES = {"page_viewed", "asset_viewed", "page_engaged"}
MONEY = {"license_created", "license_renewed"}
UNKNOWN = {"licence_created"}
#: What each user agent and each referrer of the example is.
BROWSER = {
    drawn.BROWSERS[0]: ("Chrome", False),
    drawn.BROWSERS[1]: ("Safari", False),
    drawn.BROWSERS[2]: ("Firefox", False),
    drawn.BROWSERS[3]: ("Mobile Safari", False),
    drawn.BOT: ("Googlebot", True),
}
REFERRER = {
    "https://www.google.com/search?q=licensed+art": ("search", ("google", "organic", None)),
    "https://www.instagram.com/": ("social", ("instagram", "social", None)),
    "https://chatgpt.com/": ("ai", ("chatgpt", "ai", None)),
    "https://blog.partner.example/post": ("other", ("blog.partner.example", "referral", None)),
    "http://semalt.com/project": ("spam", None),
    None: ("none", None),
}
DIRECT = ("(direct)", "(none)", None)
UNSEEN = (None, None, None)
GAP, WINDOW = dt.timedelta(minutes=30), dt.timedelta(days=30)
Touch = tuple[Any, Any, Any]


@dataclass
class Fact:
    """An event as it has to stand in the log."""

    at: dt.datetime
    type: str
    trust: str
    props: dict[str, Any]
    actor: str | None
    anonymous: str | None
    session: str | None
    page: str | None
    referrer: str | None
    campaign: Touch | None
    agent: str | None
    key: tuple[Any, Any, Any]
    first: Touch = UNSEEN
    last: Touch = UNSEEN

    @property
    def day(self) -> dt.date:
        return self.at.date()

    @property
    def is_bot(self) -> bool:
        return self.agent is not None and BROWSER[self.agent][1]

    @property
    def person(self) -> str | None:
        return self.actor or self.anonymous

    @property
    def is_view(self) -> bool:
        return self.type in ("page_viewed", "asset_viewed")

    @property
    def cents(self) -> int:
        """Revenue: what a server says, and no browser."""
        return int(self.props.get("revenue_cents") or 0) if self.trust == "server" else 0


@dataclass
class Truth:
    """What is in the log, and what became of the rest."""

    facts: list[Fact] = field(default_factory=list)
    quarantined: int = 0
    ignored: int = 0
    repeated: int = 0
    conflicts: int = 0
    money_of_browsers: int = 0


def truth(requests: Iterable[Any]) -> Truth:
    """What has to be in the log after these requests, in their order."""
    found = Truth()
    known: dict[str, str] = {}
    for request in requests:
        if set(request.headers) & {"DNT", "Sec-GPC"}:
            found.ignored += len(request.events)
            continue
        for event in request.events:
            if event["event_type"] in UNKNOWN or (
                event["event_type"] in MONEY and not isinstance(event["properties"].get("revenue_cents"), int)
            ):
                found.quarantined += 1
                continue
            payload = json.dumps(event, sort_keys=True)
            if event["id"] in known:
                if known[event["id"]] == payload:
                    found.repeated += 1
                else:
                    found.conflicts += 1
                continue
            known[event["id"]] = payload
            fact = _fact(event, request)
            found.facts.append(fact)
            if fact.trust == "public" and "revenue_cents" in fact.props:
                found.money_of_browsers += 1
    _attribute(found.facts)
    return found


def _fact(event: dict[str, Any], request: Any) -> Fact:
    props = event.get("properties", {})
    names = {"project_id": None, "ip_asset_id": None, "license_id": None} | {
        name: props[name] for name in ("project_id", "ip_asset_id", "license_id") if name in props
    }
    if event.get("entity_type") == "ip_asset":
        names["ip_asset_id"] = event["entity_id"]
    said = event.get("attribution", {})
    page = event.get("page")
    asked = urllib.parse.parse_qs(urllib.parse.urlsplit(page or "").query)
    source = said.get("utm_source") or asked.get("utm_source", [None])[0]
    campaign = None
    if source:
        medium = said.get("utm_medium") or asked["utm_medium"][0]
        campaign = (source, medium, said.get("utm_campaign") or asked["utm_campaign"][0])
    return Fact(
        dt.datetime.fromisoformat(event["occurred_at"]) - dt.timedelta(seconds=request.ahead_s or 0),
        event["event_type"],
        "public" if request.key == "pages" else "server",
        props,
        event["actor"]["id"] if "actor" in event else None,
        event.get("anonymous_id"),
        event.get("session_id"),
        page,
        said.get("referrer"),
        campaign,
        request.headers.get("User-Agent"),
        (names["project_id"], names["ip_asset_id"], names["license_id"]),
    )


def _attribute(facts: list[Fact]) -> None:
    """Sessions and touches, each as of its event, visitor by visitor."""
    touches: dict[str, list[tuple[dt.datetime, Touch]]] = defaultdict(list)
    owners: dict[str, list[tuple[dt.datetime, str]]] = defaultdict(list)
    for fact in facts:
        if fact.actor and fact.anonymous:
            owners[fact.actor].append((fact.at, fact.anonymous))
    browsers: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.page is not None and not fact.is_bot and REFERRER[fact.referrer][0] != "spam":
            assert fact.anonymous is not None
            browsers[fact.anonymous].append(fact)
    for name, seen in browsers.items():
        seen.sort(key=lambda one: one.at)
        touches[name] = _sessions(name, seen)
    for fact in facts:
        is_person = not fact.is_bot and REFERRER[fact.referrer][0] != "spam"
        if not is_person or fact.person is None:
            continue
        if fact.actor:
            mine = {browser for at, browser in owners[fact.actor] if at <= fact.at}
            found = sorted((touch for browser in mine for touch in touches[browser]), key=lambda one: one[0])
        else:
            found = touches[str(fact.anonymous)]
        found = [one for one in found if one[0] <= fact.at]
        if found:
            fact.first = found[0][1]
            led = [touch for at, touch in found if touch != DIRECT and fact.at - at <= WINDOW]
            fact.last = led[-1] if led else DIRECT


def _sessions(name: str, seen: list[Fact]) -> list[tuple[dt.datetime, Touch]]:
    """The touches of a browser; each of its events has its session."""
    found: list[tuple[dt.datetime, Touch]] = []
    number, end, campaign = 0, None, None
    known: set[str] = set()
    for fact in seen:
        given = fact.session
        if given is not None:
            begins = given not in known
            known.add(given)
        else:
            begins = end is None or fact.at - end > GAP or (fact.campaign is not None and fact.campaign != campaign)
        if begins:
            number += 1
            campaign = fact.campaign
            found.append((fact.at, fact.campaign or REFERRER[fact.referrer][1] or DIRECT))
        elif fact.campaign is not None and fact.campaign != campaign:
            campaign = fact.campaign
            found.append((fact.at, fact.campaign))
        if given is None:
            fact.session = f"{name}/{number}"
        end = fact.at
    return found


# -- the rollups, by hand --------------------------------------------------------------------------

DAILY = ("views", "clicks", "conversions", "revenue_cents", "unique_visitors", "engagement_time")
EXTRAS = ("downloads", "license_clicks", "renewals", "rejections", "royalties_cents")
CAMPAIGN = ("visitors", "sessions", "impressions", "clicks", "conversions", "revenue_cents", "cost_cents")
PLATFORM = ("signups", "active_users", "new_creators", "new_brands", "visitors", "conversions", "revenue_cents")


def daily(facts: Iterable[Fact]) -> dict[str, Any]:
    """The numbers of `daily_metrics` of some events."""
    some = list(facts)
    people = [one for one in some if not one.is_bot]

    def count(*types: str) -> int:
        return sum(one.type in types for one in people)

    return {
        "views": count("asset_viewed"),
        "clicks": count("asset_downloaded", "license_clicked"),
        "conversions": sum(one.type == "license_created" and one.trust == "server" for one in some),
        "revenue_cents": sum(one.cents for one in some),
        "unique_visitors": len({one.person for one in people if one.is_view} - {None}),
        "engagement_time": sum(
            max(0, min(1800, one.props["engagement_time"])) for one in people if one.type == "page_engaged"
        ),
        "downloads": count("asset_downloaded"),
        "license_clicks": count("license_clicked"),
        "renewals": sum(one.type == "license_renewed" for one in some),
        "rejections": sum(one.type == "asset_rejected" for one in some),
        "royalties_cents": sum(one.props["amount_cents"] for one in some if one.type == "royalty_paid"),
    }


def campaign(facts: Iterable[Fact], costs: Iterable[int]) -> dict[str, Any]:
    """The numbers of a campaign's rollup."""
    some = list(facts)
    views = [one for one in some if one.is_view and not one.is_bot]
    every = daily(some)
    return {
        "visitors": every["unique_visitors"],
        "sessions": len({one.session for one in views} - {None}),
        "impressions": every["views"],
        "clicks": every["clicks"],
        "conversions": every["conversions"],
        "revenue_cents": every["revenue_cents"],
        "cost_cents": sum(costs),
    }


def platform(facts: Iterable[Fact], tables: dict[str, list[tuple[Any, ...]]], days: set[dt.date]) -> dict[str, Any]:
    """The numbers of the platform over some days."""
    some = [one for one in facts if one.day in days]
    every = daily(some)
    return {
        "signups": sum(one.type == "user_signed_up" for one in some),
        "active_users": len({one.actor for one in some} - {None}),
        "new_creators": sum(row[2].date() in days for row in tables["creators"]),
        "new_brands": sum(row[2].date() in days for row in tables["brands"]),
        "visitors": every["unique_visitors"],
        "conversions": every["conversions"],
        "revenue_cents": every["revenue_cents"],
    }
