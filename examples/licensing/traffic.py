"""Ninety days of a licensing platform, drawn from one seed: its tables, and what its pages and servers send, request by request.

What is in them: visitors who come by campaigns, searches, networks, assistants, other sites, spam or by themselves, come again, sign up on
one browser and go on with another; licenses that are bought, renewed and expire; programs that read pages; a clock that is a day off; a
browser that was offline for a week; requests sent twice, and again a day later; ids that come again with another payload; types that nobody
declared; browsers that ask not to be tracked, and some that claim money; a project that died (p5); a day without data.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

FIRST, DAYS = dt.date(2025, 11, 1), 90
#: Events at full size.
EVENTS = 1_000_000
CREATORS, BRANDS, PROJECTS, ASSETS = 40, 8, 10, 120
DEAD, DEAD_AFTER, SILENT_DAY = "p5", 20, 30
SITE = "https://license.example"
DAY = dt.timedelta(days=1)
#: Source, medium and name of campaigns; whose they are; what they cost a day, in cents; how often they bring somebody.
CAMPAIGNS = (
    ("newsletter", "email", "spring", "b1", 1_500, 8),
    ("google", "cpc", "brand-a", "b2", 12_000, 10),
    ("instagram", "paid-social", "launch", "b1", 7_500, 7),
    ("partner", "affiliate", "fall", "b3", 4_000, 5),
    ("friends", "invitation", "word-of-mouth", None, 0, 4),
    ("billboard", "print", "offline", "b2", 30_000, 0),
)
#: Addresses that visitors come from, and how often.
REFERRERS = (
    ("https://www.google.com/search?q=licensed+art", 14),
    ("https://www.instagram.com/", 8),
    ("https://chatgpt.com/", 5),
    ("https://blog.partner.example/post", 6),
    ("http://semalt.com/project", 2),
    ("", 30),
)
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
    "Mobile/15E148 Safari/604.1",
)
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@dataclass(frozen=True)
class Request:
    """What is sent at once.

    Attributes:
        at: When it would have been sent.
        key: ``pages``, which everybody can read, or ``servers``.
        events: In Dayfold's own form, moments by the sender's clock.
        headers: Of the request, beside what every request has.
        ahead_s: How far the sender's clock is ahead; None: the sender says nothing of its clock.
        is_late: Whether it comes only after all others.
    """

    at: dt.datetime
    key: str
    events: list[dict[str, Any]]
    headers: dict[str, str] = field(default_factory=dict)
    ahead_s: int | None = None
    is_late: bool = False


@dataclass
class _Browser:
    """Somebody's browser: what it is called, what it is, and who signs in with it."""

    id: str
    agent: str
    #: Its tracker names sessions, and repeats with every event what brought the visitor.
    tells_all: bool
    actor: str | None = None
    sessions: int = 0


def moment(at: dt.datetime) -> str:
    """A moment as it travels."""
    return at.isoformat().replace("+00:00", "Z")


class Traffic:
    """All of it. Iterating gives the requests in the order in which they are sent.

    Args:
        scale: The part of a million events.
        days: How many of the ninety days.
    """

    def __init__(self, scale: float, days: int = DAYS) -> None:
        self.scale = scale
        self.days = days
        self._draw = random.Random(20251101)
        self._known: list[_Browser] = []
        self._licenses: list[tuple[str, str, str, dt.datetime]] = []
        self._server: list[dict[str, Any]] = []
        self._again: list[Request] = []
        self._late: list[Request] = []
        self._numbers = 0

    # -- the platform's own tables ---------------------------------------------------------------

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """The rows of the platform's tables."""
        draw = random.Random(7)
        start = dt.datetime.combine(FIRST, dt.time(), dt.UTC)

        def joined(n: int) -> dt.datetime:
            return start + dt.timedelta(days=n * 7 % (self.days - 1), seconds=int(86_400 * draw.random()))

        far, past = dt.datetime(2099, 1, 1, tzinfo=dt.UTC), start + 10 * DAY
        return {
            "creators": [(f"c{n}", f"Creator {n}", joined(n)) for n in range(1, CREATORS + 1)],
            "brands": [(f"b{n}", f"Brand {n}", joined(n * 3)) for n in range(1, BRANDS + 1)],
            "assets": [(f"a{n}", f"c{1 + n % CREATORS}", project_of(n), f"Asset {n}") for n in range(1, ASSETS + 1)],
            # Every brand has assets with an active license, one that expired and one that was ended.
            "licenses": [
                (
                    f"l-{b}-{n}",
                    f"a{(b * 13 + n * 5) % ASSETS + 1}",
                    f"b{b}",
                    "ended" if n == 4 else "active",
                    past if n == 3 else far,
                )
                for b in range(1, BRANDS + 1)
                for n in range(5)
            ],
            "campaign_spend": [
                (brand, source, medium, name, FIRST + n * DAY, cost + 10 * n)
                for source, medium, name, brand, cost, _ in CAMPAIGNS
                for n in range(0, self.days, 2)
                if cost
            ],
        }

    # -- what is sent ----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Request]:
        sessions = max(3, round(EVENTS * self.scale / DAYS / 8))
        for number in range(self.days):
            if number == SILENT_DAY:
                continue
            day = dt.datetime.combine(FIRST + number * DAY, dt.time(), dt.UTC)
            found: list[Request] = []
            for _ in range(sessions):
                # Nobody's session goes on past midnight of the day before the silent one.
                found += self._visit(day + dt.timedelta(seconds=int(75_000 * self._chance())), number)
            self._platform(day, number)
            found += self._told()
            # A browser's request begins before whatever its visitor's server tells later.
            yield from self._repeated(sorted(found, key=lambda one: (one.at, one.key)))
        yield from sorted(self._late + self._again, key=lambda one: (one.at, one.key))

    def _chance(self) -> float:
        return self._draw.random()

    def _one(self, some: Any) -> Any:
        return some[int(len(some) * self._chance())]

    def _weighed(self, some: Any) -> Any:
        """One of some things, whose last word is its weight."""
        left = self._chance() * sum(one[-1] for one in some)
        for one in some:
            left -= one[-1]
            if left < 0:
                return one
        return some[0]

    def _id(self) -> str:
        self._numbers += 1
        return str(uuid.UUID(int=self._draw.getrandbits(128), version=4))

    def _about(self, number: int) -> dict[str, Any]:
        """The asset that something is about, and its project; now and then one is missing."""
        asset = 1 + int(ASSETS * self._chance() ** 2)
        project = project_of(asset)
        if project == DEAD and number > DEAD_AFTER:
            asset, project = 1, project_of(1)
        luck = self._chance()
        if luck < 0.02:
            return {}
        if luck < 0.05:
            return {"ip_asset_id": f"a{asset}"}
        return {"ip_asset_id": f"a{asset}"} | ({"project_id": project} if project else {})

    def _visit(self, start: dt.datetime, number: int) -> list[Request]:
        """One visit of somebody: the requests of their browser; what servers tell of it is noted."""
        is_back = bool(self._known) and self._chance() < 0.45
        browser = self._one(self._known) if is_back else self._new_browser()
        luck = self._chance()
        is_alone = not is_back and browser.agent != BOT
        headers = {"User-Agent": browser.agent}
        if is_alone and luck < 0.05:
            headers |= {"DNT": "1"} if luck < 0.03 else {"Sec-GPC": "1"}
        # One that was offline for a week is seen that once, so that nothing else depends on when it is heard of.
        is_late = is_alone and 0.05 <= luck < 0.09
        events, end = self._session(browser, start, number)
        if not is_late and len(headers) == 1 and browser.agent != BOT:
            if not is_back:
                self._known.append(browser)
            self._signed_in(browser, end, number)
        ahead = 0 if self._chance() > 0.06 else (86_400 if self._chance() < 0.5 else -86_400)
        for one in events:
            one["occurred_at"] = moment(one["occurred_at"] + dt.timedelta(seconds=ahead))
        sent = [Request(start, "pages", events[n : n + 10], headers, ahead, is_late) for n in range(0, len(events), 10)]
        if not is_late:
            return sent
        self._late += [Request(start + 7 * DAY, one.key, one.events, one.headers, ahead, True) for one in sent]
        return []

    def _new_browser(self) -> _Browser:
        agent = BOT if self._chance() < 0.05 else self._one(BROWSERS)
        return _Browser(self._id(), agent, self._chance() < 0.5)

    def _session(self, browser: _Browser, start: dt.datetime, number: int) -> tuple[list[dict[str, Any]], dt.datetime]:
        """What a browser tells of one visit, moments still moments."""
        found: list[dict[str, Any]] = []
        at, brought = start, self._brought()
        browser.sessions += 1
        for place in range(1 + int(5 * self._chance() ** 1.5)):
            luck = self._chance()
            if place and luck < 0.08:
                # A pause after which it is another session, or a campaign that makes it one.
                at += dt.timedelta(minutes=50) if luck < 0.04 else dt.timedelta(minutes=4)
                brought = self._brought(campaigns_only=luck >= 0.04)
                browser.sessions += 1
                is_landing = True
            else:
                is_landing = place == 0
            found += self._view(browser, at, number, brought, is_landing=is_landing)
            at = found[-1]["occurred_at"] + dt.timedelta(seconds=5 + int(90 * self._chance()))
        return found, at

    def _brought(self, *, campaigns_only: bool = False) -> tuple[dict[str, str], str]:
        """What brings a visitor: the fields of a campaign, or none, and the address they come from."""
        if campaigns_only or self._chance() < 0.34:
            source, medium, name, *_ = self._weighed(CAMPAIGNS)
            return {"utm_source": source, "utm_medium": medium, "utm_campaign": name}, ""
        return {}, self._weighed(REFERRERS)[0]

    def _view(
        self, browser: _Browser, at: dt.datetime, number: int, brought: tuple[dict[str, str], str], *, is_landing: bool
    ) -> list[dict[str, Any]]:
        """A page, perhaps of an asset, and how long it was read."""
        campaign, referrer = brought
        about = self._about(number) if self._chance() < 0.6 else None
        place = (
            self._one(("", "search", "pricing", "blog"))
            if about is None
            else f"assets/{about.get('ip_asset_id', 'gone')}"
        )
        page = f"{SITE}/{place}"
        seen = self._event(browser, "page_viewed", at, page, {})
        if is_landing and campaign and not browser.tells_all:
            seen["page"] = f"{page}?{'&'.join(f'{name}={value}' for name, value in campaign.items())}"
        found = [seen]
        if about is not None:
            money = {"revenue_cents": 99_900} if self._chance() < 0.05 else {}
            found.append(self._event(browser, "asset_viewed", at + dt.timedelta(seconds=1), page, about | money))
        if self._chance() < 0.8:
            seconds = int(2_000 * self._chance() ** 6) + 3
            told = {**(about or {}), "engagement_time": seconds}
            found.append(self._event(browser, "page_engaged", at + dt.timedelta(seconds=min(seconds, 600)), page, told))
        for one in found if browser.tells_all else found[:1] if is_landing else []:
            words = (campaign if browser.tells_all else {}) | ({"referrer": referrer} if referrer else {})
            if words:
                one["attribution"] = words
        return found

    def _event(
        self, browser: _Browser, event_type: str, at: dt.datetime, page: str, properties: dict[str, Any]
    ) -> dict[str, Any]:
        found = {
            "id": self._id(),
            "event_type": event_type,
            "occurred_at": at,
            "anonymous_id": browser.id,
            "page": page,
        }
        if properties:
            found["properties"] = properties
        if browser.tells_all:
            found["session_id"] = f"{browser.id[:13]}-{browser.sessions}"
        return found

    # -- what servers tell -----------------------------------------------------------------------

    def _tell(self, event_type: str, at: dt.datetime, properties: dict[str, Any] | None = None, **more: Any) -> None:
        """A server of the platform tells something, by its own clock."""
        event = {"id": self._id(), "event_type": event_type, "occurred_at": at, **more}
        self._server.append(event | ({"properties": properties} if properties else {}))

    def _signed_in(self, browser: _Browser, at: dt.datetime, number: int) -> None:
        """Somebody signs up or in after looking around, and may buy."""
        at += dt.timedelta(seconds=30)
        if browser.actor is None:
            if self._chance() > 0.25:
                return
            others = [one.actor for one in self._known[-200:] if one.actor]
            if others and self._chance() < 0.25:
                # The same person with another browser.
                browser.actor = self._one(others)
            else:
                browser.actor = f"u{self._id()[:8]}"
                role = "brand" if self._chance() < 0.6 else "creator"
                self._by(browser, "user_signed_up", at, {"role": role})
        self._by(browser, "user_logged_in", at + dt.timedelta(seconds=1))
        luck = self._chance()
        if luck < 0.3:
            self._by(browser, "search_performed", at + dt.timedelta(seconds=20), {"query": "blue", "results": 12})
            self._by(browser, "cta_clicked", at + dt.timedelta(seconds=25), {"place": "top", **self._about(number)})
        if luck < 0.5:
            about = self._about(number)
            self._by(browser, "asset_downloaded", at + dt.timedelta(seconds=40), {**about, "format": "png"})
        if luck < 0.35:
            self._bought(browser, at + dt.timedelta(seconds=60), number)

    def _by(
        self, browser: _Browser, event_type: str, at: dt.datetime, properties: dict[str, Any] | None = None
    ) -> None:
        who = {"actor": {"type": "user", "id": browser.actor}, "anonymous_id": browser.id}
        self._tell(event_type, at, properties, **who)

    def _bought(self, browser: _Browser, at: dt.datetime, number: int) -> None:
        about = self._about(number)
        license_id = f"x{self._id()[:8]}"
        about["license_id"] = license_id
        actor = {"type": "user", "id": browser.actor}
        cents = 500 + int(200_000 * self._chance() ** 3)
        self._by(browser, "license_clicked", at, about)
        # The shop's server knows who buys, and not with which browser.
        self._tell("license_created", at + dt.timedelta(seconds=50), {**about, "revenue_cents": cents}, actor=actor)
        self._tell("license_signed", at + dt.timedelta(seconds=90), about, actor=actor)
        self._licenses.append((license_id, about.get("ip_asset_id", ""), str(browser.actor), at))

    def _platform(self, day: dt.datetime, number: int) -> None:
        """What happens without anybody at a page: at six in the evening, when licenses end and royalties are paid."""
        at = day + dt.timedelta(hours=18)
        due = [one for one in self._licenses if one[3] < at - 25 * DAY]
        self._licenses = [one for one in self._licenses if one[3] >= at - 25 * DAY]
        for license_id, asset, actor, _ in due:
            about = {"license_id": license_id} | ({"ip_asset_id": asset} if asset else {})
            who = {"actor": {"type": "user", "id": actor}}
            if self._chance() < 0.4:
                cents = 500 + int(50_000 * self._chance())
                self._tell("license_renewed", at, {**about, "revenue_cents": cents}, **who)
                self._tell("royalty_paid", at, {**about, "amount_cents": cents // 2})
            else:
                self._tell("license_expired", at, about)
        self._tell("job_completed", at, {"job": "statements", "duration_ms": 1200})
        self._tell("email_sent", at, {"template": "digest"})
        if number % 3 == 0:
            # One that is about an asset in its own words, and one that has something wrong.
            asset = f"a{1 + number % ASSETS}"
            self._tell("asset_rejected", at, {"reason": "blurred"}, entity_type="ip_asset", entity_id=asset)
            self._tell("licence_created", at, {"revenue_cents": 1_000})
        if number % 4 == 0:
            self._tell("license_created", at, {"ip_asset_id": "a1", "revenue_cents": "much"})

    def _told(self) -> list[Request]:
        """What servers have told of a day, in requests of six hours each; some of it comes late, some again otherwise."""
        on_time: dict[int, list[dict[str, Any]]] = {}
        for event in sorted(self._server, key=lambda one: one["occurred_at"]):
            at = event["occurred_at"]
            event["occurred_at"] = moment(at)
            luck = self._chance()
            if luck < 0.05 and "anonymous_id" not in event:
                self._late.append(Request(at + 3 * DAY, "servers", [event], is_late=True))
                continue
            on_time.setdefault(int(at.timestamp() // 21_600), []).append(event)
            if luck > 0.985:
                other = {**event, "properties": {**event.get("properties", {}), "revenue_cents": 7}}
                self._again.append(Request(at + 3 * DAY, "servers", [other], is_late=True))
        self._server = []
        requests = []
        for events in on_time.values():
            last = dt.datetime.fromisoformat(events[-1]["occurred_at"])
            requests += [Request(last, "servers", events[n : n + 500]) for n in range(0, len(events), 500)]
        return requests

    def _repeated(self, requests: list[Request]) -> Iterator[Request]:
        """Some requests are sent twice at once, some again after twenty-five hours."""
        for one in requests:
            yield one
            luck = self._chance()
            if luck < 0.04:
                yield one
            elif luck < 0.06:
                self._again.append(
                    Request(
                        one.at + dt.timedelta(hours=25), one.key, one.events, one.headers, one.ahead_s, is_late=True
                    )
                )


def project_of(asset: int) -> str | None:
    """The project of an asset; every eleventh has none."""
    return None if asset % 11 == 0 else f"p{1 + asset % PROJECTS}"
