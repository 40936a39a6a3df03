"""The busiest paths of a server go straight to what answers them, before the framework sees them. HTTP door."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from dayfold.http.collector import is_collected
from dayfold.http.service import Service


class Straight:
    """Gives events to the collector, and counts its requests as the framework's are counted."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or let it through."""
        if scope["type"] == "http" and is_collected(scope):
            began = time.perf_counter()
            status = await self.service.collector.answer(scope, receive, send)
            self.service.figures.answered(scope["method"], scope["path"], status, time.perf_counter() - began)
        else:
            await self.app(scope, receive, send)
