"""What a route asks of its caller, and who a caller is. HTTP door.

Invariant: a route that does not say what it asks for is refused to everybody (`dayfold.http.route.admit`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, cast

from fastapi import Request

from dayfold.errors import Forbidden
from dayfold.plan.access import EVERYTHING, Grant, Scope

#: Where a route's right stands, also in the OpenAPI document.
MARK = "x-dayfold-right"
#: Where stands what the audit table calls a route's action.
AUDIT = "x-dayfold-audit"


class Right(StrEnum):
    """What a route asks for.

    ``PUBLIC``: nothing. ``KNOWN``: to be somebody, whoever it is. ``READ``: numbers, of what the caller's scope sees.
    ``JOBS``: seeing and steering jobs. ``ADMIN``:
    everything. ``TRACK``: writing events. ``CRON``: triggering one job, with the secret of outside schedulers. ``NEAR``: figures of
    the service, for a program on the same machine or an administrator. ``SELF``: what is known of oneself; only a signed token of
    one's own product says who that is.
    """

    PUBLIC = "public"
    KNOWN = "known"
    READ = "read"
    JOBS = "jobs"
    ADMIN = "admin"
    TRACK = "track"
    CRON = "cron"
    NEAR = "near"
    SELF = "self"


_RIGHTS = {right.value: right for right in Right}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: As the audit table names them: ``token dashboards (3f9a)``, ``user anna``, ``jwt``, ``cron``; never a secret.
        rights: What they may do; an administrator has them all.
        scope: What they may see.
        by_cookie: Whether a browser sent its cookie by itself, so that a change needs the CSRF token too.
        csrf: That token, of a caller who came by a cookie.
        subject: The actor that a caller is, where they came for what is known of themselves.
        grants: The accesses that they were given, also after their scope was resolved.
    """

    name: str
    rights: frozenset[Right]
    scope: Scope
    by_cookie: bool = False
    csrf: str | None = field(default=None, repr=False)
    subject: str | None = field(default=None, repr=False)
    grants: tuple[Grant, ...] = field(default=(), repr=False)

    @property
    def raw_scope(self) -> Scope:
        """What they may see of raw events: an administrator personal data too, and whoever comes for their own."""
        is_whole = Right.ADMIN in self.rights or self.subject is not None
        return replace(self.scope, personal=True, events=True) if is_whole else self.scope


def check_sees_everything(who: Caller, what: str) -> None:
    """Raise Forbidden for a caller of whom some rows or rollups are kept. ``what``: what speaks of all of them."""
    if who.scope != EVERYTHING:
        raise Forbidden(
            f"{what} speak of all rows of all rollups, and some are kept from this caller.",
            hint="Use a token without rollups and row filters.",
        )


def needs(right: Right, audit: str | None = None) -> dict[str, Any]:
    """What a route passes as ``openapi_extra`` to say what it asks for.

    Args:
        right: What the caller needs.
        audit: What the audit table calls it; every request that was let in is noted there then, with its outcome.

    >>> needs(Right.READ)
    {'x-dayfold-right': 'read'}
    >>> needs(Right.JOBS, audit="rebuild")
    {'x-dayfold-right': 'jobs', 'x-dayfold-audit': 'rebuild'}
    """
    return {MARK: right.value} | ({AUDIT: audit} if audit else {})


def action_of(route: object) -> str | None:
    """What the audit table calls a route's action, or None where it is not noted."""
    extra: dict[str, Any] = getattr(route, "openapi_extra", None) or {}
    return extra.get(AUDIT)


def name_target(request: Request, target: str) -> None:
    """The audit table says what the request was about; without this it is the path. Never a value of a row."""
    request.state.audit_target = target


def right_of(route: object) -> Right | None:
    """What a route asks for, or None where it does not say."""
    extra = getattr(route, "openapi_extra", None) or {}
    return _RIGHTS[extra[MARK]] if MARK in extra else None


def caller(request: Request) -> Caller:
    """Who was let in; a dependency of routes that look at it."""
    return cast(Caller, request.state.caller)
