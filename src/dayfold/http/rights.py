"""What a route asks of its caller, and who a caller is. HTTP door.

Invariant: a route that does not say what it asks for is refused to everybody (`dayfold.http.route.admit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from fastapi import Request

from dayfold.plan.access import Scope

#: Where a route's right stands, also in the OpenAPI document.
MARK = "x-dayfold-right"


class Right(StrEnum):
    """What a route asks for.

    ``PUBLIC``: nothing. ``READ``: numbers, of what the caller's scope sees. ``JOBS``: seeing and steering jobs. ``ADMIN``:
    everything. ``TRACK``: writing events. ``CRON``: triggering one job, with the secret of outside schedulers. ``NEAR``: figures of
    the service, for a program on the same machine or an administrator.
    """

    PUBLIC = "public"
    READ = "read"
    JOBS = "jobs"
    ADMIN = "admin"
    TRACK = "track"
    CRON = "cron"
    NEAR = "near"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: As the audit table names them: ``token dashboards (3f9a)``, ``user anna``; never a secret.
        rights: What they may do; an administrator has them all.
        scope: What they may see.
        by_cookie: Whether a browser sent its cookie by itself, so that a change needs the CSRF token too.
    """

    name: str
    rights: frozenset[Right]
    scope: Scope
    by_cookie: bool = False


def needs(right: Right) -> dict[str, Any]:
    """What a route passes as ``openapi_extra`` to say what it asks for.

    >>> needs(Right.READ)
    {'x-dayfold-right': 'read'}
    """
    return {MARK: right.value}


def right_of(route: object) -> Right | None:
    """What a route asks for, or None where it does not say."""
    extra = getattr(route, "openapi_extra", None) or {}
    return Right(extra[MARK]) if MARK in extra else None


def caller(request: Request) -> Caller:
    """Who was let in; a dependency of routes that look at it."""
    return cast(Caller, request.state.caller)
