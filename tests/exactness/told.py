"""Histories of a source whose triggers tell what changed: with late commits, edits, crashes and folds at once.

No lookback helps here: what a trigger, a mark or a fold forgets stays wrong, and the next comparison shows it.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from dayfold import Dayfold
from tests.exactness.draws import Drawn, dated, drawn_rows
from tests.exactness.histories import History
from tests.exactness.machine import Machine, emptied
from tests.exactness.rollups import TABLE, told_definitions, told_specs
from tests.exactness.stored import check_stored
from tests.faults import killed
from tests.sql import Session, is_duckdb

#: After these a fold is ended in the middle.
CRASHES = (
    "marked",
    "replaced",
    "marks deleted",
    "entities followed",
    "receipts recorded",
    "counted",
    "taken over",
    "covered",
    "build begun",
)


class Crash(BaseException):
    """The program ends here."""


class ToldMachine(Machine):
    """Draws histories of a tracked table."""

    edited = False
    late: Session | None = None

    @initialize()
    def begin(self) -> None:
        """An application over one row, with triggers."""
        self.lengths.append(0)
        emptied(self.pairing.store)
        if not self.pairing.same:
            emptied(self.pairing.source)
        self.history = History(self.pairing.source)
        if len(self.lengths) % 2:
            # Levels before and after are looked up by an index in every other history.
            for columns in ("buyer, made_at", "state, buyer, paid_at"):
                statement = f"CREATE INDEX ON {TABLE} ({columns})"
                if not is_duckdb(self.pairing.source):
                    self.history.pending.append(lambda session, text=statement: session.run(text))
        self.history.insert(
            [dated({"tenant": "anchor", "shop": 0, "made_at": (3, TIME), "due": (3, TIME)} | NOTHING, self.today)]
        )
        self.history.settle()
        self._define()

    def _define(self) -> None:
        if self.app is not None:
            self.app.close()
        definitions = told_definitions(self.pairing.database, self.edited)
        self.app = Dayfold(definitions, self.pairing.config, clock=self.clock)
        self.app.track_install()

    def teardown(self) -> None:
        """Every history ends with a fold of everything, and another one that writes nothing."""
        if self.app is None:
            return
        try:
            self._commit_late()
            self._fold([])
            self._fold_again([])
        finally:
            self.app.close()

    @precondition(lambda self: self.history.rows)
    @rule(chosen=st.integers(0, 9))
    def truncate(self, chosen: int) -> None:
        """Now and then every row goes."""
        self.count_step()
        if chosen == 0:
            self._commit_late()
            self.history.truncate()

    @precondition(lambda self: self.late is None)
    @rule(row=drawn_rows)
    def begin_late(self, row: Drawn) -> None:
        """A transaction writes a row and stays open, over folds perhaps."""
        self.count_step()
        self.history.settle()
        self.late = Session(self.pairing.source)
        self.late_row = {"id": 10_000 + self.lengths[-1], **dated(row, self.today)}
        self.late.insert(TABLE, [self.late_row])

    @precondition(lambda self: self.late is not None)
    @rule()
    def commit_late(self) -> None:
        self.count_step()
        self._commit_late()

    def _commit_late(self) -> None:
        if self.late is not None:
            # What came before its commit has not seen its row.
            self.history.settle()
            self.late.__exit__(None)
            self.history.rows.append(self.late_row)
            self.late = None

    @rule()
    def edit(self) -> None:
        """One rollup gets another key and another filter, or its first ones again."""
        self.count_step()
        # Triggers are made when no transaction is writing to the table.
        self._commit_late()
        self.edited = not self.edited
        self._define()

    @rule(point=st.sampled_from(CRASHES), nth=st.integers(1, 3))
    def crash(self, point: str, nth: int) -> None:
        """A fold ends in the middle, if it gets there."""
        self.count_step()
        self.history.settle()
        with crashing(point, nth):
            self.opened.fold()

    @rule()
    def fold_twice_at_once(self) -> None:
        """Two folds at the same time, each of its own application."""
        self.count_step()
        self.history.settle()
        errors: list[Any] = []

        def work(app: Dayfold) -> None:
            try:
                errors.extend(run.error for run in app.fold() if run.error)
            except Exception as error:
                errors.append(error)

        with Dayfold(
            told_definitions(self.pairing.database, self.edited), self.pairing.config, clock=self.clock
        ) as other:
            threads = [threading.Thread(target=work, args=[app]) for app in (self.opened, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert errors == []
        self._check()

    @precondition(lambda self: len(self.history.pending) > 1)
    @rule(table=st.just(""))
    def fold(self, table: str) -> None:
        self.count_step()
        self._fold([])

    def query(self, data: st.DataObject) -> None:
        """Answers are held against the oracle by the other machine."""

    def _fold(self, tables: list[str]) -> None:
        self.history.settle()
        for run in self.opened.fold():
            assert run.error is None, run.error
            assert run.warnings == []
        self._check()

    def _fold_again(self, tables: list[str]) -> None:
        for run in self.opened.fold():
            assert (run.rows_inserted, run.rows_updated, run.rows_deleted, run.cells) == (0, 0, 0, 0)

    def _check(self) -> None:
        specs = told_specs(self.edited)
        raw, day = self.history.raw(), self.today
        if not self.pairing.same:
            self.opened.close()
        check_stored(self.pairing.store, dict.fromkeys(specs, (raw, day)), specs)


NOTHING = {"paid_at": None, "amount": None, "units": None, "huge": None, "buyer": None, "state": None}
TIME = dt.time(9)


@contextmanager
def crashing(point: str, nth: int) -> Iterator[None]:
    """Inside, the program ends the n-th time that a point is passed."""
    kept: list[tuple[Any, str, Any]] = []
    passed = 0

    def act(name: str) -> None:
        nonlocal passed
        passed += name == point
        if name == point and passed == nth:
            raise Crash

    def patch(owner: Any, name: str, value: Callable[..., Any]) -> None:
        kept.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    killed.around_points(act, patch)
    try:
        yield
    except Crash:
        pass
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)
