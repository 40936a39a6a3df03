"""The short way to questions that were asked before: past the framework, through the same check. HTTP door.

A dashboard asks the same addresses again and again, and for a kept answer the way to its route takes longer than the route. An
address that a question was answered at leads to that route at once the next time; there the caller is let in as ever, and refusals
are told as ever. What nobody foresaw goes the long way, from the beginning.

Invariant: only addresses that every guard of the long way let through are known, requests with a body take the long way, and
nothing is known of who asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dayfold.errors import DayfoldError
from dayfold.http import problems
from dayfold.memo import Memo

if TYPE_CHECKING:
    from dayfold.http.route import QuickRoute


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address leads: its route, and the parts of its path."""

    route: QuickRoute
    path_params: Mapping[str, Any]


class Lane:
    """Middleware that takes the short way where one is known."""

    def __init__(self, app: ASGIApp, places: Memo[Address, Place]) -> None:
        self.app = app
        self.places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or let it through."""
        place = None
        if scope["type"] == "http" and scope["method"] == "GET" and not has_body(scope):
            place = self.places.get(address(scope))
        if place is None:
            await self.app(scope, receive, send)
            return
        request = Request({**scope, "route": place.route, "path_params": place.path_params}, receive, send)
        try:
            response = await place.route.answered(request)
        except DayfoldError as error:
            response = problems.told(request, error)
        except Exception:
            await self.app(scope, receive, send)
            return
        # Whoever counts requests looks for the route there.
        scope["route"] = place.route
        await response(scope, receive, send)


#: A path as it was sent, with what stands before it and its query.
Address = tuple[str, bytes, bytes]
#: Longer queries are rare, and take the long way each time.
_LONGEST = 2_000


def address(scope: Scope) -> Address:
    """Where a request was sent to."""
    return scope.get("root_path", ""), scope.get("raw_path") or scope["path"].encode(), scope["query_string"]


def is_ordinary(scope: Scope) -> bool:
    """Whether a request's address is of a length that is worth keeping."""
    return len(scope["query_string"]) <= _LONGEST


def has_body(scope: Scope) -> bool:
    """Whether a request says that it has a body."""
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
