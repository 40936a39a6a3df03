"""Routes of erasures: asking for one, and its certificate. HTTP door.

Invariant: the names of a person are in the body of one request and in one row of the ledger, until they are erased; no answer, address,
note or log has them.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from dayfold.fold.erase import MOST_NAMES, check
from dayfold.http.description import told
from dayfold.http.formats import encoded
from dayfold.http.rights import Caller, Right, caller, needs
from dayfold.http.route import Route
from dayfold.http.service import Service, service
from dayfold.http.work_forms import MOST_NUMBER, Queued
from dayfold.jobs.jobs import ERASE
from dayfold.ledger import erasures as ledger_erasures
from dayfold.ledger.persons import Person

Asker = Annotated[Caller, Depends(caller)]
Found = Annotated[Service, Depends(service)]
_Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=MOST_NAMES)]
router = APIRouter(prefix="/v1", tags=["privacy"], route_class=Route)


class ErasureAsked(BaseModel):
    """A person, by all names that are known to whoever asks."""

    model_config = ConfigDict(extra="forbid")

    actor: _Names = Field(default=[], description="Ids as events have them in `actor_id`.", examples=[["user-42"]])
    anonymous: _Names = Field(default=[], description="Ids of browsers, beside those that events link to the actor.")


class ErasureQueued(Queued):
    """An erasure that was taken on."""

    erasure: int = Field(description="Its number.", examples=[4712])
    certificate: str = Field(description="Where it is, and its certificate.", examples=["/v1/erasures/4712"])


class ErasureForm(BaseModel):
    """How an erasure stands."""

    erasure: int
    asked_at: dt.datetime
    asked_by: str
    state: str = Field(description="`asked`, `erased`, or `done` once all is folded and rewritten.", examples=["done"])
    certificate: dict[str, Any] | None = Field(description="What was searched, what was done and what was not reached.")


def _answer(value: BaseModel, status: int = 200, **headers: str) -> Response:
    content = encoded(value.model_dump(mode="json"))
    return Response(content, status, {"Cache-Control": "no-store", **headers}, "application/json")


@router.post(
    "/erasures", openapi_extra=needs(Right.ADMIN, "erase"), responses=told(409), response_model=ErasureQueued, status_code=202,
    summary="Erase a person",
)  # fmt: skip
async def ask(asked: ErasureAsked, found: Found, asker: Asker) -> Response:
    """Nothing of the person stands in the store once the run is done; cells that their events counted in are folded again."""
    given = Person.of(asked.actor, asked.anonymous)
    check(given)
    number, run_id = await found.work(_ask, found, given, asker.name)
    href = f"/v1/runs/{run_id}"
    queued = ErasureQueued(run_id=run_id, href=href, erasure=number, certificate=f"/v1/erasures/{number}")
    return _answer(queued, 202, Location=href)


def _ask(found: Service, given: Person, asked_by: str) -> tuple[int, int]:
    """The numbers of an erasure and of the run that will do it."""
    ledger = found.app.ledger
    request = {"actor": list(given.actor_ids), "anonymous": list(given.anonymous_ids)}

    def keep() -> int:
        with ledger.store.transaction() as session:
            return ledger_erasures.ask(ledger, session, request, asked_by)

    number = ledger.retried(keep)
    try:
        return number, found.desk.trigger(ERASE, {"erasure": number}, asked_by)
    except BaseException:
        with ledger.store.transaction() as session:
            ledger_erasures.forget(ledger, session, number)
        raise


@router.get(
    "/erasures/{id}", openapi_extra=needs(Right.ADMIN), responses=told(404), response_model=ErasureForm, summary="One erasure"
)  # fmt: skip
async def erasure(
    id: Annotated[int, Path(ge=1, le=MOST_NUMBER, description="The erasure's number.")], found: Found
) -> Response:
    """How far it is, and its certificate, in which names are shown by digests alone."""
    one = await found.work(_look, found, id)
    return _answer(
        ErasureForm(
            erasure=one.id, asked_at=dt.datetime.fromisoformat(one.asked_at), asked_by=one.asked_by, state=one.state,
            certificate=one.certificate,
        )
    )  # fmt: skip


def _look(found: Service, number: int) -> ledger_erasures.Erasure:
    with found.app.ledger.store.transaction(read_only=True) as session:
        return ledger_erasures.erasure(found.app.ledger, session, number)
