"""Who is let in: finds out who asks, and whether they may. HTTP door.

Invariant: `Doorkeeper.admit` is the only place where a caller is made, and every route passes it (`dayfold.http.route.admit`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request

from dayfold.errors import Forbidden, Unauthenticated
from dayfold.http import cookies
from dayfold.http.embed import Embed
from dayfold.http.glance import Glance
from dayfold.http.opening import is_loopback
from dayfold.http.rights import Caller, Right
from dayfold.ledger import sessions, tokens
from dayfold.ledger.look import Seen
from dayfold.plan.access import EVERYTHING
from dayfold.settings_auth import AuthSettings

#: What each kind of token and user may do.
_RIGHTS = {
    "read": frozenset({Right.READ}),
    "jobs": frozenset({Right.JOBS}),
    "track": frozenset({Right.TRACK}),
    "public": frozenset({Right.TRACK}),
    # No token says which actor somebody is.
    "admin": frozenset(Right) - {Right.SELF},
}
#: What to bring for a right that a caller does not have.
_BRING = {
    Right.NEAR: "Ask from the same machine, or send the token of an administrator.",
    Right.CRON: "Send the secret of [auth] cron_secret, or the token of an administrator.",
    Right.SELF: "Send the signed token of your own product, whose sub is the actor.",
}
#: Headers of requests that somebody passed on.
_PASSED_ON = frozenset({"forwarded", "via", "x-real-ip", "x-client-ip", "x-original-host"})
NOBODY = Caller("nobody", frozenset(), EVERYTHING)


class Doorkeeper:
    """Lets callers in by what they present.

    Args:
        glance: Looks at the ledger for all who ask.
        auth: The settings.
        embed: Checks JWTs, where they are accepted.
        work: Does something of the synchronous core in a thread.
    """

    def __init__(
        self, glance: Glance, auth: AuthSettings, embed: Embed | None, work: Callable[..., Awaitable[Any]]
    ) -> None:
        self.glance = glance
        self.auth = auth
        self.embed = embed
        self.work = work
        secret = auth.cron_secret
        self._cron = _digest(secret.get_secret_value()) if secret else None

    async def admit(self, request: Request, right: Right) -> Caller:
        """Who asks, allowed to do what a route needs; the look at the ledger stands in ``request.state.seen``.

        Raises:
            Unauthenticated, Forbidden.
        """
        if right is Right.PUBLIC or (right is Right.NEAR and is_near(request)):
            return NOBODY
        found, seen = await self._who(request, right)
        request.state.seen = seen
        if right is not Right.KNOWN and right not in found.rights:
            request.state.refused = found.name
            raise Forbidden(
                f"{found.name} may not do this: it takes the right '{right}'.",
                hint=_BRING.get(right, f"Make a token for it: dayfold token create NAME --kind {right}"),
            )
        if found.by_cookie and request.method not in cookies.SAFE:
            await cookies.check_change(request, self.auth, cookies.read(request, self.auth) or "")
        return found

    async def guest(self, request: Request) -> Caller | None:
        """Whom the browser's session lets in, for pages that are open to everybody; nothing is refused here."""
        secret = cookies.read(request, self.auth)
        if secret is None:
            return None
        digest = sessions.digest(secret)
        guest = (await self.glance.look(session=digest)).guests.get(digest)
        return _signed_in(guest, secret) if guest else None

    async def _who(self, request: Request, right: Right) -> tuple[Caller, Seen]:
        header = request.headers.get("authorization")
        if header is None and right is not Right.CRON and (secret := cookies.read(request, self.auth)) is not None:
            return await self._by_cookie(secret)
        words = (header or "").split()
        if len(words) != 2 or words[0].lower() != "bearer":
            raise Unauthenticated(
                "This needs a token.",
                hint="Send it as a header: Authorization: Bearer …; `dayfold token create` makes one.",
            )
        return await self._by_bearer(words[1], right)

    async def _by_cookie(self, secret: str) -> tuple[Caller, Seen]:
        digest = sessions.digest(secret)
        seen = await self.glance.look(session=digest)
        guest = seen.guests.get(digest)
        if guest is None:
            raise Unauthenticated("The session has ended.", hint="Sign in again: /sign-in")
        return _signed_in(guest, secret), seen

    async def _by_bearer(self, secret: str, right: Right) -> tuple[Caller, Seen]:
        if self._cron is not None and hmac.compare_digest(_digest(secret), self._cron):
            return Caller("cron", frozenset({Right.CRON}), EVERYTHING), await self.glance.look()
        if self.embed is not None and secret.count(".") == 2 and right is Right.SELF:
            subject = await self.work(self.embed.subject, secret) if self.embed.asks else self.embed.subject(secret)
            return Caller("jwt", frozenset({Right.SELF}), EVERYTHING, subject=subject), await self.glance.look()
        if self.embed is not None and secret.count(".") == 2:
            scope = await self.work(self.embed.scope, secret) if self.embed.asks else self.embed.scope(secret)
            return Caller("jwt", _RIGHTS["read"], scope), await self.glance.look()
        digest = tokens.digest(secret)
        seen = await self.glance.look(digest)
        bearer = seen.bearers.get(digest)
        if bearer is None:
            raise Unauthenticated(
                "The token is not known, or it has expired or was revoked.", hint="Ask for a new one."
            )
        return Caller(f"token {bearer.name} ({bearer.id})", _RIGHTS[bearer.kind], bearer.scope), seen


def is_near(request: Request) -> bool:
    """Whether a request came from this machine itself, and not through a proxy that stands on it or a page of another site.

    A proxy says for whom it asks, or passes on the name that it was asked by; a page has made its own name lead here.
    """
    if any(name in _PASSED_ON or name.startswith("x-forwarded-") for name in request.headers):
        return False
    return is_loopback(request.client.host if request.client else "") and is_loopback(request.url.hostname or "")


def _signed_in(guest: sessions.Guest, secret: str) -> Caller:
    return Caller(f"user {guest.name}", _RIGHTS[guest.kind], guest.scope, True, cookies.csrf_token(secret))


def _digest(secret: str) -> bytes:
    """Of one length whatever the secret's, so that comparing them tells nothing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
