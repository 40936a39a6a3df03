"""The event log: every event once, whatever is sent again and by how many at the same time."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.define.source import Place
from dayfold.define.types import Type, declared_type
from dayfold.errors import StoreAltered
from dayfold.ledger import events
from dayfold.ledger.events import Appended, Outcome
from dayfold.ledger.ledger import Ledger
from tests.eventlog import NOON, batch, event
from tests.sql import store_config

ACCEPTED, REPEATED, CONFLICT = Outcome
ENTITIES: dict[str, Type] = {"project_id": declared_type("uuid"), "asset": declared_type("text")}  # type: ignore[dict-item]


@pytest.fixture
def ledger(store_url: str) -> Iterator[Ledger]:
    """A store with an event log, on each engine."""
    with Dayfold([], store_config(store_url)) as app:
        app.ledger.ready()
        events.ensure(app.ledger, ENTITIES)
        yield app.ledger


def append(ledger: Ledger, *rows: Mapping[str, Any], **more: Any) -> list[Outcome]:
    """What became of some events."""
    return events.append(ledger, batch(rows, ENTITIES), ENTITIES, **more).outcomes


def stored(ledger: Ledger) -> list[tuple[int, str, str]]:
    """The events of the log, by the number of their id, each with its type and its asset; the ids agree with them."""
    with ledger.store.transaction(read_only=True) as session:
        rows = session.rows(
            ledger.sql(
                "select cast(e.id as text), e.event_type, e.asset, i.day from _events as e join dayfold__event_ids as i "
                "on i.id = e.id order by e.id",
                _events=events.table(events.TABLE, ledger.store.schema),
            )
        )
        [(ids,)] = session.rows(ledger.sql("select count(*) from dayfold__event_ids"))
        [(all_events,)] = session.rows(
            ledger.sql("select count(*) from _events", _events=events.table(events.TABLE, ledger.store.schema))
        )
    assert ids == all_events == len(rows)
    return [(uuid.UUID(one).int, kind, asset) for one, kind, asset, _ in rows]


def test_events_are_kept_with_all_their_columns(ledger: Ledger) -> None:
    """What was appended is what is read, project columns too; the day of an id is that of the event in UTC."""
    late = dt.datetime(2026, 3, 9, 23, 30, tzinfo=dt.timezone(dt.timedelta(hours=-2)))
    project = str(uuid.UUID(int=7))
    assert append(ledger, event(1, asset='a, "b"\n', project_id=project, occurred_at=late)) == [ACCEPTED]
    with ledger.store.transaction(read_only=True) as session:
        [row] = session.rows(
            ledger.sql(
                "select e.asset, cast(e.project_id as text), cast(i.day as text), e.properties ->> 'n' from _events as e "
                "join dayfold__event_ids as i on i.id = e.id",
                _events=events.table(events.TABLE, ledger.store.schema),
            )
        )  # fmt: skip
    assert row == ('a, "b"\n', project, "2026-03-10", "1")


def test_the_view_shows_what_brought_each_visitor(ledger: Ledger) -> None:
    """A row for each event, with its campaign, its touches and its device; also after a column was added to the log."""
    append(ledger, event(1, utm_source="letter", first_source="google", last_campaign="autumn", browser="Firefox"))
    events.ensure(ledger, {**ENTITIES, "license_id": declared_type("bigint")})
    view = events.table(events.VIEW, ledger.store.schema)
    with ledger.store.transaction(read_only=True) as session:
        query = "select utm_source, first_source, last_campaign, browser, is_bot from _view"
        assert session.rows(ledger.sql(query, _view=view)) == [("letter", "google", "autumn", "Firefox", None)]


def test_an_event_that_is_sent_again_is_as_good_as_the_first(ledger: Ledger) -> None:
    """One row however often, also a day later and beside new ones; another payload under its id is a conflict."""
    assert append(ledger, event(1), event(2, payload=5)) == [ACCEPTED, ACCEPTED]
    again = event(1, occurred_at=NOON + dt.timedelta(hours=25))
    assert append(ledger, again, event(3), event(2, payload=6)) == [REPEATED, ACCEPTED, CONFLICT]
    assert [number for number, *_ in stored(ledger)] == [1, 2, 3]
    assert append(ledger, event(1), event(2, payload=5), event(3)) == [REPEATED] * 3
    assert len(stored(ledger)) == 3


def test_an_id_twice_in_one_batch(ledger: Ledger) -> None:
    """The first of a batch stands; those after it are told from it, or from the one that was there before."""
    assert append(ledger, event(1, asset="first"), event(1, asset="second"), event(1, payload=9)) == [
        ACCEPTED, REPEATED, CONFLICT,
    ]  # fmt: skip
    assert stored(ledger) == [(1, "asset_viewed", "first")]
    assert append(ledger, event(1, payload=9), event(1), event(2)) == [CONFLICT, REPEATED, ACCEPTED]


def test_what_goes_with_events_that_are_all_known_is_written(ledger: Ledger) -> None:
    """A batch with nothing new in it is counted, and journals move on, as with any other."""
    append(ledger, event(1), event(2))
    seen: list[Appended] = []
    also = lambda session, found: seen.append(found)  # noqa: E731
    assert append(ledger, event(1), event(2, payload=7), also=also) == [REPEATED, CONFLICT]
    assert [one.outcomes for one in seen][-1] == [REPEATED, CONFLICT]
    assert len(stored(ledger)) == 2


def test_many_known_ids_in_one_batch(ledger: Ledger) -> None:
    """More than are looked up at once, mixed with new ones."""
    assert set(append(ledger, *(event(n) for n in range(1_300)))) == {ACCEPTED}
    found = append(ledger, *(event(n) for n in range(0, 2_600, 2)))
    assert (found.count(REPEATED), found.count(ACCEPTED)) == (650, 650)
    assert len(stored(ledger)) == 1_950


def test_the_same_event_by_32_at_once(ledger: Ledger) -> None:
    """One of them is the first; all of them are told that it is kept."""
    found: list[Appended] = []
    gate = threading.Barrier(32)

    def send(number: int) -> None:
        gate.wait()
        found.append(events.append(ledger, batch([event(1), event(100 + number)], ENTITIES), ENTITIES))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(32)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    first = sorted(one.outcomes[0] for one in found)
    assert first == [ACCEPTED] + [REPEATED] * 31
    assert all(one.outcomes[1] is ACCEPTED for one in found)
    assert len(stored(ledger)) == 33


def test_what_fails_with_the_events_takes_them_back(ledger: Ledger) -> None:
    """What is written with events is written with them, or neither is."""

    def refuse(session: Any, found: Appended) -> None:
        [(count,)] = session.rows(ledger.sql("select count(*) from dayfold__event_ids"))
        raise RuntimeError(f"{count} written")

    with pytest.raises(RuntimeError, match="2 written"):
        append(ledger, event(1), event(2), also=refuse)
    assert stored(ledger) == []
    assert append(ledger, event(1)) == [ACCEPTED]


def test_columns_are_added_and_stay(ledger: Ledger) -> None:
    """A project's new column is null in older events; one that is not declared any more keeps what it holds."""
    append(ledger, event(1, asset="kept"))
    licence = {"licence": declared_type("bigint")}
    events.ensure(ledger, licence)  # type: ignore[arg-type]
    events.ensure(ledger, licence)  # type: ignore[arg-type]
    found = events.append(ledger, batch([event(2, licence=3)], licence), licence)  # type: ignore[arg-type]
    assert found.outcomes == [ACCEPTED]
    assert [asset for *_, asset in stored(ledger)] == ["kept", None]
    with pytest.raises(StoreAltered, match="has columns of other types than are declared: asset"):
        events.ensure(ledger, {"asset": declared_type("bigint")})  # type: ignore[dict-item]


def test_declared_columns_are_checked() -> None:
    """Every mistake is told with its place."""
    from dayfold.define.events import Entities

    words = {
        "project_id": "uuid",
        "a b": "text",
        "Event_Type": "text",
        "PROJECT_ID": "uuid",
        "price": "money",
        "cost": 5,
    }
    found = Entities.declared(words, Place("metrics.py", 3))
    assert list(found.types) == ["project_id"]
    assert [f"{one.code} {one.message} {one.hint}".strip() for one in found.problems] == [
        "bad-name a column's name is of letters, digits and single '_', got 'a b'.",
        "duplicate-name every event has a column 'event_type' already.",
        "duplicate-name the column 'PROJECT_ID' is there twice; databases do not tell upper and lower case apart.",
        "bad-value the column 'price' has no type 'money'. Types of ids: text, bigint, boolean, date, uuid",
        "bad-value the column 'cost' has no type 5. Types of ids: text, bigint, boolean, date, uuid",
    ]
