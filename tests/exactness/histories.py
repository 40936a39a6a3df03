"""A history: what happens to a table over days, in a database and in Python at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from tests.exactness.draws import Row
from tests.exactness.rollups import DDL, TABLE
from tests.sql import Session

#: Histories begin on a Friday two days before clocks change in London.
BEGIN = dt.datetime(2026, 3, 27, 10, 30, tzinfo=dt.UTC)


class History:
    """The rows of the source table, in Python and in the database.

    Statements wait until :meth:`settle`, which runs them in their order in one transaction.
    """

    def __init__(self, source_url: str) -> None:
        self.source_url = source_url
        self.rows: list[Row] = []
        self.pending: list[Callable[[Session], object]] = []
        self._next_id = 0
        self.pending.append(lambda session: session.run(f"DROP TABLE IF EXISTS {TABLE}"))
        self.pending.append(lambda session: session.run(f"CREATE TABLE {TABLE} ({DDL})"))

    def insert(self, rows: list[Row]) -> None:
        numbered = []
        for row in rows:
            numbered.append({"id": self._next_id, **row})
            self._next_id += 1
        self.rows += numbered
        copies = [dict(row) for row in numbered]
        self.pending.append(lambda session: session.insert(TABLE, copies))

    def update(self, position: int, changes: Row) -> None:
        row = self.rows[position]
        row.update(changes)
        assignments = ", ".join(f"{name} = ${n}" for n, name in enumerate(changes, start=2))
        self._statement(f"UPDATE {TABLE} SET {assignments} WHERE id = $1", [row["id"], *changes.values()])

    def delete(self, position: int) -> None:
        row = self.rows.pop(position)
        self._statement(f"DELETE FROM {TABLE} WHERE id = $1", [row["id"]])

    def clear_day(self, moment: str, day: dt.date) -> None:
        """Delete all rows of one day, but the first row, which keeps the source from being suddenly empty."""
        begin = dt.datetime.combine(day, dt.time(), dt.UTC if moment == "made_at" else None)
        end = begin + dt.timedelta(days=1)
        self.rows = [
            row for row in self.rows if row["id"] == 0 or row[moment] is None or not begin <= row[moment] < end
        ]
        self._statement(f"DELETE FROM {TABLE} WHERE id <> 0 AND {moment} >= $1 AND {moment} < $2", [begin, end])

    def truncate(self) -> None:
        """Every row goes at once."""
        self.rows = []
        self._statement(f"TRUNCATE {TABLE}", [])

    def _statement(self, sql: str, parameters: list[Any]) -> None:
        self.pending.append(lambda session: session.run(sql, parameters))

    def settle(self) -> None:
        """Afterwards the database holds what ``rows`` holds."""
        if not self.pending:
            return
        with Session(self.source_url) as session:
            for apply in self.pending:
                apply(session)
        self.pending.clear()

    def raw(self) -> dict[str, list[Row]]:
        """A copy of the rows in the oracle's form."""
        return {TABLE: [dict(row) for row in self.rows]}
