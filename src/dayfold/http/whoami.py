"""Who a caller is, and who did what. HTTP door."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from dayfold.http.formats import encoded
from dayfold.http.models import CallerModel, NoteList
from dayfold.http.rights import Caller, Right, caller, needs
from dayfold.http.route import Route
from dayfold.http.service import Service, service

router = APIRouter(prefix="/v1", tags=["access"], route_class=Route)
_NO_STORE = {"Cache-Control": "no-store"}


@router.get("/me", openapi_extra=needs(Right.KNOWN), summary="Who you are", response_model=CallerModel)
async def me(who: Annotated[Caller, Depends(caller)]) -> Response:
    """Your name, rights and scope; in a browser's session also the CSRF token that changes need."""
    rights = sorted(who.rights - {Right.PUBLIC, Right.KNOWN, Right.NEAR})
    found: dict[str, object] = {"name": who.name, "rights": rights, **who.scope.as_object()}
    if who.csrf is not None:
        found["csrf_token"] = who.csrf
    return Response(encoded(found), media_type="application/json", headers=_NO_STORE)


@router.get("/audit", openapi_extra=needs(Right.ADMIN), summary="Who did what", response_model=NoteList)
async def audited(
    found: Annotated[Service, Depends(service)],
    limit: Annotated[int, Query(ge=1, le=1_000, description="At most so many notes.")] = 100,
    before: Annotated[
        int | None, Query(ge=1, le=2**63 - 1, description="Only notes older than the one with this id.")
    ] = None,
) -> Response:
    """The notes of the audit table, the newest first; for the next page, `before` is the `id` of the last."""
    notes = await found.work(found.app.accounts.notes, limit, before)
    return Response(
        encoded({"notes": [asdict(one) for one in notes]}), media_type="application/json", headers=_NO_STORE
    )
