"""What a rollup's page shows: the metrics, the days, the series, the totals and the greatest keys. Dashboard door."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dayfold.dashboard.rendering import as_moment
from dayfold.dashboard.span import Span, span
from dayfold.dashboard.view import View, address
from dayfold.dashboard.words import filter_word
from dayfold.days import Days, bucket_start
from dayfold.define.rollup import RollupDef
from dayfold.errors import QueryRefused, UsageError
from dayfold.http.asked import words
from dayfold.plan.keys import key_column
from dayfold.query.answer import Answer
from dayfold.query.cover import Gap
from dayfold.query.request import COMPARISONS, metric_of

GRAINS = ("hour", "day", "week", "month", "quarter", "year")
#: Metrics that are shown where none is asked for, lines of a chart, keys of a list, and rows of the table.
_FIRST_METRICS, MOST_SERIES, _TOP_KEYS, _TABLE_ROWS = 1, 10, 10, 1_000
_DEFAULT_KEYS = 5
#: Numbers that one picture may have: forty years of days of a metric and the range before it, or a year of hours of ten keys.
MOST_NUMBERS = 100_000


@dataclass(frozen=True, slots=True)
class Series:
    """A line of the chart: a metric, of one key where they are told apart, of the range before where it is compared."""

    metric: str
    key: Any
    is_of_key: bool
    values: list[Any]
    is_earlier: bool = False

    @property
    def label(self) -> str:
        """Its name in the legend."""
        name = self.metric.replace("_", " ")
        if self.is_of_key:
            name = f"{'NULL' if self.key is None else self.key}: {name}"
        return f"{name}, compared" if self.is_earlier else name


@dataclass
class Picture:
    """One page's question and its answer.

    Attributes:
        by: The key column whose values are told apart; ``keys``: those that are shown, the greatest first.
        answer: None where it was refused; ``refused`` says why and what to do.
        buckets: The first day (or the start of the hour) of each point; ``missing``, ``open``: ranges that are not known, and the
            first bucket that may still change.
    """

    rollup: RollupDef
    metrics: list[str]
    span: Span
    grain: str
    tz: str | None
    by: str | None
    compare: str | None
    keys: list[Any] = field(default_factory=list)
    more_keys: bool = False
    answer: Answer | None = None
    refused: tuple[str, str] | None = None
    buckets: list[Any] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    open_from: dt.date | None = None

    @property
    def missing(self) -> list[Gap]:
        """Days that are null, and why."""
        return self.answer.missing if self.answer else []

    @property
    def payload(self) -> dict[str, Any]:
        """What the chart draws."""
        return {
            "x": self.buckets, "hours": self.grain == "hour", "zoom": True, "until": self.span.days.last,
            "series": [
                {"label": one.label, "metric": one.metric, "values": one.values, "earlier": one.is_earlier} for one in self.series
            ],
            "missing": [[gap.days.first, gap.days.last] for gap in self.missing],
            "open": [self.open_from] if self.open_from else [],
        }  # fmt: skip

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table: every number of the chart, the newest first."""
        if self.answer is None:
            return []
        name = self.bucket
        found = sorted(self.answer.rows, key=lambda row: str(row[name]), reverse=True)
        return found[:_TABLE_ROWS]

    @property
    def is_cut(self) -> bool:
        """Whether the table has not all rows."""
        return self.answer is not None and self.answer.table.num_rows > _TABLE_ROWS

    @property
    def bucket(self) -> str:
        """The column that says when."""
        return "hour" if self.grain == "hour" else "day"

    def last_of(self, bucket: Any) -> dt.date:
        """The last day of a bucket within the range."""
        day = bucket.date() if isinstance(bucket, dt.datetime) else bucket
        if self.grain in ("hour", "day"):
            return day
        place = bisect_right(self.buckets, bucket)
        return self.buckets[place] - dt.timedelta(days=1) if place < len(self.buckets) else self.span.days.last

    def receipt(
        self, metric: str, row: Mapping[str, Any] | None = None, more: str | None = None, days: Days | None = None
    ) -> str:
        """Where a number of the page tells where it comes from: of a row, of the whole range or of other ``days``.

        ``more``: one more filter.
        """
        where = [*self.where, *([more] if more else [])]
        first, last, hour = (days or self.span.days).first, (days or self.span.days).last, None
        if row is not None:
            if self.by:
                where.append(filter_word(self.by, row[self.by]))
            # The day of an hour is one of the asked zone.
            first = max(row["day"], first)
            last = first if self.grain == "hour" else min(self.last_of(row["day"]), last)
            hour = as_moment(row["hour"]).isoformat() if self.grain == "hour" else None
        words = {"from": first, "to": last, "where": where or None, "tz": self.tz, "hour": hour}
        return address(f"/receipt/{self.rollup.name}/{metric}", words)

    where: list[str] = field(default_factory=list)

    def is_open(self, row: Mapping[str, Any]) -> bool:
        """Whether a row's numbers may still change."""
        return self.open_from is not None and self.last_of(row[self.bucket]) >= self.open_from


def picture(view: View, rollup: RollupDef) -> Picture:
    """What the page's address asks of a rollup. Raises UnknownName, UsageError, BadDate."""
    metrics = _metrics(view, rollup)
    shown = Picture(
        rollup, metrics, span(view, rollup, metrics[0]), "day", view.param("tz"), _by(view, rollup),
        view.one_of("compare", COMPARISONS, "") or None, where=view.params("where"),
    )  # fmt: skip
    shown.grain = _grain(view, rollup, shown.span.days)
    try:
        _ask(view, shown)
    except QueryRefused as error:
        shown.refused = error.message, error.hint
    return shown


def _metrics(view: View, rollup: RollupDef) -> list[str]:
    asked = [name for one in view.params("metrics") for name in words(one)]
    return (
        list(dict.fromkeys(metric_of(rollup, name) for name in asked))[:MOST_SERIES]
        or list(rollup.metrics)[:_FIRST_METRICS]
    )


def _by(view: View, rollup: RollupDef) -> str | None:
    by = view.param("by")
    return None if by is None else key_column(rollup, by, "to tell apart")


def _grain(view: View, rollup: RollupDef, days: Days) -> str:
    """The grain that is asked for, else one that gives some tens to a few hundred points."""
    default = "day" if len(days) <= 400 else "week" if len(days) <= 1_200 else "month"
    return view.one_of("grain", GRAINS, default)


def _ask(view: View, shown: Picture) -> None:
    days, rollup = shown.span.days, shown.rollup
    where = list(shown.where)
    if shown.by:
        room = MOST_SERIES // (len(shown.metrics) * (2 if shown.compare else 1))
        most = max(1, min(view.count("n", _DEFAULT_KEYS, MOST_SERIES), room))
        greatest = _greatest(view, shown, shown.by, most + 1)
        shown.keys, shown.more_keys = [row[shown.by] for row in greatest[:most]], len(greatest) > most
        # The greatest meet the page's own filters of that key, which would let through many more.
        where = [one for one in where if not one.startswith((f"{shown.by}=", f"{shown.by}!="))] if greatest else where
        where += [filter_word(shown.by, key) for key in shown.keys]
    _check_size(shown)
    shown.answer = view.answer(
        rollup.name, shown.metrics, from_=days.first, to=days.last, by=[shown.by] if shown.by else (), where=where, grain=shown.grain,
        tz=shown.tz, compare=shown.compare,
    )  # fmt: skip
    _draw(view, shown, shown.answer)


def _check_size(shown: Picture) -> None:
    """Refuse a picture of more numbers than anybody looks at, before any of them is read."""
    a_day = {"hour": 24.0, "day": 1.0}.get(shown.grain, 1 / 7)
    lines = len(shown.metrics) * (len(shown.keys) or 1) * (2 if shown.compare else 1)
    numbers = int(len(shown.span.days) * a_day) * lines
    if numbers > MOST_NUMBERS:
        raise QueryRefused(
            f"These are {numbers:,} numbers; a picture has at most {MOST_NUMBERS:,}.",
            hint="Choose fewer days, or a coarser grain.",
        )


def _draw(view: View, shown: Picture, answer: Answer) -> None:
    name = shown.bucket
    shown.buckets = sorted({row[name] for row in answer.rows})
    place = {bucket: n for n, bucket in enumerate(shown.buckets)}
    lines = _lines(shown, answer.rows, place)
    order = {key: n for n, key in enumerate(shown.keys)}
    drawn = sorted(lines, key=lambda one: (order.get(one[0], 99), shown.metrics.index(one[1])))[:MOST_SERIES]
    shown.series = [Series(metric, key, shown.by is not None, lines[key, metric]) for key, metric in drawn]
    if answer.compare is not None:
        before = {earlier: place[bucket] for bucket, earlier in answer.beside.items() if bucket in place}
        earlier = _lines(shown, answer.compare.rows, before)
        shown.series += [
            Series(metric, key, shown.by is not None, earlier[key, metric], is_earlier=True)
            for key, metric in drawn if (key, metric) in earlier
        ]  # fmt: skip
    opened = [
        one["from"] for states in view.covered(shown.rollup.name).values() for one in states.get("open", ())
        if one["from"] <= shown.span.days.last and one["to"] >= shown.span.days.first
    ]  # fmt: skip
    if opened:
        first = max(min(opened), shown.span.days.first)
        shown.open_from = bucket_start(first, shown.grain) if shown.grain not in ("hour", "day") else first


def _lines(
    shown: Picture, rows: Sequence[Mapping[str, Any]], place: Mapping[Any, int]
) -> dict[tuple[Any, str], list[Any]]:
    """The values of each key and metric, one for each bucket; ``place``: where a row's bucket stands."""
    found: dict[tuple[Any, str], list[Any]] = {}
    for row in rows:
        where = place.get(row[shown.bucket])
        if where is None:
            continue
        for metric in shown.metrics:
            key = row[shown.by] if shown.by else None
            found.setdefault((key, metric), [None] * len(shown.buckets))[where] = row[metric]
    return found


def _greatest(view: View, shown: Picture, key: str, most: int) -> list[dict[str, Any]]:
    """The keys with the greatest values of the first metric over the range."""
    metric, days = shown.metrics[0], shown.span.days
    return view.answer(
        shown.rollup.name, [metric], from_=days.first, to=days.last, by=[key], where=shown.where, grain="total", tz=shown.tz,
        sort=f"-{metric}", limit=most,
    ).rows  # fmt: skip


@dataclass(frozen=True, slots=True)
class Total:
    """A metric over the whole range; ``before``: over the range it is compared with. ``is_whole``: every day of it is known."""

    metric: str
    value: Any
    before: Any
    is_exact: bool
    is_whole: bool
    is_shown: bool
    refused: str
    toggle: str
    receipt: str
    before_receipt: str = ""


def totals(view: View, shown: Picture) -> list[Total]:
    """Every metric of the rollup over the range, beside the range before it."""
    names = list(shown.rollup.metrics)
    try:
        whole = _over_the_range(view, shown, names)
        answers: dict[str, Answer | str] = dict.fromkeys(names, whole)
    except (QueryRefused, UsageError):
        # Some have no answer over all keys, or of this version: each is asked for by itself.
        answers = {name: _or_why(view, shown, name) for name in names}
    return [_total(view, shown, name, found) for name, found in answers.items()]


def _over_the_range(view: View, shown: Picture, metrics: Sequence[str]) -> Answer:
    days = shown.span.days
    return view.answer(
        shown.rollup.name, metrics, from_=days.first, to=days.last, where=shown.where, grain="total", tz=shown.tz,
        compare=shown.compare or "previous",
    )  # fmt: skip


def _or_why(view: View, shown: Picture, metric: str) -> Answer | str:
    try:
        return _over_the_range(view, shown, [metric])
    except (QueryRefused, UsageError) as error:
        return error.message


def _total(view: View, shown: Picture, name: str, found: Answer | str) -> Total:
    """One metric of an answer over the whole range, or why it has none."""
    is_shown = name in shown.metrics
    metrics = [one for one in shown.metrics if one != name] if is_shown else [*shown.metrics, name]
    toggle, receipt = view.url(metrics=",".join(metrics) or None), shown.receipt(name)
    if isinstance(found, str):
        return Total(name, None, None, True, True, is_shown, found, toggle, receipt)
    earlier, before, is_whole = found.compare, None, not _misses(found, name)
    # What lacks days is no more, and no less, than a whole range.
    if earlier is not None and earlier.rows and is_whole and not _misses(earlier, name):
        before = earlier.rows[0][name]
    value = found.rows[0][name] if found.rows else None
    before_receipt = shown.receipt(name, days=earlier.days) if earlier is not None else ""
    return Total(name, value, before, found.exact[name], is_whole, is_shown, "", toggle, receipt, before_receipt)


def _misses(answer: Answer, metric: str) -> bool:
    """Whether some days of a metric are not known."""
    return any(metric in gap.metrics for gap in answer.missing)


@dataclass(frozen=True, slots=True)
class Top:
    """One value of a key column, and where it leads."""

    key: Any
    value: Any
    only: str
    receipt: str


@dataclass(frozen=True, slots=True)
class Tops:
    """The values of a key column with the greatest numbers."""

    key: str
    metric: str
    rows: Sequence[Top]
    largest: Any
    split: str


def tops(view: View, shown: Picture, key: str) -> Tops | None:
    """The greatest values of a key column by the first metric; None where the page is about one of them, or there is no answer."""
    if any(one.startswith(f"{key}=") for one in shown.where):
        return None
    try:
        rows = _greatest(view, shown, key, _TOP_KEYS)
    except (QueryRefused, UsageError):
        return None
    metric = shown.metrics[0]
    known = [float(row[metric]) for row in rows if row[metric] is not None]
    found = [
        Top(
            row[key], row[metric], view.url(where=[*shown.where, filter_word(key, row[key])]),
            shown.receipt(metric, more=filter_word(key, row[key])),
        )
        for row in rows
    ]  # fmt: skip
    return Tops(key, metric, found, max(known, default=0), view.url(by=key))
