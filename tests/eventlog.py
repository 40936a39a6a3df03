"""Events for tests, and how they enter the log without a door."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from dayfold import Dayfold
from dayfold.define.events import COLUMNS
from dayfold.define.types import Type
from dayfold.engines.csv import arrow_type
from dayfold.ledger import events
from dayfold.ledger.events import Outcome

NOON = dt.datetime(2026, 3, 9, 12, tzinfo=dt.UTC)


def event(number: int, *, payload: int = 0, props: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An event whose id is made of a number."""
    return {
        "id": str(uuid.UUID(int=number)), "digest": payload, "occurred_at": NOON, "received_at": NOON, "source": "web",
        "trust": "public", "event_type": "asset_viewed", "properties": json.dumps(props or {"n": 1}), **more,
    }  # fmt: skip


def batch(rows: Sequence[Mapping[str, Any]], entities: Mapping[str, Type]) -> pa.Table:
    """Events as a batch."""
    types = {**COLUMNS, **entities}
    columns = {name: pa.array([row.get(name) for row in rows], arrow_type(type_)) for name, type_ in types.items()}
    return pa.table({**columns, "digest": pa.array([row["digest"] for row in rows], pa.int64())})


def send(app: Dayfold, *rows: Mapping[str, Any]) -> list[Outcome]:
    """What became of events that were written to an application's log."""
    entities = app.catalog.entities.types
    return events.append(app.ledger, batch(rows, entities), entities).outcomes
