"""The busiest paths of a server go straight to what answers them, before the framework sees them. HTTP door."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from dayfold.http.collector import Collector, is_collected
from dayfold.http.counting import COUNT, Counting
from dayfold.http.service import Service


class Straight:
    """Gives events to the collector and increments to the counters; these requests are figures of the service as all others."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or let it through."""
        door: Collector | Counting
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] == COUNT and not scope["query_string"]:
            door = self.service.counting
        elif is_collected(scope):
            door = self.service.collector
        else:
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = await door.answer(scope, receive, send)
        self.service.figures.answered(scope["method"], scope["path"], status, time.perf_counter() - began)
