"""The HTTP application with the pages of the dashboard. Dashboard door."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from dayfold.dashboard import coverage, findings, jobs, overview, rebuild, receipts, rollups, runs, static
from dayfold.http import application
from dayfold.http.service import Service


def make(found: Service) -> FastAPI:
    """The application over one service, pages included."""
    return application.make(found, routers())


def routers() -> list[APIRouter]:
    """The pages, by subject."""
    return [
        static.router, overview.router, rollups.router, receipts.router,
        # Last of these the pages of single jobs, whose names are anything else.
        jobs.router, runs.router, rebuild.router, coverage.router, findings.router, jobs.named_router,
    ]  # fmt: skip
