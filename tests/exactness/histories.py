"""Histories: what happens to a table over days, drawn by hypothesis, in a database and in Python at once.

A :class:`History` keeps the same rows in both. :class:`Machine` draws the steps and, after every fold,
compares everything that is stored with the oracle. One database serves all the histories of a test; each
begins with an empty source.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.exactness.oracle import Bucket, Condition, Key, Spec, answer, hashes, stored_cells, stored_sets
from tests.exactness.rollups import CLASSES, DDL, SPECS, TABLE
from tests.sql import Session

Row = dict[str, Any]

#: Histories begin on a Friday two days before clocks change in London.
BEGIN = dt.datetime(2026, 3, 27, 10, 30, tzinfo=dt.UTC)
#: A history has so many steps; hypothesis adds a few shorter ones of its own.
STEPS = 32
LONG_ENOUGH = 30
#: Bookkeeping columns that are not numbers.
UNCOMPARED = {"created_at", "updated_at", "run_id", "day"}

# -- what rows are made of -----------------------------------------------------------------------------------

JOINER = "\u200d"
TENANTS = [
    "a",
    "b",
    "a:b",
    "a/b",
    "a",
    "",
    " a",
    JOINER,
    f"a{JOINER}",
    "caf\u00e9",
    "cafe\u0301",
    "x" * 200,
    None,
]
#: (a, 1, 12) and (a1, 12) or (11, 2) must never meet.
SHOPS = [1, 2, 12, 11, 112, -1, 0, 2**60, None]
BUYERS = ["ann", "Ann", "bob", "b:ob", "caf\u00e9", "cafe\u0301", "", "ann ", "y" * 200, None]
STATES = ["paid", "open", "Paid", None]
TIMES = [
    dt.time(0, 0),
    dt.time(23, 59, 59, 999_999),
    dt.time(12, 0),
    dt.time(18, 14, 59),
    dt.time(18, 15),
    dt.time(4, 59, 59),
    dt.time(5, 0),
    dt.time(1, 30),
]
#: A hundred of these still fit 64 bits when added up.
UNITS = [0, 1, -1, 3, 2**53 + 1, 2**55, -(2**55) - 1]
HUGE = [2**60, 2**60 - 1, -(2**60), 2**60 + 1, 0, 7]

tenants = st.sampled_from(TENANTS)
shops = st.sampled_from(SHOPS)
buyers = st.sampled_from(BUYERS)
states = st.sampled_from(STATES)
units = st.none() | st.sampled_from(UNITS) | st.integers(-5, 5)
huge = st.none() | st.sampled_from(HUGE)
amounts = st.none() | st.integers(-500_00, 999_999_99).map(lambda n: Decimal(n).scaleb(-2))
#: Days before today: mostly recent, sometimes late, sometimes in the future.
ages = st.integers(0, 4) | st.integers(-3, 12) | st.sampled_from([40, 200, 366])


@st.composite
def moments(draw: st.DrawFn) -> tuple[int, dt.time] | None:
    """An age in days and a time of day; None for NULL."""
    if draw(st.integers(0, 9)) == 0:
        return None
    return draw(ages), draw(st.sampled_from(TIMES) | st.times())


Drawn = Mapping[str, Any]
drawn_rows: st.SearchStrategy[Drawn] = st.fixed_dictionaries(
    {
        "tenant": tenants,
        "shop": shops,
        "made_at": moments(),
        "paid_at": moments(),
        "due": moments(),
        "amount": amounts,
        "units": units,
        "huge": huge,
        "buyer": buyers,
        "state": states,
    }
)
#: One change of one row: its key, one of its moments, or a value.
drawn_changes: st.SearchStrategy[Drawn] = st.one_of(
    st.fixed_dictionaries({"tenant": tenants, "shop": shops}),
    st.fixed_dictionaries({"made_at": moments()}),
    st.fixed_dictionaries({"paid_at": moments(), "state": states}),
    st.fixed_dictionaries({"due": moments()}),
    st.fixed_dictionaries({"amount": amounts, "units": units}),
    st.fixed_dictionaries({"huge": huge, "buyer": buyers}),
)


def dated(drawn: Drawn, today: dt.date) -> Row:
    """Drawn columns with their ages turned into moments of the column's own type."""
    row = dict(drawn)
    for name in {"made_at", "paid_at", "due"} & row.keys():
        if row[name] is not None:
            age, time = row[name]
            naive = dt.datetime.combine(today - dt.timedelta(days=age), time)
            row[name] = {"made_at": naive.replace(tzinfo=dt.UTC), "paid_at": naive, "due": naive.date()}[name]
    return row


# -- one history ---------------------------------------------------------------------------------------------


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
            row
            for row in self.rows
            if row["id"] == 0 or row[moment] is None or not begin <= row[moment] < end
        ]
        self._statement(
            f"DELETE FROM {TABLE} WHERE id <> 0 AND {moment} >= $1 AND {moment} < $2", [begin, end]
        )

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


# -- what is stored ------------------------------------------------------------------------------------------


def read_cells(session: Session, table: str, spec: Spec) -> dict[tuple[Key, Bucket], dict[str, Any]]:
    """The rollup's table as the oracle writes it; two rows for one cell are an error."""
    return _read(session, table, spec, UNCOMPARED)


def read_sets(session: Session, table: str, spec: Spec) -> dict[tuple[Key, Bucket], dict[str, list[int]]]:
    """The hashes behind every Distinct, without empty sets."""
    found = _read(session, f"{table}__sets", spec, UNCOMPARED)
    filled = {cell: {name: each for name, each in row.items() if each} for cell, row in found.items()}
    return {cell: row for cell, row in filled.items() if row}


def _read(session: Session, table: str, spec: Spec, leave_out: set[str]) -> dict[tuple[Key, Bucket], Any]:
    bucket = "day" if spec.grain == dt.timedelta(days=1) else "bucket"
    names = [name for (name,) in session.run(COLUMNS, [table])]
    selected = ", ".join(f'"{name}"' for name in names)
    cells: dict[tuple[Key, Bucket], dict[str, Any]] = {}
    for values in session.run(f"SELECT {selected} FROM {table}"):
        row = dict(zip(names, values, strict=True))
        cell = tuple(row.pop(name) for name in spec.key), row[bucket]
        assert cell not in cells, f"two rows of {table} for {cell}"
        cells[cell] = {name: value for name, value in row.items() if name not in {*leave_out, bucket}}
    return cells


COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position"


def check_stored(store_url: str, raw: Mapping[str, list[Row]], today: dt.date, store_key: str) -> None:
    """Every rollup's table and sets equal the oracle's, cell by cell."""
    with Session(store_url) as session:
        for table, spec in SPECS.items():
            assert read_cells(session, table, spec) == stored_cells(spec, raw, today), table
            expected = {
                cell: {name: hashes(values, store_key) for name, values in found.items()}
                for cell, found in stored_sets(spec, raw, today).items()
            }
            if any(measure.kind == "distinct" for measure in spec.measures().values()):
                assert read_sets(session, table, spec) == expected, table


# -- questions -----------------------------------------------------------------------------------------------


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """A rollup, a range counted back from today, a grain, keys to keep and keys to filter."""
    table = draw(st.sampled_from(sorted(SPECS)))
    spec = SPECS[table]
    from_age = draw(st.integers(0, 40) | st.sampled_from([200, 370]))
    zones = [None, "Asia/Kathmandu", "Europe/London", "America/New_York"]
    return {
        "table": table,
        "from_age": from_age,
        "to_age": draw(st.integers(0, from_age)),
        "grain": draw(st.sampled_from(["day", "week", "month", "quarter", "year", "total"])),
        "by": draw(st.lists(st.sampled_from(spec.key), unique=True)) if spec.key else [],
        "where": draw(st.lists(conditions(spec), max_size=3)) if spec.key else [],
        "zone": draw(st.sampled_from(zones)) if spec.grain < dt.timedelta(days=1) else None,
    }


def conditions(spec: Spec) -> st.SearchStrategy[Condition]:
    """A key included or excluded, NULL too."""
    values: dict[str, st.SearchStrategy[Any]] = {"tenant": tenants, "shop": shops}
    # An empty value says NULL on the command line, so the empty text is not asked for.
    return st.sampled_from(spec.key).flatmap(
        lambda name: st.tuples(
            st.just(name), st.sampled_from(["=", "!="]), values[name].filter(lambda value: value != "")
        )
    )


def where_text(condition: Condition) -> str:
    """A condition as it is written at every door."""
    name, sign, value = condition
    return f"{name}{sign}{'' if value is None else value}"


def alike(got: Any, expected: Any) -> bool:
    """Equal; floats to twelve digits, because a quotient may be rounded twice."""
    if isinstance(expected, float) and got is not None:
        return abs(float(got) - expected) <= 1e-12 * max(1.0, abs(expected))
    return bool(got == expected)


# -- the machine ---------------------------------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    """Draws histories. A subclass made by :func:`machine_for` says on which databases."""

    source_url: ClassVar[str]
    store_url: ClassVar[str]
    #: Opens the application on empty tables; it has ``fold``, ``query`` and a clock that can be moved.
    open_app: ClassVar[Callable[[Any], AbstractContextManager[Any]]]
    #: How many steps each history had, for the test that asked for them.
    lengths: ClassVar[list[int]]

    def __init__(self) -> None:
        super().__init__()
        self.clock: Any = None
        self.history = History(self.source_url)
        self.folded: dict[str, list[Row]] | None = None
        self.folded_on = BEGIN.date()

    @property
    def today(self) -> dt.date:
        return self.clock.instant.date()  # type: ignore[no-any-return]

    @initialize()
    def begin(self) -> None:
        """An open application over one row that stays: a source that is suddenly empty is another test's."""
        from dayfold.clock import FixedClock

        self.lengths.append(0)
        self.clock = FixedClock(BEGIN)
        anchor = {name: (3, dt.time(9)) for name in ("made_at", "paid_at", "due")}
        values = {"tenant": "anchor", "shop": 0, "amount": Decimal("1.00"), "units": 1, "huge": 1}
        self.history.insert([dated({**values, **anchor, "buyer": "anchor", "state": "paid"}, self.today)])
        self.opened = self.open_app(self.clock)
        self.app = self.opened.__enter__()

    def teardown(self) -> None:
        if self.clock is not None:
            self.opened.__exit__(None, None, None)

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

    @rule()
    def fold(self) -> None:
        """After a fold the store holds what the oracle computes from the rows."""
        self.count_step()
        self.history.settle()
        self.folded, self.folded_on = self.history.raw(), self.today
        for run in self.app.fold():
            assert run.error is None, run.error
        check_stored(self.store_url, self.folded, self.folded_on, self.store_key())

    @precondition(lambda self: self.folded is not None and not self.history.pending)
    @rule()
    def fold_again(self) -> None:
        """Folding what has not changed writes nothing."""
        self.fold()
        for run in self.app.fold():
            assert (run.rows_inserted, run.rows_updated, run.rows_deleted) == (0, 0, 0)

    @precondition(lambda self: self.folded is not None)
    @rule(question=questions())
    def query(self, question: dict[str, Any]) -> None:
        """An answer is what the oracle says of the rows as they were folded."""
        self.count_step()
        assert self.folded is not None
        spec = SPECS[question["table"]]
        first = self.folded_on - dt.timedelta(days=question["from_age"])
        last = self.folded_on - dt.timedelta(days=question["to_age"])
        got = self.app.query(
            CLASSES[question["table"]],
            list(spec.metrics),
            from_=first,
            to=last,
            by=question["by"],
            where=[where_text(condition) for condition in question["where"]],
            grain=question["grain"],
            tz=question["zone"],
        )
        expected = answer(
            spec,
            self.folded,
            self.folded_on,
            first,
            last,
            by=question["by"],
            where=question["where"],
            grain=question["grain"],
            zone=question["zone"],
            covered=self.is_covered,
        )
        answered = {(row["day"], tuple(row[name] for name in question["by"])): row for row in got.rows}
        assert len(answered) == len(got.rows)
        assert answered.keys() == expected.keys()
        for cell, numbers in expected.items():
            for name, number in numbers.items():
                assert alike(answered[cell][name], number), (cell, name, answered[cell][name], number)

    def is_covered(self, day: dt.date) -> bool:
        """Whether a day was folded: from the first moment in the source to the day of the last fold."""
        return day <= self.folded_on

    def store_key(self) -> str:
        """The secret part of the hashes, from the store."""
        raise NotImplementedError


def machine_for(**on: Any) -> type[Machine]:
    """A machine class of its own, so that pairings do not share their counts."""
    return type("HistoriesOn", (Machine,), {"lengths": [], **on})


def run_histories(machine: type[Machine], count: int) -> None:
    """Run at least ``count`` histories of at least thirty steps."""
    wanted = settings(max_examples=count, stateful_step_count=STEPS + 1)
    run_state_machine_as_test(machine, settings=wanted, _min_steps=STEPS)
    long = sum(length >= LONG_ENOUGH for length in machine.lengths)
    assert long >= count, f"only {long} of {len(machine.lengths)} histories had {LONG_ENOUGH} steps"
