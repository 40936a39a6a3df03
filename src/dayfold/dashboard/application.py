"""The HTTP application with the pages of the dashboard. Dashboard door."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from dayfold.dashboard import entity, overview, profiles, static
from dayfold.http import application
from dayfold.http.service import Service


def make(found: Service) -> FastAPI:
    """The application over one service, pages included."""
    return application.make(found, routers())


def routers() -> list[APIRouter]:
    """The pages, by subject."""
    return [static.router, overview.router, profiles.router, entity.router]
