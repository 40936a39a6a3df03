"""The HTTP application: every route, each behind the one check. HTTP door.

Invariant: a request reaches a route's code only through `admit`, and a route that does not say what it asks for admits nobody.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import Response

from dayfold import __version__
from dayfold.errors import Forbidden
from dayfold.http import problems
from dayfold.http.formats import encoded
from dayfold.http.rights import Right, needs, right_of
from dayfold.http.service import Service, service
from dayfold.http.work import work

_DESCRIPTION = """Exact daily metrics. Dates are plain `YYYY-MM-DD` and UTC days; a range names its first and its last day, both included.
Errors are problem details (RFC 9457): `code` is stable, `detail` says what is wrong and `hint` what to do."""


async def admit(request: Request) -> None:
    """Let the caller in, or raise: `request.state.caller` is who they are."""
    right = right_of(request.scope["route"])
    if right is None:
        raise Forbidden("This path is open to nobody.", hint="GET /openapi.json lists the paths that are.")
    found: Service = request.app.state.service
    request.state.caller = await found.doorkeeper.admit(request, right)


def make(found: Service) -> FastAPI:
    """The application over one service."""
    api = FastAPI(
        title="Dayfold", version=__version__, description=_DESCRIPTION, dependencies=[Depends(admit)], openapi_url=None,
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    api.state.service = found
    problems.install(api)
    for one in routers():
        api.include_router(one)
    return api


def routers() -> list[APIRouter]:
    """All routes, by subject."""
    return [_about, work]


_about = APIRouter(tags=["about"])


@_about.get("/openapi.json", openapi_extra=needs(Right.PUBLIC), include_in_schema=False)
async def openapi(request: Request) -> Response:
    """This description."""
    return Response(encoded(request.app.openapi()), media_type="application/json")


@_about.get("/healthz", openapi_extra=needs(Right.PUBLIC), summary="Whether the process answers")
async def healthz() -> dict[str, str]:
    """The process answers; nothing else is looked at."""
    return {"status": "up"}


@_about.get("/readyz", openapi_extra=needs(Right.PUBLIC), summary="Whether the store answers", responses={503: {}})
async def readyz(found: Annotated[Service, Depends(service)]) -> Response:
    """The store answers and has a ledger of this program's version; a load balancer sends requests only then."""
    try:
        await found.glance.look()
    except Exception:
        return problems.problem(HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", "The store does not answer.")
    ready: dict[str, Any] = {"status": "ready"}
    return Response(encoded(ready), media_type="application/json")
