"""The HTTP application: every route, each behind the one check. HTTP door.

Invariant: a request reaches a route's code only through `dayfold.http.route.admit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from dayfold import __version__
from dayfold.http import (
    alerts,
    checks,
    collecting,
    counters,
    erasures,
    events,
    exports,
    metrics,
    operations,
    problems,
    profiles,
    reads,
    signin,
    studies,
    whoami,
)
from dayfold.http.bounds import Bounded
from dayfold.http.description import describe
from dayfold.http.formats import encoded
from dayfold.http.guard import NoSecretsInAddresses
from dayfold.http.lane import Lane
from dayfold.http.models import Health
from dayfold.http.operations import Counted
from dayfold.http.rights import Right, needs
from dayfold.http.route import Route, passed
from dayfold.http.service import Service, service
from dayfold.http.trail import Noting
from dayfold.http.work import work


def make(found: Service, more: Sequence[APIRouter] = ()) -> FastAPI:
    """The application over one service, with ``more`` routes beside its own."""
    api = described(more)
    api.state.service = found
    api.add_middleware(Noting, trail=found.trail)
    api.add_middleware(NoSecretsInAddresses)
    api.add_middleware(Bounded)
    api.add_middleware(Lane, places=found.places)
    api.add_middleware(Counted, figures=found.figures)
    return api


def described(more: Sequence[APIRouter] = ()) -> FastAPI:
    """All routes and their description, over no service yet.

    >>> "/v1/rollups/{name}/query" in described().openapi()["paths"]
    True
    """
    api = FastAPI(
        title="Dayfold", version=__version__, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        dependencies=[Depends(passed)],
        # Errors are reported, and requests counted, by us: the framework would send addresses along, which may hold values.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )  # fmt: skip
    problems.install(api)
    for router in (*routers(), *more):
        # As they are, and not included: the framework then looks for each request's route in one list.
        api.router.routes.extend(router.routes)
    describe(api)
    return api


def routers() -> list[APIRouter]:
    """All routes, by subject."""
    return [
        reads.questions,
        metrics.questions,
        studies.router,
        profiles.questions,
        _about,
        reads.router,
        metrics.router,
        events.router,
        exports.router,
        work,
        alerts.router,
        checks.router,
        erasures.router,
        signin.router,
        whoami.router,
        collecting.router,
        collecting.public,
        counters.router,
        counters.adding,
    ]


_about = APIRouter(tags=["about"], route_class=Route)


@_about.get("/openapi.json", openapi_extra=needs(Right.PUBLIC), include_in_schema=False)
async def openapi(request: Request) -> Response:
    """This description."""
    return Response(encoded(request.app.openapi()), media_type="application/json")


@_about.get("/healthz", openapi_extra=needs(Right.PUBLIC), summary="Whether the process answers", response_model=Health)
async def healthz() -> Response:
    """The process answers; nothing else is looked at."""
    return Response(encoded({"status": "up"}), media_type="application/json")


@_about.get("/readyz", openapi_extra=needs(Right.PUBLIC), summary="Whether the store answers", response_model=Health)
async def readyz(request: Request) -> Response:
    """The store answers and has a ledger; a load balancer sends requests only then."""
    try:
        await service(request).glance.look()
    except Exception:
        return problems.problem(HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", "The store does not answer.")
    return Response(encoded({"status": "ready"}), media_type="application/json")


@_about.get(
    "/metrics", openapi_extra=needs(Right.NEAR), summary="Figures of the service", response_class=PlainTextResponse
)
async def figures(request: Request) -> Response:
    """Counters and times of this process for Prometheus: from this machine, or with an administrator's token."""
    found = service(request)
    if found.app.counters.is_used:
        await found.laws.renew()
    return Response(found.figures.text(), media_type=operations.MEDIA_TYPE)
