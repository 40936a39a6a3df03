"""The stored rows of a profile as cohorts and funnels read them: its columns and its moments. Query floor.

Invariant: a moment counts on its UTC day, and one after today waits for its day, as facts of rollups do.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlglot import exp

from dayfold.days import ONE_DAY, Days, start_of
from dayfold.define.metric import Computed
from dayfold.define.rollup import RollupDef, siblings
from dayfold.define.source import Table
from dayfold.define.types import DATE, TIMESTAMP, Kind, Type
from dayfold.engines.base import Session
from dayfold.errors import QueryRefused, UnknownName, UsageError
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, suggestion
from dayfold.plan.dialect import Dialect
from dayfold.plan.sql import Values, column, sql
from dayfold.query.known import Known
from dayfold.query.profile_request import ProfileRequest
from dayfold.query.profile_standing import standing

Found = TypeVar("Found")
Types = Mapping[str, Type]
#: What an answer may be split by.
_SPLITS = (Kind.TEXT, Kind.INT, Kind.UUID, Kind.BOOL, Kind.DATE)
#: More rows of one statement than a person or a program can want at once.
MOST_ROWS = 200_000


def in_one_snapshot(
    ledger: Ledger,
    look: Callable[[Session], Sequence[Known]],
    read: Callable[[Session, Sequence[Known], list[Types]], Found],
) -> Found:
    """What is read of some rollups as they stand, given the types of their tables' columns; all of one snapshot."""
    ledger.store.open()
    while True:
        with ledger.store.transaction(read_only=True) as session:
            found = look(session)
            types = [ledger.types[one.version.identity] for one in found if one.version.identity in ledger.types]
            if len(types) == len(found):
                return read(session, found, types)
        for one in found:
            table = Table(f"{ledger.store.schema}.{one.version.table}")
            ledger.types[one.version.identity] = ledger.store.describe(table)


def asked_of(profile: RollupDef, names: Iterable[str], today: dt.date, *, is_limited: bool) -> ProfileRequest:
    """Columns of a profile, with all that they are made of, as a question."""
    columns = tuple(dict.fromkeys(part for name in names for part in parts(profile, name)))
    return ProfileRequest(profile, columns, (), (), today, is_limited=is_limited)


def parts(profile: RollupDef, name: str) -> list[str]:
    """A column of a profile with all columns that it is made of."""
    metric = profile.metrics.get(name)
    inner = siblings(metric) if isinstance(metric, Computed) else []
    return [name, *(part for one in inner for part in parts(profile, one))]


def told(ledger: Ledger, session: Session, found: Known, asked: ProfileRequest) -> list[str]:
    """What has to be said of these columns: of what an earlier fold, or an earlier day, they are.

    Raises:
        QueryRefused: for a source that was never read.
    """
    stands = standing(asked, found, found.lives(ledger, session), is_waiting=False)
    for lack in stands.missing:
        raise QueryRefused(
            f"{asked.profile.name} has no {listing(lack.columns)}: {lack.reason}.",
            hint=f"Run: dayfold fold {asked.profile.name}",
        )
    return [f"{asked.profile.name}: {line}" for line in stands.remarks()]


def split_columns(profile: RollupDef, by: Iterable[str], taken: Iterable[str]) -> tuple[str, ...]:
    """Columns of a profile to split by; ``taken``: what the answer calls columns of its own. Raises UnknownName, QueryRefused."""
    columns = (*profile.key, *profile.metrics)
    found = tuple(dict.fromkeys(by))
    for name in found:
        if name not in columns:
            raise UnknownName(
                f"{profile.name} has no column '{name}' to split by{suggestion(name, columns)}.",
                hint=f"Columns: {listing(columns)}",
            )
        if name in taken:
            raise QueryRefused(
                f"The answer has a column '{name}' of its own, so that it cannot be split by that of {profile.name}.",
                hint="Give that column of the profile another name.",
            )
    return found


def check_splits(profile: RollupDef, by: Iterable[str], types: Types) -> None:
    """Refuse columns that are no way to split entities: moments, fractions and lists."""
    for name in by:
        if types[name].kind not in _SPLITS:
            raise QueryRefused(
                f"{profile.name}.{name} is {types[name]}, and an answer is split by {listing(_SPLITS)}.",
                hint="Split by a Case of the profile that puts its values into groups.",
            )


def moment_type(profile: RollupDef, name: str, types: Types) -> Type:
    """The type of a column that is a moment. Raises QueryRefused for one that is none."""
    if not types[name].is_temporal:
        raise QueryRefused(
            f"{profile.name}.{name} is {types[name]}, expected a timestamp or a date.",
            hint="Name another column of the profile, or cast it to one there.",
        )
    return types[name]


def within(tree: exp.Expr, type_: Type, days: Days, values: Values) -> exp.Expr:
    """True for a moment on one of these days; an index on its column finds it."""
    ends: list[Any] = [days.first, days.last + ONE_DAY]
    if type_ != DATE:
        ends = [start_of(day) for day in ends]
    if type_ == TIMESTAMP:
        ends = [at.replace(tzinfo=None) for at in ends]
    low, high = (values.bind(end, str(type_.kind)) for end in ends)
    return sql("_x >= _low and _x < _high", _x=tree, _low=low, _high=high)


def day_of(tree: exp.Expr, type_: Type, dialect: Dialect) -> exp.Expr:
    """The UTC day of a moment."""
    if type_.kind is Kind.TIMESTAMPTZ:
        return dialect.piece("utc_date", _x=tree)
    return tree if type_ == DATE else dialect.cast(tree, DATE)


def instant_of(tree: exp.Expr, type_: Type, dialect: Dialect, *, whole_days: bool) -> exp.Expr:
    """A moment as an instant without a time zone, in UTC; ``whole_days``: the start of its day."""
    if whole_days or type_ == DATE:
        return dialect.cast(day_of(tree, type_, dialect), TIMESTAMP)
    return dialect.piece("utc_start", _x=tree) if type_.kind is Kind.TIMESTAMPTZ else tree


def clipped(first: dt.date, last: dt.date, today: dt.date) -> Days | None:
    """The asked days up to today; None where all of them are later. Raises BadDate."""
    asked = Days(first, last)
    return None if first > today else Days(first, min(asked.last, today))


def check_rows(count: int) -> None:
    """Refuse an answer that nobody can read."""
    if count >= MOST_ROWS:
        raise QueryRefused(
            f"The answer would have more than {MOST_ROWS:,} rows.",
            hint="Ask for a shorter range, a coarser grain, or split by columns with fewer values.",
        )


def a_number(what: str, value: object) -> int | None:
    """A number from 1 on, or None. Raises UsageError."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise UsageError(f"{what} is a number from 1 on, got {value!r}.")


def column_of(name: str, types: Types, dialect: Dialect, table: str) -> exp.Expr:
    """A stored column to group by: text by its bytes."""
    tree = column(name, table)
    return dialect.piece("bytewise", _x=tree) if types[name].kind is Kind.TEXT else tree
