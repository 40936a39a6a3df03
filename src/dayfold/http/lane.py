"""The short way to questions that were asked before: past the framework, through the same check. HTTP door.

A dashboard asks the same addresses again and again, and for a kept answer the way to its route takes longer than the route. An address
that a question was answered at leads to that route at once the next time; there the caller is let in as ever. Whatever goes wrong
there goes the long way, from the beginning, and is told as always.

Invariant: only addresses that every guard of the long way let through are known, and nothing is known of who asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dayfold.http.addresses import Addresses

if TYPE_CHECKING:
    from dayfold.http.route import QuickRoute


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address leads: its route, and the parts of its path."""

    route: QuickRoute
    path_params: Mapping[str, Any]


class Lane:
    """Middleware that takes the short way where one is known."""

    def __init__(self, app: ASGIApp, places: Addresses[Place]) -> None:
        self.app = app
        self.places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or let it through."""
        place = None
        if scope["type"] == "http" and scope["method"] == "GET":
            place = self.places.known(scope["query_string"], address(scope))
        if place is None:
            await self.app(scope, receive, send)
            return
        mine = {**scope, "route": place.route, "path_params": place.path_params}
        try:
            response = await place.route.answered(Request(mine, receive, send))
        except Exception:
            await self.app(scope, receive, send)
            return
        # Whoever counts requests looks for the route there.
        scope["route"] = place.route
        await response(scope, receive, send)


def address(scope: Scope) -> tuple[str, bytes]:
    """The path of a request as it was sent."""
    return scope.get("root_path", ""), scope.get("raw_path") or scope["path"].encode()
