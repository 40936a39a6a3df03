"""What every number must be, computed the slow and obvious way from raw rows.

Plain Python over lists of dicts: no SQL, no stored state, nothing of the product. Each answer looks at every
fact again, so a mistake in incremental work, resampling or SQL cannot repeat here. Invariant: it imports the
standard library only.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

Row = Mapping[str, Any]
#: Table name to its rows.
Raw = Mapping[str, Sequence[Row]]
Key = tuple[Any, ...]
#: A day, or the first instant of a shorter bucket.
Bucket = dt.date | dt.datetime
#: (key column, "=" or "!=", value); the value None stands for NULL.
Condition = tuple[str, str, Any]

ONE_DAY = dt.timedelta(days=1)
SET_LIMIT = 16_384


@dataclass(frozen=True)
class Measure:
    """A number taken from the facts of one table at one moment."""

    kind: str  # count, sum, min, max, avg, distinct, gauge, increase
    table: str
    at: Callable[[Row], dt.datetime | dt.date | None]
    expr: Callable[[Row], Any] = lambda row: 1
    where: Callable[[Row], bool | None] = lambda row: True
    over_keys: str = "sum"  # of a gauge: sum, avg, min, max
    carry: bool = False  # of a gauge: a key without a fact on the day keeps its last earlier value
    per: Callable[[Row], Any] | None = None  # of an increase: whose level it is


@dataclass(frozen=True)
class Computed:
    """A number computed from the other numbers of the same answer."""

    formula: Callable[[Mapping[str, Any]], float | None]


@dataclass(frozen=True)
class Spec:
    """A rollup in the oracle's words."""

    key: tuple[str, ...]
    metrics: Mapping[str, Measure | Computed]
    grain: dt.timedelta = ONE_DAY

    def measures(self) -> dict[str, Measure]:
        return {name: metric for name, metric in self.metrics.items() if isinstance(metric, Measure)}


@dataclass(frozen=True)
class Fact:
    """A row that contributes to a measure."""

    moment: dt.datetime
    day: dt.date
    key: Key
    value: Any


def ratio(numerator: str, denominator: str) -> Computed:
    """One number divided by another in double precision, null where that cannot be."""

    def divide(numbers: Mapping[str, Any]) -> float | None:
        above, below = numbers[numerator], numbers[denominator]
        return None if above is None or not below else float(above) / float(below)

    return Computed(divide)


# -- facts -----------------------------------------------------------------------------------------


def instant(moment: dt.datetime | dt.date | None) -> dt.datetime | None:
    """A moment as an aware UTC datetime; a naive one and a date are UTC."""
    if moment is None:
        return None
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day)
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def facts(spec: Spec, measure: Measure, raw: Raw, today: dt.date, zone: dt.tzinfo = dt.UTC) -> Iterator[Fact]:
    """What counts: the rows that do or, of an increase, what each of its entities grew by on each of its days."""
    if measure.per is None:
        yield from (fact for _, fact in counting_rows(spec, measure, raw, today, zone))
        return
    by_entity: dict[Any, list[Fact]] = {}
    for row, fact in counting_rows(spec, measure, raw, today, zone):
        by_entity.setdefault(measure.per(row), []).append(fact)
    for observed in by_entity.values():
        level = 0
        for day in sorted({fact.day for fact in observed}):
            last = max((fact for fact in observed if fact.day == day), key=latest)
            yield Fact(last.moment, day, last.key, last.value if last.value < level else last.value - level)
            level = last.value


def latest(fact: Fact) -> tuple[Any, ...]:
    """The order of an entity's observations: by moment, level, and key, of which NULL is the least."""
    parts = [(part is not None, part) if part is not None else (False,) for part in fact.key]
    return (fact.moment, fact.value, [(there, *(part.encode() if isinstance(part, str) else part for part in rest))
            for there, *rest in parts])  # fmt: skip


def counting_rows(
    spec: Spec, measure: Measure, raw: Raw, today: dt.date, zone: dt.tzinfo
) -> Iterator[tuple[Row, Fact]]:
    """The rows that count: with a moment up to today, passing the filter, their expression not null."""
    for row in raw[measure.table]:
        moment = instant(measure.at(row))
        if moment is None or moment.date() > today or measure.where(row) is not True:
            continue
        value = measure.expr(row)
        if value is not None:
            key = tuple(row[column] for column in spec.key)
            yield row, Fact(moment, moment.astimezone(zone).date(), key, value)


def added_up(kind: str, contributing: Sequence[Fact]) -> Any:
    """One number from all its facts. An average is exact here: a pair of sum and count."""
    values = [fact.value for fact in contributing]
    match kind:
        case "count":
            return len(values)
        case "sum" | "increase":
            return sum(values)
        case "avg":
            return sum(values), len(values)
        case "distinct":
            return len(set(values))
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
        case "gauge":
            return max(((fact.moment, fact.value) for fact in contributing), default=(None, None))[1]
    raise ValueError(kind)


def mean(total: Any, count: int) -> float | None:
    """The quotient rounded once."""
    return float(Fraction(total) / count) if count else None


# -- stored cells ----------------------------------------------------------------------------------


def bucket_of(moment: dt.datetime, grain: dt.timedelta) -> Bucket:
    """The stored bucket that a moment falls into."""
    if grain == ONE_DAY:
        return moment.date()
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // grain * grain


def _by_cell(spec: Spec, raw: Raw, today: dt.date) -> dict[tuple[Key, Bucket], dict[str, list[Fact]]]:
    cells: dict[tuple[Key, Bucket], dict[str, list[Fact]]] = {}
    for name, measure in spec.measures().items():
        for fact in facts(spec, measure, raw, today):
            cell = cells.setdefault((fact.key, bucket_of(fact.moment, spec.grain)), {})
            cell.setdefault(name, []).append(fact)
    return cells


def stored_cells(spec: Spec, raw: Raw, today: dt.date) -> dict[tuple[Key, Bucket], dict[str, Any]]:
    """Every row of the rollup's table, by key and bucket; an average as its ``__sum`` and ``__count``."""
    table: dict[tuple[Key, Bucket], dict[str, Any]] = {}
    for cell, contributions in _by_cell(spec, raw, today).items():
        row = table[cell] = {}
        for name, measure in spec.measures().items():
            number = added_up(measure.kind, contributions.get(name, []))
            if measure.kind == "avg":
                row[f"{name}__sum"], row[f"{name}__count"] = number
            else:
                row[name] = number
    return table


def stored_sets(spec: Spec, raw: Raw, today: dt.date) -> dict[tuple[Key, Bucket], dict[str, set[Any]]]:
    """The distinct values behind every stored cell that has a Distinct with facts."""
    distinct = {name for name, measure in spec.measures().items() if measure.kind == "distinct"}
    sets: dict[tuple[Key, Bucket], dict[str, set[Any]]] = {}
    for cell, contributions in _by_cell(spec, raw, today).items():
        for name in distinct & contributions.keys():
            sets.setdefault(cell, {})[name] = {fact.value for fact in contributions[name]}
    return sets


def hashes(values: Collection[Any], store_key: str) -> list[int]:
    """A set as it is stored: of each value 60 bits of md5 over store key and text, the smallest 16,384."""
    texts = (str(value).lower() if isinstance(value, bool) else str(value) for value in values)
    digests = (hashlib.md5(f"{store_key}{text}".encode()).hexdigest() for text in texts)
    return sorted(int(digest[:15], 16) for digest in digests)[:SET_LIMIT]


def history_start(spec: Spec, raw: Raw, today: dt.date) -> dt.date:
    """The day of the first moment that any measure names, today where none is in the past."""
    moments = (instant(measure.at(row)) for measure in spec.measures().values() for row in raw[measure.table])
    return min((moment.date() for moment in moments if moment and moment.date() <= today), default=today)


# -- answers ---------------------------------------------------------------------------------------


def first_of(day: dt.date, grain: str) -> dt.date:
    """The first day of the week, month, quarter or year that a day belongs to."""
    match grain:
        case "day":
            return day
        case "week":
            return day - dt.timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case "year":
            return day.replace(month=1, day=1)
    raise ValueError(grain)


def periods(first: dt.date, last: dt.date, grain: str) -> list[tuple[dt.date, dt.date]]:
    """The range cut into weeks, months and so on: first and last day of each, clipped to the range."""
    days = [first + n * ONE_DAY for n in range((last - first).days + 1)]
    groups: dict[dt.date, list[dt.date]] = {}
    for day in days:
        groups.setdefault(first if grain == "total" else first_of(day, grain), []).append(day)
    return [(group[0], group[-1]) for group in groups.values()]


def passes(row: Mapping[str, Any], where: Sequence[Condition]) -> bool:
    """Whether a key is asked for: of each column any included value, no excluded one; NULL is a value."""
    for column in {column for column, _, _ in where}:
        included = [value for name, sign, value in where if (name, sign) == (column, "=")]
        excluded = [value for name, sign, value in where if (name, sign) == (column, "!=")]
        if (included and row[column] not in included) or row[column] in excluded:
            return False
    return True


def over_keys(how: str, values: Sequence[Any]) -> Any:
    """A level of several keys at once."""
    if not values:
        return None
    if how == "avg":
        return mean(sum(values), len(values))
    return {"sum": sum, "min": min, "max": max}[how](values)


def gauge_level(measure: Measure, found: Sequence[Fact], last: dt.date) -> Any:
    """A gauge on the last day of a period: one level for each key, then combined."""
    levels = []
    for key in {fact.key for fact in found}:
        past = [fact for fact in found if fact.key == key and fact.day <= last]
        level = added_up("gauge", past if measure.carry else [fact for fact in past if fact.day == last])
        if level is not None:
            levels.append(level)
    return over_keys(measure.over_keys, levels)


def period_number(measure: Measure, found: Sequence[Fact], known: Sequence[dt.date]) -> Any:
    """One measure over the covered days of one period, by its own algebra."""
    if measure.kind == "gauge":
        return gauge_level(measure, found, known[-1])
    number = added_up(measure.kind, [fact for fact in found if fact.day in known])
    return mean(*number) if measure.kind == "avg" else number


def answer(
    spec: Spec,
    raw: Raw,
    today: dt.date,
    first: dt.date,
    last: dt.date,
    *,
    by: Sequence[str] = (),
    where: Sequence[Condition] = (),
    grain: str = "day",
    zone: str | None = None,
    covered: Callable[[dt.date], bool] | None = None,
    allow_missing: bool = False,
) -> dict[tuple[dt.date, Key], dict[str, Any]]:
    """What a query must say: for the first day of each period and each ``by`` key, every metric.

    The keys are those with a fact in the range, covered or not, or with a level carried into it; without ``by`` there is one,
    the empty one. A period with an uncovered day is null, or with ``allow_missing`` made of its covered days. Days are days
    of ``zone``.
    """
    is_covered = covered or (lambda day: day <= today)
    found: dict[Key, dict[str, list[Fact]]] = {} if by else {(): {}}
    for name, measure in spec.measures().items():
        for fact in facts(spec, measure, raw, today, ZoneInfo(zone) if zone else dt.UTC):
            columns = dict(zip(spec.key, fact.key, strict=True))
            if passes(columns, where):
                part = tuple(columns[column] for column in by)
                found.setdefault(part, {}).setdefault(name, []).append(fact)
    answers: dict[tuple[dt.date, Key], dict[str, Any]] = {}
    for part, contributions in found.items():
        if by and not any(
            fact.day <= last and (first <= fact.day or getattr(spec.metrics[name], "carry", False))
            for name, each in contributions.items()
            for fact in each
        ):
            continue
        for start, end in periods(first, last, grain):
            days = [start + n * ONE_DAY for n in range((end - start).days + 1)]
            known = [day for day in days if is_covered(day)]
            usable = bool(known) and (allow_missing or known == days)
            numbers = {
                name: period_number(measure, contributions.get(name, []), known) if usable else None
                for name, measure in spec.measures().items()
            }
            computed = {n: m.formula(numbers) for n, m in spec.metrics.items() if isinstance(m, Computed)}
            answers[start, part] = numbers | computed
    return answers
