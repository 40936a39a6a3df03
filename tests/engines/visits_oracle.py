"""Sessions and touches by the words of the documentation, from flat lists, as slowly as it takes. Shares no code with the product.

Groups of events come one after the other; within a group they are taken in the order in which they occurred.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MINUTE = 60_000_000
HALF_HOUR = 30 * MINUTE
THIRTY_DAYS = 30 * 24 * 60 * MINUTE
Words = tuple[str, str, "str | None"]
DIRECT: Words = ("(direct)", "(none)", None)


@dataclass
class Visit:
    """A session: whose, its name where the client gave one, and its events."""

    who: tuple[str, str]
    named: str | None
    moments: list[int]
    campaigns: list[tuple[int, Words]] = field(default_factory=list)
    landing: str | None = None
    number: int = 0


@dataclass
class Said:
    """What an event should have."""

    session: str | int | None = None
    landing: str | None = None
    first: Words | None = None
    last: Words | None = None


class Oracle:
    """Everything that was ever said, in lists."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.touches: list[tuple[tuple[str, str], int, Words, bool]] = []
        self.links: list[tuple[str, int, str]] = []

    def group(self, events: list[dict[str, Any]]) -> list[Said]:
        """What each event of a group should have, in the group's order."""
        found: dict[int, Said] = {}
        for place in sorted(range(len(events)), key=lambda place: events[place]["at"]):
            found[place] = self.one(events[place])
        return [found[place] for place in range(len(events))]

    def one(self, event: dict[str, Any]) -> Said:
        """What one event should have."""
        browser, actor, at = event.get("browser"), event.get("actor"), event["at"]
        if browser is None and actor is None:
            return Said(event.get("session"))
        if browser is not None and actor is not None:
            self.sign_in(browser, at, actor)
        said = Said(event.get("session"))
        visit = None
        is_person = not event.get("bot") and not event.get("spam")
        who = ("browser", browser) if browser is not None else ("actor", actor)
        if is_person and (event.get("web") or event.get("page")):
            visit = self.visit(who, event)
            said.session = visit.named or visit.number
            said.landing = visit.landing or said.landing
        elif is_person and event.get("campaign"):
            self.claim(who, at, event["campaign"])
        if browser is not None and actor is not None:
            self.adopt(browser, actor, visit)
        if is_person:
            whose = ("actor", actor) if actor is not None else who
            mine = sorted(one for one in self.touches if one[0] == whose and one[1] <= at)
            if mine:
                ordered = sorted(mine, key=lambda one: (one[1], one[2][0], one[2][1], one[2][2] or ""))
                led = [one for one in ordered if one[2] != DIRECT]
                said.first = ordered[0][2]
                said.last = led[-1][2] if led and at - led[-1][1] <= THIRTY_DAYS else DIRECT
        return said

    def visit(self, who: tuple[str, str], event: dict[str, Any]) -> Visit:
        """The session of an event."""
        at, campaign, given = event["at"], event.get("campaign"), event.get("session")
        mine = [one for one in self.visits if one.who == who]
        visit = None
        if given:
            visit = next((one for one in mine if one.named == given), None)
        else:
            around = [one for one in mine if min(one.moments) <= at <= max(one.moments) + HALF_HOUR]
            after = [one for one in mine if at < min(one.moments)]
            if around:
                visit = max(around, key=lambda one: min(one.moments))
                if campaign and campaign != self.campaign_of(visit):
                    visit = None
            elif after:
                following = min(after, key=lambda one: min(one.moments))
                if min(following.moments) - at <= HALF_HOUR and self.campaign_of(following) in (None, campaign):
                    visit = following
        if visit is None:
            visit = Visit(who, given, [at], number=len(self.visits) + 1)
            self.visits.append(visit)
            visit.landing = event.get("page")
            self.touch(who, at, self.words(event))
        elif at < min(visit.moments):
            visit.landing = event.get("page") or visit.landing
            self.touch(who, at, self.words(event))
            if campaign and self.campaign_of(visit) is None:
                visit.campaigns.append((at, campaign))
        elif campaign and campaign != self.campaign_of(visit):
            self.touch(who, at, self.words(event))
        visit.landing = visit.landing or event.get("page")
        if campaign and at >= min(visit.moments):
            visit.campaigns.append((at, campaign))
        visit.moments.append(at)
        return visit

    @staticmethod
    def campaign_of(visit: Visit) -> Words | None:
        """The campaign that was named last in a session, by when that was."""
        known = None
        for at, campaign in visit.campaigns:
            if known is None or (campaign != known[1] and at >= known[0]):
                known = (at, campaign)
        return known[1] if known else None

    @staticmethod
    def words(event: dict[str, Any]) -> Words:
        return event.get("campaign") or event.get("referrer") or DIRECT

    def touch(self, who: tuple[str, str], at: int, words: Words, *, copy: bool = False) -> None:
        """A touch of a visitor, and of the actor whose the browser was."""
        one = (who, at, words, copy)
        if any(known[:3] == one[:3] for known in self.touches):
            return
        self.touches.append(one)
        if who[0] == "browser" and (owner := self.owner(who[1], at)) is not None:
            self.touch(("actor", owner), at, words, copy=True)

    def claim(self, who: tuple[str, str], at: int, campaign: Words) -> None:
        """A campaign that a server tells."""
        before = sorted((one[1], one[2]) for one in self.touches if one[0] == who and one[1] <= at)
        if before and before[-1][1] == campaign and at - before[-1][0] <= HALF_HOUR:
            return
        self.touch(who, at, campaign)

    def sign_in(self, browser: str, at: int, actor: str) -> None:
        """A browser was somebody."""
        before = sorted(one for one in self.links if one[0] == browser and one[1] <= at)
        if not before or before[-1][2] != actor:
            self.links.append((browser, at, actor))

    def owner(self, browser: str, at: int) -> str | None:
        """Whose a browser was."""
        mine = sorted(one for one in self.links if one[0] == browser)
        before = [one for one in mine if one[1] <= at]
        return before[-1][2] if before else mine[0][2] if mine else None

    def adopt(self, browser: str, actor: str, visit: Visit | None) -> None:
        """An actor has the touches of the time when the browser was theirs, and of this session."""
        for who, at, words, _ in list(self.touches):
            if who != ("browser", browser):
                continue
            within = visit is not None and min(visit.moments) <= at <= max(visit.moments)
            if within or self.owner(browser, at) == actor:
                self.touch(("actor", actor), at, words, copy=True)
