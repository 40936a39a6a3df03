"""Routes that answer questions: their words are read once, and their answers are kept. HTTP door.

Every answer is computed before its first byte is sent, so that none is partial.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from dayfold.http.cache import Kept, Large
from dayfold.http.formats import MEDIA_TYPES
from dayfold.http.lane import Place, address, is_ordinary
from dayfold.http.rights import caller
from dayfold.http.route import QuickRoute
from dayfold.http.service import Service, present, service
from dayfold.ledger.versions import Standing
from dayfold.plan.access import Scope
from dayfold.query.request import quarter

#: An answer is the caller's own, and is to be asked for again each time.
_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
_PRIVATE_RAW = tuple((name.lower().encode(), value.encode()) for name, value in _PRIVATE.items())
_HOW = {how: ((b"dayfold-cache", how.encode()),) for how in ("hit", "joined", "miss")}
_UNKEPT = {"Cache-Control": "no-store"}
#: A caller limited to more values than this has their questions read each time: a reading holds all of them.
_MOST_VALUES = 100


class Words:
    """All that decides an answer beside the rows of its rollup, or rollups, and the caller's scope, hashed once."""

    __slots__ = ("_asked", "_hash", "rollup")

    def __init__(self, rollup: str | tuple[str, ...], *asked: Any) -> None:
        self.rollup = rollup
        self._asked = asked
        self._hash = hash((rollup, asked))

    def standing(self, standings: Mapping[str, Standing]) -> object:
        """How the rollups stand that the answer is read from."""
        if isinstance(self.rollup, str):
            return standings.get(self.rollup)
        return tuple(standings.get(name) for name in self.rollup)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words) and (self.rollup, self._asked) == (other.rollup, other._asked)


@dataclass(frozen=True, slots=True)
class Reading:
    """A question whose words were read and checked.

    Attributes:
        words: What its answer is kept under; None: it is computed each time.
        compute: Computes it, in a thread.
        look: Looks, in a thread, at what the answer depends on beside the standing of its rollup; `compute` is given what it saw.
        is_quick: Computing it takes no longer than looking whether it is kept: it is computed each time, and has its tag all the same.
    """

    words: Words | None
    compute: Callable[..., Kept | Large]
    look: Callable[[object], Hashable] | None = None
    is_quick: bool = False


def scope_of(request: Request) -> Scope:
    """What the caller may see: the one place that routes take it from."""
    return caller(request).scope


class QuestionRoute(QuickRoute):
    """A route whose code makes a `Reading` of a request, from its address, the caller's scope and what is `present` alone.

    What equal requests read is made once in a `QUARTER` of an hour, the shortest time by which any question goes.
    """

    async def answer(self, request: Request) -> Response:
        """The answer to a request that was let in."""
        found, now, scope = service(request), present(request), request.scope
        mine = scope_of(request)
        said = (scope["path"], scope["query_string"], now.edition, quarter(now.now), mine.mark)
        reading = found.readings.get(said)
        if reading is None:
            reading = self.endpoint(request, **request.path_params)
            if is_ordinary(scope) and mine.size <= _MOST_VALUES:
                found.readings.learn(said, reading)
        answer = await reply(request, found, reading)
        if is_ordinary(scope):
            found.places.learn(address(scope), Place(self, scope["path_params"]))
        return answer


async def reply(request: Request, found: Service, reading: Reading) -> Response:
    """The answer to a question: kept under its words and the present standing of its rollup, or computed and not kept."""
    if reading.words is None:
        return _sent(await found.work(reading.compute), _UNKEPT)
    now, scope = present(request), scope_of(request)
    if reading.is_quick:
        return _tagged(request, await found.work(reading.compute), ())
    standing = reading.words.standing(request.state.seen.standings)
    seen = (await found.work(reading.look, standing),) if reading.look is not None else ()
    key = (reading.words, now.edition, now.today, scope.mark, standing, *seen)
    kept, how = await found.cache.get(key, lambda: found.work(reading.compute, *seen))
    # To limited callers it would tell that rows were published which they do not see.
    return _tagged(request, kept, () if scope.is_limited else _HOW[how])


def _tagged(request: Request, kept: Kept | Large, more: Sequence[tuple[bytes, bytes]]) -> Response:
    """An answer with its tag, or that it is as it was."""
    if isinstance(kept, Large):
        return _sent(kept, _PRIVATE)
    asked = request.headers.get("if-none-match", "")
    if asked and any(tag.strip().removeprefix("W/") in (kept.etag, "*") for tag in asked.split(",")):
        return _Ready(HTTPStatus.NOT_MODIFIED, b"", (*_PRIVATE_RAW, (b"etag", kept.etag.encode()), *more))
    return _Ready(HTTPStatus.OK, kept.body, (*_PRIVATE_RAW, *kept.headers, *more))


class _Ready(Response):
    """A response whose headers are there already: making them, as the framework's own does, takes as long as finding the answer."""

    def __init__(self, status: HTTPStatus, body: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.status_code = status.value
        self.body = body
        self.raw_headers = list(headers)
        self.background = None


def _sent(kept: Kept | Large, headers: dict[str, str]) -> Response:
    if isinstance(kept, Large):
        return StreamingResponse(iter(kept), media_type=MEDIA_TYPES[kept.form], headers=headers)
    return Response(kept.body, media_type=kept.media_type, headers=headers)
