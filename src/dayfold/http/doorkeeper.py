"""Who is let in: finds out who asks, and whether they may. HTTP door.

Invariant: `Doorkeeper.admit` is the only place where a caller is made, and every route passes it (`dayfold.http.route.admit`).
"""

from __future__ import annotations

from ipaddress import ip_address

from fastapi import Request

from dayfold.errors import Forbidden, Unauthenticated
from dayfold.http.glance import Glance, Seen
from dayfold.http.rights import Caller, Right
from dayfold.ledger import tokens
from dayfold.plan.access import EVERYTHING

#: What each kind of token may do.
_RIGHTS = {
    "read": frozenset({Right.READ}),
    "jobs": frozenset({Right.JOBS}),
    "track": frozenset({Right.TRACK}),
    "admin": frozenset(Right),
}
NOBODY = Caller("nobody", frozenset(), EVERYTHING)


class Doorkeeper:
    """Lets callers in by what they present."""

    def __init__(self, glance: Glance) -> None:
        self.glance = glance

    async def admit(self, request: Request, right: Right) -> Caller:
        """Who asks, allowed to do what a route needs; the look at the ledger stands in ``request.state.seen``.

        Raises:
            Unauthenticated, Forbidden.
        """
        if right is Right.PUBLIC or (right is Right.NEAR and is_near(request)):
            return NOBODY
        found, seen = await self._who(request)
        request.state.seen = seen
        if right not in found.rights:
            raise Forbidden(
                f"{found.name} may not do this: it takes the right '{right}'.",
                hint=f"Make a token for it: dayfold token create NAME --kind {right}",
            )
        return found

    async def _who(self, request: Request) -> tuple[Caller, Seen]:
        words = request.headers.get("authorization", "").split()
        if len(words) != 2 or words[0].lower() != "bearer":
            raise Unauthenticated(
                "This needs a token.",
                hint="Send it as a header: Authorization: Bearer …; `dayfold token create` makes one.",
            )
        digest = tokens.digest(words[1])
        seen = await self.glance.look(digest)
        bearer = seen.bearers.get(digest)
        if bearer is None:
            raise Unauthenticated(
                "The token is not known, or it has expired or was revoked.", hint="Ask for a new one."
            )
        return Caller(f"token {bearer.name} ({bearer.id})", _RIGHTS[bearer.kind], bearer.scope), seen


def is_near(request: Request) -> bool:
    """Whether a request came from this machine itself, and not through a proxy that stands on it."""
    forwarded = {"forwarded", "x-forwarded-for", "x-real-ip"} & set(request.headers)
    try:
        return not forwarded and request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False
