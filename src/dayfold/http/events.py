"""``/v1/events`` and ``/v1/me/events``: raw events, within what the caller may see of them. HTTP door."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from dayfold.http.asked import read, takes
from dayfold.http.cache import Kept
from dayfold.http.description import told
from dayfold.http.event_stream import MEDIA_TYPE, EventStream
from dayfold.http.formats import MEDIA_TYPES, encoded
from dayfold.http.models import EventList
from dayfold.http.questions import Reading, reply
from dayfold.http.rights import Right, caller
from dayfold.http.route import QuickRoute
from dayfold.http.service import present, service
from dayfold.plan.event_reads import Wanted
from dayfold.plan.event_sieve import Sieve

router = APIRouter(prefix="/v1", tags=["events"], responses=told(404), route_class=QuickRoute)
_RENAMED = {"from": "since", "to": "until", "after": "after", "limit": "events"}


async def _answer(request: Request, **more: Any) -> Response:
    app, scope, said = present(request).app, caller(request).raw_scope, read(request)
    words = {("from_" if name == "from" else name): value for name, value in said.items()}

    def compute() -> Kept:
        found = app.events(**words, **more, scope=scope)
        return Kept.of(encoded(found.as_object()), MEDIA_TYPES["json"])

    return await reply(request, service(request), Reading(None, compute))


@router.get(
    "/events", summary="Raw events", response_model=EventList,
    openapi_extra=takes(Right.READ, "entity_type", "entity_id", "event_type", "actor", "session", renamed=_RENAMED),
)  # fmt: skip
async def events(request: Request) -> Response:
    """Events as they were kept, the newest first; a page goes on after an event, so that those that arrive meanwhile move nothing.

    A caller of whom rows are kept sees the events whose entities are theirs. Who somebody is, and what they wrote, is shown to callers
    who may see personal data.
    """
    return await _answer(request)


_STREAM = {**told(429), 200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}}


@router.get(
    "/events/stream", summary="Events as they come in", response_class=Response, responses=_STREAM,
    openapi_extra=takes(Right.READ, "entity_type", "entity_id", "event_type"),
)  # fmt: skip
async def stream(request: Request) -> Response:
    """Server-sent events: what is new in the log, moments after its sender was answered, as `/v1/events` shows it to this caller.

    A message `events` is a list, the oldest first. Whoever reads too slowly gets `dropped` with the count of what they missed, and
    whoever may not see them any more gets `end`; the stream ends then. Where several processes serve one store, each streams what it
    took in itself, as `hello` says.
    """
    now, who, said, found = present(request), caller(request), read(request), service(request)
    scope = who.raw_scope
    now.app.catalog.check()
    entities = now.app.catalog.entities.types
    wanted = Wanted.parse(entities, **said, today=now.today, scope=scope)
    opened = found.streams.open((who.name, scope.mark), Sieve.of(entities, wanted, scope), personal=scope.personal)
    # A file has one owner.
    return EventStream(request, found.streams, opened, is_whole=now.app.databases.store.journal is not None)


@router.get(
    "/me/events", summary="Your own events", response_model=EventList,
    openapi_extra=takes(Right.SELF, "event_type", "session", renamed=_RENAMED),
)  # fmt: skip
async def my_events(request: Request) -> Response:
    """All events of the actor that a signed token of your product names as its subject, whatever else the token claims.

    Those that the actor's browsers sent while nobody was signed in are among them, where nobody else signed in there.
    """
    return await _answer(request, actor=caller(request).subject, own=True)
