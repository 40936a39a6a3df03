"""Any sequence of edits, changed rows, crashes and lost tables ends in the numbers of the last definition."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from dayfold import Count, Distinct, Max, Rollup, Sum
from dayfold.fold import chunk, reshape
from tests.conftest import SOAK
from tests.engines.ground import Ground

DDL = "id bigint, shop bigint, who text, amount bigint, price numeric(12,2), made timestamptz"
Row = dict[str, Any]
STEPS = 14
SEEDS = range(400) if SOAK else range(4)

#: name: (how it is defined, what plain Python makes of the facts of a cell)
METRICS: dict[str, tuple[Callable[[Any], Any], Callable[[list[Row]], Any]]] = {
    "total": (lambda t: Count(t, at="made"), len),
    "big": (lambda t: Count(t, at="made", where="amount > 5"), lambda rows: sum(row["amount"] > 5 for row in rows)),
    "amount": (lambda t: Sum(t, "amount", at="made"), lambda rows: sum(row["amount"] for row in rows)),
    "money": (lambda t: Sum(t, "price", at="made"), lambda rows: sum((row["price"] for row in rows), Decimal(0))),
    "most": (lambda t: Max(t, "amount", at="made"), lambda rows: max(row["amount"] for row in rows)),
    "people": (lambda t: Distinct(t, "who", at="made"), lambda rows: len({row["who"] for row in rows} - {None})),
    "shops": (lambda t: Distinct(t, "shop", at="made"), lambda rows: len({row["shop"] for row in rows} - {None})),
}
#: Two definitions that one metric may have in turn: the second is of another type.
OTHERWISE = {"amount": "money", "people": "shops", "most": "total"}


class Crash(Exception):
    """Stands for the end of the process."""


@dataclass
class Definition:
    metrics: dict[str, str] = field(default_factory=lambda: {"total": "total"})
    key: tuple[str, ...] = ("shop",)
    grain: str = "day"
    table: str = "sales"
    day_column: str = "day"
    since: str | None = None
    index: tuple[Any, ...] = ()

    def rollup(self, table: Any) -> type[Rollup]:
        attributes: dict[str, Any] = {name: METRICS[of][0](table) for name, of in self.metrics.items()}
        attributes |= {"key": self.key, "grain": self.grain, "table": self.table, "lookback": 400, "index": self.index}
        attributes |= {"day_column": self.day_column} if self.grain == "day" else {}
        attributes |= {"since": self.since} if self.since else {}
        return type("Sales", (Rollup,), attributes)


class Story:
    """A store, its source's rows as Python knows them, and the definition of the moment."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.ground = ground
        self.random = random.Random(seed)
        self.rows: dict[int, Row] = {}
        self.definition = Definition()
        self.told: list[str] = []
        ground.load("sale", DDL, [])
        for _ in range(12):
            self.add_row()

    # -- what may happen -------------------------------------------------------------------------

    def add_row(self) -> None:
        number = len(self.rows) + 1
        days = self.random.choice([0, 0, 1, 2, 5, 9, 11, -1])
        made = self.ground.clock.instant - dt.timedelta(days=days, minutes=self.random.randrange(1440))
        row = {
            "id": number,
            "shop": self.random.choice([None, 1, 2]),
            "who": self.random.choice([None, "ann", "bob", "cat"]),
            "amount": self.random.randrange(-3, 12),
            "price": Decimal(self.random.randrange(1000)) / 100,
            "made": made,
        }
        self.rows[number] = row
        self.ground.insert("sale", [row])

    def lose_row(self) -> None:
        gone = self.random.choice(list(self.rows))
        self.rows[gone]["gone"] = True
        self.ground.source("DELETE FROM sale WHERE id = $1", [gone])

    def change_row(self) -> None:
        number = self.random.choice(list(self.rows))
        self.rows[number]["amount"] = amount = self.random.randrange(-3, 12)
        self.ground.source("UPDATE sale SET amount = $1 WHERE id = $2", [amount, number])

    def pass_time(self) -> None:
        self.ground.clock.instant += dt.timedelta(hours=self.random.choice([1, 9, 30]))

    def edit_metrics(self) -> None:
        names = self.random.sample(["big", "amount", "most", "people", "shops"], self.random.randrange(5))
        kinds = {name: OTHERWISE.get(name, name) if self.random.random() < 0.3 else name for name in names}
        self.definition.metrics = {"total": "total", **kinds}
        self._drop_lost_entries()

    def edit_key(self) -> None:
        self.definition.key = self.random.choice([(), ("shop",), ("who",), ("shop", "who"), ("who", "shop")])
        self._drop_lost_entries()

    def edit_grain(self) -> None:
        self.definition.grain = self.random.choice(["day", "day", "hour", "15min"])

    def edit_day_column(self) -> None:
        self.definition.day_column = self.random.choice(["day", "on_day"])

    def edit_table(self) -> None:
        self.definition.table = self.random.choice(["sales", "sold"])

    def edit_since(self) -> None:
        self.definition.since = self.random.choice([None, "2026-03-05", "2026-03-09"])

    def edit_index(self) -> None:
        columns = [*self.definition.key, *self.definition.metrics]
        self.definition.index = tuple(
            tuple(self.random.sample(columns, min(len(columns), self.random.choice([1, 1, 2]))))
            for _ in range(self.random.randrange(3))
        )

    def _drop_lost_entries(self) -> None:
        known = {*self.definition.key, *self.definition.metrics}
        self.definition.index = tuple(entry for entry in self.definition.index if known.issuperset(entry))

    def lose_table(self) -> None:
        self.ground.stored(f"DROP TABLE IF EXISTS {self.definition.table}{self.random.choice(['', '__sets'])}")

    def index_by_hand(self) -> None:
        names = self.ground.stored("SELECT table_name FROM information_schema.tables WHERE table_name = 'sales'")
        if names:
            self.ground.stored("DROP INDEX IF EXISTS mine")
            self.ground.stored("CREATE INDEX mine ON sales (total)")

    def crash(self) -> None:
        """A fold that ends somewhere in the middle."""
        with crashing(self.random.randrange(1, 4)):
            self.ground.define(self.definition.rollup(self.ground.table("sale")))
            with suppress(Crash):
                self.ground.opened.fold(allow_empty=True)

    # -- what must hold --------------------------------------------------------------------------

    def fold(self) -> None:
        self.ground.define(self.definition.rollup(self.ground.table("sale")))
        [run] = self.ground.opened.fold(allow_empty=True)
        if run.error and "There is a table" in run.error:
            # An earlier version's table was left where it was, as is said; who wants its name back drops it.
            self.ground.stored(f"DROP TABLE IF EXISTS {self.definition.table}")
            self.ground.stored(f"DROP TABLE IF EXISTS {self.definition.table}__sets")
            [run] = self.ground.opened.fold(allow_empty=True)
        assert run.error is None, run.error
        assert self.ground.fold_written() == 0

    def facts(self) -> dict[tuple[Any, ...], list[Row]]:
        """The facts of each cell: its key and its UTC day."""
        since = dt.date.fromisoformat(self.definition.since) if self.definition.since else dt.date.min
        found: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.rows.values():
            day = row["made"].date()
            if "gone" not in row and since <= day <= self.ground.clock.instant.date():
                found.setdefault((*(row[name] for name in self.definition.key), day), []).append(row)
        return found

    def check(self) -> None:
        definition, facts = self.definition, self.facts()
        expected = {
            cell: tuple(METRICS[of][1](rows) for of in definition.metrics.values()) for cell, rows in facts.items()
        }
        if definition.grain == "day":
            names = ", ".join([*definition.key, definition.day_column, *definition.metrics])
            stored = self.ground.stored(f"SELECT {names} FROM {definition.table}")
            width = len(definition.key) + 1
            assert {row[:width]: row[width:] for row in stored} == expected
            assert len(stored) == len(expected)
        if not facts:
            return
        first = min(cell[-1] for cell in facts)
        answer = self.ground.opened.query(
            "Sales", list(definition.metrics), from_=first, to=self.ground.clock.instant.date(), by=definition.key
        )
        given = {
            (*(row[name] for name in definition.key), row["day"]): tuple(row[name] for name in definition.metrics)
            for row in answer.rows
            if row["total"]
        }
        assert given == expected
        assert (answer.missing, answer.stale) == ([], [])

    def step(self) -> None:
        happening = self.random.choice(
            [
                self.add_row, self.lose_row, self.change_row, self.pass_time, self.edit_metrics, self.edit_metrics,
                self.edit_key, self.edit_grain, self.edit_day_column, self.edit_table, self.edit_since, self.edit_index,
                self.edit_index, self.lose_table, self.index_by_hand, self.crash,
            ]
        )  # fmt: skip
        self.told.append(happening.__name__)
        happening()


@contextmanager
def crashing(nth: int) -> Iterator[None]:
    """The n-th write of rows, to a rollup's table or to one built aside, is the last thing that happens."""
    left = nth
    patch = pytest.MonkeyPatch()
    for owner in (chunk, reshape):

        def replace(*args: Any, real: Any = owner.replace, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                raise Crash
            return real(*args, **more)

        patch.setattr(owner, "replace", replace)
    try:
        yield
    finally:
        patch.undo()


@pytest.mark.in_turn
@pytest.mark.parametrize("seed", SEEDS)
def test_every_history_of_edits_ends_in_the_last_definition(store: Ground, seed: int) -> None:
    """After each successful fold: the rows of the table, the answers, and nothing to write again."""
    story = Story(store, seed)
    for _ in range(STEPS):
        story.step()
        if story.random.random() < 0.6:
            story.fold()
            story.check()
            story.told.append(f"fold {story.definition}")
    story.fold()
    story.check()
