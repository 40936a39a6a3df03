"""The words of a question over HTTP: which parameters there are, and what they come to. HTTP door."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant

from dayfold.days import bucket_start
from dayfold.errors import UsageError
from dayfold.names import listing, suggestion

#: A route that takes key columns as parameters, beside those that it names.
OPEN = "x-dayfold-open-parameters"
_ROLLING = {"7d": 7, "30d": 30, "90d": 90}


class Format(StrEnum):
    """The forms of an answer."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


class Period(StrEnum):
    """A short form of a range that ends today: so many days, or the calendar month or year so far."""

    DAYS_7 = "7d"
    DAYS_30 = "30d"
    DAYS_90 = "90d"
    MONTH = "month"
    YEAR = "year"


From = Annotated[
    str | None,
    Query(
        alias="from",
        description="First day: YYYY-MM-DD, today, yesterday or -7d (UTC). Default: -29d.",
        examples=["2026-01-01"],
    ),
]
To = Annotated[str | None, Query(description="Last day, included. Default: today.", examples=["2026-01-31"])]
Metrics = Annotated[
    str | None,
    Query(description="Metrics, separated by commas. Default: all.", examples=["orders,revenue"], max_length=4000),
]
By = Annotated[str | None, Query(description="Key columns to group by, separated by commas.", max_length=4000)]
Where = Annotated[
    list[str] | None,
    Query(
        description='`k=v`, `k!=v`, `k=` for NULL or `k=""` for the empty text. The same key twice: any of the values.'
    ),
]
FormatOf = Annotated[Format, Query(alias="format", description="json, csv or parquet.")]
Sort = Annotated[str | None, Query(description="A metric, key or `day`; `-name` for the greatest first.")]
Limit = Annotated[
    int | None, Query(ge=1, le=1_000_000, description="At most so many rows; `next` leads to the others.")
]
After = Annotated[str | None, Query(description="The `next` of the page before.", max_length=4000)]


def words(text: str | None) -> list[str]:
    """The parts of a list.

    >>> words("a, b,"), words(None)
    (['a', 'b'], [])
    """
    return [part.strip() for part in (text or "").split(",") if part.strip()]


@dataclass(frozen=True, slots=True)
class Range:
    """The asked days, as words for `dayfold.days.as_day`."""

    first: str | dt.date = field(default="-29d")
    last: str | dt.date = field(default="today")


def asked_range(first: str | None, last: str | None, period: str | None, today: dt.date) -> Range:
    """A range from its words. Raises UsageError where a period stands beside a day.

    >>> asked_range(None, None, "month", dt.date(2026, 11, 21))
    Range(first=datetime.date(2026, 11, 1), last=datetime.date(2026, 11, 21))
    """
    if period is None:
        return Range(first if first is not None else "-29d", last if last is not None else "today")
    if first is not None or last is not None:
        raise UsageError("period is a range of its own; it does not stand beside from or to.")
    if period in _ROLLING:
        return Range(today - dt.timedelta(days=_ROLLING[period] - 1), today)
    return Range(bucket_start(today, period), today)


def check_parameters(request: Request) -> None:
    """Every parameter of the URL is one that the route has, and is given once unless it is a list.

    Raises:
        UsageError: naming the parameter and the nearest known one.
    """
    route = request.scope["route"]
    known = _parameters(route.dependant)
    if (route.openapi_extra or {}).get(OPEN):
        return
    given = request.query_params.multi_items()
    for name, _ in given:
        if name not in known:
            raise UsageError(
                f"There is no parameter '{name}'{suggestion(name, known)}.", hint=f"Parameters: {listing(known)}"
            )
    twice = [name for name, _ in given if not known[name] and len(request.query_params.getlist(name)) > 1]
    if twice:
        raise UsageError(f"The parameter '{twice[0]}' is given twice; it has one value.")


def _parameters(dependant: Dependant) -> dict[str, bool]:
    """The parameters of a route's URL, each with whether it is a list."""
    found = {one.alias: one.field_info.annotation == list[str] | None for one in dependant.query_params}
    for part in dependant.dependencies:
        found |= _parameters(part)
    return found


@dataclass(frozen=True, slots=True)
class QueryWords:
    """All that a question to one rollup may say."""

    metrics: list[str]
    first: str | None
    last: str | None
    period: str | None
    by: list[str]
    where: list[str]
    grain: str
    tz: str | None
    compare: str | None
    allow_missing: bool
    live: bool
    sort: str | None
    limit: int | None
    after: str | None
    format: Format


def query_words(
    metrics: Metrics = None,
    from_: From = None,
    to: To = None,
    period: Annotated[Period | None, Query(description="Instead of from and to: a range that ends today.")] = None,
    by: By = None,
    where: Where = None,
    grain: Annotated[str, Query(description="day, week, month, quarter, year, or total.")] = "day",
    tz: Annotated[
        str | None, Query(description="Days of this zone, of a rollup of a finer grain.", examples=["Europe/London"])
    ] = None,
    compare: Annotated[str | None, Query(description="previous or year: beside an earlier range.")] = None,
    allow_missing: Annotated[bool, Query(description="Add up covered days where others are missing.")] = False,
    live: Annotated[bool, Query(description="Compute stale, open and unfolded days from the sources now.")] = False,
    sort: Sort = None,
    limit: Limit = None,
    after: After = None,
    format_: FormatOf = Format.JSON,
) -> QueryWords:
    """The words of a question, as a dependency of routes."""
    return QueryWords(
        words(metrics), from_, to, period, words(by), where or [], grain, tz, compare, allow_missing, live, sort, limit, after,
        format_,
    )  # fmt: skip


Asked = Annotated[QueryWords, Depends(query_words)]
