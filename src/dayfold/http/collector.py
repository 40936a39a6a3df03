"""The collector: what clients send becomes events of the log. HTTP door.

Dayfold's own ``POST /v1/events`` and Segment's HTTP API. These are the busiest paths of a server, so their requests are answered before
the framework looks at them, through the same doorkeeper's words: a key lets in whoever sends events, and nobody else.

Invariant: an answer with 200 is given only once the events are durable. What a request holds is in no log.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import datetime as dt
import functools
import hashlib
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.types import Receive, Scope, Send

from dayfold.collect import reading
from dayfold.collect.enrich import Enricher, open_enricher
from dayfold.collect.intake import Held, Intake, Record, Ticket
from dayfold.collect.limiting import Allowance, Limiter
from dayfold.collect.reading import Batch, Reader, Sender, Unreadable
from dayfold.define.events import PUBLIC, PUBLIC_TYPES, SERVER
from dayfold.errors import AccessRefused, Busy, Forbidden, TooMany, UsageError
from dayfold.http import problems
from dayfold.http.sent import JSON, Answer, Headers, Refusal, answer_of, body_of, key_of, only_post, refused, reply
from dayfold.ledger import intake as counts
from dayfold.ledger import quarantine
from dayfold.ledger.events import Outcome
from dayfold.ledger.tokens import Bearer
from dayfold.memo import Memo

if TYPE_CHECKING:
    from dayfold.app import Dayfold
    from dayfold.http.service import Service

#: Events that a browser says it lost in one request, at most: more is no number that a browser could have kept.
_MOST_LOST = 100_000
#: Seconds that a request waits until its events are safe; or in the log, where it asks for that.
_PATIENCE_S = 20.0
#: Where more waits for the log than there is room for: how many requests wait for some, for how long, and how often they look.
_HELD_UP, _ROOM_S, _LOOK_S = 256, 2.0, 0.02
_log = logging.getLogger("dayfold.collect")
#: Segment's paths, each with the kind of message that it takes; the short ones are the browser library's.
SEGMENT = {
    "/v1/track": "track", "/v1/page": "page", "/v1/screen": "screen", "/v1/identify": "identify", "/v1/group": "group",
    "/v1/alias": "alias", "/v1/t": "track", "/v1/p": "page", "/v1/s": "screen", "/v1/i": "identify", "/v1/g": "group",
    "/v1/a": "alias",
}  # fmt: skip
BATCHES = ("/v1/batch", "/v1/b", "/v1/import")
EVENTS = "/v1/events"
#: Where the browser library tells of its own errors, without a key; they are taken and dropped.
REMARKS = "/v1/m"
_PATHS = frozenset({*SEGMENT, *BATCHES, REMARKS})
#: What else stands in an address is looked at on the long way, which leads to the collector too.
_QUERIES = (b"", b"wait=log")
#: The kinds of tokens that send events, and how such a one is made.
_KINDS = ("track", "public", "admin")
_WAYS = "dayfold token create NAME --kind track, or --kind public for pages."
_SEGMENT_OK = b'{"success":true}'


class Collector:
    """Takes events in for one service. Its methods are called on the event loop.

    Args:
        service: The serving process.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.limiter = Limiter(service.app.settings.collect.per_minute)
        self._salts: Memo[dt.date, str] = Memo(3)
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Requests that wait for room.
        self._held_up = 0
        self._is_started = False
        self.intake: Intake | None = None
        self.use(service.app)

    def use(self, app: Dayfold) -> None:
        """From now on events are read by these definitions."""
        if self.intake is not None:
            app.event_log.redefine()
        elif self._is_started and app.event_log.is_used:
            self.intake = app.event_log.open(self._tell, self.service.streams)
        self.app = app
        self.reader = Reader(app.catalog.entities.types)
        self.types = app.catalog.event_types
        self.enricher: Enricher = open_enricher(app.settings.collect)
        if app.event_log.is_used:
            self.enricher.prepare()

    def start(self) -> None:
        """Ready for events: the lists are read, and the log is there."""
        self._is_started = True
        if self.app.event_log.is_used and self.intake is None:
            self.intake = self.app.event_log.open(self._tell, self.service.streams)

    def stop(self) -> None:
        """No events are taken any more, and those that were are in the log, or in the journal."""
        self.app.event_log.close()

    # -- one request -----------------------------------------------------------------------------

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer a request to one of the collector's paths; with which status, 499 where nobody waited for it."""
        self._loop = asyncio.get_running_loop()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin = headers.get(b"origin")
        cors = () if origin is None else ((b"access-control-allow-origin", origin), (b"vary", b"Origin"), _EXPOSED)
        return await reply(
            self._answered(scope, headers, receive),
            send,
            cors,
            lambda: _log.exception("a request of the collector failed"),
        )

    async def _answered(self, scope: Scope, headers: Headers, receive: Receive) -> Answer:
        if scope["method"] == "OPTIONS":
            return Answer(204, b"", _PREFLIGHT)
        return await self._taken(scope, headers, receive) if scope["method"] == "POST" else only_post()

    async def _taken(self, scope: Scope, headers: Headers, receive: Receive) -> Answer:
        path = scope["path"]
        if path == REMARKS:
            await body_of(headers, receive, "Events")
            return Answer(200, _SEGMENT_OK, (JSON,))
        key = key_of(headers)
        bearer = await self._bearer(key) if key or b"authorization" in headers else None
        body = reading.whole_characters(await body_of(headers, receive, "Events"))
        is_native = path == EVENTS
        try:
            request: reading.Envelope | reading.SegmentBatch
            if is_native:
                request = reading.envelope(body)
                raws = request.events
            else:
                request = reading.segment_batch(body) if path in BATCHES else reading.segment_one(body)
                raws = request.batch
            sent_at = None if request.sent_at is None else reading.moment(request.sent_at, "sent_at")
        except Unreadable as error:
            if bearer is None:
                await self._bearer(None)
            raise refused(HTTPStatus.BAD_REQUEST, "bad-event", str(error)) from None
        if len(raws) > reading.MOST_EVENTS:
            raise refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too-long",
                f"At most {reading.MOST_EVENTS:,} events are read at once.",
            )
        if bearer is None:
            bearer = await self._bearer(request.write_key)
        if self.intake is None:
            raise UsageError(
                "These definitions say nothing of events, so none are collected.",
                hint="Say events.columns() in metrics.py, or fold a rollup from events.",
            )
        is_public = bearer.kind == "public"
        if is_public:
            self._check_origin(bearer, headers.get(b"origin"))
            if headers.get(b"dnt") == b"1" or headers.get(b"sec-gpc") == b"1":
                self.intake.note("ignored", len(raws))
                return _kept(is_native, {"ignored": len(raws)}, ())
        if isinstance(request, reading.Envelope) and 0 < request.dropped < _MOST_LOST:
            self.intake.note("lost", request.dropped)
        sender, why = await self._sender(scope, headers, bearer, request, sent_at)
        batch = self.reader.native(raws, sender) if is_native else self.reader.segment(raws, sender, SEGMENT.get(path))
        limited: tuple[tuple[bytes, bytes], ...] = ()
        if is_public and self.limiter.per_minute and batch.events:
            limited = self._limited(batch, sender)
        return await self._keep(batch, len(body), is_native, b"wait=log" in scope["query_string"], limited, why)

    def _limited(self, batch: Batch, sender: Sender) -> tuple[tuple[bytes, bytes], ...]:
        """The headers that tell a visitor what is left; raises TooMany with them where nothing is."""
        first = batch.events[0]
        # Each kind apart: whoever calls themselves by an actor's id uses up nothing of theirs.
        visitor = next(
            (kind, name)
            for kind, name in (("actor", sender.actor), ("browser", first.anonymous_id), ("", sender.address or ""))
            if name is not None
        )
        allowance = self.limiter.take(visitor, len(batch.events), time.monotonic())
        headers = _allowance(allowance, self.limiter.per_minute)
        if not allowance.is_let:
            assert self.intake is not None
            self.intake.note("limited", len(batch.events))
            error = TooMany(
                "This visitor has sent too many events.", retry_after_s=allowance.wait_s, hint="Send them again later."
            )
            refusal = answer_of(problems.of_error(error, is_known=False))
            raise Refusal(Answer(refusal.status, refusal.body, (*refusal.headers, *headers)))
        return headers

    async def _keep(
        self,
        batch: Batch,
        size: int,
        is_native: bool,
        waits: bool,
        headers: tuple[tuple[bytes, bytes], ...],
        token_refused: str,
    ) -> Answer:
        """The events are durable, and what became of them is told."""
        self.enricher.fill(batch.events)
        events, held, errors = self._sorted(batch)
        totals: dict[str, int | str] = {"quarantined": len(held)}
        if batch.refused:
            assert self.intake is not None
            self.intake.note("refused", len(batch.refused))
        record = Record(self.reader.names, events, held)
        if events or held:
            ticket = await self._settled(Ticket(record, size, waits=waits))
            if waits and ticket.outcomes is not None:
                found = collections.Counter(ticket.outcomes)
                totals |= {
                    "accepted": found[Outcome.ACCEPTED],
                    "repeated": found[Outcome.REPEATED],
                    "conflicts": found[Outcome.CONFLICT],
                }
            else:
                totals["accepted"] = len(events)
        elif errors:
            detail = errors[0]["detail"] if len(errors) == 1 else f"None of the {len(errors)} events can be kept."
            response = problems.problem(HTTPStatus.BAD_REQUEST, errors[0]["code"], detail, errors=errors)
            raise Refusal(answer_of(response))
        if token_refused:
            return _kept(is_native, {**totals, "token_refused": token_refused}, errors, headers)
        return _kept(is_native, totals, errors, headers)

    def _sorted(self, batch: Batch) -> tuple[list[Any], list[Held], list[dict[str, Any]]]:
        """What is written, what is held back, and what is told of those that are not written."""
        errors = [{"index": one.index, "code": one.code, "detail": one.detail} for one in batch.refused]
        events, held = batch.events, []
        if self.types.families:
            events = []
            for place, event in zip(batch.places, batch.events, strict=True):
                complaint = self.types.complaint(event.event_type, event.props)
                if complaint is None:
                    events.append(event)
                else:
                    held.append(Held(reading.new_id(event.received_at), quarantine.UNDECLARED, complaint, event))
                    errors.append({"index": place, "code": "quarantined", "detail": complaint})
        for event in batch.events:
            # The text is what is kept of it.
            event.props = {}
        return events, held, errors

    async def _settled(self, ticket: Ticket) -> Ticket:
        assert self._loop is not None
        assert self.intake is not None
        if not self.intake.has_room(ticket.size) and self._held_up < _HELD_UP:
            # A sender who waits for an answer sends no more meanwhile, so that the log keeps up without refusing anybody.
            self._held_up += 1
            try:
                until = self._loop.time() + _ROOM_S
                while not self.intake.has_room(ticket.size) and self._loop.time() < until:
                    await asyncio.sleep(_LOOK_S)
            finally:
                self._held_up -= 1
        ticket.waiter = self._loop.create_future()
        try:
            self.intake.offer(ticket)
        except Busy as error:
            raise TooMany(error.message, retry_after_s=1, hint=error.hint) from None
        patience = self._loop.call_later(_PATIENCE_S, _give_up, ticket.waiter)
        try:
            await ticket.waiter
        except TimeoutError:
            raise _unavailable(
                "The events are not written yet; whether they are, shows when they are sent again."
            ) from None
        finally:
            patience.cancel()
        if ticket.error is not None:
            raise _unavailable("The events could not be written.") from None
        return ticket

    def _tell(self, tickets: list[Ticket]) -> None:
        """Tickets are settled; called in a thread of the intake's."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(_wake, tickets)

    # -- who sends -------------------------------------------------------------------------------

    async def _bearer(self, key: str | None) -> Bearer:
        """Whom the key of a request lets in, to send events."""
        return await self.service.keys.bearer(key, _KINDS, "sends no events", _WAYS)

    def _check_origin(self, bearer: Bearer, origin: bytes | None) -> None:
        allowed = bearer.limits.origins
        if allowed is None or (origin or b"").decode("latin-1").lower() in allowed:
            return
        if origin is None:
            raise Forbidden(
                "This key is for pages of certain origins, and the request names none, as only a browser does.",
                hint="Try it from a page or with the header Origin; servers send with a key of the kind track.",
            )
        raise Forbidden("This key is not for pages of this origin.", hint="Make one with --origin for it.")

    async def _sender(
        self,
        scope: Scope,
        headers: Headers,
        bearer: Bearer,
        request: reading.Envelope | reading.SegmentBatch,
        sent_at: int | None,
    ) -> tuple[Sender, str]:
        """Who sends, and why the token of whoever is signed in is not believed, where it is not."""
        received_at = self.app.clock.now()
        micros = int(received_at.timestamp() * 1_000_000)
        if bearer.kind != "public":
            return Sender(SERVER, micros, sent_at=sent_at), ""
        envelope = request if isinstance(request, reading.Envelope) else None
        token = (envelope.token if envelope else None) or headers.get(b"x-dayfold-actor", b"").decode("latin-1")
        actor, why = None, ""
        if token:
            try:
                actor = await self._actor(token)
            except AccessRefused as error:
                # What happened did happen; only by whom is not known.
                why = error.message
        address = (scope.get("client") or ("",))[0] or None
        agent = headers.get(b"user-agent", b"").decode("utf-8", "replace")[: reading.LONGEST_TEXT] or None
        visitor = None
        if envelope is not None and envelope.cookieless:
            visitor = await self._visitor(received_at.date(), bearer, address, agent)
        types = PUBLIC_TYPES if bearer.limits.types is None else frozenset(bearer.limits.types)
        return Sender(PUBLIC, micros, types, actor, address, agent, sent_at, visitor), why

    async def _actor(self, token: str) -> str:
        """Who is signed in at the host product, by its own signed word."""
        embed = self.service.doorkeeper.embed
        if embed is None:
            raise Forbidden("No tokens of another product are accepted here.", hint="Configure [auth.jwt].")
        return await self.service.work(embed.subject, token) if embed.asks else embed.subject(token)

    async def _visitor(self, day: dt.date, bearer: Bearer, address: str | None, agent: str | None) -> str:
        """Stands for a browser that keeps nothing, for one day: nobody can tell of two days whether they were the same."""
        salt = self._salts.get(day)
        if salt is None:
            salt = await self.service.work(counts.salt, self.app.ledger, day)
            self._salts.learn(day, salt)
        words = "\0".join((bearer.id, address or "", agent or ""))
        return hashlib.blake2b(words.encode(), key=salt.encode()[:64], digest_size=16).hexdigest()


_PREFLIGHT = (
    (b"access-control-allow-methods", b"POST"),
    # Whatever a library adds, as Segment's does when it tries again: no cookie ever comes along.
    (
        b"access-control-allow-headers",
        b"authorization, content-type, content-encoding, x-dayfold-actor, x-retry-count, *",
    ),
    (b"access-control-max-age", b"86400"),
)
_EXPOSED = (b"access-control-expose-headers", b"retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset")


def is_collected(scope: Scope) -> bool:
    """Whether a request is one that the collector answers."""
    path = scope["path"]
    return scope["query_string"] in _QUERIES and (
        path in _PATHS or (path == EVENTS and scope["method"] in ("POST", "OPTIONS"))
    )


def _give_up(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


def _wake(tickets: list[Ticket]) -> None:
    for one in tickets:
        if one.waiter is not None and not one.waiter.done():
            one.waiter.set_result(None)


def _kept(
    is_native: bool,
    totals: Mapping[str, int | str],
    errors: Any,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Answer:
    if not errors:
        return Answer(200, _all_kept(tuple(totals.items())) if is_native else _SEGMENT_OK, (JSON, *headers))
    body = {} if is_native else {"success": True}
    return Answer(200, msgspec.json.encode({**body, **_NOTHING, **totals, "errors": list(errors)}), (JSON, *headers))


_NOTHING = dict.fromkeys(("accepted", "quarantined", "ignored"), 0)


@functools.lru_cache(1_000)
def _all_kept(totals: tuple[tuple[str, int | str], ...]) -> bytes:
    """Nearly every request is answered with one of a few texts."""
    return msgspec.json.encode({**_NOTHING, **dict(totals), "errors": []})


def _allowance(found: Allowance, limit: int) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"ratelimit-limit", str(limit).encode()),
        (b"ratelimit-remaining", str(found.left).encode()),
        (b"ratelimit-reset", str(found.full_s).encode()),
    )


def _unavailable(detail: str) -> Refusal:
    hint = "Send them again, with the same ids."
    return refused(HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", detail, hint, retry_after_s=1)
