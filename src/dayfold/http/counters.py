"""Counters over HTTP: how they stand, what is held, flushing and replaying; and adding, as the framework knows it. HTTP door.

The numbers here are of all keys, so seeing them takes an administrator.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dayfold.counterdesk import held_as_words
from dayfold.http.counting import COUNT
from dayfold.http.description import told
from dayfold.http.formats import encoded
from dayfold.http.rights import Right, needs
from dayfold.http.route import Route
from dayfold.http.service import Service, service

Found = Annotated[Service, Depends(service)]
Name = Annotated[str, Path(description="A counter.", max_length=200, examples=["api_key_usage"])]
Amounts = dict[str, int]


class LawForm(BaseModel):
    """What became of all that was added to a counter: of each total, exact."""

    counter: str
    accepted: Amounts = Field(description="Acknowledged by the live store, or imported.")
    applied: Amounts = Field(description="In the store.")
    pending: Amounts = Field(description="In the live store.")
    quarantined: Amounts = Field(description="Held.")
    lost: Amounts = Field(description="Known to be lost, and taken note of.")
    missing: Amounts = Field(description="What was accepted and is nowhere; below zero: what was never accepted.")
    lost_adds: int = Field(description="Increments that clients were told of and that are nowhere, at least.")
    vanished: int = Field(description="Shards of the live store that came back without what they held.")
    reachable: bool = Field(description="Whether the live store answered; what waits in it is not known otherwise.")
    holds: bool = Field(description="Whether nothing is missing, and no loss is new.")


class CounterForm(BaseModel):
    """How a counter stands."""

    counter: str
    live: str = Field(description="The live store.")
    keys: int = Field(description="Keys with a total.")
    pending_days: dict[str, int] = Field(description="For each day that something is pending of, how many keys.")
    held: dict[str, int] = Field(description="Rows in quarantine, by reason.")
    last_flush: str | None = Field(description="When something was applied last.")
    law: LawForm


class ProcessForm(BaseModel):
    """What this process has done with increments, since it began."""

    accepted: int
    repeated: int
    overflow: int
    waiting: int = Field(description="In the buffer now.")
    lost: int = Field(description="For which there was no room.")
    uncertain: int = Field(description="Added or not: the live store ended while they were sent.")
    failing: str = Field(description="Why the live store takes none, where it does not.")


class CounterList(BaseModel):
    """All counters."""

    counters: list[CounterForm]
    process: ProcessForm | None = Field(description="Null where this process has added nothing.")


class FlushedForm(BaseModel):
    """What a flush did to one counter."""

    counter: str
    batches: int
    rows: int = Field(description="Keys and days that were added to.")
    held: int = Field(description="Rows that went into quarantine.")
    vanished: int = Field(description="Shards that were found without what they had held.")


class FlushedList(BaseModel):
    """What a flush did."""

    flushed: list[FlushedForm]


class HeldForm(BaseModel):
    """A row that is not applied, and why."""

    id: str
    held_at: str
    reason: str
    detail: str
    day: str
    key: list[Any]
    owner: Any
    amounts: Amounts


class HeldList(BaseModel):
    """Held rows of a counter."""

    held: list[HeldForm]
    after: str | None = Field(description="Pass it as `after` for the next page.")


class ReplayedForm(BaseModel):
    """What became of held rows."""

    replayed: int
    kept: int


class Added(BaseModel):
    """What became of the increments of a request."""

    accepted: int = Field(description="In the live store.")
    repeated: int = Field(description="Those with an id that waits in the live store already; they count once.")
    buffered: int | None = Field(
        default=None, description="With 202: they wait in the server's memory for the live store, and end with it."
    )


class CountRoute(Route):
    """A route whose requests are counted, having let their sender in by the key."""

    def __init__(self, path: str, endpoint: Any, **words: Any) -> None:
        super().__init__(path, endpoint, **words)
        self.app = self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["app"].state.service.counting.answer(scope, receive, send)


router = APIRouter(prefix="/v1", tags=["counters"], route_class=Route)
adding = APIRouter(tags=["counters"], route_class=CountRoute)


def _answer(value: object) -> Response:
    return Response(encoded(value), media_type="application/json", headers={"Cache-Control": "no-store"})


@adding.post(
    COUNT, openapi_extra=needs(Right.TRACK), summary="Add to counters", response_model=Added, responses={202: {"model": Added}, **told(409)}
)  # fmt: skip
async def count() -> None:
    """One increment, or a list of at most 1,000, as JSON, gzip allowed.

    An increment has `counter`, `key` and `add`, and may have `owner`, `id` and `at`. The answer comes once all are in the live store;
    where one of them is wrong, none is added. Sending an increment again with its id is harmless.
    """


@router.get("/counters", openapi_extra=needs(Right.ADMIN), summary="All counters", response_model=CounterList)
async def counters(found: Found) -> Response:
    """How each counter stands, and whether accepted = applied + pending + quarantined."""
    desk = found.app.counters
    standing = await found.work(desk.status)
    figures = desk.figures
    process = None if figures is None else asdict(figures)
    return _answer({"counters": [one.as_words() for one in standing], "process": process})


@router.post(
    "/counters/flush", openapi_extra=needs(Right.JOBS, "counters-flush"), summary="Flush counters now", response_model=FlushedList
)  # fmt: skip
async def flush(found: Found) -> Response:
    """What waits in the live store is in the store when this is answered. Any number of flushes may run at once."""
    done = await found.work(found.app.counters.flush)
    names = ("counter", "batches", "rows", "held", "vanished")
    return _answer({"flushed": [{name: getattr(one, name) for name in names} for one in done]})


@router.get(
    "/counters/{name}/held", openapi_extra=needs(Right.ADMIN), responses=told(404), summary="Held rows", response_model=HeldList
)  # fmt: skip
async def held(
    name: Name,
    found: Found,
    limit: Annotated[int, Query(ge=1, le=1_000, description="At most so many.")] = 100,
    after: Annotated[str, Query(max_length=100, description="`after` of the page before.")] = "",
) -> Response:
    """Rows that the store, or the definitions, did not take, each with its reason."""
    rows = await found.work(found.app.counters.held, name, limit=limit, after=after)
    return _answer({"held": [held_as_words(one) for one in rows], "after": rows[-1].id if len(rows) == limit else None})


@router.post(
    "/counters/{name}/replay", openapi_extra=needs(Right.ADMIN, "counters-replay"), responses=told(404), summary="Apply held rows",
    response_model=ReplayedForm,
)  # fmt: skip
async def replay(name: Name, found: Found) -> Response:
    """Held rows that are taken by now are applied, each once, and not held any more."""
    return _answer(asdict(await found.work(found.app.counters.replay, [name])))
