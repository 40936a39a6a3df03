"""The HTTP application with the pages of the dashboard. Dashboard door."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dayfold.dashboard import (
    counters,
    coverage,
    embed,
    entity,
    events,
    findings,
    job,
    jobs,
    overview,
    pages,
    profiles,
    rebuild,
    receipts,
    rollups,
    runs,
    static,
    studies,
)  # fmt: skip
from dayfold.dashboard.rendering import prepare
from dayfold.dashboard.route import lost
from dayfold.http import application
from dayfold.http.service import Service


def make(found: Service) -> FastAPI:
    """The application over one service, pages included unless the settings want none."""
    if not found.app.settings.dashboard.enabled:
        return application.make(found)
    api = application.make(found, routers())
    # Templates and files are read before the first page waits for them.
    found.threads.submit(prepare)
    told = api.exception_handlers[HTTPException]

    @api.exception_handler(HTTPException)
    async def framework(request: Request, error: Exception) -> Response:
        # A browser that went astray sees a page; a program reads a problem.
        is_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if is_page and isinstance(error, HTTPException) and error.status_code == 404:
            return await lost(request)
        answer: Response = await told(request, error)  # type: ignore[misc]  # ours are coroutines
        return answer

    return api


def routers() -> list[APIRouter]:
    """The pages, by subject."""
    return [
        one.router
        for one in (
            static, overview, rollups, receipts, profiles, entity, studies, pages, events, counters, jobs, runs, rebuild, coverage,
            findings, job, embed,
        )
    ]  # fmt: skip
