"""Alerts over HTTP: episodes, rules and messages, and a test of the channels. HTTP door.

An alert speaks of all rows, so its routes are for callers who may see everything.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from dayfold.http.description import told
from dayfold.http.formats import encoded
from dayfold.http.models import AlertList, TriedList
from dayfold.http.rights import Caller, Right, caller, check_sees_everything, needs
from dayfold.http.route import Route
from dayfold.http.service import Service, service

router = APIRouter(prefix="/v1/alerts", tags=["alerts"], route_class=Route)
_MOST = 1000


def _sees_everything(who: Annotated[Caller, Depends(caller)]) -> None:
    """Refuse a caller of whom some rows or rollups are kept."""
    check_sees_everything(who, "Alerts")


class ChannelWanted(BaseModel):
    """What is tested."""

    model_config = ConfigDict(extra="forbid")

    channel: str | None = Field(default=None, description="A channel's name. Default: each.")


@router.get(
    "",
    openapi_extra=needs(Right.JOBS),
    summary="Episodes, rules and messages",
    response_model=AlertList,
    dependencies=[Depends(_sees_everything)],
)
async def alerts(
    found: Annotated[Service, Depends(service)],
    only_open: Annotated[bool, Query(alias="open", description="Only episodes that are open.")] = False,
    limit: Annotated[int, Query(ge=1, le=_MOST, description="At most so many episodes.")] = 100,
    before: Annotated[
        int | None,
        Query(ge=1, le=2**63 - 1, description="Only episodes before this number: `before` of the page before."),
    ] = None,
) -> Response:
    """Episodes, the newest first, with their messages; and how each rule stood when this process last looked."""
    page = await found.work(found.alerts.listed, only_open=only_open, limit=limit, before=before)
    return Response(encoded(page), media_type="application/json", headers={"Cache-Control": "no-store"})


@router.post(
    "/test", openapi_extra=needs(Right.ADMIN), summary="Send a test message", dependencies=[Depends(_sees_everything)],
    response_model=TriedList, responses=told(404),
)  # fmt: skip
async def try_channels(found: Annotated[Service, Depends(service)], wanted: ChannelWanted | None = None) -> Response:
    """Send a test message to one channel or to each, once, and say what happened."""
    tried: Any = await found.work(found.alerts.test, wanted.channel if wanted else None)
    return Response(encoded({"channels": [asdict(one) for one in tried]}), media_type="application/json")
