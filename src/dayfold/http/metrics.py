"""``/v1/metrics``: questions by the name of a metric, whichever rollup has it. HTTP door."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from dayfold.define.catalog import Catalog
from dayfold.define.rollup import RollupDef
from dayfold.errors import UnknownName, UsageError
from dayfold.http.asked import (
    OPEN,
    After,
    By,
    Format,
    FormatOf,
    From,
    Limit,
    Period,
    QueryWords,
    Sort,
    To,
    asked_range,
    words,
)
from dayfold.http.formats import MEDIA_TYPES, encoded
from dayfold.http.models import MetricList
from dayfold.http.reads import ANSWERS, LATEST, PROBLEMS, Serving, answered, latest_of, scope_of
from dayfold.http.rights import Right, needs
from dayfold.names import listing, suggestion
from dayfold.plan.access import Scope

router = APIRouter(prefix="/v1", tags=["metrics"], responses=PROBLEMS)


class Resolution(StrEnum):
    """The size of the buckets of an answer."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


_GRAINS = {Resolution.HOURLY: "hour", Resolution.DAILY: "day", Resolution.WEEKLY: "week", Resolution.MONTHLY: "month"}
Metric = Annotated[
    str, Path(description="A metric; `Rollup.metric` where several rollups have one of this name.", max_length=300)
]
#: What a route names itself; every other parameter is a key column.
_OWN = {"from", "to", "period", "range", "by", "sort", "limit", "after", "format"}


def home(scope: Scope, catalog: Catalog, word: str) -> tuple[RollupDef, str]:
    """The rollup and the metric that a name means, among those that the caller may see.

    Raises:
        UnknownName: with the nearest name; UsageError: listing the rollups where several have a metric of this name.
    """
    visible = scope.visible(catalog)
    rollup_name, dot, metric = word.rpartition(".")
    if dot:
        rollup = scope.rollup(catalog, rollup_name)
        if metric not in rollup.metrics:
            raise UnknownName(
                f"{rollup.name} has no metric '{metric}'{suggestion(metric, rollup.metrics)}.",
                hint=f"Metrics: {listing(rollup.metrics)}",
            )
        return rollup, metric
    found = [one for one in visible.values() if word in one.metrics]
    if not found:
        known = list(dict.fromkeys(name for one in visible.values() for name in one.metrics))
        raise UnknownName(f"There is no metric '{word}'{suggestion(word, known)}.", hint=f"Metrics: {listing(known)}")
    if len(found) > 1:
        names = [f"{one.name}.{word}" for one in found]
        raise UsageError(f"Several rollups have a metric '{word}'.", hint=f"Name one of them: {listing(names)}")
    return found[0], word


def dimensions(request: Request, rollup: RollupDef) -> list[str]:
    """The parameters that are key columns, as filters. Raises UsageError for one that is neither."""
    found = []
    for name, value in request.query_params.multi_items():
        if name in _OWN:
            if len(request.query_params.getlist(name)) > 1:
                raise UsageError(f"The parameter '{name}' is given twice; it has one value.")
            continue
        if name not in rollup.key:
            known = [*_OWN_NAMES, *rollup.key]
            raise UsageError(
                f"There is no parameter '{name}', and {rollup.name} has no such key column{suggestion(name, known)}.",
                hint=f"Parameters: {listing(_OWN_NAMES)}. Key columns: {listing(rollup.key)}",
            )
        found.append(f"{name}={value}")
    return found


_OWN_NAMES = sorted(_OWN)
_OPEN = {**needs(Right.READ), OPEN: True}


@router.get("/metrics", openapi_extra=needs(Right.READ), summary="All metrics", response_model=MetricList)
async def metrics(request: Request, found: Serving) -> Response:
    """The names of all metrics that the caller may see, with the rollups that have one of each name."""
    told: dict[str, list[RollupDef]] = {}
    for one in scope_of(request).visible(found.app.catalog).values():
        for name in one.metrics:
            told.setdefault(name, []).append(one)
    rows = [
        {
            "metric": name,
            "rollups": [one.name for one in having],
            "dimensions": list(dict.fromkeys(key for one in having for key in one.key)),
        }
        for name, having in sorted(told.items())
    ]
    return Response(encoded({"metrics": rows}), media_type=MEDIA_TYPES["json"])


@router.get("/metrics/{metric}", openapi_extra=_OPEN, summary="One metric over a range of days", responses=ANSWERS)
async def metric(
    request: Request,
    found: Serving,
    metric: Metric,
    from_: From = None,
    to: To = None,
    period: Annotated[
        Resolution, Query(description="The buckets: hourly, daily, weekly or monthly.")
    ] = Resolution.DAILY,
    range_: Annotated[
        Period | None, Query(alias="range", description="Instead of from and to: a range that ends today.")
    ] = None,
    by: By = None,
    sort: Sort = None,
    limit: Limit = None,
    after: After = None,
    format_: FormatOf = Format.JSON,
) -> Response:
    """A metric by its name. Any key column of its rollup is a parameter too, such as `platform=ios`; twice is either value."""
    rollup, name = home(scope_of(request), found.app.catalog, metric)
    where = dimensions(request, rollup)
    asked_range(from_, to, range_, found.app.today)
    asked = QueryWords(
        [name],
        from_,
        to,
        range_,
        words(by),
        where,
        _GRAINS[period],
        None,
        None,
        False,
        False,
        sort,
        limit,
        after,
        format_,
    )
    return await answered(request, rollup.name, asked, {"metric": name, "period": period.value})


@router.get("/metrics/{metric}/latest", openapi_extra=_OPEN, summary="A metric's last covered day", responses=LATEST)
async def latest(
    request: Request, found: Serving, metric: Metric, by: By = None, format_: FormatOf = Format.JSON
) -> Response:
    """A metric on the last day that is covered; key columns are parameters, as for its range."""
    rollup, name = home(scope_of(request), found.app.catalog, metric)
    return await latest_of(request, found, rollup.name, [name], words(by), dimensions(request, rollup), format_)
