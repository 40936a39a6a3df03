"""``POST /v1/count``: increments of counters, added to the live store. HTTP door.

As busy as what is counted, so its requests are answered before the framework looks at them.

Invariant: an answer with 200 is given only once the live store has every increment of the request; a request that is refused has added
nothing. What a key holds is in no answer and no log.

Weakness: what was answered with 202 waits in this process, and ends with it.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.types import Receive, Scope, Send

from dayfold.collect.complaints import complaint
from dayfold.count.adder import Outcome
from dayfold.count.live import Add
from dayfold.errors import Busy, UnknownName, UsageError
from dayfold.http.sent import JSON, Answer, Headers, Refusal, body_of, key_of, only_post, refused, reply

if TYPE_CHECKING:
    from dayfold.http.service import Service

COUNT = "/v1/count"
#: Increments of one request.
MOST_INCREMENTS = 1_000
#: The code of an increment that is none of its counter's.
BAD = "bad-increment"
#: The kinds of tokens that count, and how such a one is made.
_KINDS = ("track", "admin")
_WAYS = "dayfold token create NAME --kind track"
_log = logging.getLogger("dayfold.count")


class Increment(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An increment as it is sent."""

    counter: str
    key: dict[str, str | int | bool]
    add: dict[str, int]
    owner: str | int | bool | None = None
    id: str | None = None
    at: str | None = None


_list = msgspec.json.Decoder(list[msgspec.Raw])
_increment = msgspec.json.Decoder(Increment)


class Counting:
    """Adds what programs count, for one service. Its methods are called on the event loop.

    Args:
        service: The serving process.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self._is_ready = False

    def start(self) -> None:
        """Ready to count, where a counter is defined. Raises MissingDriver where the live store needs a package."""
        if self.service.app.counters.is_used:
            _ = self.service.app.counters.adder
            self._is_ready = True

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer a request; with which status, 499 where nobody waited for it."""
        return await reply(
            self._answered(scope, dict(scope["headers"]), receive),
            send,
            (),
            lambda: _log.exception("increments could not be added"),
        )

    async def _answered(self, scope: Scope, headers: Headers, receive: Receive) -> Answer:
        if scope["method"] != "POST":
            return only_post()
        await self.service.keys.bearer(key_of(headers), _KINDS, "counts nothing", _WAYS)
        adds = self._read(_raws(await body_of(headers, receive, "Increments")))
        if not self._is_ready:
            await self.service.work(self.start)
        return _told(await self._added(adds))

    async def _added(self, adds: Sequence[Add]) -> list[Outcome]:
        """What became of increments; where the live store is known to be down nobody waits for it. Raises Refusal."""
        if not adds:
            return []
        app = self.service.app
        try:
            answer = asyncio.wrap_future(app.counters.offer(adds))
        except Busy:
            raise _no_room() from None
        # Longer than a caller in the same process: an answer that is no acknowledgement is worth little to a client.
        live = app.settings.live
        done, _ = await asyncio.wait([answer], timeout=max(live.timeout_s, live.patience_s))
        return answer.result() if done else [Outcome.BUFFERED] * len(adds)

    def _read(self, raws: Sequence[msgspec.Raw]) -> list[Add]:
        """The increments of a request, all of them right. Raises Refusal."""
        if not self.service.app.counters.is_used:
            raise UsageError("These definitions have no counter.", hint="Write a class of Counter in metrics.py.")
        adds: list[Add] = []
        errors: list[dict[str, Any]] = []
        for index, raw in enumerate(raws):
            try:
                adds.append(self._one(raw))
            except msgspec.ValidationError as error:
                detail = complaint(error, Increment.__struct_fields__, subject="An increment")
                errors.append({"index": index, "code": BAD, "detail": detail})
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                raise _not_json() from None
            except UsageError as error:
                code = BAD if type(error) is UsageError else error.code
                errors.append({"index": index, "code": code, "detail": error.message})
        if errors:
            raise _bad(errors, len(raws))
        return adds

    def _one(self, raw: msgspec.Raw) -> Add:
        said: Increment = _increment.decode(raw)
        counters = self.service.app.counters
        found = counters.app.catalog.counters.by_name.get(said.counter)
        if found is None:
            try:
                [found] = counters.defined([said.counter])
            except UnknownName as error:
                raise UnknownName(f"{error.message} {error.hint}") from None
        return counters.read(found, said.key, said.add, said.owner, said.at, said.id)


def _raws(body: bytes) -> list[msgspec.Raw]:
    """The increments of a body, not read yet. Raises Refusal."""
    if body.lstrip()[:1] == b"{":
        return [msgspec.Raw(body)]
    try:
        found = _list.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _not_json() from None
    if len(found) > MOST_INCREMENTS:
        detail = f"At most {MOST_INCREMENTS:,} increments are read at once."
        raise refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-long", detail, "Send less at once.")
    return found


def _not_json() -> Refusal:
    return refused(HTTPStatus.BAD_REQUEST, BAD, "The body is JSON: one increment, or a list of increments.")


def _bad(errors: Sequence[dict[str, Any]], of: int) -> Refusal:
    """The refusal of a request that has added nothing."""
    codes = {one["code"] for one in errors}
    detail = errors[0]["detail"] if of == 1 else f"Nothing was added: {len(errors)} of {of} increments cannot be."
    hint = "Mend or leave out those that 'errors' names, and send the rest again."
    return refused(
        HTTPStatus.BAD_REQUEST, codes.pop() if len(codes) == 1 else BAD, detail, "" if of == 1 else hint, errors=errors
    )


def _no_room() -> Refusal:
    return refused(
        HTTPStatus.SERVICE_UNAVAILABLE, "not-ready",
        "The live store does not answer, and there is no room to wait for it; nothing was added.", "Send them again.",
        retry_after_s=1,
    )  # fmt: skip


def _told(outcomes: Sequence[Outcome]) -> Answer:
    """What became of the increments of a request. Raises Refusal."""
    found = collections.Counter(outcomes)
    if found[Outcome.LOST]:
        raise _no_room()
    totals = {"accepted": found[Outcome.ACCEPTED], "repeated": found[Outcome.REPEATED]}
    if found[Outcome.BUFFERED]:
        totals["buffered"] = found[Outcome.BUFFERED]
    if found[Outcome.OVERFLOW]:
        why = "A sum of the live store would pass 64 bits; it was not added."
        errors = [
            {"index": index, "code": "overflow", "detail": why}
            for index, one in enumerate(outcomes)
            if one is Outcome.OVERFLOW
        ]
        detail = why if len(outcomes) == 1 else f"{len(errors)} of {len(outcomes)} increments would pass 64 bits."
        hint = "The others were added: do not send the request again. Whatever waits is applied by the next flush."
        raise refused(HTTPStatus.CONFLICT, "overflow", detail, hint, errors=errors, **totals)
    return Answer(202 if found[Outcome.BUFFERED] else 200, msgspec.json.encode(totals), (JSON,))
