"""The collector's paths, as the framework knows them: for the description, and for who lists the routes. HTTP door.

Their requests are answered before the framework looks at them (`dayfold.http.straight.Straight`); these routes lead to the same code.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dayfold.collect.tracker import tracker_module, tracker_source
from dayfold.http.collector import BATCHES, EVENTS, REMARKS, SEGMENT
from dayfold.http.formats import encoded
from dayfold.http.models import LibrarySettings, SegmentTaken, Taken
from dayfold.http.rights import Right, needs
from dayfold.http.route import Route


class CollectRoute(Route):
    """A route whose requests the collector answers, having let their sender in by the write key."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **words: Any) -> None:
        super().__init__(path, endpoint, **words)
        self.app = self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["app"].state.service.collector.answer(scope, receive, send)


_SCRIPT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/javascript": {"schema": {"type": "string"}}}}}
router = APIRouter(tags=["collect"], route_class=CollectRoute)
public = APIRouter(tags=["collect"], route_class=Route)


@router.post(EVENTS, openapi_extra=needs(Right.TRACK), summary="Send events", response_model=Taken)
async def events() -> None:
    """One event, a list of them, or an object with `events`, `write_key`, `sent_at` and `token`, as JSON, gzip allowed.

    An event has `event_type` and may have `id`, `source`, `entity_type` with `entity_id`, `properties`, `session_id`, `actor` (`id`,
    `type`), `anonymous_id`, `occurred_at`, `attribution` and `page`. The answer comes once they are durable; sending an event again
    with its id is harmless. `?wait=log` waits until they are in the log, and tells what had been sent before.
    """


async def _segment() -> None:
    """A message of Segment's HTTP API; client libraries of Segment work once this server is their host."""


async def _segments() -> None:
    """Several messages of Segment's HTTP API in `batch`."""


async def _remarks() -> None:
    """What Segment's browser library tells of itself is taken and not kept."""


def _describe() -> None:
    for path, kind in SEGMENT.items():
        router.add_api_route(
            path, _segment, methods=["POST"], openapi_extra=needs(Right.TRACK), summary=f"Send a message: {kind}",
            response_model=SegmentTaken, operation_id=f"segment_{path.rpartition('/')[2]}",
        )  # fmt: skip
    for path in BATCHES:
        router.add_api_route(
            path, _segments, methods=["POST"], openapi_extra=needs(Right.TRACK), summary="Send messages",
            response_model=SegmentTaken, operation_id=f"segments_{path.rpartition('/')[2]}",
        )  # fmt: skip
    router.add_api_route(
        REMARKS,
        _remarks,
        methods=["POST"],
        openapi_extra=needs(Right.PUBLIC),
        summary="Send remarks of a library",
        response_model=SegmentTaken,
    )


_describe()


@public.get(
    "/v1/projects/{key}/settings", openapi_extra=needs(Right.PUBLIC), summary="Settings of Segment's browser library",
    response_model=LibrarySettings,
)  # fmt: skip
async def settings(request: Request, key: str) -> Response:
    """What Segment's browser library asks for first: it sends its messages to this server."""
    host = request.url.netloc
    own = {
        "apiKey": key,
        "apiHost": f"{host}/v1",
        "protocol": request.url.scheme,
        "addBundledMetadata": False,
        "type": "browser",
    }
    body = {"integrations": {"Segment.io": own}, "plan": {}, "metrics": {"sampleRate": 0}}
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"}
    return Response(encoded(body), media_type="application/json", headers=headers)


@cache
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, 9, mtime=0)


async def _script(request: Request, made: Callable[[], bytes]) -> Response:
    """A script of ours, which changes with the program only; packed where the browser takes that, to less than half."""
    is_packed = "gzip" in request.headers.get("accept-encoding", "")
    body = _packed(made()) if is_packed else made()
    mark = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {
        "ETag": mark,
        "Vary": "Accept-Encoding",
        "Cache-Control": "public, max-age=3600",
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if request.headers.get("if-none-match") == mark:
        return Response(status_code=304, headers=headers)
    return Response(
        body, media_type="text/javascript", headers=headers | ({"Content-Encoding": "gzip"} if is_packed else {})
    )


@public.get(
    "/dayfold.js", openapi_extra=needs(Right.PUBLIC), summary="The tracker", response_class=Response, responses=_SCRIPT
)
async def tracker(request: Request) -> Response:
    """The script that pages load: it sends what happens on them."""
    return await _script(request, tracker_source)


@public.get(
    "/dayfold.mjs",
    openapi_extra=needs(Right.PUBLIC),
    summary="The tracker as a module",
    response_class=Response,
    responses=_SCRIPT,
)
async def tracker_as_module(request: Request) -> Response:
    """The same for programs that import it."""
    return await _script(request, tracker_module)
