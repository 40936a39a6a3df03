"""The page views that Snowplow's own model makes of 160 events, made of the same events here; every difference explained.

Data: integration tests of dbt-snowplow-web 0.15.0 (Apache-2.0): a trap for each kind of event that goes wrong, partly edited by hand.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import os
from collections import Counter, defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dayfold.collect.enrich import Enricher
from dayfold.collect.event import Event
from dayfold.collect.visits import Session, Visitor

FOLDER = Path(os.environ.get("DAYFOLD_FIELD_DATA", "nowhere")) / "snowplow_web_expected"
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason="needs DAYFOLD_FIELD_DATA: the folder with snowplow_web_expected, events and their page views",
)
Row = dict[str, str]
#: Ours, and theirs.
COLUMNS = {
    "page": "page_url", "referrer": "page_referrer", "utm_source": "mkt_source", "utm_medium": "mkt_medium",
    "utm_campaign": "mkt_campaign", "utm_term": "mkt_term", "utm_content": "mkt_content", "click_id": "mkt_clickid",
}  # fmt: skip
#: Page views that are not in their table, and why.
LEFT_OUT = {
    "9b02c625": "more than three days after its session began: their window of sessions, a limit of their incremental model",
    "6d72f61a": "the same",
    "941c1388": "sent more than three days after it was made: they drop it, here it counts on the day of its moment",
    "b0c248b5": "the session began eight months before: as the first",
    "b0833046": "has no id of a page view: they need one, here the event has its own",
    "0464e31b": "has the id of another page view: they keep the first, here each event has its own",
}
#: What the program calls what these agents say; one constant stands in all of their rows.
AGENTS = {
    "iPhone": ("Mobile Safari", "iOS", "phone"),
    "Android": ("Chrome Mobile", "Android", "phone"),
    "Ubuntu": ("Firefox", "Ubuntu", "desktop"),
    "Linux x86_64": ("Firefox", "Linux", "desktop"),
    "Version/14": ("Safari", "Mac OS X", "desktop"),
    "Macintosh": ("Chrome", "Mac OS X", "desktop"),
}
#: Sessions of theirs that are other ones here where the client names none: their visitors, and why.
OTHER_SESSIONS = {
    "4f011c": "two days between its page views",
    "bc0da6": "a second campaign after sixteen minutes begins a visit of its own",
    "0e9ab9": "a day between its page views, which are of three browsers",
    "24837e": "a second session id within a second",
    "066d5a": "a second session id in the same moment",
}


def read(name: str) -> list[Row]:
    with gzip.open(FOLDER / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def micros(moment: str) -> int:
    at = dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)
    return (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


@pytest.fixture(scope="module")
def sent() -> dict[str, Row]:
    """The events, each once: the first of those with the same id stands."""
    rows: dict[str, Row] = {}
    for row in sorted(read("snowplow_web_events"), key=lambda row: row["collector_tstamp"]):
        rows.setdefault(row["event_id"], row)
    return rows


@pytest.fixture(scope="module")
def expected() -> dict[str, Row]:
    """Their page views by the event that each is made of."""
    return {row["event_id"]: row for row in read("snowplow_web_page_views_expected")}


@pytest.fixture(scope="module")
def found(sent: dict[str, Row]) -> dict[str, Event]:
    """The events as they are here."""
    events = {
        id: Event(
            id, row["event_name"], micros(row["derived_tstamp"]), 0, 0, "public", "web", page=row["page_url"] or None,
            referrer=row["page_referrer"] or None, user_agent=row["useragent"] or None, anonymous_id=row["domain_userid"] or None,
        )
        for id, row in sent.items()
    }  # fmt: skip
    Enricher(["snowplowanalytics.com"]).fill(events.values())
    return events


def test_the_same_events_are_page_views(sent: dict[str, Row], expected: dict[str, Row]) -> None:
    """All of theirs, and six that their model leaves out for reasons of its own."""
    views = {id for id, row in sent.items() if row["event_name"] == "page_view"}
    assert expected.keys() <= views
    assert len(expected) == 43
    assert sorted(id[:8] for id in views - expected.keys()) == sorted(LEFT_OUT)


def test_addresses_and_campaigns_are_the_same(expected: dict[str, Row], found: dict[str, Event]) -> None:
    """Page, referrer, the five parts of the campaign and the mark of a click: no difference in any row."""
    for id, row in expected.items():
        assert {ours: getattr(found[id], ours) for ours in COLUMNS} == {
            ours: row[theirs] or None for ours, theirs in COLUMNS.items()
        }
    assert Counter(row["mkt_source"] for row in expected.values()) == {"google-ad": 4, "": 39}


def test_parts_of_addresses_are_the_same(expected: dict[str, Row], found: dict[str, Event]) -> None:
    """Scheme, host, path, query and fragment can be told from the page that is kept; both addresses of two rows were edited by hand."""
    edited = 0
    for id, row in expected.items():
        for address, theirs in ((found[id].page, "page_url"), (found[id].referrer, "refr_url")):
            parts = urlsplit(address or "")
            told = tuple(row[f"{theirs}{part}"] for part in ("scheme", "host", "path", "query", "fragment"))
            ours = (parts.scheme, parts.hostname or "", parts.path, parts.query, parts.fragment)
            edited += ours != told
            assert all(one in (other, other.removesuffix("-dummy-row")) for one, other in zip(ours, told, strict=True))
    assert edited == 4


def test_referrers_are_told_apart(expected: dict[str, Row], found: dict[str, Event]) -> None:
    """Their table says nothing of any, as the events came without it; here each is what its host is."""
    assert {(row["refr_medium"], row["refr_source"]) for row in expected.values()} == {("", "")}
    kinds = {"": "none", "www.google.com": "search", "www.google.co.uk": "search", "localhost": "other"}
    for id, row in expected.items():
        host = urlsplit(row["page_referrer"]).hostname or ""
        assert found[id].referrer_class == ("internal" if host.endswith("snowplowanalytics.com") else kinds[host])
    assert Counter(found[id].channel for id in expected) == {
        "direct": 14, "internal": 6, "referral": 17, "organic-search": 2, "display": 3, "paid-search": 1,
    }  # fmt: skip


def test_agents_are_what_they_say(expected: dict[str, Row], found: dict[str, Event]) -> None:
    """All their rows have one browser and system, put in by hand, whatever the agent; whether it is a robot is the same."""
    told = {(row["useragent_family"], row["os_family"], row["device_class"]) for row in expected.values()}
    assert told == {("Chrome", "MacOSX", "Desktop")}
    for id, row in expected.items():
        event = found[id]
        ours = next(words for mark, words in AGENTS.items() if mark in row["useragent"])
        assert (event.browser, event.os, event.device_type) == ours
        assert event.is_bot is (row["spider_or_robot"] == "true") is False


def sessions_of(sent: dict[str, Row], found: dict[str, Event], *, named: bool) -> dict[str, Session]:
    """The session of each event, with the ids that the client gave, or without."""
    visitors: dict[str, Visitor] = {}
    of: dict[str, Session] = {}

    def never(session: Session) -> None:
        raise AssertionError(session.id)

    for id, event in sorted(found.items(), key=lambda pair: pair[1].occurred_at):
        row = sent[id]
        event.session_id = row["domain_sessionid"] if named else None
        visitor = visitors.setdefault(row["domain_userid"], Visitor(row["domain_userid"]))
        of[id], _ = visitor.visit(event, never)
    return of


def test_views_of_a_session_are_counted_the_same(
    sent: dict[str, Row], expected: dict[str, Row], found: dict[str, Event]
) -> None:
    """Which view of its session each is, and how many there are; of two in the same moment, either may be the first."""
    of = sessions_of(sent, found, named=True)
    views: dict[str, list[str]] = defaultdict(list)
    for id in sorted(expected, key=lambda id: found[id].occurred_at):
        views[of[id].id].append(id)
    for some in views.values():
        for place, id in enumerate(some, 1):
            row = expected[id]
            assert row["page_views_in_session"] == str(len(some))
            moments = [found[one].occurred_at for one in some]
            if moments.count(found[id].occurred_at) == 1:
                assert row["page_view_in_session_index"] == str(place)


def test_sessions_without_ids_are_those_of_the_tracker(
    sent: dict[str, Row], expected: dict[str, Row], found: dict[str, Event]
) -> None:
    """Half an hour and campaigns lead to the sessions that their tracker named, but where the fixture was edited to break them."""
    of = sessions_of(sent, found, named=False)
    theirs: dict[str, set[str]] = defaultdict(set)
    ours: dict[str, set[str]] = defaultdict(set)
    for id in expected:
        theirs[sent[id]["domain_sessionid"]].add(id)
        ours[of[id].id].add(id)
    same = {frozenset(some) for some in theirs.values()} & {frozenset(some) for some in ours.values()}
    others = {
        expected[id]["domain_userid"][:6] for some in theirs.values() if frozenset(some) not in same for id in some
    }
    assert others == set(OTHER_SESSIONS)
