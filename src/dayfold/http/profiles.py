"""``/v1/profiles``: entities of a profile, one by its key or in pages. HTTP door."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from dayfold.define.rollup import RollupDef
from dayfold.http.asked import read, takes
from dayfold.http.cache import Kept, Large
from dayfold.http.formats import MEDIA_TYPES, encoded, pieces
from dayfold.http.models import EntitiesModel, EntityModel
from dayfold.http.questions import QuestionRoute, Reading, Words, scope_of
from dayfold.http.reads import ANSWERS, REFUSALS, WHOLE_ROWS, Name
from dayfold.http.rights import Right
from dayfold.http.service import Present, present
from dayfold.query.profile import ProfileAnswer
from dayfold.query.profile_request import ProfileRequest, key_words

questions = APIRouter(prefix="/v1", tags=["profiles"], responses=REFUSALS, route_class=QuestionRoute)
#: How many entities an answer has where nobody says it, in the one form that has a place for `next`.
_PAGE = 100
_ENTITIES = {**ANSWERS, 200: {**ANSWERS[200], "model": EntitiesModel}}
_ENTITY = {**ANSWERS, 200: {**ANSWERS[200], "model": EntityModel}}


@questions.get(
    "/profiles/{name}", summary="Entities of a profile", response_model=None, responses=_ENTITIES,
    openapi_extra=takes(
        Right.READ, "after", "columns", "count_by", "format",
        renamed={"where": "any_column", "sort": "any_order", "limit": "entities"},
    ),
)  # fmt: skip
def profiles(request: Request, name: Name) -> Reading:
    """Entities in any order, page by page; or, with `count_by`, how many there are of each value.

    `complete` says whether every value is the last word; `missing` and `stale` say which are not, and why.
    """
    said, (now, profile) = read(request), _profile(request, name)
    limit = said["limit"] or (_PAGE if said["format"] == "json" else None)
    asked = ProfileRequest.page(
        profile, where=said["where"], sort=said["sort"], limit=limit, after=said["after"], columns=said["columns"],
        count_by=said["count_by"], today=now.today, scope=scope_of(request),
    )  # fmt: skip
    return _reading(now, asked, said["format"])


@questions.get(
    "/profiles/{name}/one", summary="One entity of a profile", response_model=None, responses=_ENTITY,
    openapi_extra=takes(Right.READ, "key", "columns", "format"),
)  # fmt: skip
def one(request: Request, name: Name) -> Reading:
    """An entity by its whole key: `key=column=value`, once for each column. Another's is answered like one that is not there."""
    said, (now, profile) = read(request), _profile(request, name)
    asked = ProfileRequest.one(
        profile, key_words(said["key"]), columns=said["columns"], today=now.today, scope=scope_of(request)
    )
    return _reading(now, asked, said["format"])


def _profile(request: Request, name: str) -> tuple[Present, RollupDef]:
    now = present(request)
    return now, scope_of(request).rollup(now.app.catalog, name)


def _reading(now: Present, asked: ProfileRequest, form: str) -> Reading:
    def compute(told_waiting: bool | None = None) -> Kept | Large:
        return rendered(now.app.profile_answer(asked, told_waiting=told_waiting), form)

    words = Words(
        asked.profile.name, "profile", asked.columns, asked.where, asked.key, asked.count_by, asked.sort, asked.limit, asked.after,
        form,
    )  # fmt: skip
    if asked.key is not None:
        return Reading(words, compute, is_quick=True)
    return Reading(words, compute, lambda standing: now.app.profile_waits(asked, standing))


def rendered(answer: ProfileAnswer, form: str) -> Kept | Large:
    """An answer in one of the forms. Raises NoSuchEntity."""
    rows, documents = answer.table, answer.documents
    if answer.request.key is not None and answer.found and form == "json":
        return Kept.of(encoded(answer.as_object()), MEDIA_TYPES[form])
    if form == "csv":
        from dayfold.query.writers import as_texts

        rows = as_texts(rows)
    said: dict[str, Any] = answer.said()
    if rows.num_rows > WHOLE_ROWS:
        return Large(form, said, rows, documents)
    return Kept.of(b"".join(pieces(form, said, rows, documents)), MEDIA_TYPES[form])
