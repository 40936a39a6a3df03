"""Exports that were asked for: of what, for whom, what each file holds and how long it is there. Ledger floor.

Invariant: a file that may hold raw events has a row here for as long as it is there, so that erasing finds it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.access import Scope
from dayfold.plan.exports import ExportAsked

EVENTS = "events"
_EPOCH = "cast(extract(epoch from {}) as double precision)"
_ROW = (
    "select id, asked, scope, owner, asked_by, holds, run_id, "
    + ", ".join(_EPOCH.format(name) for name in ("asked_at", "finished_at", "expires_at"))
    + ", file, size_bytes, row_count, remarks from dayfold__exports"
)


@dataclass(frozen=True, slots=True)
class ExportRow:
    """An export.

    Attributes:
        owner: Who may see it, as a digest; ``holds``: `ExportAsked.holds`.
        run_id: The run of the job that writes it.
        file: Its name where exports are written.
        finished_at: When the file was whole; ``expires_at``: when it goes.
        remarks: What has to be said with its rows.
    """

    id: str
    asked: ExportAsked
    scope: Scope
    owner: str
    asked_by: str
    holds: str
    run_id: int | None
    asked_at: dt.datetime
    finished_at: dt.datetime | None
    expires_at: dt.datetime | None
    file: str
    size_bytes: int | None
    row_count: int | None
    remarks: Mapping[str, Any]


def add(
    ledger: Ledger,
    session: Session,
    number: str,
    asked: ExportAsked,
    scope: Scope,
    owner: str,
    asked_by: str,
    file: str,
) -> None:
    """An export was asked for."""
    session.execute(
        ledger.sql(
            "insert into dayfold__exports (id, asked, scope, owner, asked_by, holds, asked_at, file) values "
            "(:id, :asked, :scope, :owner, :by, :holds, :now::timestamptz, :file)",
            id=number, asked=asked.as_text(), scope=json.dumps(scope.as_object()), owner=owner, by=asked_by,
            holds=asked.holds, now=ledger.clock.now(), file=file,
        )
    )  # fmt: skip


def begun(ledger: Ledger, session: Session, number: str, run_id: int) -> None:
    """A run of the job writes it."""
    query = "update dayfold__exports set run_id = :run where id = :id returning id"
    session.rows(ledger.sql(query, id=number, run=run_id))


def finish(
    ledger: Ledger,
    session: Session,
    number: str,
    expires_at: dt.datetime,
    size_bytes: int,
    rows: int,
    remarks: Mapping[str, Any],
) -> bool:
    """Its file is whole; false where it was deleted meanwhile."""
    found = session.rows(
        ledger.sql(
            "update dayfold__exports set finished_at = :now::timestamptz, expires_at = :until::timestamptz, size_bytes = :size, "
            "row_count = :rows, remarks = :remarks where id = :id returning id",
            id=number, now=ledger.clock.now(), until=expires_at, size=size_bytes, rows=rows, remarks=json.dumps(remarks),
        )
    )  # fmt: skip
    return bool(found)


def remove(ledger: Ledger, session: Session, number: str) -> bool:
    """Nothing is known of it any more; whether something was."""
    return bool(session.rows(ledger.sql("delete from dayfold__exports where id = :id returning id", id=number)))


def listed(ledger: Ledger, session: Session, *, number: str | None = None, owner: str | None = None) -> list[ExportRow]:
    """Exports, the newest first: one, those of an owner, or all."""
    tests = {"id = :id": {"id": number}, "owner = :owner": {"owner": owner}}
    given = {test: words for test, words in tests.items() if None not in words.values()}
    where = " and ".join(given) or "true"
    words = {name: value for one in given.values() for name, value in one.items()}
    rows = session.rows(ledger.sql(f"{_ROW} where {where} order by asked_at desc, id", **words))
    return [_row(row) for row in rows]


def _row(row: tuple[Any, ...]) -> ExportRow:
    number, asked, scope, owner, asked_by, holds, run_id, *moments, file, size, count, remarks = row
    asked_at, finished_at, expires_at = (
        None if one is None else dt.datetime.fromtimestamp(one, dt.UTC) for one in moments
    )
    assert asked_at is not None
    return ExportRow(
        number, ExportAsked.from_text(asked), Scope.from_object(json.loads(scope)), owner, asked_by, holds, run_id, asked_at,
        finished_at, expires_at, file, size, count, json.loads(remarks or "{}"),
    )  # fmt: skip
