"""``/v1/exports`` and ``/v1/me/exports``: asking for files, how far they are, and fetching them. HTTP door.

Invariant: an export holds no more than its asker could have read, and is there for its owner and for administrators alone; a file is
for whoever has a signed link to it.
"""

from __future__ import annotations

import datetime as dt
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from dayfold.http.description import told
from dayfold.http.formats import encoded
from dayfold.http.rights import Caller, Right, caller, name_target, needs
from dayfold.http.route import Route
from dayfold.http.service import Service, present, service
from dayfold.http.work_forms import First, Last
from dayfold.jobs.exports import ExportView, owner_of
from dayfold.jobs.jobs import EXPORT
from dayfold.ledger.jobs import ACTIVE
from dayfold.ledger.runs import DONE
from dayfold.plan.exports import ACTOR, ExportAsked

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
#: What the audit table calls a file that was fetched; links that are not right are not noted, for anybody can send them.
DOWNLOAD = "export-download"
_FILE = {"schema": {"type": "string", "format": "binary"}}
_NO_STORE = {"Cache-Control": "no-store"}
_Form = Literal["csv", "jsonl", "parquet"]
_Text = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]


class MyExportAsked(BaseModel):
    """An export of what is known of oneself."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    form: _Form = Field(default="csv", alias="format", description="The form of the file.")
    first: First = None
    last: Last = None


class ExportForm(MyExportAsked):
    """An export of events, of a rollup, of a profile, or of what is known of one actor."""

    what: Literal["events", "rollup", "profile", "actor"] = Field(description="What is exported.")
    name: _Text | None = Field(
        default=None,
        description="The rollup or profile, by class or table name; or the `actor_id`.",
        examples=["ShopDaily"],
    )
    personal: bool = Field(default=False, description="Personal data are in it, for callers who may see them.")
    where: list[_Text] = Field(
        default=[],
        max_length=1000,
        description="Of a rollup: only these keys. Of a profile: by any column.",
    )
    entity_type: _Text | None = Field(default=None, description="Of events: what they are about.")
    entity_id: _Text | None = Field(default=None, description="Of events: which one.")
    event_type: _Text | None = Field(default=None, description="Of events: their type.")
    actor: _Text | None = Field(default=None, description="Of events: the `actor_id`.")
    session: _Text | None = Field(default=None, description="Of events: the `session_id`.")


class ExportModel(BaseModel):
    """An export as it stands."""

    model_config = ConfigDict(populate_by_name=True)

    id: str
    href: str = Field(description="Where it is.")
    what: Literal["events", "rollup", "profile", "actor"]
    name: str | None
    form: _Form = Field(alias="format")
    personal: bool
    first: dt.date | None = Field(alias="from", description="Null: the first day there is.")
    last: dt.date | None = Field(alias="to", description="Null: the last day there is.")
    where: list[str]
    filters: dict[str, str] = Field(description="What narrows events.")
    asked_at: dt.datetime
    asked_by: str
    state: Literal["queued", "running", "done", "failed", "stopped"]
    progress: dict[str, int] | None = Field(
        description="While it runs: `days_done` of `days`; of a profile these count entities."
    )
    error: str | None
    finished_at: dt.datetime | None
    expires_at: dt.datetime | None = Field(description="When the file is deleted.")
    rows: int | None
    size_bytes: int | None
    remarks: dict[str, Any] = Field(
        description="Of a rollup: `missing_days`, of which a number is missing, and `estimated` metrics. Only where there are some."
    )
    download: str | None = Field(description="A signed link to the file, good for an hour or `[export] link_minutes`.")


class ExportList(BaseModel):
    """Exports, the newest first."""

    exports: list[ExportModel]


router = APIRouter(prefix="/v1", tags=["exports"], route_class=Route)
Asker = Annotated[Caller, Depends(caller)]
Found = Annotated[Service, Depends(service)]
Number = Annotated[str, Path(max_length=100, description="The export's id.")]


def _owner(who: Caller) -> str:
    return owner_of(who.name, who.scope, who.subject)


def _within(who: Caller) -> str | None:
    """Whose exports a caller finds; None: everybody's."""
    return None if Right.ADMIN in who.rights else _owner(who)


def _told(found: Service, who: Caller, one: ExportView) -> dict[str, Any]:
    """An export for an answer. Why one failed may name what its asker does not see, so that only administrators are told."""
    row, asked = one.row, one.row.asked
    prefix = "/v1/me/exports" if who.subject is not None else "/v1/exports"
    download = None
    if one.state == DONE:
        until, signature = found.app.exports.link(row)
        download = f"/v1/exports/{row.id}/download?expires={until}&signature={signature}"
    error = one.error
    if error is not None and Right.ADMIN not in who.rights:
        error = "It could not be written; who runs the service sees why."
    state = one.state if one.state in (*ACTIVE, DONE, "stopped") else "failed"
    return {
        "id": row.id, "href": f"{prefix}/{row.id}", "what": asked.what, "name": asked.name, "format": asked.form,
        "personal": asked.personal, "from": asked.first, "to": asked.last, "where": list(asked.where),
        "filters": dict(asked.filters), "asked_at": row.asked_at, "asked_by": row.asked_by, "state": state,
        "progress": one.progress, "error": error, "finished_at": row.finished_at, "expires_at": row.expires_at,
        "rows": row.row_count, "size_bytes": row.size_bytes, "remarks": dict(row.remarks), "download": download,
    }  # fmt: skip


def _answer(value: Any, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Response:
    return Response(encoded(value), status.value, {**_NO_STORE, **headers}, "application/json")


async def _ask(request: Request, found: Service, who: Caller, asked: ExportAsked) -> Response:
    name_target(request, f"{asked.title} {asked.form}")

    def ask() -> dict[str, Any]:
        def queue(words: dict[str, Any]) -> int:
            return found.desk.trigger(EXPORT, words, who.name)

        made = found.app.exports.ask(asked, who.raw_scope, _owner(who), who.name, queue)
        return _told(found, who, made)

    told_ = await found.work(ask)
    return _answer(told_, HTTPStatus.ACCEPTED, Location=told_["href"])


@router.post(
    "/exports", openapi_extra=needs(Right.READ, "export"), responses=told(404, 409, 429), response_model=ExportModel,
    status_code=202, summary="Export events, a rollup, a profile or an actor",
)  # fmt: skip
async def ask(request: Request, body: ExportForm, found: Found, who: Asker) -> Response:
    """A file is written, of what the caller may see. Raw events are exported by administrators, and by tokens that were given it.

    Look at `href` for how far it is; once it is done, `download` is a link to it.
    """
    now = present(request)
    asked = ExportAsked.parse(
        now.app.catalog, who.raw_scope, now.today, what=body.what, name=body.name, form=body.form, personal=body.personal,
        from_=body.first, to=body.last, where=body.where, entity_type=body.entity_type, entity_id=body.entity_id,
        event_type=body.event_type, actor=body.actor, session=body.session,
    )  # fmt: skip
    return await _ask(request, found, who, asked)


@router.post(
    "/me/exports", openapi_extra=needs(Right.SELF, "export"), responses=told(409, 429), response_model=ExportModel,
    status_code=202, summary="Export what is known of you",
)  # fmt: skip
async def ask_mine(request: Request, body: MyExportAsked, found: Found, who: Asker) -> Response:
    """A file is written with all that is known of the actor that a signed token of your product names as its subject."""
    now = present(request)
    asked = ExportAsked.parse(
        now.app.catalog, who.raw_scope, now.today, what=ACTOR, name=who.subject, form=body.form, personal=True,
        from_=body.first, to=body.last,
    )  # fmt: skip
    return await _ask(request, found, who, asked)


@router.get("/exports", openapi_extra=needs(Right.READ), response_model=ExportList, summary="Your exports")
@router.get(
    "/me/exports", openapi_extra=needs(Right.SELF), response_model=ExportList, summary="Your own exports",
    operation_id="my_exports",
)  # fmt: skip
async def listed(found: Found, who: Asker) -> Response:
    """The caller's exports, the newest first; an administrator sees everybody's."""

    def look() -> list[dict[str, Any]]:
        return [_told(found, who, one) for one in found.app.exports.listed(_within(who))]

    return _answer({"exports": await found.work(look)})


@router.get(
    "/exports/{id}", openapi_extra=needs(Right.READ), responses=told(404), response_model=ExportModel, summary="One export"
)  # fmt: skip
@router.get(
    "/me/exports/{id}", openapi_extra=needs(Right.SELF), responses=told(404), response_model=ExportModel,
    summary="One export of your own", operation_id="my_export",
)  # fmt: skip
async def one(id: Number, found: Found, who: Asker) -> Response:
    """How far an export is; `download` is a new link to its file once it is done."""

    def look() -> dict[str, Any]:
        return _told(found, who, found.app.exports.one(id, _within(who)))

    return _answer(await found.work(look))


@router.delete(
    "/exports/{id}", openapi_extra=needs(Right.READ, "export-delete"), responses=told(404), status_code=204,
    summary="Delete an export",
)  # fmt: skip
@router.delete(
    "/me/exports/{id}", openapi_extra=needs(Right.SELF, "export-delete"), responses=told(404), status_code=204,
    summary="Delete an export of your own", operation_id="delete_my_export",
)  # fmt: skip
async def delete(id: Number, found: Found, who: Asker) -> Response:
    """The export and its file are gone, and links to it lead nowhere; one that is being written ends."""
    await found.work(found.app.exports.remove, id, _within(who))
    return Response(status_code=HTTPStatus.NO_CONTENT.value, headers=_NO_STORE)


@router.get(
    "/exports/{id}/download", openapi_extra=needs(Right.PUBLIC), summary="An export's file", response_class=StreamingResponse,
    responses={200: {"content": dict.fromkeys(MEDIA_TYPES.values(), _FILE)}, **told(403, 404)},
)  # fmt: skip
async def download(
    request: Request,
    id: Number,
    found: Found,
    expires: Annotated[int, Query(ge=0, le=2**53, description="Until when the link is good, in seconds since 1970.")],
    signature: Annotated[str, Query(max_length=200, description="Of the id and of expires.")],
) -> Response:
    """The file, for whoever has the link that `GET /v1/exports/{id}` gave out."""
    row, pieces = await found.work(found.app.exports.fetched, id, expires, signature)
    request.state.audit_action = DOWNLOAD
    name_target(request, f"{row.asked.title} {row.asked.form} of {row.asked_by}")
    name = f"dayfold-{row.asked.title}-{row.id[:8]}.{row.asked.form}"
    headers = {
        **_NO_STORE, "Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(row.size_bytes),
        "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    }  # fmt: skip
    return StreamingResponse(pieces, media_type=MEDIA_TYPES[row.asked.form], headers=headers)
