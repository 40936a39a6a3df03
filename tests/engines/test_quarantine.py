"""Events that were held back are read, and replayed once the definitions know them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import msgspec
import pytest

from dayfold import Count, Dayfold, Rollup, events
from dayfold.clock import FixedClock
from dayfold.collect.intake import Held, Record, Ticket
from dayfold.collect.reading import Reader, Sender, new_id
from dayfold.errors import UnknownName
from dayfold.ledger import quarantine
from tests.sql import run_sql, store_config

NOW = dt.datetime(2026, 3, 9, 12, tzinfo=dt.UTC)
MICROS = int(NOW.timestamp() * 1e6)


class Daily(Rollup):
    """What happened in one project on one day."""

    key = "project_id"

    happened = Count(events, at="occurred_at")


def opened(url: str, types: dict[str, Any], **columns: str) -> Dayfold:
    """An application that knows these types of events."""
    said = [events.columns(project_id="text", **columns), events.types({"shop": types})]
    return Dayfold([Daily, *said], store_config(url, long_view=""), clock=FixedClock(NOW))


@pytest.fixture
def held(store_url: str) -> str:
    """A store with four events in quarantine: of no declared type, or without what its type needs."""
    with opened(store_url, {"viewed": {"cents": "bigint"}}) as app:
        app.fold()
        reader, sender = Reader(app.catalog.entities.types), Sender("server", MICROS)
        native = {
            "id": "a",
            "event_type": "sold",
            "entity_type": "project",
            "entity_id": "p",
            "properties": {"asset_id": 7},
        }
        lame = {"id": "b", "event_type": "viewed", "properties": {"project_id": "p"}}
        track = {"messageId": "c", "event": "sold", "context": {"project_id": "q"}, "properties": {"asset_id": "8"}}
        first = reader.native([msgspec.Raw(json.dumps(one).encode()) for one in (native, lame)], sender)
        second = reader.segment([msgspec.Raw(json.dumps(track).encode())], sender, "track")
        record = Record(reader.names)
        # Ids follow time, by the millisecond.
        for place, event in enumerate((*first.events, *second.events)):
            complaint = app.catalog.event_types.complaint(event.event_type, event.props)
            event.props = {}
            record.held.append(
                Held(new_id(MICROS - 5000 + 1000 * place), quarantine.UNDECLARED, complaint or "", event)
            )
        app.event_log._take(Ticket(record, 0))
        [kept, changed] = (reader.native([msgspec.Raw(_viewed(cents))], sender).events for cents in (1, 2))
        app.event_log._take(Ticket(Record(reader.names, [*kept, *changed]), 0))
    return store_url


def _viewed(cents: int) -> bytes:
    return json.dumps({"id": "d", "event_type": "viewed", "properties": {"cents": cents}}).encode()


def test_held_events_are_read_by_reason_and_type(held: str) -> None:
    """Page by page, each with why it is held and what it was."""
    with opened(held, {}) as app:
        found = app.event_log.quarantined()
        assert [(one.event_type, one.reason, one.detail) for one in found] == [
            ("sold", "undeclared", "its type is not declared."),
            ("viewed", "undeclared", "the property 'cents' is missing, expected bigint (a whole number of 64 bits)."),
            ("sold", "undeclared", "its type is not declared."),
            ("viewed", "conflict", "Another event has its id."),
        ]
        assert [one.id for one in app.event_log.quarantined(event_type="sold", limit=1, after=found[0].id)] == [
            found[2].id
        ]
        assert [one.id for one in app.event_log.quarantined(reason="conflict")] == [found[3].id]
        with pytest.raises(UnknownName):
            app.event_log.quarantined(reason="conflicts")


def test_held_events_are_replayed_once_they_are_declared(held: str) -> None:
    """As they would have been taken, with what stood beside their properties; the others stay, and again changes nothing."""
    with opened(held, {"viewed": {"cents": "bigint"}, "sold": {}}, asset_id="bigint") as app:
        found = app.event_log.replay()
        assert (found.replayed, found.kept) == (2, 2)
        assert found.why == {
            "the property 'cents' is missing, expected bigint (a whole number of 64 bits).": 1,
            "Another event has its id.": 1,
        }
        again = app.event_log.replay(event_type="sold")
        assert (again.replayed, again.kept) == (0, 0)
        app.fold()
        assert app.query("Daily", ["happened"], from_=NOW.date(), to=NOW.date(), by=["project_id"]).rows == [
            {"day": NOW.date(), "project_id": None, "happened": 1},
            {"day": NOW.date(), "project_id": "p", "happened": 1},
            {"day": NOW.date(), "project_id": "q", "happened": 1},
        ]
    rows = run_sql(held, "SELECT event_type, project_id, asset_id FROM dayfold_events ORDER BY asset_id")
    assert rows == [("sold", "p", 7), ("sold", "q", 8), ("viewed", None, None)]
    assert run_sql(held, "SELECT count(*) FROM dayfold__quarantine") == [(2,)]
    assert run_sql(held, "SELECT outcome, sum(events) FROM dayfold__intake GROUP BY 1 ORDER BY 1") == [
        ("accepted", 3),
        ("conflict", 1),
        ("quarantined", 3),
    ]
