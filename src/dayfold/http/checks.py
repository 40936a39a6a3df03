"""Checks over HTTP: how each ended last. HTTP door.

A check speaks of all rows, so its route is for callers who may see everything.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from dayfold.http.formats import encoded
from dayfold.http.models import CheckList
from dayfold.http.rights import Caller, Right, caller, check_sees_everything, needs
from dayfold.http.route import Route
from dayfold.http.service import Service, service

router = APIRouter(prefix="/v1/checks", tags=["jobs"], route_class=Route)


@router.get("", openapi_extra=needs(Right.JOBS), summary="Checks and their verdicts", response_model=CheckList)
async def checks(found: Annotated[Service, Depends(service)], asker: Annotated[Caller, Depends(caller)]) -> Response:
    """Every check of the definitions, and how it ended last. `POST /v1/verify` runs them."""
    check_sees_everything(asker, "Checks")
    listed = await found.work(found.app.checks)
    content = encoded({"checks": [asdict(one) for one in listed]})
    return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})
