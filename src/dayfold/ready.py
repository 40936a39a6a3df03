"""Definitions that ship with Dayfold: sessions and visitors over the event log, and what they are counted by.

Import what you need into ``metrics.py``, or subclass it there with a key, columns or metrics of your own::

    from dayfold import Formula, ready

    class Sessions(ready.Sessions):
        is_bounce = Formula("page_views <= 1 and engaged_seconds < 10")

    class SessionsDaily(ready.SessionsDaily, over=Sessions):
        key = "channel"

Events of bots (``is_bot``) are in none of them. A session is what the log has as ``session_id``: an event without one is in none.
Engaged seconds are what pages say of themselves (``page_engaged``), whoever sent it.

Weakness: a profile is made of all events of an entity, so `dayfold retain` deletes no events while one of these is among the
definitions.
"""

from __future__ import annotations

from dayfold.define.cohort import Cohort
from dayfold.define.events import events as log
from dayfold.define.lasting import First, Last
from dayfold.define.metric import Count, Distinct, Formula, Max, Min, Ratio, Sum
from dayfold.define.over import OverProfile
from dayfold.define.profile import Profile
from dayfold.define.rollup import Rollup

__all__ = ["Sessions", "SessionsDaily", "VisitorDaily", "VisitorRetention", "Visitors", "VisitorsDaily"]

#: Whose events count.
PEOPLE = "is_bot is not true"
PAGE_VIEWS = f"{PEOPLE} and event_type = 'page_viewed'"
ENGAGED = f"{PEOPLE} and event_type = 'page_engaged'"
SECONDS = "(props->>'engagement_time')::bigint"
#: An address of the site itself says nothing of where somebody came from.
LED_HERE = f"{PEOPLE} and referrer_class is distinct from 'internal'"
#: Who somebody is: a person who signed in, in all their browsers, else a browser.
VISITOR = "coalesce(actor_id, anonymous_id)"
visits = log.source(columns={"visitor": VISITOR})


class Sessions(Profile):
    """One row per session of people: when, how long, where from, and what was looked at."""

    key = "session_id"
    index = ("started_at", "visitor")

    started_at = Min(log, "occurred_at", where=PEOPLE)
    ended_at = Max(log, "occurred_at", where=PEOPLE)
    duration_seconds = Formula("floor(extract(epoch from ended_at) - extract(epoch from started_at))::bigint")
    events = Count(log, where=PEOPLE)
    page_views = Count(log, where=PAGE_VIEWS)
    engaged_seconds = Sum(log, SECONDS, where=ENGAGED, trust="public")
    is_bounce = Formula("page_views <= 1")
    entry_page = First(log, "page", at="occurred_at", ties="id", where=PAGE_VIEWS)
    exit_page = Last(log, "page", at="occurred_at", ties="id", where=PAGE_VIEWS)
    channel = First(log, "channel", at="occurred_at", ties="id", where=PEOPLE)
    utm_source = First(log, "utm_source", at="occurred_at", ties="id", where=PEOPLE)
    utm_medium = First(log, "utm_medium", at="occurred_at", ties="id", where=PEOPLE)
    utm_campaign = First(log, "utm_campaign", at="occurred_at", ties="id", where=PEOPLE)
    referrer = First(log, "referrer", at="occurred_at", ties="id", where=LED_HERE)
    referrer_name = First(log, "referrer_name", at="occurred_at", ties="id", where=LED_HERE)
    device = First(log, "device_type", at="occurred_at", ties="id", where=PEOPLE)
    browser = First(log, "browser", at="occurred_at", ties="id", where=PEOPLE)
    os = First(log, "os", at="occurred_at", ties="id", where=PEOPLE)
    country = First(log, "country", at="occurred_at", ties="id", where=PEOPLE)
    actor_id = First(log, "actor_id", at="occurred_at", ties="id", where=PEOPLE)
    anonymous_id = First(log, "anonymous_id", at="occurred_at", ties="id", where=PEOPLE)
    visitor = Formula(VISITOR)


class SessionsDaily(OverProfile):
    """Sessions by the UTC day on which they began."""

    sessions = Count(Sessions, at="started_at")
    visitors = Distinct(Sessions, "visitor", at="started_at")
    bounces = Count(Sessions, at="started_at", where="is_bounce")
    page_views = Sum(Sessions, "page_views", at="started_at")
    duration_seconds = Sum(Sessions, "duration_seconds", at="started_at")
    engaged_seconds = Sum(Sessions, "engaged_seconds", at="started_at")
    bounce_rate = Ratio("bounces", "sessions")
    mean_duration_seconds = Ratio("duration_seconds", "sessions")
    mean_engaged_seconds = Ratio("engaged_seconds", "sessions")
    pages_per_session = Ratio("page_views", "sessions")


class Visitors(Profile):
    """One row per visitor, over their whole life: when first and last seen, how much they looked at, and how they first came."""

    key = "visitor"
    index = ("first_seen_at",)

    first_seen_at = Min(visits, "occurred_at", where=PEOPLE)
    last_seen_at = Max(visits, "occurred_at", where=PEOPLE)
    sessions = Distinct(visits, "session_id", where=PEOPLE)
    events = Count(visits, where=PEOPLE)
    page_views = Count(visits, where=PAGE_VIEWS)
    engaged_seconds = Sum(visits, SECONDS, where=ENGAGED, trust="public")
    first_page = First(visits, "page", at="occurred_at", ties="id", where=PAGE_VIEWS)
    last_page = Last(visits, "page", at="occurred_at", ties="id", where=PAGE_VIEWS)
    first_channel = First(visits, "channel", at="occurred_at", ties="id", where=PEOPLE)
    first_source = First(visits, "first_source", at="occurred_at", ties="id", where=PEOPLE)
    first_medium = First(visits, "first_medium", at="occurred_at", ties="id", where=PEOPLE)
    first_campaign = First(visits, "first_campaign", at="occurred_at", ties="id", where=PEOPLE)
    device = Last(visits, "device_type", at="occurred_at", ties="id", where=PEOPLE)
    country = Last(visits, "country", at="occurred_at", ties="id", where=PEOPLE)


class VisitorsDaily(OverProfile):
    """New visitors by the UTC day on which they were first seen."""

    new_visitors = Count(Visitors, at="first_seen_at")


class VisitorDaily(Rollup):
    """What one visitor did on one day."""

    key = "visitor"

    events = Count(visits, at="occurred_at", where=PEOPLE)
    page_views = Count(visits, at="occurred_at", where=PAGE_VIEWS)
    sessions = Distinct(visits, "session_id", at="occurred_at", where=PEOPLE)
    engaged_seconds = Sum(visits, SECONDS, at="occurred_at", where=ENGAGED, trust="public")


class VisitorRetention(Cohort):
    """Which visitors come back, by when they were first seen."""

    profile = Visitors
    start = "first_seen_at"
    activity = VisitorDaily
    values = ("page_views", "engaged_seconds")
