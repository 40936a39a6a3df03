"""Sessions and touches of events on both engines, against an oracle over random histories."""

from __future__ import annotations

import datetime as dt
import random
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from dayfold import Dayfold
from dayfold.collect.anew import WRITTEN, Renewed, renew
from dayfold.collect.attribution import Attributor
from dayfold.collect.enrich import Enricher
from dayfold.collect.event import Event
from dayfold.days import Days
from dayfold.define.events import COLUMNS
from dayfold.define.types import TEXT
from dayfold.engines.csv import arrow_type
from dayfold.ledger import events, visitors
from dayfold.ledger.events import Outcome
from dayfold.ledger.ledger import Ledger
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, alias, column, table
from tests.engines.visits_oracle import MINUTE, Oracle, Said
from tests.sql import store_config

DAY = 24 * 60 * MINUTE
START = int(dt.datetime(2026, 3, 2, tzinfo=dt.UTC).timestamp()) * 1_000_000
RANGE = Days(dt.date(2026, 3, 1), dt.date(2029, 6, 1))
CAMPAIGNS = [("newsletter", "email", "spring"), ("google", "cpc", None), ("partner", "affiliate", "x")]
REFERRERS = {
    "https://www.google.com/": ("google", "organic", None),
    "https://chatgpt.com/": ("chatgpt", "ai", None),
    "https://blog.example.org/post": ("blog.example.org", "referral", None),
    "https://shop.example.com/cart": ("(direct)", "(none)", None),
}
SPAM = "https://semalt.com/"
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
ENRICHER = Enricher(["shop.example.com"])
_TYPES = {name: arrow_type(type_) for name, type_ in COLUMNS.items()}


@pytest.fixture
def ledger(store_url: str) -> Iterator[Ledger]:
    """A store with an event log, on each engine."""
    with Dayfold([], store_config(store_url)) as app:
        app.ledger.ready()
        events.ensure(app.ledger, {})
        yield app.ledger


def sent(number: int, told: dict[str, Any]) -> Event:
    """An event as the door reads it."""
    source, medium, campaign = told.get("campaign") or (None, None, None)
    referrer = next((url for url, words in REFERRERS.items() if words == told.get("referrer")), None)
    return Event(
        str(uuid.UUID(int=number)), "page_viewed", told["at"], told["at"], number, "server", "web" if told.get("web") else "server",
        anonymous_id=told.get("browser"), actor_id=told.get("actor"), session_id=told.get("session"), page=told.get("page"),
        utm_source=source, utm_medium=medium, utm_campaign=campaign, referrer=SPAM if told.get("spam") else referrer,
        user_agent=BOT if told.get("bot") else None,
    )  # fmt: skip


def batch(some: list[Event]) -> pa.Table:
    """Events as the log takes them."""
    moments = ("occurred_at", "received_at", "sent_at", "original_timestamp")
    columns = {
        name: pa.array([getattr(one, name) for one in some], pa.int64()).cast(type_)
        if name in moments
        else pa.array([getattr(one, name) for one in some], type_)
        for name, type_ in _TYPES.items()
    }
    return pa.table({**columns, "digest": pa.array([one.digest for one in some], pa.int64())})


def take_in(ledger: Ledger, attributor: Attributor, some: list[Event]) -> list[Event]:
    """A group goes the way that it goes at the door."""
    ENRICHER.fill(some)
    attributor.fill(some)
    found = events.append(ledger, batch(some), {}, also=lambda session, _: attributor.write(session))
    attributor.kept()
    assert set(found.outcomes) <= {Outcome.ACCEPTED, Outcome.REPEATED}
    return some


def words(*parts: Any) -> Any:
    return None if parts[0] is None else parts


def said(event: Event, sessions: dict[str, str | int]) -> Said:
    """What was found of an event; the names of sessions are those of the oracle where they mean the same."""
    return Said(
        None if event.session_id is None else sessions.setdefault(event.session_id, len(sessions) + 10_000_000),
        event.landing_page,
        words(event.first_source, event.first_medium, event.first_campaign),
        words(event.last_source, event.last_medium, event.last_campaign),
    )


def history(seed: int, count: int, *, named: bool, late: bool) -> list[dict[str, Any]]:
    """Events of some visitors over three months: browsers and actors that meet, campaigns, pauses around half an hour, latecomers."""
    draw = random.Random(seed)
    at = START
    found = []
    for _ in range(count):
        at += (
            draw.choice([1, 1, 3, 7, 20, 29, 30, 31, 34, 36, 90, 24 * 60, 11 * 24 * 60])
            * MINUTE
            // draw.choice([1, 1, 4])
        )
        at += draw.choice([0, 0, 1])
        one: dict[str, Any] = {"at": at, "web": draw.random() < 0.8}
        if late and draw.random() < 0.15:
            one["at"] -= draw.choice([1, 10, 29, 31, 60, 7 * 24 * 60]) * MINUTE
        kind = draw.random()
        if kind < 0.75:
            one["browser"] = f"b{draw.randrange(4)}"
        if kind > 0.55:
            one["actor"] = f"a{draw.randrange(3)}"
        if kind > 0.98:
            one.pop("actor")
        if one["web"] and draw.random() < 0.9:
            one["page"] = f"https://shop.example.com/{draw.randrange(5)}"
        if draw.random() < 0.25:
            one["campaign"] = draw.choice(CAMPAIGNS)
        elif draw.random() < 0.5 and one["web"]:
            one["referrer"] = draw.choice(list(REFERRERS.values()))
        if named and draw.random() < 0.3:
            one["session"] = f"s{draw.randrange(6)}-{one.get('browser') or one.get('actor')}"
        if draw.random() < 0.04:
            one["bot"] = True
        elif draw.random() < 0.04:
            one.pop("referrer", None)
            one["spam"] = True
        found.append(one)
    return found


def compare(found: list[Said], expected: list[Said], told: list[dict[str, Any]]) -> None:
    """Each event has what it should; sessions are the same ones, whatever their names."""
    pairs: dict[Any, Any] = {}
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert (one.landing, one.first, one.last) == (other.landing, other.first, other.last), (number, told[number])
        assert pairs.setdefault(one.session, other.session) == other.session, (number, told[number])
    assert len(set(pairs.values())) == len(pairs)


@pytest.mark.parametrize("seed", range(4))
def test_random_histories_are_as_the_oracle_says(ledger: Ledger, seed: int) -> None:
    """Groups of any size, late events, groups that are dropped and tried again, visitors that left memory, a process begun anew."""
    draw = random.Random(seed)
    told = history(seed, 160, named=seed % 2 == 1, late=seed % 3 != 0)
    oracle, names = Oracle(), {}
    attributor = Attributor(ledger, keeps=draw.choice([2, 4, 1000]))
    expected: list[Said] = []
    found: list[Said] = []
    place = 0
    while place < len(told):
        size = draw.choice([1, 2, 5, 20])
        some = told[place : place + size]
        if draw.random() < 0.2:
            again = [sent(place + n, one) for n, one in enumerate(some)]
            ENRICHER.fill(again)
            attributor.fill(again)
            if draw.random() < 0.5:
                attributor.dropped()
        if draw.random() < 0.2:
            attributor = Attributor(ledger, keeps=draw.choice([2, 1000]))
        group = take_in(ledger, attributor, [sent(place + n, one) for n, one in enumerate(some)])
        if draw.random() < 0.2:
            take_in(ledger, attributor, [sent(place + n, one) for n, one in enumerate(some)])
        found += [said(one, names) for one in group]
        expected += oracle.group(some)
        place += size
    compare(found, expected, told)


def log(ledger: Ledger) -> list[dict[str, Any]]:
    """The stored events in the order of their numbers."""
    names = ("id", *WRITTEN)
    columns = [Column("id", TEXT), *(Column(name, COLUMNS[name]) for name in WRITTEN)]
    parts = [ledger.store.dialect.cast(column("id"), TEXT), *(column(name) for name in WRITTEN)]
    query = exp.select(*(alias(part, name) for part, name in zip(parts, names, strict=True)))
    with ledger.store.transaction(read_only=True) as session:
        rows = session.arrow(Statement(query.from_(table("dayfold_events", ledger.store.schema))), columns).to_pylist()
    return sorted(rows, key=lambda row: row["id"])


def of_log(ledger: Ledger) -> list[Said]:
    names: dict[str, str | int] = {}
    return [
        said(Event("", "", 0, 0, 0, "", "", **{k: v for k, v in row.items() if k != "id"}), names)
        for row in log(ledger)
    ]


def as_if_known(told: list[dict[str, Any]]) -> list[Said]:
    """What events should have where all of them are known, and whose the browsers are."""
    oracle = Oracle()
    for one in sorted(told, key=lambda one: one["at"]):
        if "browser" in one and "actor" in one:
            oracle.sign_in(one["browser"], one["at"], one["actor"])
    return oracle.group(told)


@pytest.mark.parametrize("seed", range(20, 23))
def test_stored_events_are_enriched_as_the_oracle_says(ledger: Ledger, seed: int) -> None:
    """Events that came in any order, none of them enriched, in chunks of many sizes; a second time changes nothing."""
    draw = random.Random(seed)
    told = history(seed, 150, named=seed % 2 == 1, late=False)
    raw = [sent(n, one) for n, one in enumerate(told)]
    draw.shuffle(raw)
    events.append(ledger, batch(raw), {})
    done = renew(ledger, ENRICHER, RANGE, chunk_events=draw.choice([20, 50, 1000]))
    assert done.events == 150
    assert 0 < done.changed <= 150
    compare(of_log(ledger), as_if_known(told), told)
    assert renew(ledger, ENRICHER, RANGE, chunk_events=draw.choice([20, 50, 1000])) == Renewed(150, 0)
    compare(of_log(ledger), as_if_known(told), told)


def test_many_visitors_are_known_again_at_once(ledger: Ledger) -> None:
    """More than one look asks for: each goes on with the session, the first touch and the name of the visit before."""
    attributor, count = Attributor(ledger), 600
    campaign = CAMPAIGNS[0]
    first = [
        sent(n, {"at": START, "web": True, "browser": f"b{n}", "actor": f"a{n}", "campaign": campaign, "page": f"/{n}"})
        for n in range(count)
    ]
    begun = take_in(ledger, attributor, first)
    attributor.forget()
    later = [
        sent(count + n, {"at": START + MINUTE, "web": True, "browser": f"b{n}", "page": "/later"}) for n in range(count)
    ]
    for before, after in zip(begun, take_in(ledger, attributor, later), strict=True):
        assert (after.session_id, after.landing_page) == (before.session_id, before.page)
        assert (after.first_source, after.first_medium, after.first_campaign) == campaign


def test_what_came_late_is_put_in_order(ledger: Ledger) -> None:
    """The door knows what has come so far; enriching anew knows all, and the door goes on from there."""
    told = history(5, 150, named=False, late=True)
    told = list({one["at"]: one for one in told}.values())
    attributor = Attributor(ledger)
    for place in range(0, len(told), 10):
        take_in(ledger, attributor, [sent(place + n, one) for n, one in enumerate(told[place : place + 10])])
    assert renew(ledger, ENRICHER, RANGE).changed > 0
    compare(of_log(ledger), as_if_known(told), told)
    attributor.forget()
    last = max(told, key=lambda one: one["at"])
    for one in (told.index(last), len(told)):
        after = {**last, "at": last["at"] + (one == len(told)) * MINUTE}
        [found] = take_in(ledger, attributor, [sent(one, after)])
        expected = as_if_known([*told, after])[-1]
        assert said(found, {}).last == expected.last
    assert renew(ledger, ENRICHER, RANGE).changed == 0


def test_newer_rules_change_only_what_they_are_about(ledger: Ledger) -> None:
    """A host that turned out to be the site's own is no touch any more; events that are as they were are not written."""
    plain = {"web": True, "browser": "b1", "page": "https://shop.example.com/"}
    told = [
        {**plain, "at": START},
        {**plain, "at": START + 2 * 60 * MINUTE, "referrer": REFERRERS["https://blog.example.org/post"]},
        {**plain, "at": START + DAY, "browser": "b2"},
    ]
    take_in(ledger, Attributor(ledger), [sent(n, one) for n, one in enumerate(told)])
    assert [row["last_source"] for row in log(ledger)] == ["(direct)", "blog.example.org", "(direct)"]
    newer = Enricher(["shop.example.com", "example.org"])
    seen: list[tuple[int, int]] = []
    assert renew(
        ledger, newer, RANGE, chunk_events=1, progress=lambda done, whole: seen.append((done.changed, whole))
    ) == Renewed(3, 1)
    assert seen == [(0, 3), (1, 3), (1, 3)]
    assert [(row["last_source"], row["referrer_class"]) for row in log(ledger)] == [
        ("(direct)", "none"), ("(direct)", "internal"), ("(direct)", "none"),
    ]  # fmt: skip
    assert renew(ledger, newer, RANGE) == Renewed(3, 0)


def test_days_outside_the_range_stay(ledger: Ledger) -> None:
    """Both days of a range are included, and no other."""
    told = [{"web": True, "browser": "b1", "at": START + n * DAY - 1} for n in range(4)]
    events.append(ledger, batch([sent(n, one) for n, one in enumerate(told)]), {})
    assert renew(ledger, ENRICHER, Days(dt.date(2026, 3, 2), dt.date(2026, 3, 3))) == Renewed(2, 2)
    assert [row["session_id"] is not None for row in log(ledger)] == [False, True, True, False]


def person(ledger: Ledger, attributor: Attributor) -> None:
    """One person with two browsers, one of which somebody else used too."""
    plain = {"web": True, "page": "https://shop.example.com/"}
    told = [
        {**plain, "at": START, "browser": "laptop", "campaign": CAMPAIGNS[0]},
        {**plain, "at": START + MINUTE, "browser": "laptop", "actor": "anna"},
        {**plain, "at": START + 2 * DAY, "browser": "library", "campaign": CAMPAIGNS[1]},
        {**plain, "at": START + 2 * DAY + MINUTE, "browser": "library", "actor": "anna"},
        {**plain, "at": START + 3 * DAY, "browser": "library", "campaign": CAMPAIGNS[2]},
        {**plain, "at": START + 3 * DAY + MINUTE, "browser": "library", "actor": "bert"},
    ]
    take_in(ledger, attributor, [sent(n, one) for n, one in enumerate(told)])


def bought(ledger: Ledger, attributor: Attributor, number: int, actor: str) -> Event:
    """What a server tells of an actor, long after."""
    [found] = take_in(ledger, attributor, [sent(number, {"at": START + 5 * DAY, "actor": actor})])
    return found


def test_a_server_event_knows_the_campaigns_of_the_browsers(ledger: Ledger) -> None:
    """The first touch is that of the first browser. On a shared one, a visit in which somebody signs in is theirs."""
    attributor = Attributor(ledger)
    person(ledger, attributor)
    anna, bert = (bought(ledger, attributor, 10 + n, name) for n, name in enumerate(("anna", "bert")))
    assert (anna.first_source, anna.first_campaign, anna.session_id) == ("newsletter", "spring", None)
    assert (bert.first_source, bert.last_source) == ("partner", "partner")
    nobody = bought(ledger, attributor, 20, "carl")
    assert (nobody.first_source, nobody.last_source) == (None, None)


def test_erasing_somebody_leaves_nothing_of_them(ledger: Ledger) -> None:
    """Touches and links under all their names go, others' stay; the names are told; again is harmless."""
    attributor = Attributor(ledger)
    person(ledger, attributor)
    with ledger.store.transaction() as session:
        known = visitors.aliases_of(ledger, session, ["anna"])
        assert known == visitors.Aliases(("anna",), ("laptop", "library"))
        assert visitors.aliases_of(ledger, session, [], ["library"]) == visitors.Aliases(("anna", "bert"), ("library",))
        done = visitors.erase(ledger, session, ["anna"], [])
        assert (done.touches > 0, done.links, done.aliases) == (True, 3, known)
    attributor.forget()
    with ledger.store.transaction() as session:
        again = visitors.erase(ledger, session, ["anna"], ["laptop"])
        assert again == visitors.Erased(0, 0, visitors.Aliases(("anna",), ("laptop",)))
        left = session.rows(ledger.sql("select distinct visitor from dayfold__touches"))
    assert [one.hex for (one,) in left] == [visitors.key_of("actor", "bert")]
    anna, bert = (bought(ledger, attributor, 10 + n, name) for n, name in enumerate(("anna", "bert")))
    assert (anna.first_source, bert.first_source) == (None, "partner")


def test_a_group_that_was_forgotten_meanwhile_is_not_kept(ledger: Ledger) -> None:
    """What was erased between a group's filling and its end does not come back into memory."""
    attributor = Attributor(ledger)
    some = [sent(1, {"at": START, "web": True, "browser": "b1"})]
    attributor.fill(some)
    attributor.forget()
    attributor.kept()
    assert len(attributor) == 0


def test_a_visitor_who_comes_too_often_is_thinned(ledger: Ledger) -> None:
    """A thousand touches are kept at most, the first of all among them; memory and rows are bounded."""
    attributor = Attributor(ledger)
    told = [
        {"at": START + n * 31 * MINUTE, "web": True, "browser": "b1", "campaign": CAMPAIGNS[n % 2]}
        for n in range(2_300)
    ]
    for place in range(0, len(told), 100):
        group = take_in(ledger, attributor, [sent(place + n, one) for n, one in enumerate(told[place : place + 100])])
    with ledger.store.transaction(read_only=True) as session:
        [(rows, first)] = session.rows(ledger.sql("select count(*), min(touched_at) from dayfold__touches"))
    assert rows <= 1_100
    assert first == START
    assert (group[-1].first_source, group[-1].last_source) == ("newsletter", "google")
    assert len({one.session_id for one in group}) == 100


def test_memory_holds_no_more_visitors_than_allowed(ledger: Ledger) -> None:
    """Of many visitors, those that came last stay, where nobody else writes; elsewhere nobody does."""
    attributor = Attributor(ledger, keeps=10)
    for place in range(0, 60, 5):
        take_in(
            ledger,
            attributor,
            [sent(n, {"at": START, "web": True, "browser": f"b{n}"}) for n in range(place, place + 5)],
        )
    assert len(attributor) == (10 if ledger.store.dialect.name == "duckdb" else 0)


def test_writers_at_the_same_time_do_not_wait_for_one_another(postgres_url: str) -> None:
    """Replicas that meet the same visitors write beside each other: nothing fails, and what they wrote is taken together."""
    with Dayfold([], store_config(postgres_url)) as app:
        app.ledger.ready()
        events.ensure(app.ledger, {})
        ledger = app.ledger
        failures: list[BaseException] = []

        def replica(which: int) -> None:
            attributor = Attributor(ledger)
            try:
                for group in range(15):
                    some = []
                    for n in range(8):
                        at = START + group * DAY + which * 1_000 + n * MINUTE
                        told = {
                            "at": at,
                            "web": True,
                            "browser": f"b{n}",
                            "actor": f"a{n % 2}",
                            "campaign": CAMPAIGNS[which % 3],
                        }
                        some.append(sent(which * 1_000 + group * 10 + n, told))
                    take_in(ledger, attributor, some)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=replica, args=(which,)) for which in range(6)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert failures == []
        assert len(log(ledger)) == 6 * 15 * 8
        found = bought(ledger, Attributor(ledger), 100_000, "a0")
        assert found.first_source in {one[0] for one in CAMPAIGNS}
        links = visitors.aliases_of
        with ledger.store.transaction(read_only=True) as session:
            assert links(ledger, session, ["a0"]).anonymous_ids == ("b0", "b2", "b4", "b6")


def at_door(ledger: Ledger, attributor: Attributor, number: int, minute: int, **more: Any) -> Event:
    """One event comes in, some minutes after the start."""
    plain = {} if more.get("web") is False else {"page": "https://shop.example.com/"}
    [found] = take_in(ledger, attributor, [sent(number, {"web": True, **plain, "at": START + minute * MINUTE, **more})])
    return found


@pytest.mark.parametrize("minutes", [(0, 4, 33), (0, 6, 35), (0, 3, 9, 38), (0, 30, 60, 90)])
def test_a_process_begun_anew_knows_where_a_session_ended(ledger: Ledger, minutes: tuple[int, ...]) -> None:
    """Its end is written every five minutes only; between that the log itself is asked."""
    *before, last = minutes
    attributor = Attributor(ledger)
    found = [at_door(ledger, attributor, n, minute, browser="b1") for n, minute in enumerate(before)]
    found.append(at_door(ledger, Attributor(ledger), 100, last, browser="b1"))
    assert len({one.session_id for one in found}) == 1
    assert at_door(ledger, Attributor(ledger), 101, last + 31, browser="b1").session_id != found[0].session_id


def test_a_browser_that_only_a_server_linked_is_known_to_be_somebodys(ledger: Ledger) -> None:
    """Although nothing else was known of it; its first visit is the actor's too."""
    at_door(ledger, Attributor(ledger), 1, 0, web=False, browser="b1", actor="anna")
    at_door(ledger, Attributor(ledger), 2, 10, browser="b1", campaign=CAMPAIGNS[0])
    assert bought(ledger, Attributor(ledger), 3, "anna").first_source == "newsletter"


def test_what_a_dropped_group_found_is_known_to_nobody(ledger: Ledger) -> None:
    """Neither to its visitors nor to an actor who was not part of the group."""
    attributor = Attributor(ledger)
    at_door(ledger, attributor, 1, 0, web=False, browser="b1", actor="anna")
    lost = [sent(2, {"at": START + MINUTE, "web": True, "browser": "b1", "campaign": CAMPAIGNS[0]})]
    attributor.fill(lost)
    attributor.dropped()
    assert bought(ledger, attributor, 3, "anna").first_source is None
    assert at_door(ledger, attributor, 4, 5, browser="b1").first_source == "(direct)"


def test_sessions_that_a_late_event_connects_are_one_when_enriched_anew(ledger: Ledger) -> None:
    """At the door they stay two."""
    attributor = Attributor(ledger)
    found = [at_door(ledger, attributor, n, minute, browser="b1") for n, minute in enumerate((0, 50, 25))]
    assert len({one.session_id for one in found}) == 2
    assert renew(ledger, ENRICHER, RANGE).changed == 1
    assert len({row["session_id"] for row in log(ledger)}) == 1


def test_touches_that_were_none_are_gone_when_enriched_anew(ledger: Ledger) -> None:
    """What comes later does not rest on them."""
    at_door(ledger, Attributor(ledger), 1, 0, browser="b1", referrer=REFERRERS["https://blog.example.org/post"])
    assert at_door(ledger, Attributor(ledger), 2, 60, browser="b1").last_source == "blog.example.org"
    assert renew(ledger, Enricher(["example.org", "example.com"]), RANGE).changed == 2
    assert at_door(ledger, Attributor(ledger), 3, 120, browser="b1").last_source == "(direct)"


def test_a_session_that_goes_on_after_the_range_goes_on(ledger: Ledger) -> None:
    """Its end is not forgotten with its beginning."""
    evening = 24 * 60 - 10
    found = [at_door(ledger, Attributor(ledger), n, evening + n * 20, browser="b1") for n in range(2)]
    renew(ledger, ENRICHER, Days(dt.date(2026, 3, 2), dt.date(2026, 3, 2)))
    found.append(at_door(ledger, Attributor(ledger), 9, evening + 45, browser="b1"))
    assert len({one.session_id for one in found}) == 1
