"""The machine that draws histories by hypothesis and holds every fold and answer against the oracle.

One database serves all the histories of a test; each begins with an empty source and an empty store. A fold
comes at least every few steps, so that no history is only typing.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dayfold import Dayfold
from dayfold.clock import FixedClock
from tests.conftest import SOAK, Pairing
from tests.exactness.draws import Drawn, Row, alike, dated, drawn_changes, drawn_rows, questions, where_text
from tests.exactness.histories import BEGIN, History
from tests.exactness.oracle import answer, history_start
from tests.exactness.rollups import CLASSES, SPECS, definitions
from tests.exactness.stored import check_stored
from tests.sql import Session, is_clickhouse, is_duckdb, ledger_of, rows_of

#: A history has so many steps; hypothesis adds a few shorter ones of its own.
STEPS = 32
LONG_ENOUGH = 30


def emptied(url: str) -> None:
    """Afterwards the database holds nothing."""
    if is_duckdb(url):
        for suffix in ("", ".wal"):
            Path(url.removeprefix("duckdb:///") + suffix).unlink(missing_ok=True)
        return
    if is_clickhouse(url):
        with Session(rows_of(url)) as session:
            for (name,) in session.run("SELECT name FROM system.tables WHERE database = currentDatabase()"):
                session.run(f'DROP TABLE "{name}"')
        if ledger_of(url):
            emptied(ledger_of(url))
        return
    with Session(url) as session:
        session.run("DROP SCHEMA public CASCADE")
        session.run("CREATE SCHEMA public")


class Machine(RuleBasedStateMachine):
    """Draws histories. A subclass made by :func:`machine_for` says on which databases."""

    pairing: ClassVar[Pairing]
    #: How many steps each history had, for the test that asked for them.
    lengths: ClassVar[list[int]]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FixedClock(BEGIN)
        self.history = History(self.pairing.source)
        self.app: Dayfold | None = None
        #: For each rollup the rows as they were when it was last folded, and the day of that fold.
        self.folded: dict[str, tuple[dict[str, list[Row]], dt.date]] = {}
        #: The first day of each rollup's history; it never moves to a later day.
        self.starts: dict[str, dt.date] = {}

    @property
    def today(self) -> dt.date:
        return self.clock.instant.date()

    @property
    def opened(self) -> Dayfold:
        assert self.app is not None
        return self.app

    @initialize()
    def begin(self) -> None:
        """An application over one row that stays: a source that is suddenly empty is another test's."""
        self.lengths.append(0)
        emptied(self.pairing.store)
        anchor = {name: (3, dt.time(9)) for name in ("made_at", "paid_at", "due")}
        values = {"tenant": "anchor", "shop": 0, "amount": Decimal("1.00"), "units": 1, "huge": 1}
        self.history.insert([dated({**values, **anchor, "buyer": "anchor", "state": "paid"}, self.today)])
        self.app = Dayfold(definitions(self.pairing.database), self.pairing.config, clock=self.clock)

    def teardown(self) -> None:
        """Every history ends with a fold; now and then with another one, which writes nothing."""
        if self.app is None:
            return
        try:
            table = list(SPECS)[len(self.lengths) % len(SPECS)]
            self._fold([table])
            if len(self.lengths) % 4 == 0:
                self._fold_again([table])
        finally:
            self.app.close()

    def count_step(self) -> None:
        self.lengths[-1] += 1

    @rule(rows=st.lists(drawn_rows, min_size=1, max_size=4))
    def insert(self, rows: list[Drawn]) -> None:
        self.count_step()
        self.history.insert([dated(row, self.today) for row in rows])

    @precondition(lambda self: len(self.history.rows) > 1)
    @rule(position=st.integers(0, 2**16), changes=drawn_changes)
    def update(self, position: int, changes: Drawn) -> None:
        self.count_step()
        self.history.update(1 + position % (len(self.history.rows) - 1), dated(changes, self.today))

    @precondition(lambda self: len(self.history.rows) > 1)
    @rule(position=st.integers(0, 2**16))
    def delete(self, position: int) -> None:
        self.count_step()
        self.history.delete(1 + position % (len(self.history.rows) - 1))

    @rule(moment=st.sampled_from(["made_at", "paid_at"]), age=st.integers(-1, 6))
    def clear_day(self, moment: str, age: int) -> None:
        self.count_step()
        self.history.clear_day(moment, self.today - dt.timedelta(days=age))

    @rule(days=st.integers(0, 3))
    def advance(self, days: int) -> None:
        self.count_step()
        self.clock.instant += dt.timedelta(days=days, hours=5, minutes=7)

    @precondition(lambda self: len(self.history.pending) > 1)
    @rule(table=st.sampled_from(sorted(SPECS)))
    def fold(self, table: str) -> None:
        """After a fold of one rollup the store holds what the oracle computes from the rows; the others stand still."""
        self.count_step()
        self._fold([table])

    def _fold(self, tables: list[str]) -> None:
        self._settle()
        for run in self.opened.fold([CLASSES[table] for table in tables]):
            assert run.error is None, run.error
        for table in tables:
            self.folded[table] = raw, day = self.history.raw(), self.today
            found = history_start(SPECS[table], raw, day)
            self.starts[table] = min(found, self.starts.get(table, found))
        check_stored(self.pairing.store, self.folded)

    def _fold_again(self, tables: list[str]) -> None:
        for run in self.opened.fold([CLASSES[table] for table in tables]):
            assert (run.rows_inserted, run.rows_updated, run.rows_deleted) == (0, 0, 0)

    @precondition(lambda self: self.folded)
    @rule(data=st.data())
    def query(self, data: st.DataObject) -> None:
        """An answer is what the oracle says of the rows as they were folded."""
        self.count_step()
        question = data.draw(questions(sorted(self.folded)))
        table, by = question["table"], question["by"]
        spec, (raw, day) = SPECS[table], self.folded[table]
        asked = {
            "by": by,
            "grain": question["grain"],
            "allow_missing": question["allow_missing"],
        }
        first, last = (day - dt.timedelta(days=question[age]) for age in ("from_age", "to_age"))
        where = [where_text(condition) for condition in question["where"]]
        got = self.opened.query(
            CLASSES[table], list(spec.metrics), from_=first, to=last, where=where, tz=question["zone"], **asked
        )
        expected = answer(
            spec,
            raw,
            day,
            first,
            last,
            where=question["where"],
            zone=question["zone"],
            covered=lambda day: self.is_covered(table, day, question["zone"]),
            **asked,
        )
        answered = {(row["day"], tuple(row[name] for name in by)): row for row in got.rows}
        assert len(answered) == len(got.rows)
        assert answered.keys() == expected.keys()
        for cell, numbers in expected.items():
            for name, number in numbers.items():
                assert alike(answered[cell][name], number), (cell, name, answered[cell][name], number)

    def is_covered(self, table: str, day: dt.date, zone: str | None) -> bool:
        """Whether all UTC days that a day touches were folded."""
        first = last = day
        if zone is not None:
            midnights = (dt.datetime.combine(one, dt.time(), ZoneInfo(zone)) for one in (day, day + ONE_DAY))
            begin, end = (midnight.astimezone(dt.UTC) for midnight in midnights)
            first, last = begin.date(), (end - dt.timedelta(microseconds=1)).date()
        return self.starts[table] <= first and last <= self.folded[table][1]

    def _settle(self) -> None:
        if not self.pairing.same and is_duckdb(self.pairing.source):
            # The application holds the source file read-only, which keeps others from writing it.
            self.opened.close()
        self.history.settle()


ONE_DAY = dt.timedelta(days=1)


def machine_for(pairing: Pairing, kind: type[Machine] = Machine) -> type[Machine]:
    """A machine class of its own, so that pairings do not share their counts."""
    return type("HistoriesOn", (kind,), {"lengths": [], "pairing": pairing})


def run_histories(pairing: Pairing, count: int, kind: type[Machine] = Machine) -> None:
    """Run at least ``count`` histories of at least thirty steps."""
    machine = machine_for(pairing, kind)
    # A failing history is shown as it was drawn: making it shorter takes minutes, and waits for the soak.
    phases = tuple(Phase) if SOAK else (Phase.explicit, Phase.reuse, Phase.generate)
    wanted = settings(max_examples=count, stateful_step_count=STEPS + 1, phases=phases)
    run_state_machine_as_test(machine, settings=wanted, _min_steps=STEPS)
    long = sum(length >= LONG_ENOUGH for length in machine.lengths)
    assert long >= count, f"only {long} of {len(machine.lengths)} histories had {LONG_ENOUGH} steps"
