"""What is known of one visitor: sessions and touches, and which of them an event belongs to. Collect floor, pure.

A session is a run of a visitor's events with no gap of more than half an hour, cut where a new campaign begins; a client that names
sessions of its own is believed. A touch is how somebody came: with each session, and with each campaign.

Invariant: the same event twice makes nothing new. What is said of an event is said as of the moment when it occurred, among what is
known.

Weakness: sessions that are known are never joined: a late event between two of them belongs to the earlier one until stored events are
enriched anew.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from dayfold.collect.event import Event

_MINUTE = 60_000_000
#: A longer pause ends a session.
GAP = 30 * _MINUTE
#: How long a touch counts as the last one.
WINDOW = 30 * 24 * 60 * _MINUTE
#: How far the end of a session may move before it is written again.
SLACK = 5 * _MINUTE
#: How many touches and sessions of one visitor are kept: a person who comes three times a day has them in a year.
MOST = 1_000
#: How many are left, the first one beside them, where there were more.
LEFT = 500
#: Sessions that are named here begin with it.
OURS = "visit-"
#: What stands where nobody led a visitor here.
DIRECT = ("(direct)", "(none)", None)
#: What stands for a source or medium that a campaign does not name.
NOT_SET = "(not set)"
_MEDIUMS = {"search": "organic", "social": "social", "ai": "ai"}
_started = attrgetter("start")

#: Source, medium and name.
CampaignKey: TypeAlias = tuple[str, str, str]
#: Source, medium and campaign as they are stored with an event.
Words: TypeAlias = tuple[str, str, str | None]


class Touch(NamedTuple):
    """How somebody came, and when. ``campaign`` is empty where there is none; so touches can always be put in order."""

    at: int
    source: str
    medium: str
    campaign: str
    channel: str
    is_campaign: bool

    @property
    def is_direct(self) -> bool:
        """Whether nobody led the visitor here."""
        return self.source == DIRECT[0]

    @property
    def words(self) -> Words:
        """Source, medium and campaign as an event has them."""
        return self.source, self.medium, self.campaign or None


class Session:
    """A run of events.

    Attributes:
        until: Its last event, as far as is known.
        stored: Its end as it is stored; the true one may be up to `SLACK` later.
        unsure: The latest moment at which there may have been an event that is not known here; 0 where all are.
        key: Its campaign, the last one where it has several.
        keyed_at: The moment of that.
        landing: The page that it began with.
        is_new: Whether more of it than its end is not stored yet.
    """

    __slots__ = ("id", "is_new", "key", "keyed_at", "landing", "start", "stored", "unsure", "until")

    def __init__(self, id: str, start: int, key: CampaignKey | None, landing: str | None) -> None:
        self.id, self.start, self.until, self.stored, self.unsure = id, start, start, start, 0
        self.key, self.keyed_at, self.landing, self.is_new = key, start, landing, True

    @property
    def is_dirty(self) -> bool:
        """Whether it has to be written."""
        return self.is_new or self.until - self.stored >= SLACK


def campaign_key(event: Event) -> CampaignKey | None:
    """The campaign that an event names."""
    if event.utm_source is None and event.utm_medium is None and event.utm_campaign is None:
        return None
    return event.utm_source or NOT_SET, event.utm_medium or NOT_SET, event.utm_campaign or ""


def touch_of(event: Event, key: CampaignKey | None) -> Touch:
    """How the visitor of an event came.

    >>> event = Event("", "page_viewed", 5, 5, 0, "public", "web", referrer_class="search", referrer_name="Google")
    >>> touch_of(event, None).words
    ('google', 'organic', None)
    """
    if key is not None:
        return Touch(event.occurred_at, *key, event.channel or "other", True)
    kind, name = event.referrer_class, event.referrer_name
    if name and kind in _MEDIUMS:
        return Touch(event.occurred_at, name.lower(), _MEDIUMS[kind], "", event.channel or "other", False)
    if name and kind == "other":
        return Touch(event.occurred_at, name, "referral", "", event.channel or "referral", False)
    return Touch(event.occurred_at, DIRECT[0], DIRECT[1], "", "direct", False)


class Visitor:
    """Sessions, touches and sign-ins of a browser, or touches of an actor.

    Attributes:
        links: Of a browser: when it was known to be whose, in order; only where that changed.
        rows: How many rows are stored of it, about.
    """

    __slots__ = ("key", "links", "rows", "sessions", "strong", "touches")

    def __init__(self, key: str) -> None:
        self.key = key
        self.touches: list[Touch] = []
        self.strong: list[Touch] = []
        self.sessions: list[Session] = []
        self.links: list[tuple[int, str]] = []
        self.rows = 0

    def add(self, touch: Touch) -> bool:
        """A touch is known; whether it was not."""
        place = bisect_left(self.touches, touch)
        if place < len(self.touches) and self.touches[place] == touch:
            return False
        self.touches.insert(place, touch)
        if not touch.is_direct:
            insort(self.strong, touch)
        return True

    def visit(self, event: Event, resolve: Callable[[Session], None]) -> tuple[Session, Touch | None]:
        """The session of an event, and the touch that it makes, if it makes one; both are known from then on.

        Args:
            event: As it was enriched.
            resolve: Finds out where a session that was read really ended.
        """
        at, given, key = event.occurred_at, event.session_id, campaign_key(event)
        last = self.sessions[-1] if self.sessions else None
        found: Session | None
        if last is not None and (last.id == given if given else last.start <= at <= last.until + GAP):
            found = last
        elif given:
            found = self._named(given)
        else:
            found = self._around(at, key, resolve)
        if found is not None and not given and key is not None and key != found.key and at >= found.start:
            found = None
        if found is None:
            return self._begun(event, given, key)
        touch = None
        if at < found.start:
            touch = self._began_earlier(event, found, key)
        elif key is not None and key != found.key:
            if found.key is None or at >= found.keyed_at:
                found.key, found.keyed_at = key, at
            touch = self._new(touch_of(event, key))
        if found.landing is None and event.page is not None:
            found.landing, found.is_new = event.landing_page or event.page, True
        if at > found.until:
            found.until = at
        return found, touch

    def claim(self, event: Event, key: CampaignKey) -> Touch | None:
        """The touch that a campaign makes of which a server tells, unless the one before it is the same, half an hour ago at most."""
        touch = touch_of(event, key)
        place = bisect_left(self.touches, (touch.at + 1,))
        before = self.touches[place - 1] if place else None
        if before is not None and before[1:4] == touch[1:4] and touch.at - before.at <= GAP:
            return None
        return self._new(touch)

    def _begun(self, event: Event, given: str | None, key: CampaignKey | None) -> tuple[Session, Touch | None]:
        name = given or session_name(self.key, event.occurred_at, key)
        found = None if given else self._named(name)
        if found is None:
            found = Session(name, event.occurred_at, key, event.landing_page or event.page)
            insort(self.sessions, found, key=_started)
        return found, self._new(touch_of(event, key))

    def _began_earlier(self, event: Event, session: Session, key: CampaignKey | None) -> Touch | None:
        """A session begins with an event that came late."""
        self.sessions.remove(session)
        session.start, session.is_new = event.occurred_at, True
        if session.key is None and key is not None:
            session.key, session.keyed_at = key, event.occurred_at
        session.landing = event.landing_page or event.page or session.landing
        insort(self.sessions, session, key=_started)
        return self._new(touch_of(event, key))

    def _new(self, touch: Touch) -> Touch | None:
        return touch if self.add(touch) else None

    def _named(self, name: str) -> Session | None:
        return next((one for one in reversed(self.sessions) if one.id == name), None)

    def _around(self, at: int, key: CampaignKey | None, resolve: Callable[[Session], None]) -> Session | None:
        """The session that began last of those that a moment belongs to; else the next one, where it is near and no other campaign's."""
        place = bisect_left(self.sessions, at + 1, key=_started)
        for one in reversed(self.sessions[:place]):
            if one.until + GAP < at <= one.unsure + GAP:
                resolve(one)
            if at <= one.until + GAP:
                return one
        following = self.sessions[place] if place < len(self.sessions) else None
        if following is not None and following.start - at <= GAP and following.key in (None, key):
            return following
        return None

    def owner(self, at: int) -> str | None:
        """Who a browser was at a moment: whoever had signed in last, or before anybody had, whoever did first."""
        if not self.links:
            return None
        place = bisect_left(self.links, (at + 1,))
        return self.links[max(place - 1, 0)][1]

    def link(self, at: int, actor: str) -> bool:
        """It is known that a browser was an actor at a moment; whether that is new."""
        place = bisect_left(self.links, (at + 1,))
        if place and self.links[place - 1][1] == actor:
            return False
        insort(self.links, (at, actor))
        return True

    def of_actor(self, actor: str, session: Session | None) -> list[Touch]:
        """The touches of a browser that are an actor's: those while it was theirs, and those of the session in which they signed in."""
        return [
            one
            for one in self.touches
            if self.owner(one.at) == actor or (session is not None and session.start <= one.at <= session.until)
        ]

    def first(self, at: int) -> Words | None:
        """The first touch of all, unless it was later."""
        touches = self.touches
        return touches[0].words if touches and touches[0].at <= at else None

    def last(self, at: int) -> Words | None:
        """The last touch by which somebody was led here, not longer ago than `WINDOW`; direct where there were touches, but none such."""
        strong = self.strong
        if strong and (place := bisect_left(strong, (at + 1,))):
            touch = strong[place - 1]
            if at - touch.at <= WINDOW:
                return touch.words
        return DIRECT if self.touches and self.touches[0].at <= at else None

    def thin(self) -> bool:
        """Whether there was too much, of which only the first touch and the newest are kept; all rows are to be written anew then."""
        if self.rows <= MOST and len(self.touches) <= MOST and len(self.sessions) <= MOST:
            return False
        self.touches = [*self.touches[:1], *self.touches[1:][-LEFT:]]
        self.strong = [one for one in self.touches if not one.is_direct]
        self.sessions = self.sessions[-LEFT:]
        self.rows = len(self.touches) + len(self.sessions)
        return True


def session_name(visitor: str, start: int, key: CampaignKey | None) -> str:
    """The id of a session: the same for the same beginning, whoever makes it."""
    made = hashlib.blake2b(repr((visitor, start, key)).encode("utf-8", "surrogatepass"), digest_size=12)
    return OURS + made.hexdigest()
