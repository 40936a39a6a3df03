"""Which days and cells a fold computes, and in which portions. Plan floor, pure.

Weakness: of a source that reports no changes, one older than the lookback is not noticed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from dayfold.days import ONE_DAY, Days, union, without
from dayfold.define.types import DATE, Kind
from dayfold.plan.dialect import Dialect
from dayfold.plan.shape import Column
from dayfold.plan.sql import Values, alias, both, column, derived, sql

#: The day of a cell, and the name of the n-th column of its key.
CELL_DAY = "day__"


@dataclass(frozen=True, slots=True)
class Covered:
    """What is known of one source's days.

    Attributes:
        folded: Days that need not be folded again: those folded after they ended and, where the source reports its
            changes, those folded while they were open.
        first: The first day ever looked at.
    """

    folded: Sequence[Days]
    first: dt.date | None


@dataclass(frozen=True, slots=True)
class Cells:
    """A list of cells as something to select from: its columns are ``k0__``, ``k1__``, … and ``day__``.

    Attributes:
        days: From the first cell's day to the last one's.
        has_null: Whether some key has a NULL part.
        by_range: Whether facts are looked up by key and range of moments, which an index leads to; else every fact of
            ``days`` is looked at once.
    """

    relation: exp.Expr
    key: tuple[Column, ...]
    days: Days
    count: int
    has_null: bool
    by_range: bool = False

    @property
    def source(self) -> exp.Expr:
        """The cells under the name ``c``."""
        if isinstance(self.relation, exp.Subquery):
            return self.relation.copy()
        return exp.alias_(self.relation.copy(), "c", table=True)

    def branches(self) -> list[bool]:
        """Whether NULLs are equal, for each part of a condition's union: equality alone leads to an index."""
        return [False, True] if self.has_null else [False]

    def near(self, keys: Sequence[exp.Expr], day: exp.Expr) -> list[exp.Expr]:
        """What rows of listed cells meet, and few others: each part of the key, and the day, is that of some cell."""
        pairs = [*((tree, cell_key(n)) for n, tree in enumerate(keys)), (day, cell_day())]
        return [
            exp.In(this=tree.copy(), query=exp.Subquery(this=exp.select(one).from_(self.source))) for tree, one in pairs
        ]

    def listed(self, keys: Sequence[exp.Expr], on_day: exp.Expr, null_safe: bool) -> exp.Expr:
        """True where a row's key and day are those of a cell ``c`` that it is joined with."""
        tests = [
            sql("_a is not distinct from _b" if null_safe else "_a = _b", _a=tree, _b=cell_key(n))
            for n, tree in enumerate(keys)
        ]
        if null_safe:
            tests.append(exp.Paren(this=exp.or_(*(sql("_p is null", _p=cell_key(n)) for n in range(len(keys))))))
        return both([*tests, on_day])


def cell_key(n: int) -> exp.Column:
    """The n-th part of a cell's key."""
    return column(f"k{n}__", "c")


def cell_day() -> exp.Column:
    """The day of a cell."""
    return column(CELL_DAY, "c")


def encoded(dialect: Dialect, parts: Iterable[tuple[Column, exp.Expr]]) -> exp.Expr:
    """A key as a JSON array of texts, the same on every engine."""
    texts: list[exp.Expr] = []
    for n, (one, tree) in enumerate(parts):
        bare = tree.this if isinstance(tree, exp.Collate) else tree
        text = bare if one.type.kind is Kind.TEXT else dialect.text(bare, one.type)
        texts += [exp.Literal.string("[" if n == 0 else ","), _or_null(dialect, text)]
    if not texts:
        return exp.Literal.string("[]")
    whole = texts[0]
    for text in [*texts[1:], exp.Literal.string("]")]:
        whole = exp.DPipe(this=whole, expression=text)
    return whole


def changed(
    dialect: Dialect,
    keys: Sequence[tuple[Column, exp.Expr]],
    day: exp.Expr,
    source: exp.Expr,
    conditions: Iterable[exp.Expr] = (),
) -> exp.Select:
    """A select of the cells that rows of a source belong to: ``key``, encoded, and ``day``; rows on no day in none.

    Keys are made distinct before they are encoded: writing JSON for a million rows takes longer than inserting them.
    """
    items = [alias(tree, f"k{n}__") for n, (_, tree) in enumerate(keys)]
    rows = exp.select(*items, alias(day, CELL_DAY)).from_(source).where(both(conditions)).distinct()
    names = [(one, column(f"k{n}__")) for n, (one, _) in enumerate(keys)]
    select = exp.select(alias(encoded(dialect, names), "key"), alias(column(CELL_DAY), "day"))
    # Infinite moments are on no day.
    on_a_day = sql("_d >= cast('0001-01-01' as date) and _d <= cast('9999-12-31' as date)", _d=column(CELL_DAY))
    return select.from_(derived(rows, "rows__")).where(on_a_day)


def _or_null(dialect: Dialect, text: exp.Expr) -> exp.Expr:
    return sql("coalesce(_j, 'null')", _j=dialect.piece("json_string", _x=text))


def decoded(dialect: Dialect, key: Sequence[Column], source: exp.Expr, key_tree: exp.Expr, day: exp.Expr) -> exp.Select:
    """A select of cells from rows that hold encoded keys and days."""
    items = [alias(_item(dialect, key_tree, n, one), f"k{n}__") for n, one in enumerate(key)]
    return exp.select(*items, alias(dialect.cast(day, DATE), CELL_DAY)).from_(source).distinct()


def _item(dialect: Dialect, tree: exp.Expr, n: int, one: Column) -> exp.Expr:
    text = dialect.piece("json_item", _x=tree, _path=exp.Literal.string(f"$[{n}]"), _step=exp.Literal.number(n))
    return dialect.cast(text, one.type)


def written(dialect: Dialect, key: Sequence[Column], cells: str, values: Values) -> exp.Expr:
    """Cells as something to select from where no table can be made: a JSON array of arrays ``[key, day]``."""
    items = exp.select(alias(dialect.piece("json_items", _x=values.bind(cells, "text")), "pair__")).subquery("p")
    pair = dialect.piece(
        "json_item", _x=column("pair__"), _path=exp.Literal.string("$[0]"), _step=exp.Literal.number(0)
    )
    day = dialect.piece("json_item", _x=column("pair__"), _path=exp.Literal.string("$[1]"), _step=exp.Literal.number(1))
    return decoded(dialect, key, items, pair, day).subquery("c")


def history_start(
    first_moments: Iterable[dt.date | None], covered: Iterable[Covered], since: dt.date | None, today: dt.date
) -> dt.date:
    """The first day of a rollup: ``since``, which may lie ahead, else that of the earliest fact or coverage, else today."""
    if since is not None:
        return since
    known = [day for day in first_moments if day is not None] + [one.first for one in covered if one.first is not None]
    return min([day for day in known if day <= today], default=today)


def due(
    start: dt.date,
    today: dt.date,
    lookback_days: int | None,
    covered: Mapping[str, Covered],
    sealed: Sequence[Days] = (),
) -> list[Days]:
    """The days to fold whole: those that some source has not covered for good, and the lookback with today.

    ``lookback_days`` is None where every source reports its changes. ``sealed`` days are never folded.

    >>> one = {"t": Covered([Days(dt.date(2026, 1, 1), dt.date(2026, 1, 2))], dt.date(2026, 1, 1))}
    >>> [str(d) for d in due(dt.date(2026, 1, 1), dt.date(2026, 1, 4), 0, one)]
    ['2026-01-03..2026-01-04']
    """
    if start > today:
        return []
    days = Days(start, today)
    found = [part for one in covered.values() for part in without(days, one.folded)] if covered else [days]
    if lookback_days is not None:
        try:
            looked_back = max(start, today - dt.timedelta(days=lookback_days))
        except OverflowError:
            looked_back = start
        found.append(Days(looked_back, today))
    return [part for one in union(found) for part in without(one, sealed)]


def portions(ranges: Iterable[Days], facts: Mapping[dt.date, int], limit: int) -> list[Days]:
    """Ranges cut between days, each of at most ``limit`` facts where one day does not have more.

    >>> facts = {dt.date(2026, 1, 1): 5, dt.date(2026, 1, 2): 5, dt.date(2026, 1, 3): 1}
    >>> [str(d) for d in portions([Days(dt.date(2026, 1, 1), dt.date(2026, 1, 3))], facts, 6)]
    ['2026-01-01', '2026-01-02..2026-01-03']
    """
    found: list[Days] = []
    for days in ranges:
        first, total = days.first, 0
        for day in sorted(day for day in facts if day in days):
            if total and total + facts[day] > limit:
                found.append(Days(first, day - ONE_DAY))
                first, total = day, 0
            total += facts[day]
        found.append(Days(first, days.last))
    return found


def cell_portions(cells: Mapping[dt.date, int], limit: int) -> list[Days]:
    """Ranges that hold all days of some cells, each with at most ``limit`` cells where one day does not have more.

    >>> cells = {dt.date(2026, 1, 1): 5, dt.date(2026, 3, 1): 5, dt.date(2026, 3, 3): 1}
    >>> [str(d) for d in cell_portions(cells, 6)]
    ['2026-01-01', '2026-03-01..2026-03-03']
    """
    found: list[Days] = []
    total = 0
    for day in sorted(cells):
        if found and total + cells[day] <= limit:
            found[-1] = Days(found[-1].first, day)
            total += cells[day]
        else:
            found.append(Days(day, day))
            total = cells[day]
    return found
