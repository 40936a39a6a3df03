"""Requests whose events are all held back, or all known: they are taken as any other, and keep nothing from being written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from dayfold import Count, Dayfold, Rollup, events
from dayfold.http.application import make
from dayfold.http.service import Service
from tests.sql import store_config

TYPES = events.types({"asset": {"asset_viewed": {"page": "bigint"}}})


class Daily(Rollup):
    views = Count(events, at="occurred_at")


@pytest.fixture
def send(store_url: str) -> Iterator[Any]:
    """Sends events, and waits until they are in the log."""
    with Dayfold([Daily, TYPES], store_config(store_url)) as app:
        app.ledger.ready()
        key = app.accounts.create_token("servers", "track").secret
        service = Service(app)
        service.collector.start()
        service.start()
        with TestClient(make(service)) as client:

            def send(*some: dict[str, Any]) -> dict[str, Any]:
                answer = client.post("/v1/events?wait=log", json=list(some), headers={"Authorization": f"Bearer {key}"})
                assert answer.status_code == 200, answer.text
                return {name: count for name, count in answer.json().items() if name != "errors" and count}

            yield send
        service.close()


def test_a_request_of_held_events_alone_is_taken(send: Any) -> None:
    """The events after it are written too, and so are those that were known already."""
    good = {"id": "a", "event_type": "asset_viewed", "properties": {"page": 1}}
    assert send({"event_type": "asset_veiwed"}, {"event_type": "asset_viewed"}) == {"quarantined": 2}
    assert send(good) == {"accepted": 1}
    assert send(good) == {"repeated": 1}
    assert send(good, {**good, "properties": {"page": 2}}) == {"repeated": 1, "conflicts": 1}
    assert send({**good, "id": "b"}) == {"accepted": 1}
