"""``/v1/cohorts`` and ``/v1/funnels``: questions about the entities of profiles. HTTP door."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from dayfold.define.rollup import RollupDef
from dayfold.define.study import StudyDef
from dayfold.http.asked import read, takes
from dayfold.http.cache import Kept, Large
from dayfold.http.formats import MEDIA_TYPES, encoded, pieces
from dayfold.http.models import CohortModel, FunnelModel
from dayfold.http.questions import QuestionRoute, Reading, Words, scope_of
from dayfold.http.reads import FORMS, REFUSALS
from dayfold.http.rights import Right
from dayfold.http.service import present
from dayfold.plan.keys import KeyFilter
from dayfold.query.cohort_request import CohortRequest
from dayfold.query.cohorts import CohortAnswer
from dayfold.query.funnels import FunnelAnswer, FunnelRequest

router = APIRouter(prefix="/v1", tags=["cohorts"], responses=REFUSALS, route_class=QuestionRoute)
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "As it was: the ETag matches."}, **REFUSALS}
Cohorts = Annotated[str, Path(description="The cohort, by its class.", max_length=200)]
Funnels = Annotated[str, Path(description="The funnel, by its class.", max_length=200)]


@router.get(
    "/cohorts/{name}",
    openapi_extra=takes(
        Right.READ, "to", "where", "unbounded", "periods", "format",
        renamed={"from": "first_day", "grain": "cohort_grain", "by": "split_by"},
    ),
    summary="Who came back", response_model=None, responses={200: {"model": CohortModel, "content": FORMS}, **_UNCHANGED},
)  # fmt: skip
def cohort(request: Request, name: Cohorts) -> Reading:
    """For each period of starts and each age how many were active, and their values. The range is of starts, both ends included."""
    now, scope, said = present(request), scope_of(request), read(request)
    asked = CohortRequest.parse(
        scope.cohort(now.app.catalog, name), from_=said["from"], to=said["to"] or "today", grain=said["grain"],
        unbounded=said["unbounded"], by=said["by"], where=said["where"], periods=said["periods"], today=now.today, scope=scope,
    )  # fmt: skip
    words = (asked.days, asked.grain, asked.unbounded, asked.by, _asked(asked.filters), asked.periods, said["format"])
    return Reading(
        _words(asked.cohort, "cohort", *words), lambda: _written(now.app.cohort_answer(asked), said["format"])
    )


@router.get(
    "/funnels/{name}",
    openapi_extra=takes(Right.READ, "to", "where", "format", renamed={"from": "first_day", "by": "split_by"}),
    summary="How many went from step to step", response_model=None,
    responses={200: {"model": FunnelModel, "content": FORMS}, **_UNCHANGED},
)  # fmt: skip
def funnel(request: Request, name: Funnels) -> Reading:
    """Of those whose first step falls in the range, both ends included, how many went on; and how often each step was taken in it."""
    now, scope, said = present(request), scope_of(request), read(request)
    asked = FunnelRequest.parse(
        scope.funnel(now.app.catalog, name), from_=said["from"], to=said["to"] or "today", by=said["by"],
        where=said["where"], today=now.today, scope=scope,
    )  # fmt: skip
    words = (asked.days, asked.by, _asked(asked.filters), said["format"])
    return Reading(
        _words(asked.funnel, "funnel", *words), lambda: _written(now.app.funnel_answer(asked), said["format"])
    )


def _words(study: StudyDef, what: str, *asked: Any) -> Words:
    """All that decides an answer beside the rows of what it reads and what the caller may see."""
    rollups: tuple[RollupDef, ...] = study.rollups
    return Words(tuple(one.name for one in rollups), what, study.name, *asked)


def _asked(filters: tuple[KeyFilter, ...]) -> tuple[KeyFilter, ...]:
    return tuple(one for one in filters if not one.is_right)


def _written(answer: CohortAnswer | FunnelAnswer, form: str) -> Kept | Large:
    if form == "json":
        return Kept.of(encoded(answer.as_object()), MEDIA_TYPES[form])
    rows = answer.table
    if form == "csv":
        from dayfold.query.writers import as_texts

        rows = as_texts(rows)
    return Kept.of(b"".join(pieces(form, {}, rows)), MEDIA_TYPES[form])
