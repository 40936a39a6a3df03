"""A route: whoever asks passes the one check before anything of the request is read. HTTP door.

Invariant: a route that does not say what it asks for admits nobody; a parameter that it does not have is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dayfold.errors import Forbidden
from dayfold.http.asked import check_parameters
from dayfold.http.rights import Right, action_of, right_of
from dayfold.http.service import Service
from dayfold.http.trail import USE, family
from dayfold.ledger.audit import OK, REFUSED
from dayfold.memo import Memo


async def admit(request: Request) -> None:
    """Let the caller in, or raise: `request.state.caller` is who they are."""
    route = request.scope["route"]
    right = right_of(route)
    if right is None:
        raise Forbidden("This path is open to nobody.", hint="GET /openapi.json lists the paths that are.")
    found: Service = request.app.state.service
    now = request.state.present = found.present
    action = action_of(route)
    try:
        who = await found.doorkeeper.admit(request, right)
    except Forbidden:
        if name := getattr(request.state, "refused", None):
            found.trail.once(name, action or USE, family(request.scope["path"]), REFUSED)
        raise
    if action is None and not who.by_cookie and right not in (Right.PUBLIC, Right.NEAR):
        found.trail.once(who.name, USE, family(request.scope["path"]), OK)
    if who.scope.relations and right is Right.READ:
        who = replace(who, scope=await found.resolved(now.app, who.scope), grants=who.scope.relations)
    request.state.audit_action = action
    request.state.caller = who
    if right is not Right.PUBLIC:
        # What a load balancer or another site adds to an address is its own affair.
        check_parameters(request, route.rightly_asked)


async def passed(request: Request) -> None:
    """Refuse a request that came past `admit`: to a route that somebody included and that is no `Route`."""
    if not hasattr(request.state, "caller"):
        raise Forbidden("This path is open to nobody.", hint="GET /openapi.json lists the paths that are.")


class Route(APIRoute):
    """A route behind the check; every router of ours makes its routes of it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **words: Any) -> None:
        self.rightly_asked: Memo[bytes, bool] = Memo(1_000)
        super().__init__(path, endpoint, **words)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that the framework calls."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            await admit(request)
            return await handle(request)

        return checked


class QuickRoute(Route):
    """A route whose code takes the request and the parts of its path, reads its parameters itself and gives the answer as it is sent.

    What the framework does for others, solving dependencies, checking values and closing what they opened, takes it longer than all
    else of a kept answer.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **words: Any) -> None:
        super().__init__(path, endpoint, **words)
        self.app = self._serve

    async def answer(self, request: Request) -> Response:
        """The answer to a request that was let in."""
        found: Response = await self.endpoint(request, **request.path_params)
        return found

    async def answered(self, request: Request) -> Response:
        """The answer to whoever asks, if they are let in."""
        await admit(request)
        return await self.answer(request)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.answered(Request(scope, receive, send))
        await response(scope, receive, send)
