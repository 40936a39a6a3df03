"""What an engine test stands on: a source to write to, a store to look into, an application with a fixed clock.

The application is closed before every look past it: one DuckDB file has one owner.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import pytest

from dayfold import Dayfold, Table
from dayfold.clock import FixedClock
from tests.conftest import Pairing
from tests.sql import Session, engine_of, load_rows, run_sql

#: A Thursday, so that the week is unfinished.
NOW = dt.datetime(2026, 3, 12, 12, tzinfo=dt.UTC)
D = dt.date


def march(day: int, hour: int = 12, minute: int = 0) -> dt.datetime:
    """An instant of March 2026."""
    return dt.datetime(2026, 3, day, hour, minute, tzinfo=dt.UTC)


class Ground:
    """A pairing with an application that can be opened anew with other definitions."""

    def __init__(self, pairing: Pairing) -> None:
        self.pairing = pairing
        self.clock = FixedClock(NOW)
        self.config: dict[str, Any] = pairing.config
        self.app: Dayfold | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self.app is not None:
            self.app.close()

    @property
    def engine(self) -> str:
        """The engine of the store's rows."""
        return engine_of(self.pairing.store)

    def table(self, name: str, **more: Any) -> Table:
        """A source table, as a definition names it."""
        if more.get("changes") == "trigger" and engine_of(self.pairing.source) == "clickhouse":
            pytest.skip("ClickHouse has no triggers that see what a row was")
        return Table(name, database=self.pairing.database, **more)

    def needs(self, what: str) -> None:
        """The test is left out where the store's engine has no such thing."""
        if self.engine == "clickhouse":
            pytest.skip(f"ClickHouse has no {what}")

    def label(self, name: str) -> str:
        """What the table is called in messages."""
        return self.table(name).label

    # -- past the product ------------------------------------------------------------------------

    def load(self, table: str, ddl: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Make a source table."""
        self._close()
        load_rows(self.pairing.source, table, ddl, rows)

    def insert(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put rows into a source table."""
        self._close()
        with Session(self.pairing.source) as session:
            session.insert(table, rows)

    def source(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """A statement in the source."""
        self._close()
        return run_sql(self.pairing.source, sql, parameters)

    def stored(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """A statement in the store."""
        self._close()
        return run_sql(self.pairing.store, sql, parameters)

    # -- the product -----------------------------------------------------------------------------

    def define(self, *rollups: type[Any]) -> Dayfold:
        """An application with these definitions."""
        self._close()
        self.app = Dayfold(rollups, self.config, clock=self.clock)
        return self.app

    @property
    def opened(self) -> Dayfold:
        assert self.app is not None, "define rollups first"
        return self.app

    def fold(self, **how: Any) -> list[Any]:
        """Fold everything; whatever fails is a failed test."""
        runs = self.opened.fold(**how)
        assert not (errors := [run.error for run in runs if run.error]), errors
        return runs

    def fold_written(self) -> int:
        """Fold everything and count the rows written."""
        return sum(run.rows_inserted + run.rows_updated + run.rows_deleted for run in self.fold())

    def ask(self, rollup: str, *metrics: str, first: int = 1, last: int = 12, **more: Any) -> list[dict[str, Any]]:
        """Rows of an answer over days of March."""
        return list(self.answer(rollup, *metrics, first=first, last=last, **more).rows)

    def answer(self, rollup: str, *metrics: str, first: int = 1, last: int = 12, **more: Any) -> Any:
        """An answer over days of March."""
        return self.opened.query(rollup, metrics, from_=D(2026, 3, first), to=D(2026, 3, last), **more)
