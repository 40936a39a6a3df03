"""``/v1/rollups``: what there is, and questions to one rollup. HTTP door.

Every answer is computed before its first byte is sent, so that none is partial.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from dayfold.define.rollup import RollupDef
from dayfold.http.asked import (
    Asked,
    By,
    Format,
    FormatOf,
    From,
    Metrics,
    Period,
    QueryWords,
    To,
    Where,
    asked_range,
    words,
)
from dayfold.http.cache import Kept, Large
from dayfold.http.formats import MEDIA_TYPES, encoded, pieces
from dayfold.http.models import (
    AnswerModel,
    CoverageModel,
    ExplanationModel,
    LatestModel,
    Problem,
    RollupList,
    RollupModel,
)
from dayfold.http.rights import Right, caller, needs
from dayfold.http.service import Service, service
from dayfold.plan.access import Scope
from dayfold.query.answer import Answer
from dayfold.query.latest import last_covered
from dayfold.query.page import page
from dayfold.query.request import Request as Question

#: Answers of more rows are sent in pieces, and not kept.
_WHOLE_ROWS = 20_000
#: An answer is the caller's own, and is to be asked for again each time.
_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text, "content": {"application/problem+json": {}}}
    for status, text in (
        (400, "The words do not fit; the answer says what to change."),
        (401, "No token, or one that is not valid."),
        (403, "The caller may not do this."),
        (404, "There is no such name for this caller."),
        (422, "The answer would take too long."),
        (503, "A database does not answer."),
    )
}
FORMS: dict[str, Any] = {
    MEDIA_TYPES["csv"]: {"schema": {"type": "string"}},
    MEDIA_TYPES["parquet"]: {"schema": {"type": "string", "format": "binary"}},
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": AnswerModel, "content": FORMS},
    304: {"description": "As it was: the ETag matches."},
    **PROBLEMS,
}

router = APIRouter(prefix="/v1", tags=["rollups"], responses=PROBLEMS)
Name = Annotated[str, Path(description="The rollup, by class or table name.", max_length=200)]
Serving = Annotated[Service, Depends(service)]


def scope_of(request: Request) -> Scope:
    """What the caller may see: the one place that routes take it from."""
    return caller(request).scope


async def reply(request: Request, key: tuple[Any, ...] | None, compute: Callable[[], Kept | Large]) -> Response:
    """The answer to a question: kept under a key and the present standing of its rollup, or computed and not kept.

    ``key``: begins with the rollup's name; None for what is never kept.
    """
    found: Service = service(request)
    if key is None:
        kept = await found.work(compute)
        if isinstance(kept, Kept):
            return Response(kept.body, media_type=kept.media_type, headers={"Cache-Control": "no-store"})
        return StreamingResponse(iter(kept), media_type=MEDIA_TYPES[kept.form], headers={"Cache-Control": "no-store"})
    standing = request.state.seen.standings.get(key[0])
    whole = (found.edition, found.app.today, scope_of(request).mark, standing, *key)
    kept, how = await found.cache.get(whole, lambda: found.work(compute))
    if isinstance(kept, Large):
        return StreamingResponse(iter(kept), media_type=MEDIA_TYPES[kept.form], headers=_PRIVATE)
    headers = {**_PRIVATE, "ETag": kept.etag, "Dayfold-Cache": how}
    asked = request.headers.get("if-none-match", "")
    if asked and any(tag.strip().removeprefix("W/") in (kept.etag, "*") for tag in asked.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(kept.body, media_type=kept.media_type, headers=headers)


def rendered(
    answer: Answer, form: Format, limit: int | None, after: str | None, more: dict[str, Any] | None = None
) -> Kept | Large:
    """An answer in one of the forms: at most ``limit`` rows after a place, and what else has to be said."""
    identity = [*answer.request.bucket_columns, *answer.request.by]
    rows, next_place = page(answer.table, identity, limit, after)
    if form is not Format.JSON:
        rows, _ = page(answer.flat(), identity, limit, after)
    said = {**replace(answer, table=rows).as_object(), **(more or {})}
    del said["rows"]
    if next_place is not None:
        said["next"] = next_place
    if rows.num_rows > _WHOLE_ROWS:
        return Large(form.value, said, rows)
    return Kept.of(b"".join(pieces(form.value, said, rows)), MEDIA_TYPES[form.value])


def question(found: Service, scope: Scope, rollup: str, asked: QueryWords) -> Question:
    """A question that was checked against the definitions. Raises UsageError and its kinds."""
    days = asked_range(asked.first, asked.last, asked.period, found.app.today)
    # One row more than is given tells whether there are more; after a place the database cannot count.
    limit = None if asked.limit is None or asked.after is not None else asked.limit + 1
    return Question.parse(
        scope.rollup(found.app.catalog, rollup), asked.metrics, from_=days.first, to=days.last, by=asked.by, where=asked.where,
        grain=asked.grain, tz=asked.tz, compare=asked.compare, sort=asked.sort, limit=limit, allow_missing=asked.allow_missing,
        today=found.app.today, now=found.app.clock.now(), scope=scope,
    )  # fmt: skip


async def answered(request: Request, rollup: str, asked: QueryWords, more: dict[str, Any] | None = None) -> Response:
    """The reply to a question of one rollup."""
    found = service(request)
    one = question(found, scope_of(request), rollup, asked)

    def compute() -> Kept | Large:
        return rendered(found.app.answer(one, live=asked.live), asked.format, asked.limit, asked.after, more)

    key = None if asked.live else (one.rollup.name, *_words_of(one), asked.format, asked.limit, asked.after)
    return await reply(request, key, compute)


def _words_of(one: Question) -> tuple[Any, ...]:
    """All that decides an answer beside the rollup's rows."""
    return (
        one.metrics, one.days, one.by, one.filters, one.grain, one.tz, one.compare, one.sort, one.limit, one.allow_missing,
        one.present,
    )  # fmt: skip


@router.get("/rollups", openapi_extra=needs(Right.READ), summary="The rollups", response_model=RollupList)
async def rollups(request: Request, found: Serving) -> Response:
    """All rollups that the caller may see, with their keys and metrics."""
    visible = scope_of(request).visible(found.app.catalog)
    return Response(encoded({"rollups": [described(one) for one in visible.values()]}), media_type=MEDIA_TYPES["json"])


@router.get("/rollups/{name}", openapi_extra=needs(Right.READ), summary="One rollup", response_model=RollupModel)
async def rollup(request: Request, found: Serving, name: Name) -> Response:
    """Its keys, its metrics, and the days that are covered."""
    one = scope_of(request).rollup(found.app.catalog, name)
    days = await found.work(found.app.covered, one.name)
    return Response(encoded({**described(one), "coverage": days}), media_type=MEDIA_TYPES["json"])


def described(one: RollupDef) -> dict[str, Any]:
    """A rollup's definition for a reader."""
    return {
        "name": one.name,
        "table": one.table,
        "description": one.description,
        "key": list(one.key),
        "grain": one.grain,
        "metrics": [{"name": name, "kind": metric.kind} for name, metric in one.metrics.items()],
    }


@router.get(
    "/rollups/{name}/query", openapi_extra=needs(Right.READ), summary="Metrics over a range of days", responses=ANSWERS
)
async def query(request: Request, name: Name, asked: Asked) -> Response:
    """Metrics of one rollup over a range, both ends included.

    Covered days without a row are zero; days that were not folded are null, with the reason under `missing`.
    """
    return await answered(request, name, asked)


LATEST: dict[int | str, dict[str, Any]] = {**ANSWERS, 200: {"model": LatestModel, "content": FORMS}}


@router.get("/rollups/{name}/latest", openapi_extra=needs(Right.READ), summary="The last covered day", responses=LATEST)
async def latest(
    request: Request, found: Serving, name: Name, metrics: Metrics = None, by: By = None, where: Where = None,
    format_: FormatOf = Format.JSON,
) -> Response:  # fmt: skip
    """Metrics of the last day that all their sources cover; `day` says which, and `open` whether it may still change."""
    return await latest_of(request, found, name, words(metrics), words(by), where or [], format_)


async def latest_of(
    request: Request, found: Service, name: str, metrics: list[str], by: list[str], where: list[str], form: Format
) -> Response:
    """The reply about the last covered day."""
    scope, today = scope_of(request), found.app.today
    one = scope.rollup(found.app.catalog, name)
    asked = QueryWords(
        metrics, "today", "today", None, by, where, "day", None, None, False, False, None, None, None, form
    )
    checked = question(found, scope, name, asked)

    def compute() -> Kept | Large:
        day = last_covered(found.app.ledger, one, metrics or None, today)
        of_day = question(found, scope, name, replace(asked, first=day.isoformat(), last=day.isoformat()))
        return rendered(found.app.answer(of_day), form, None, None, {"day": day, "open": day >= today})

    return await reply(request, (one.name, "latest", *_words_of(checked), form), compute)


@router.get("/rollups/{name}/top", openapi_extra=needs(Right.READ), summary="The greatest values", responses=ANSWERS)
async def top(
    request: Request,
    name: Name,
    metric: Annotated[str, Query(description="The metric.", max_length=200)],
    by: Annotated[str, Query(description="Key columns, separated by commas.", max_length=4000)],
    n: Annotated[int, Query(ge=1, le=10_000, description="How many.")] = 10,
    from_: From = None,
    to: To = None,
    period: Annotated[Period | None, Query(description="Instead of from and to.")] = None,
    where: Where = None,
    format_: FormatOf = Format.JSON,
) -> Response:
    """The keys with the greatest values of a metric over the whole range."""
    asked = QueryWords(
        [metric],
        from_,
        to,
        period,
        words(by),
        where or [],
        "total",
        None,
        None,
        False,
        False,
        f"-{metric}",
        n,
        None,
        format_,
    )
    return await answered(request, name, asked)


@router.get(
    "/rollups/{name}/explain", openapi_extra=needs(Right.READ), summary="Where one number comes from",
    response_model=ExplanationModel,
)  # fmt: skip
async def explain(
    request: Request,
    found: Serving,
    name: Name,
    metric: Annotated[str, Query(description="The metric.", max_length=200)],
    day: Annotated[str, Query(description="YYYY-MM-DD, today, yesterday or -7d (UTC).", examples=["2026-01-01"])],
    where: Where = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="At most so many source rows.")] = 20,
    offset: Annotated[
        int, Query(ge=0, le=1_000_000_000, description="How many source rows come before the first one.")
    ] = 0,
) -> Response:
    """The SQL, the source rows, the run that wrote it, and why. Name one value of every key column with `where`."""
    scope = scope_of(request)

    def compute() -> Kept | Large:
        told = found.app.explain(name, metric, day=day, where=where or [], limit=limit, offset=offset, scope=scope)
        return Kept.of(encoded(told.as_object()), MEDIA_TYPES["json"])

    return await reply(request, None, compute)


@router.get(
    "/coverage", openapi_extra=needs(Right.READ), summary="Which days are covered", response_model=CoverageModel
)
async def coverage(
    request: Request,
    found: Serving,
    rollup: Annotated[str | None, Query(description="One rollup. Default: all.", max_length=200)] = None,
) -> Response:
    """For each rollup and source the ranges of days in each state: folded, open, failed or sealed."""
    scope = scope_of(request)
    visible = scope.visible(found.app.catalog)
    names = [scope.rollup(found.app.catalog, rollup).name] if rollup is not None else list(visible)
    told = {name: await found.work(found.app.covered, name) for name in names}
    return Response(encoded({"today": found.app.today, "coverage": told}), media_type=MEDIA_TYPES["json"])
