"""Questions to a funnel, and their answers: both counts come from one statement over the stored rows of a profile. Query floor.

Invariant: of the entities of a cohort each is counted once a step, and at a step only where it is at the one before, so that no rate
exceeds 1. Counts of days are of whoever took a step in them, and say so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dayfold.days import ONE_DAY, Days, as_day
from dayfold.define.funnel import FunnelDef
from dayfold.define.types import DATE, FLOAT, INT, TEXT
from dayfold.engines.base import Session
from dayfold.engines.csv import arrow_type
from dayfold.ledger.ledger import Ledger
from dayfold.plan.access import EVERYTHING, Scope
from dayfold.plan.dialect import Dialect
from dayfold.plan.keys import KeyFilter, key_filters
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, alias, both, column, derived, either, sql, table
from dayfold.query.entities import (
    MOST_ROWS,
    Types,
    asked_of,
    check_rows,
    check_splits,
    clipped,
    column_of,
    in_one_snapshot,
    instant_of,
    moment_type,
    split_columns,
    told,
    within,
)  # fmt: skip
from dayfold.query.known import Known
from dayfold.query.profile import folded as profile_folded
from dayfold.query.profile_request import ProfileRequest

if TYPE_CHECKING:
    import pyarrow as pa

#: What every answer has beside what it is split by.
OWN_COLUMNS = ("counts", "step", "moment", "entities", "rate_from_first", "rate_from_previous", "open")
OF_COHORT, OF_DAYS = "cohort", "days"
#: What each of the two says of itself.
LABELS = {
    OF_COHORT: "of those whose first step falls in these days: how many reached each next step, in order and in time",
    OF_DAYS: "counts of days, not of the same customers: how many took each step in these days, whatever came before",
}


@dataclass(frozen=True, slots=True)
class FunnelRequest:
    """One question to a funnel.

    Attributes:
        days: The asked days; ``begun``: those of them up to today, None where all are later.
        filters: Over the profile: what was asked for and what the caller may see.
    """

    funnel: FunnelDef
    days: Days
    begun: Days | None
    by: tuple[str, ...]
    filters: tuple[KeyFilter, ...]
    today: dt.date
    is_limited: bool

    @classmethod
    def parse(
        cls,
        funnel: FunnelDef,
        *,
        from_: dt.date | str,
        to: dt.date | str,
        by: Sequence[str] = (),
        where: Sequence[str] = (),
        today: dt.date,
        scope: Scope = EVERYTHING,
    ) -> FunnelRequest:
        """A question from words, to a funnel that the scope sees.

        Raises:
            UnknownName, BadDate, UsageError, QueryRefused: saying what is wrong and what there is.
        """
        first, last = (as_day(day, today) for day in (from_, to))
        begun = clipped(first, last, today)
        filters = (*key_filters(funnel.profile, where), *scope.filters(funnel.profile))
        splits = split_columns(funnel.profile, by, OWN_COLUMNS)
        return cls(funnel, Days(first, last), begun, splits, filters, today, scope.is_limited)

    @property
    def of_profile(self) -> ProfileRequest:
        """What it reads of the profile."""
        columns = [*self.funnel.steps, *self.by]
        return asked_of(self.funnel.profile, columns, self.today, is_limited=self.is_limited)


@dataclass
class FunnelAnswer:
    """Both counts of an answer.

    Attributes:
        table: One row for each of the counts (``cohort`` or ``days``), group and step, as Arrow. ``open``: of the cohort's entities
            that went no further than this step, how many still may: their window is not over.
        remarks_of_profile: What has to be said of the profile's rows.
    """

    request: FunnelRequest
    table: pa.Table
    remarks_of_profile: list[str] = field(default_factory=list)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        return list(self.table.to_pylist())

    def as_object(self) -> dict[str, Any]:
        """The answer for JSON: both counts side by side, each with what it is."""
        return {**self.said(), **{what: {"label": LABELS[what], "rows": self.of(what)} for what in LABELS}}

    def said(self) -> dict[str, Any]:
        """What is said beside the rows."""
        request, funnel = self.request, self.request.funnel
        found: dict[str, Any] = {
            "funnel": funnel.name,
            "profile": funnel.profile.name,
            "from": request.days.first,
            "to": request.days.last,
            "window_days": funnel.window_days,
        }
        if self.remarks_of_profile:
            found["remarks"] = self.remarks_of_profile
        return found

    def of(self, what: str) -> list[dict[str, Any]]:
        """The rows of one of the counts."""
        left_out = ("counts",) if what == OF_COHORT else ("counts", "open")
        return [
            {name: value for name, value in row.items() if name not in left_out}
            for row in self.rows
            if row["counts"] == what
        ]

    def remarks(self) -> list[str]:
        """What has to be said with the rows, a line each."""
        return [*(f"{what}: {label}" for what, label in LABELS.items()), *self.remarks_of_profile]


def funnel_answer(ledger: Ledger, request: FunnelRequest) -> FunnelAnswer:
    """The answer. Raises QueryRefused where the profile was never folded, or was edited since."""
    asked = request.of_profile

    def look(session: Session) -> Sequence[Known]:
        return [profile_folded(ledger, session, asked)]

    def read(session: Session, found: Sequence[Known], types: list[Types]) -> FunnelAnswer:
        profile, [mine] = request.funnel.profile, types
        check_splits(profile, request.by, mine)
        for name in request.funnel.steps:
            moment_type(profile, name, mine)
        remarks = told(ledger, session, found[0], asked)
        rows: list[dict[str, Any]] = []
        if request.begun is not None:
            series = FunnelSeries(request, found[0].version.table, mine, ledger.store.schema, ledger.store.dialect)
            rows = session.arrow(series.statement(), series.columns).to_pylist()
            check_rows(len(rows))
        return FunnelAnswer(request, _table(request, mine, _told_of(request, rows)), remarks)

    return in_one_snapshot(ledger, look, read)


class FunnelSeries:
    """Builds the statement of one question over a stored table whose column types are known."""

    def __init__(self, request: FunnelRequest, name: str, types: Types, schema: str, dialect: Dialect) -> None:
        self.request = request
        self.profile = table(name, schema)
        self.types = types
        self.dialect = dialect
        self.values = Values()
        self.steps = request.funnel.steps
        self.by = {name: f"b{n}__" for n, name in enumerate(request.by)}
        counts = [f"{what}{n}__" for what in ("reached", "open", "on") for n in range(1, len(self.steps) + 1)]
        self.columns = [*(Column(one, types[one]) for one in request.by), *(Column(one, INT) for one in counts)]

    def statement(self) -> Statement:
        """The whole statement; `columns` names what it returns: a row for each group."""
        count = len(self.steps)
        items = [alias(column(mine), name) for name, mine in self.by.items()]
        first = column("on1__")
        reached = {n: both([first, sql(f"depth__ >= {n}")]) for n in range(1, count + 1)}
        # Whoever is at the last step goes no further.
        still = {n: both([first, sql(f"depth__ = {n}"), column("open__")]) for n in range(1, count)}
        items += [self._counted(f"reached{n}__", one) for n, one in reached.items()]
        items += [self._counted(f"open{n}__", one) for n, one in {**still, count: exp.false()}.items()]
        items += [self._counted(f"on{n}__", column(f"on{n}__")) for n in range(1, count + 1)]
        whole = exp.select(*items).from_(derived(self._entities(), "e"))
        if self.by:
            whole = whole.group_by(*(exp.Literal.number(n + 1) for n in range(len(self.by))))
        order = [exp.Ordered(this=column(name), desc=False, nulls_first=True) for name in self.by]
        picked = exp.select(*(column(one.name) for one in self.columns)).from_(derived(whole, "found__"))
        return Statement((picked.order_by(*order) if order else picked).limit(MOST_ROWS), self.values)

    def _counted(self, name: str, condition: exp.Expr) -> exp.Expr:
        return alias(self.dialect.cast(sql("count(*) filter (where _c)", _c=condition), INT), name)

    def _entities(self) -> exp.Select:
        """Each entity with a step in the asked days: which steps are in them, how far it came, and whether it may go on."""
        assert self.request.begun is not None
        types = {name: self.types[name] for name in self.steps}
        days = {name: within(column(name), types[name], self.request.begun, self.values) for name in self.steps}
        on = [sql("coalesce(_d, false)", _d=one) for one in days.values()]
        tests = [either(days.values())]
        tests += [one.admits(column(one.key), self.types[one.key], self.values) for one in self.request.filters]
        items = [alias(column_of(name, self.types, self.dialect, "p"), mine) for name, mine in self.by.items()]
        items += [alias(one, f"on{n + 1}__") for n, one in enumerate(on)]
        items += [alias(self._depth(), "depth__"), alias(self._is_open(), "open__")]
        return exp.select(*items).from_(exp.alias_(self.profile, "p", table=True)).where(both(tests))

    def _instant(self, name: str) -> exp.Expr:
        # A date says no time of day: where one step is a date, all are compared by their days.
        whole = any(self.types[step] == DATE for step in self.steps)
        return instant_of(column(name, "p"), self.types[name], self.dialect, whole_days=whole)

    def _end(self) -> exp.Expr:
        """The last instant that counts for an entity."""
        hours = self.dialect.sql(f"interval '{(self.request.funnel.window_days or 0) * 24} hours'")
        return sql("_first + _hours", _first=self._instant(self.steps[0]), _hours=hours)

    def _depth(self) -> exp.Expr:
        """The step that an entity reached, one after the other, up to today."""
        ifs = []
        present = self._midnight(self.request.today + ONE_DAY)
        for n, (before, name) in enumerate(zip(self.steps, self.steps[1:], strict=False), start=1):
            reached = [sql("_x >= _y", _x=self._instant(name), _y=self._instant(before))]
            reached.append(sql("_x < _present", _x=self._instant(name), _present=present))
            if self.request.funnel.window_days is not None:
                reached.append(sql("_x <= _end", _x=self._instant(name), _end=self._end()))
            missed = sql("not coalesce(_r, false)", _r=exp.Paren(this=both(reached)))
            ifs.append(exp.If(this=missed, true=exp.Literal.number(n)))
        return exp.Case(ifs=ifs, default=exp.Literal.number(len(self.steps)))

    def _is_open(self) -> exp.Expr:
        """Whether the window is not over before today."""
        if self.request.funnel.window_days is None:
            return exp.true()
        return sql("coalesce(_end >= _now, false)", _end=self._end(), _now=self._midnight(self.request.today))

    def _midnight(self, day: dt.date) -> exp.Expr:
        return self.values.bind(dt.datetime.combine(day, dt.time()), "timestamp")


def _told_of(request: FunnelRequest, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the answer: first those of the cohort, then those of days."""
    count = len(request.funnel.steps)
    if not found and not request.by:
        found = [{f"{what}{n}__": 0 for what in ("reached", "open", "on") for n in range(1, count + 1)}]
    rows = []
    for what, prefix in ((OF_COHORT, "reached"), (OF_DAYS, "on")):
        for row in found:
            counts = [row[f"{prefix}{n}__"] for n in range(1, count + 1)]
            for n, name in enumerate(request.funnel.steps):
                rows.append(
                    {
                        "counts": what,
                        **{split: row[split] for split in request.by},
                        "step": n + 1,
                        "moment": name,
                        "entities": counts[n],
                        "rate_from_first": _rate(counts[n], counts[0]),
                        "rate_from_previous": _rate(counts[n], counts[n - 1]) if n else None,
                        "open": row[f"open{n + 1}__"] if what == OF_COHORT else None,
                    }
                )
    return rows


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _table(request: FunnelRequest, types: Types, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    rows = list(rows)
    kinds = {"counts": TEXT, **{name: types[name] for name in request.by}, "step": INT, "moment": TEXT, "entities": INT}
    kinds |= {"rate_from_first": FLOAT, "rate_from_previous": FLOAT, "open": INT}
    return pa.table({name: pa.array([row[name] for row in rows], arrow_type(kind)) for name, kind in kinds.items()})
