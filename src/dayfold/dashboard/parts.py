"""What the parts of a page show: each read by itself, within the scope of whoever looks. Dashboard door.

Invariant: a part that has no truthful answer says why, and the others are shown all the same; days that are not known are gaps.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dayfold.dashboard.view import View, address
from dayfold.dashboard.words import filter_word
from dayfold.days import ONE_DAY, Days
from dayfold.define.alert import filter_text
from dayfold.define.page import PartDef
from dayfold.errors import NoSuchEntity, UsageError
from dayfold.query.answer import Answer
from dayfold.query.funnels import OF_COHORT, FunnelRequest

#: The longest period that is drawn day by day, and week by week.
_MOST_DAYS, _MOST_WEEKS = 120, 750
#: The longest period of a grain that a part names: more rows than that nobody reads.
_MOST_OF = {"day": 1_100, "week": 8_000, "month": 40_000, "quarter": 40_000, "year": 40_000}


@dataclass
class Shown:
    """A part with its numbers. What its kind does not have is empty.

    Attributes:
        part: Its definition.
        where: Every filter that it was read with.
        refused: Why it has none.
        value, before: Of a card, over all days and over those that it is compared with.
        values: Of a card, day by day.
        chart: Of a series, what draws it.
        rows: Of a series, a top list or a funnel.
        values_of: Of a series by a key, the value that each column of its rows is of.
        columns: Of its rows, those of the key first; ``numeric``: which of them are numbers.
        remarks: What has to be said with the numbers.
    """

    part: PartDef
    days: Days
    where: Sequence[str] = ()
    refused: str = ""
    value: Any = None
    before: Any = None
    word: str = "before"
    values: Sequence[Any] = ()
    chart: dict[str, Any] | None = None
    rows: Sequence[dict[str, Any]] = ()
    columns: Sequence[str] = ()
    numeric: Sequence[str] = ()
    largest: Any = None
    grain: str = ""
    remarks: Sequence[str] = field(default_factory=list)
    #: Whether a number may lead to its receipt: not where it was read in another scope than its reader's own.
    has_receipts: bool = True
    values_of: Mapping[str, Any] = field(default_factory=dict)

    def receipt(self, metric: str, row: Mapping[str, Any] | None = None) -> str:
        """Where a number comes from: of all days, and of a row's keys."""
        assert self.part.rollup is not None
        keys = [filter_word(column, row[column]) for column in self.part.by] if row is not None else []
        kept = [
            one for one in self.where if all(not one.startswith(f"{column}=") for column in self.part.by) or row is None
        ]
        words = {"from": self.days.first, "to": self.days.last, "where": [*kept, *keys] or None}
        return address(f"/receipt/{self.part.rollup.name}/{metric}", words)

    def receipt_at(self, place: int, column: str) -> str:
        """Where a number of a series comes from: of the days of its row, and of its column's key."""
        row = dict.fromkeys(self.part.by, self.values_of[column]) if self.values_of else None
        last = self.rows[place + 1]["day"] - ONE_DAY if place + 1 < len(self.rows) else self.days.last
        within = replace(self, days=Days(self.rows[place]["day"], last))
        return within.receipt(self.part.metrics[0] if row else column, row)


def shown(
    view: View, part: PartDef, days: Days, more: Sequence[tuple[str, str]] = (), *, has_receipts: bool = True
) -> Shown:
    """A part over some days; ``more``: key columns with a value that parameters of the page filter by."""
    where = [*part.where, *(f"{column}={value}" for column, value in more)]
    found = Shown(part, days, where, has_receipts=has_receipts)
    try:
        _SHOW[part.kind](view, found)
    except (UsageError, NoSuchEntity) as error:
        found.refused = f"{error.message} {error.hint}".strip()
    return found


def common(parts: Sequence[Shown]) -> list[str]:
    """What several parts would have to say, each once; they do not say it any more."""
    counted = Counter(line for one in parts for line in set(one.remarks))
    found = [line for line, times in counted.items() if times > 1]
    for one in parts:
        one.remarks = [line for line in one.remarks if line not in found]
    return sorted(found)


def _ask(view: View, found: Shown, metrics: Sequence[str], **words: Any) -> Answer:
    rollup = found.part.rollup
    assert rollup is not None
    asked = {"from_": found.days.first, "to": found.days.last, "where": found.where, **words}
    return view.answer(rollup.name, metrics, **asked)


def _card(view: View, found: Shown) -> None:
    [metric] = found.part.metrics
    total = _ask(view, found, [metric], grain="total", compare=found.part.compare)
    found.value = total.rows[0][metric] if total.rows else None
    found.remarks = _remarks(total)
    if total.compare is not None:
        rows = total.compare.rows
        found.before = rows[0][metric] if rows and not total.missing and not total.compare.missing else None
        found.word = "before" if found.part.compare == "previous" else "a year before"
    try:
        found.values = [row[metric] for row in _ask(view, found, [metric], grain=_grain(found)).rows]
    except UsageError:
        found.values = []


def _grain(found: Shown) -> str:
    """The size of buckets that a period asks for."""
    length = len(found.days)
    if found.part.grain is not None:
        if length > _MOST_OF[found.part.grain]:
            raise UsageError(f"{length:,} days are too many by {found.part.grain}.", hint="Choose fewer days.")
        return found.part.grain
    return "day" if length <= _MOST_DAYS else "week" if length <= _MOST_WEEKS else "month"


def _series(view: View, found: Shown) -> None:
    part, grain = found.part, _grain(found)
    found.grain = grain
    if part.by:
        _series_by(view, found, part.by[0])
        return
    answer = _ask(view, found, part.metrics, grain=grain, compare=part.compare)
    found.rows, found.columns, found.numeric = answer.rows, ("day", *part.metrics), part.metrics
    lines: list[dict[str, Any]] = [
        {"label": name.replace("_", " "), "values": [row[name] for row in answer.rows]} for name in part.metrics
    ]
    if answer.compare is not None:
        [metric] = part.metrics
        known = {row["day"]: row[metric] for row in answer.compare.rows}
        earlier = [known.get(answer.beside.get(row["day"])) for row in answer.rows]
        word = "before" if part.compare == "previous" else "a year before"
        lines.append({"label": f"{metric.replace('_', ' ')}, {word}", "values": earlier, "earlier": True})
    found.chart = _payload(answer, [row["day"] for row in answer.rows], lines, view.today)
    found.remarks = _remarks(answer)


def _series_by(view: View, found: Shown, column: str) -> None:
    """A line for each of the values with the most."""
    [metric] = found.part.metrics
    most = _ask(view, found, [metric], by=[column], grain="total", sort=f"-{metric}", limit=found.part.n)
    values = [row[column] for row in most.rows]
    whole = _ask(view, found, [metric], grain=found.grain)
    days = [row["day"] for row in whole.rows]
    known: dict[Any, dict[dt.date, Any]] = {value: {} for value in values}
    if values:
        named = [f"{column}={_filter(value)}" for value in values]
        kept = [one for one in found.where if not one.startswith(f"{column}=")]
        for row in _ask(view, found, [metric], by=[column], grain=found.grain, where=[*kept, *named]).rows:
            if row[column] in known:
                known[row[column]][row["day"]] = row[metric]
    # A covered day without a row of a value is zero where the whole has something, as the API says it of a key that is asked for.
    known_days = {row["day"] for row in whole.rows if row[metric] is not None}
    zero = 0 if _is_added(found, metric) else None
    lines = [
        {
            "label": label,
            "values": [known[value].get(day, zero if day in known_days else None) for day in days],
        }
        for label, value in zip(_labels(values), values, strict=True)
    ]
    found.rows = [
        {"day": day, **{str(line["label"]): line["values"][place] for line in lines}} for place, day in enumerate(days)
    ]
    found.values_of = dict(zip(_labels(values), values, strict=True))
    found.numeric = list(found.values_of)
    found.columns = ["day", *found.numeric]
    found.chart = _payload(whole, days, lines, view.today)
    found.remarks = _remarks(whole)


def _labels(values: Sequence[Any]) -> list[str]:
    """What values are called, each otherwise than the others and than the column of days.

    >>> _labels([None, "NULL", "", "day", 7])
    ['NULL', '"NULL"', '""', '"day"', '7']
    """
    return [
        "NULL" if value is None else f'"{value}"' if value in ("NULL", "", "day") else str(value) for value in values
    ]


def _is_added(found: Shown, metric: str) -> bool:
    """Whether a covered bucket without a fact is zero."""
    assert found.part.rollup is not None
    return found.part.rollup.metrics[metric].kind in ("count", "sum", "distinct", "total")


def _filter(value: object) -> str:
    return filter_text(value if value is None or isinstance(value, bool | int | str) else str(value))


def _top(view: View, found: Shown) -> None:
    part = found.part
    answer = _ask(view, found, part.metrics, by=part.by, grain="total", sort=f"-{part.metrics[0]}", limit=part.n)
    found.rows, found.columns, found.numeric = answer.rows, (*part.by, *part.metrics), part.metrics
    values = [row[part.metrics[0]] for row in answer.rows if row[part.metrics[0]] is not None]
    found.largest = max(values, default=None)
    found.remarks = _remarks(answer)


def _steps(view: View, found: Shown) -> None:
    assert found.part.funnel is not None
    funnel = view.scope.funnel(view.app.catalog, found.part.funnel.name)
    asked = FunnelRequest.parse(
        funnel, from_=found.days.first, to=found.days.last, where=found.where, today=view.today, scope=view.scope
    )
    answer = view.app.funnel_answer(asked)
    found.rows = answer.of(OF_COHORT)
    found.columns = ("moment", "entities", "rate_from_first", "rate_from_previous")
    found.largest = max((row["entities"] for row in found.rows), default=None)
    found.remarks = list(answer.remarks_of_profile)


def _text(view: View, found: Shown) -> None:
    """Nothing is read."""


_SHOW = {"card": _card, "series": _series, "top": _top, "steps": _steps, "text": _text}


def _remarks(answer: Answer) -> list[str]:
    """What has to be said, in a few lines: days that are missing or older, and estimates."""
    lines = [f"{gap.days} missing: {gap.reason}" for gap in answer.missing[:3]]
    lines += [f"{gap.days} as it was: {gap.reason}" for gap in answer.stale[:2]]
    lines += [f"{name} is an estimate, ± {error:.1%}" for name, error in answer.error.items()]
    return lines


def _payload(
    answer: Answer, days: Sequence[dt.date], lines: Sequence[dict[str, Any]], today: dt.date
) -> dict[str, Any]:
    """What the chart of a series is drawn from."""
    return {
        "x": [day.isoformat() for day in days],
        "series": lines,
        "missing": [[gap.days.first.isoformat(), gap.days.last.isoformat()] for gap in answer.missing],
        "open": [days[-1].isoformat()] if days and answer.days.last >= today else [],
    }
