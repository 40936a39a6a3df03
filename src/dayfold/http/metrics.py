"""``/v1/metrics``: questions by the name of a metric, whichever rollup has it. HTTP door."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from dayfold.define.catalog import Catalog
from dayfold.define.rollup import RollupDef
from dayfold.errors import UnknownName, UsageError
from dayfold.http.asked import PARAMETERS, Question, read, takes
from dayfold.http.formats import MEDIA_TYPES, encoded
from dayfold.http.models import MetricList
from dayfold.http.questions import QuestionRoute, Reading, scope_of
from dayfold.http.reads import ANSWERS, LATEST, REFUSALS, answered, latest_of
from dayfold.http.rights import Right, needs
from dayfold.http.route import QuickRoute
from dayfold.http.service import present
from dayfold.names import listing, suggestion
from dayfold.plan.access import Scope

questions = APIRouter(prefix="/v1", tags=["metrics"], responses=REFUSALS, route_class=QuestionRoute)
router = APIRouter(prefix="/v1", tags=["metrics"], responses=REFUSALS, route_class=QuickRoute)


_GRAINS = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}
Metric = Annotated[
    str, Path(description="A metric; `Rollup.metric` where several rollups have one of this name.", max_length=300)
]
_RANGE = takes(
    Right.READ,
    "from",
    "to",
    "by",
    "sort",
    "limit",
    "after",
    "format",
    renamed={"period": "resolution", "range": "period"},
    is_open=True,
)
_LATEST = takes(Right.READ, "by", "format", is_open=True)


def home(scope: Scope, catalog: Catalog, word: str) -> tuple[RollupDef, str]:
    """The rollup and the metric that a name means, among those that the caller may see.

    Raises:
        UnknownName: with the nearest name; UsageError: listing the rollups where several have a metric of this name.
    """
    visible = {name: one for name, one in scope.visible(catalog).items() if not one.is_profile}
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
    """The parameters that are key columns, as filters. Raises UsageError for one that is neither a column nor the route's own."""
    own = request.scope["route"].openapi_extra[PARAMETERS]
    found = []
    for name, value in request.query_params.multi_items():
        if name in own:
            continue
        if name not in rollup.key:
            raise UsageError(
                f"There is no parameter '{name}', and {rollup.name} has no such key column{suggestion(name, [*own, *rollup.key])}.",
                hint=f"Parameters: {listing(own)}. Key columns: {listing(rollup.key)}",
            )
        found.append(f"{name}={value}")
    return found


@router.get("/metrics", openapi_extra=needs(Right.READ), summary="All metrics", response_model=MetricList)
async def metrics(request: Request) -> Response:
    """The names of all metrics that the caller may see, with the rollups that have one of each name."""
    told: dict[str, list[RollupDef]] = {}
    for one in scope_of(request).visible(present(request).app.catalog).values():
        for name in () if one.is_profile else one.metrics:
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


@questions.get(
    "/metrics/{metric}",
    openapi_extra=_RANGE,
    summary="One metric over a range of days",
    response_model=None,
    responses=ANSWERS,
)
def metric(request: Request, metric: Metric) -> Reading:
    """A metric by its name. Any key column of its rollup is a parameter too, such as `platform=ios`; twice is either value."""
    rollup, name = home(scope_of(request), present(request).app.catalog, metric)
    said = read(request)
    words = {
        "metrics": [name],
        "where": dimensions(request, rollup),
        "grain": _GRAINS[said["period"]],
        "period": said["range"],
    }
    return answered(request, rollup.name, Question.of(said | words), {"metric": name, "period": said["period"]})


@questions.get(
    "/metrics/{metric}/latest",
    openapi_extra=_LATEST,
    summary="A metric's last covered day",
    response_model=None,
    responses=LATEST,
)
def latest(request: Request, metric: Metric) -> Reading:
    """A metric on the last day that is covered; key columns are parameters, as for its range."""
    rollup, name = home(scope_of(request), present(request).app.catalog, metric)
    words = {"metrics": [name], "where": dimensions(request, rollup)}
    return latest_of(request, rollup.name, Question.of(read(request) | words))
