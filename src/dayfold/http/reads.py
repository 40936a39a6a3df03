"""``/v1/rollups``: what there is, and questions to one rollup. HTTP door."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from dayfold.define.rollup import RollupDef
from dayfold.errors import UsageError
from dayfold.http.asked import QUESTION, Question, asked_range, read, takes
from dayfold.http.cache import Kept, Large
from dayfold.http.description import told
from dayfold.http.formats import MEDIA_TYPES, encoded, pieces
from dayfold.http.models import (
    AnswerModel,
    CoverageModel,
    ExplanationModel,
    LatestModel,
    RollupList,
    RollupModel,
)
from dayfold.http.questions import QuestionRoute, Reading, Words, reply, scope_of
from dayfold.http.rights import Right, needs
from dayfold.http.route import QuickRoute
from dayfold.http.service import Present, present, service
from dayfold.plan.access import Scope
from dayfold.query.answer import Answer
from dayfold.query.latest import last_covered
from dayfold.query.page import page
from dayfold.query.request import Request as Checked

#: Answers of more rows are sent in pieces, and not kept.
WHOLE_ROWS = 20_000
#: What a question may be refused with, beside what every request may.
REFUSALS = told(404, 422)
FORMS: dict[str, Any] = {
    MEDIA_TYPES["csv"]: {"schema": {"type": "string"}},
    MEDIA_TYPES["parquet"]: {"schema": {"type": "string", "format": "binary"}},
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": AnswerModel, "content": FORMS},
    304: {"description": "As it was: the ETag matches."},
    **REFUSALS,
}

#: Questions, and what is told of rollups themselves.
questions = APIRouter(prefix="/v1", tags=["rollups"], responses=REFUSALS, route_class=QuestionRoute)
router = APIRouter(prefix="/v1", tags=["rollups"], responses=REFUSALS, route_class=QuickRoute)
Name = Annotated[str, Path(description="The rollup, by class or table name.", max_length=200)]


def rendered(
    answer: Answer, form: str, limit: int | None, after: str | None, more: dict[str, Any] | None = None
) -> Kept | Large:
    """An answer in one of the forms: at most ``limit`` rows after a place, and what else has to be said."""
    identity = [*answer.request.bucket_columns, *answer.request.by]
    rows, next_place = page(answer.table, identity, limit, after)
    if form != "json":
        rows, _ = page(answer.flat(), identity, limit, after)
    said = {**replace(answer, table=rows).as_object(), **(more or {})}
    del said["rows"]
    if next_place is not None:
        said["next"] = next_place
    if rows.num_rows > WHOLE_ROWS:
        return Large(form, said, rows)
    return Kept.of(b"".join(pieces(form, said, rows)), MEDIA_TYPES[form])


def checked(now: Present, scope: Scope, rollup: str, asked: Question) -> Checked:
    """A question that was checked against the definitions. Raises UsageError and its kinds."""
    first, last = asked_range(asked.first, asked.last, asked.period, now.today)
    # One row more than is given tells whether there are more; after a place the database cannot count.
    limit = None if asked.limit is None or asked.after is not None else asked.limit + 1
    return Checked.parse(
        scope.rollup(now.app.catalog, rollup), asked.metrics, from_=first, to=last, by=asked.by, where=asked.where,
        grain=asked.grain, tz=asked.tz, compare=asked.compare, sort=asked.sort, limit=limit, allow_missing=asked.allow_missing,
        today=now.today, now=now.now, scope=scope,
    )  # fmt: skip


def answered(request: Request, rollup: str, asked: Question, more: dict[str, Any] | None = None) -> Reading:
    """The reading of a question to one rollup; ``more`` is said beside its answer."""
    now = present(request)
    one = checked(now, scope_of(request), rollup, asked)

    def compute() -> Kept | Large:
        return rendered(now.app.answer(one, live=asked.live), asked.form, asked.limit, asked.after, more)

    if asked.live:
        return Reading(None, compute)
    said = tuple((more or {}).items())
    return Reading(Words(one.rollup.name, *words_of(one), asked.form, asked.limit, asked.after, said), compute)


def words_of(one: Checked) -> tuple[Any, ...]:
    """All that decides an answer beside the rollup's rows and what the caller may see."""
    asked = tuple(filter_ for filter_ in one.filters if not filter_.is_right)
    return (
        one.metrics, one.days, one.by, asked, one.grain, one.tz, one.compare, one.sort, one.limit, one.allow_missing,
        one.present,
    )  # fmt: skip


@router.get("/rollups", openapi_extra=needs(Right.READ), summary="The rollups", response_model=RollupList)
async def rollups(request: Request) -> Response:
    """All rollups that the caller may see, with their keys and metrics."""
    visible = scope_of(request).visible(present(request).app.catalog)
    return Response(encoded({"rollups": [described(one) for one in visible.values()]}), media_type=MEDIA_TYPES["json"])


@router.get("/rollups/{name}", openapi_extra=needs(Right.READ), summary="One rollup", response_model=RollupModel)
async def rollup(request: Request, name: Name) -> Response:
    """Its keys, its metrics, and the days that are covered."""
    app = present(request).app
    one = scope_of(request).rollup(app.catalog, name)
    days = await service(request).work(app.covered, one.name)
    return Response(encoded({**described(one), "coverage": days}), media_type=MEDIA_TYPES["json"])


def described(one: RollupDef) -> dict[str, Any]:
    """A rollup's definition for a reader."""
    return {
        "name": one.name,
        "kind": "profile" if one.is_profile else "rollup",
        "table": one.table,
        "description": one.description,
        "key": list(one.key),
        "grain": one.grain,
        "metrics": [{"name": name, "kind": metric.kind} for name, metric in one.metrics.items()],
    }


@questions.get(
    "/rollups/{name}/query",
    openapi_extra=takes(Right.READ, *QUESTION),
    summary="Metrics over a range of days",
    response_model=None,
    responses=ANSWERS,
)
def query(request: Request, name: Name) -> Reading:
    """Metrics of one rollup over a range, both ends included.

    Covered days without a row are zero; days that were not folded are null, with the reason under `missing`.
    """
    return answered(request, name, Question.of(read(request)))


LATEST: dict[int | str, dict[str, Any]] = {**ANSWERS, 200: {"model": LatestModel, "content": FORMS}}


@questions.get(
    "/rollups/{name}/latest", openapi_extra=takes(Right.READ, "metrics", "by", "where", "format"), summary="The last covered day",
    response_model=None, responses=LATEST,
)  # fmt: skip
def latest(request: Request, name: Name) -> Reading:
    """Metrics of the last day that all their sources cover; `day` says which, and `open` whether it may still change."""
    return latest_of(request, name, Question.of(read(request)))


def latest_of(request: Request, name: str, asked: Question) -> Reading:
    """The reading of a question about the last covered day."""
    now, scope = present(request), scope_of(request)
    one, today = scope.rollup(now.app.catalog, name), now.today
    of_today = checked(now, scope, name, replace(asked, first="today", last="today"))

    def compute() -> Kept | Large:
        day = last_covered(now.app.ledger, one, asked.metrics or None, today)
        of_day = checked(now, scope, name, replace(asked, first=day.isoformat(), last=day.isoformat()))
        return rendered(now.app.answer(of_day), asked.form, None, None, {"day": day, "open": day >= today})

    return Reading(Words(one.name, "latest", *words_of(of_today), asked.form), compute)


@questions.get(
    "/rollups/{name}/top", openapi_extra=takes(Right.READ, "metric", "by", "n", "from", "to", "period", "where", "format"),
    summary="The greatest values", response_model=None, responses=ANSWERS,
)  # fmt: skip
def top(request: Request, name: Name) -> Reading:
    """The keys with the greatest values of a metric over the whole range."""
    said = read(request)
    if not said["by"]:
        raise UsageError("The parameter 'by' is missing: the key columns whose values are put in order.")
    asked = Question.of(
        said | {"metrics": [said["metric"]], "sort": f"-{said['metric']}", "limit": said["n"], "grain": "total"}
    )
    return answered(request, name, asked)


@router.get(
    "/rollups/{name}/explain", summary="Where one number comes from", response_model=ExplanationModel,
    openapi_extra=takes(Right.READ, "metric", "day", "where", "offset", renamed={"limit": "rows"}),
)  # fmt: skip
async def explain(request: Request, name: Name) -> Response:
    """The SQL, the source rows, the run that wrote it, and why. Name one value of every key column with `where`."""
    app, scope, said = present(request).app, scope_of(request), read(request)

    def compute() -> Kept | Large:
        told = app.explain(
            name,
            said["metric"],
            day=said["day"],
            where=said["where"],
            limit=said["limit"],
            offset=said["offset"],
            scope=scope,
        )
        return Kept.of(encoded(told.as_object()), MEDIA_TYPES["json"])

    return await reply(request, service(request), Reading(None, compute))


@router.get(
    "/coverage",
    openapi_extra=takes(Right.READ, "rollup"),
    summary="Which days are covered",
    response_model=CoverageModel,
)
async def coverage(request: Request) -> Response:
    """For each rollup and source the ranges of days in each state: folded, open, failed or sealed."""
    now, scope, name = present(request), scope_of(request), read(request)["rollup"]
    visible = scope.visible(now.app.catalog)
    names = [scope.rollup(now.app.catalog, name).name] if name is not None else list(visible)
    told = {one: await service(request).work(now.app.covered, one) for one in names}
    return Response(encoded({"today": now.today, "coverage": told}), media_type=MEDIA_TYPES["json"])
