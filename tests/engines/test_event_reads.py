"""Raw events, page by page: which are found, in which order, and what is shown of them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

import pytest

from dayfold import Count, Dayfold, Rollup, events
from dayfold.clock import FixedClock
from dayfold.define.events import ADDRESSES, COLUMNS, PERSONAL
from dayfold.engines.postgres import with_literals
from dayfold.errors import BadDate, Forbidden, UnknownName, UsageError
from dayfold.ledger import events as log
from dayfold.plan.access import EVERYTHING, UNREDACTED, Grant, Scope
from dayfold.plan.event_reads import Place, Wanted
from dayfold.query.event_pages import EventReader
from tests.engines.ground import NOW
from tests.eventlog import NOON, event, send
from tests.sql import store_config

ENTITIES = events.columns(project_id="text", asset_id="bigint", brand="text")


class Daily(Rollup):
    """What happened with one asset on one day."""

    key = "asset_id"
    views = Count(events, at="occurred_at")


def hours(count: float) -> dt.datetime:
    """Some hours after the noon that the events begin at."""
    return NOON + dt.timedelta(hours=count)


#: Of an actor, of a browser that they had before and of one that somebody else shares, and of nobody.
STORY = (
    event(1, anonymous_id="home", project_id="p", asset_id=7, event_type="page_viewed"),
    event(2, anonymous_id="home", actor_id="anna", project_id="p", asset_id=8, occurred_at=hours(1), session_id="s1",
          page="https://x.test/a?mail=a@x.test#top", referrer="https://y.test/?q=secret", user_agent="Browser 1",
          props={"amount": 12345678901234567890, "price": 1.10, "note": "hello"}, click_id="c1"),
    event(3, anonymous_id="shared", actor_id="anna", project_id="q", occurred_at=hours(2), trust="server"),
    event(4, anonymous_id="shared", actor_id="ben", project_id="q", asset_id=7, occurred_at=hours(3)),
    event(5, anonymous_id="shared", occurred_at=hours(4)),
    event(6, anonymous_id="other", project_id="p", asset_id=7, brand="", occurred_at=hours(30)),
)  # fmt: skip


@pytest.fixture
def app(store_url: str) -> Iterator[Dayfold]:
    """An application whose log has the story."""
    with Dayfold([Daily, ENTITIES], store_config(store_url), clock=FixedClock(NOW)) as made:
        made.ledger.ready()
        made.event_log.make()
        send(made, *STORY)
        yield made


def numbers(app: Dayfold, **asked: Any) -> list[int]:
    """The events that were found, by their numbers."""
    return [int(row["id"].replace("-", ""), 16) for row in app.events(**asked).rows]


def test_events_are_found_by_what_they_are_about(app: Dayfold) -> None:
    """Each filter alone and together; the newest first."""
    assert numbers(app) == [6, 5, 4, 3, 2, 1]
    assert numbers(app, entity_type="project", entity_id="p") == [6, 2, 1]
    assert numbers(app, entity_type="asset_id", entity_id="7") == [6, 4, 1]
    assert numbers(app, entity_type="asset") == [6, 4, 2, 1]
    assert numbers(app, entity_type="brand", entity_id="") == [6]
    assert numbers(app, event_type="page_viewed") == [1]
    assert numbers(app, actor="anna") == [3, 2]
    assert numbers(app, session="s1") == [2]
    assert numbers(app, from_="2026-03-10") == [6]
    assert numbers(app, from_="2026-03-08", to="2026-03-09") == [5, 4, 3, 2, 1]
    assert numbers(app, to=dt.date.max, from_=dt.date.min) == [6, 5, 4, 3, 2, 1]
    assert numbers(app, actor="anna", entity_type="project", entity_id="q") == [3]
    assert numbers(app, actor="' or true --") == []


def test_a_day_has_its_first_and_its_last_moment(app: Dayfold) -> None:
    """Both ends of a range are included, by UTC."""
    midnight = dt.datetime(2026, 3, 5, tzinfo=dt.UTC)
    last = midnight + dt.timedelta(days=1, microseconds=-1)
    send(app, event(10, occurred_at=midnight), event(11, occurred_at=last))
    send(app, event(12, occurred_at=last + dt.timedelta(microseconds=1)))
    assert numbers(app, from_="2026-03-05", to="2026-03-05") == [11, 10]


def test_an_event_is_shown_whole(app: Dayfold) -> None:
    """Every column of the log and of the project, by its type; numbers in properties keep their digits."""
    [found] = app.events(session="s1").rows
    assert list(found) == [*COLUMNS, "project_id", "asset_id", "brand"]
    assert (found["occurred_at"], found["asset_id"], found["is_bot"]) == (hours(1), 8, None)
    assert found["properties"]["amount"] == 12345678901234567890
    assert str(found["properties"]["price"]) == "1.1"


def test_personal_data_are_left_out(app: Dayfold) -> None:
    """Whoever may not see them: the columns are there and empty, and addresses end before their query."""
    [whole] = app.events(session="s1").rows
    row = next(one for one in app.events(scope=EVERYTHING).rows if one["id"] == whole["id"])
    assert {name: row[name] for name in PERSONAL} == dict.fromkeys(PERSONAL)
    assert (row["page"], row["referrer"]) == ("https://x.test/a", "https://y.test/")
    kept = set(COLUMNS) - {*PERSONAL, *ADDRESSES}
    assert {name: row[name] for name in kept} == {name: whole[name] for name in kept}
    with pytest.raises(Forbidden) as refused:
        app.events(actor="anna", scope=EVERYTHING)
    assert str(refused.value) == (
        "Asking for an actor takes the right to see personal data.\n"
        "  Make a token that has it: dayfold token create NAME --kind read --personal"
    )
    with pytest.raises(Forbidden, match="Asking for a session takes"):
        app.events(session="s1", scope=EVERYTHING)


def test_pages_follow_one_another_while_events_arrive(app: Dayfold) -> None:
    """Each event once, whatever is written between two pages; events of one moment are told apart by their ids."""
    send(app, *(event(n, occurred_at=hours(2)) for n in range(20, 30)))
    before = numbers(app)
    found, after = [], None
    for _ in range(100):
        page = app.events(limit=3, after=after)
        found += [int(row["id"].replace("-", ""), 16) for row in page.rows]
        send(app, event(100 + len(found), occurred_at=hours(40)))
        after = page.next
        if after is None:
            break
    assert found == before
    assert len(app.events(limit=len(numbers(app))).rows) == len(numbers(app))
    assert app.events(limit=len(numbers(app))).next is None


def test_who_has_an_own_event(app: Dayfold) -> None:
    """An actor's own are theirs, and those of a browser that nobody else signed in with while nobody was."""
    assert numbers(app, actor="anna", own=True) == [3, 2, 1]
    assert numbers(app, actor="ben", own=True) == [4]
    assert numbers(app, actor="nobody", own=True) == []


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        (Scope.of(None, {"asset_id": ["7"]}), [6, 4, 1]),
        (Scope.of(None, {"asset_id": ["7", "8"], "project_id": ["p"]}), [6, 2, 1]),
        (Scope.of(None, {"asset_id": [None]}), [5, 3]),
        (Scope.of(None, {"asset_id": []}), []),
        (Scope.of(None, {"asset_id": ["seven"]}), []),
        (Scope.of(None, {"actor_id": ["anna"]}), [3, 2]),
        (Scope.of(None, {"anonymous_id": ["home"]}), [2, 1]),
        (Scope.of(None, {"asset_id": ["7"], "shop_id": ["1"]}), []),
        (Scope.of(None, {"channel": [None]}), []),
        (Scope.of(None, {"session_id": ["s1"]}), []),
        (Scope.of(["Daily"], {}), []),
        (Scope.of(["Daily"], {}, events=True), [6, 5, 4, 3, 2, 1]),
        (Scope.of(["Daily"], {"asset_id": ["8"]}, events=True), [2]),
        (Scope.of([], {}), []),
    ],
)  # fmt: skip
def test_a_scope_narrows_events_or_closes_them(app: Dayfold, scope: Scope, seen: list[int]) -> None:
    """By entities and identities; any other column, and limited rollups, close all of them."""
    assert numbers(app, scope=scope) == seen
    both = Scope.of(scope.rollups, dict(scope.rows), personal=True, events=scope.events)
    assert numbers(app, scope=both, actor="anna") == [one for one in seen if one in (2, 3)]


def test_relations_that_were_not_looked_up_show_nothing(app: Dayfold) -> None:
    """A scope that came past the looking up sees no event."""
    assert Scope.of(None, {}, [Grant.of("Brand", {"a": 1})]).event_filters(app.catalog.entities.types) is None


def test_words_that_do_not_fit_are_refused(app: Dayfold) -> None:
    """Each with what was expected."""
    refused = {
        "entity_id is an id of some type; entity_type is missing.\n  Types of entities: project, asset, brand": {"entity_id": "7"},
        "There is no type of entity 'projekt'; the nearest is 'project'.\n  Types of entities: project, asset, brand": {
            "entity_type": "projekt"
        },
        "The filter's value for 'asset_id' is not integer, which that key column holds.": {
            "entity_type": "asset", "entity_id": "x",
        },
        "limit is a number of events from 1 to 1,000, got 1,001.": {"limit": 1001},
        "limit is a number of events from 1 to 1,000, got 0.": {"limit": 0},
        "actor holds a letter that no event has.": {"actor": "a\0b"},
    }  # fmt: skip
    for told, asked in refused.items():
        with pytest.raises(UsageError, match=f"^{re.escape(told)}$"):
            app.events(**asked)
    with pytest.raises(BadDate, match="ends before it starts"):
        app.events(from_="2026-03-02", to="2026-03-01")
    with pytest.raises(UnknownName):
        app.events(entity_type="")


@pytest.mark.parametrize(
    "text", ["", "x", "é", "W10", "bnVsbA", "WzEsIDJd", "WzFlOTksICJ4Il0", str(Place(2**62, "0" * 32)), "[" * 5000]
)
def test_a_place_that_is_none_is_refused(app: Dayfold, text: str) -> None:
    """Nothing of it is repeated."""
    with pytest.raises(UsageError) as refused:
        app.events(after=text)
    assert (
        str(refused.value) == "after is not a place in this list of events.\n  Pass on the 'next' of the page before."
    )


def test_a_store_without_a_log_has_no_events(store_url: str) -> None:
    """Nothing is made by looking."""
    with Dayfold([Daily, ENTITIES], store_config(store_url), clock=FixedClock(NOW)) as app:
        assert app.events().as_object() == {"events": []}
        assert not log.exists(app.ledger)


def test_an_entity_that_is_new_is_of_no_event_yet(app: Dayfold, store_url: str) -> None:
    """The column is made with the next fold; until then events do not have it, and a scope of it sees none."""
    app.close()
    more = events.columns(project_id="text", asset_id="bigint", brand="text", city="text")
    with Dayfold([Daily, more], store_config(store_url), clock=FixedClock(NOW)) as edited:
        assert numbers(edited, entity_type="city", entity_id="Oslo") == []
        assert edited.events(limit=1).rows[0]["city"] is None
        assert numbers(edited, scope=Scope.of(None, {"city": ["Oslo"]})) == []


def plan_of(app: Dayfold, **asked: Any) -> str:
    """How PostgreSQL finds the events of a question."""
    entities = app.catalog.entities.types
    wanted = Wanted.parse(entities, today=app.today, scope=UNREDACTED, **asked)
    seen: list[str] = []
    with app.ledger.store.transaction(read_only=True) as session:
        reader = EventReader(app.ledger, session, entities, UNREDACTED)
        run = session.arrow
        session.arrow = lambda one, columns, few: seen.append(with_literals(one)) or run(one, columns, few=few)
        reader.read(wanted, 101, descending=True)
        return "\n".join(line for (line,) in session.connection.execute(f"EXPLAIN {seen[-1]}").fetchall())


@pytest.mark.parametrize(
    ("asked", "leading"),
    [
        ({}, "occurred_at"),
        ({"actor": "u7"}, "actor_id"),
        ({"session": "s7"}, "session_id"),
        ({"event_type": "rare"}, "event_type"),
        ({"entity_type": "asset", "entity_id": "7"}, "asset_id"),
        ({"from_": "2026-01-03", "to": "2026-01-03"}, "occurred_at"),
    ],
)
def test_an_index_leads_to_a_page(postgres_url: str, asked: dict[str, str], leading: str) -> None:
    """No page reads the whole log: PostgreSQL goes by the filter and the time."""
    with Dayfold([Daily, ENTITIES], store_config(postgres_url), clock=FixedClock(NOW)) as app:
        app.ledger.ready()
        app.event_log.make()
        with app.ledger.store.transaction() as session:
            session.execute(
                "insert into dayfold_events (id, occurred_at, received_at, trust, event_type, actor_id, session_id, asset_id, "
                "properties) select md5(n::text)::uuid, timestamptz '2026-01-01 00:00Z' + n * interval '1 minute', now(), 'public', "
                "case when n % 1000 = 0 then 'rare' else 'page_viewed' end, 'u' || n % 501, 's' || n / 9, n % 701, '{}' "
                "from generate_series(1, 40000) as g(n)"
            )
        with app.ledger.store.transaction() as session:
            session.execute("analyze dayfold_events")
        told = plan_of(app, **asked)
        assert "Seq Scan" not in told
        assert f"dayfold_events_{leading}" in told
