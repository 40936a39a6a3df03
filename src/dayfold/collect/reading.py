"""Reads what clients send into events: Dayfold's own API and Segment's. Collect floor, pure.

Invariant: one event that cannot be read says so with its index, and keeps no other from being read.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from dayfold.collect.complaints import complaint
from dayfold.collect.event import Event
from dayfold.define.events import PUBLIC
from dayfold.define.types import Kind, Type
from dayfold.names import listing, suggestion

#: Bytes of one event as it was sent.
LARGEST_EVENT = 32_768
#: Events of one request.
MOST_EVENTS = 5_000
#: How deep lists and objects of properties may stand in each other, and how many properties an event has.
DEEPEST = 16
MOST_PROPERTIES = 255
#: Letters of an id, a type or a session.
LONGEST_NAME = 200
#: Letters of an address or of what a browser calls itself; what is longer is cut.
LONGEST_TEXT = 2_000
SOURCES = ("web", "server", "import")
#: Nobody's event is older, whatever the clock says.
_EARLIEST = int(dt.datetime(1990, 1, 1, tzinfo=dt.UTC).timestamp() * 1e6)
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
#: An escape of JSON; first a character that stands in two halves, then one half alone, which no text can hold.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_DIGITS = re.compile(r"-?[0-9]{1,19}")
_canonical = msgspec.json.Encoder(order="deterministic")
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])


class Unreadable(Exception):
    """What was sent is no event, or no list of them; the text says why and holds nothing of it."""


class Sender(NamedTuple):
    """What the door knows of who sends.

    Attributes:
        trust: ``public`` or ``server``.
        received_at: In microseconds.
        types: The types that may be sent; None: any.
        actor: Who is signed in, by a token that the host product signed.
        address: The IP address of a browser.
        user_agent: What a browser calls itself.
        sent_at: When the request was sent by the sender's clock, in microseconds, where it says so for all its events.
        visitor: Stands for the browser, where that keeps nothing of its own.
    """

    trust: str
    received_at: int
    types: frozenset[str] | None = None
    actor: str | None = None
    address: str | None = None
    user_agent: str | None = None
    sent_at: int | None = None
    visitor: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An event of a request that is not kept: its index, and why."""

    index: int
    code: str
    detail: str


@dataclass(slots=True)
class Batch:
    """What a request came to."""

    events: list[Event] = field(default_factory=list)
    #: The index of each event in the request.
    places: list[int] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


class Actor(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Who did it."""

    id: str | int
    type: str | None = None


class Attribution(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What brought the visitor."""

    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None
    click_id: str | None = None
    referrer: str | None = None
    landing_page: str | None = None


class Native(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event of Dayfold's own API."""

    event_type: str
    id: str | int | None = None
    source: str | None = None
    entity_type: str | None = None
    entity_id: str | int | None = None
    properties: dict[str, Any] | None = None
    session_id: str | int | None = None
    actor: Actor | None = None
    anonymous_id: str | int | None = None
    occurred_at: str | int | float | None = None
    sent_at: str | int | float | None = None
    attribution: Attribution | None = None
    page: str | None = None
    user_agent: str | None = None
    ip: str | None = None


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A request of Dayfold's own API that brings what headers cannot."""

    events: list[msgspec.Raw]
    write_key: str | None = None
    sent_at: str | int | float | None = None
    token: str | None = None
    cookieless: bool = False
    dropped: int = 0


class SegmentBatch(msgspec.Struct, rename="camel", gc=False):
    """Several messages of Segment's API."""

    batch: list[msgspec.Raw]
    write_key: str | None = None
    sent_at: str | int | float | None = None
    context: dict[str, Any] | None = None


class Segment(msgspec.Struct, rename="camel", gc=False):
    """One message of Segment's API; what it has beside these is not kept."""

    type: str | None = None
    event: str | None = None
    message_id: str | int | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    timestamp: str | int | float | None = None
    original_timestamp: str | int | float | None = None
    sent_at: str | int | float | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    name: str | None = None
    category: str | None = None
    group_id: str | int | None = None
    previous_id: str | int | None = None
    write_key: str | None = None


_FIELDS = Native.__struct_fields__
_native = msgspec.json.Decoder(Native)
_segment = msgspec.json.Decoder(Segment)
_envelope = msgspec.json.Decoder(Envelope)
_segment_batch = msgspec.json.Decoder(SegmentBatch)
#: The kinds of Segment's messages, each with the type of its events; a track brings its own.
SEGMENT_TYPES = {
    "track": None,
    "page": "page_viewed",
    "screen": "screen_viewed",
    "identify": "identified",
    "group": "grouped",
    "alias": "aliased",
}


def whole_characters(body: bytes) -> bytes:
    r"""The same JSON, in which the sign for what cannot be read stands for each half of a character.

    A page that cuts a text within an emoji sends such a half, and would lose all that it sends along.

    >>> whole_characters(rb'["\ud83d", "\ud83d\ude42", "\\ud83d"]') == rb'["\ufffd", "\ud83d\ude42", "\\ud83d"]'
    True
    """
    if _HALF.search(body) is None:
        return body
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], body)


def envelope(body: bytes) -> Envelope:
    """A request of Dayfold's own API: one event, a list of them, or an envelope around a list.

    Raises:
        Unreadable: with what was expected.

    >>> len(envelope(b'[{"event_type": "a"}, {"event_type": "b"}]').events)
    2
    """
    first = body.lstrip()[:1]
    if first == b"[":
        raws: list[msgspec.Raw] = _decoded(_raw_list.decode, body, "a list of events")
        return Envelope(raws)
    if first != b"{":
        raise Unreadable("The body is JSON: one event, a list of events, or an object with a list in 'events'.")
    if b'"events"' in body:
        try:
            return _envelope.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            # It may be one event with a property of that name.
            if b'"event_type"' not in body:
                _decoded(_envelope.decode, body, "an object with a list of events in 'events'")
    return Envelope([msgspec.Raw(body)])


def segment_batch(body: bytes) -> SegmentBatch:
    """Several messages of Segment's API. Raises Unreadable."""
    found: SegmentBatch = _decoded(_segment_batch.decode, body, "an object with a list of messages in 'batch'")
    return found


def segment_one(body: bytes) -> SegmentBatch:
    """One message of Segment's API, as a batch of one. Raises Unreadable."""
    one = _decoded(_segment.decode, body, "one message")
    return SegmentBatch([msgspec.Raw(body)], one.write_key, one.sent_at)


def _decoded(decode: Callable[[bytes], Any], body: bytes, what: str) -> Any:
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise Unreadable(
            f"The body is not {what}: {complaint(error, Envelope.__struct_fields__, subject='it')}"
        ) from None
    except UnicodeDecodeError:
        raise Unreadable("The body is not UTF-8.") from None
    except RecursionError:
        raise Unreadable("The body's lists and objects stand too deep in each other.") from None
    except msgspec.DecodeError:
        raise Unreadable("The body is not JSON.") from None


class Reader:
    """Reads events of one application. Several threads may use it.

    Args:
        entities: The columns that the application's events have.
    """

    def __init__(self, entities: Mapping[str, Type]) -> None:
        self.names = tuple(entities)
        self._columns = tuple(
            (name, type_.kind is Kind.TEXT, _CASTS[type_.kind], str(type_)) for name, type_ in entities.items()
        )
        self._named = {name.removesuffix("_id"): name for name in entities} | {name: name for name in entities}

    def native(self, raws: Sequence[msgspec.Raw], sender: Sender) -> Batch:
        """Events of Dayfold's own API."""
        return self._read(raws, sender, self._native)

    def segment(self, raws: Sequence[msgspec.Raw], sender: Sender, kind: str | None = None) -> Batch:
        """Messages of Segment's API; ``kind``: of all of them, where the address says it."""
        return self._read(raws, sender, lambda raw, who: self._segment(raw, who, kind))

    def _read(self, raws: Sequence[msgspec.Raw], sender: Sender, read: Callable[[msgspec.Raw, Sender], Event]) -> Batch:
        batch = Batch()
        for place, raw in enumerate(raws):
            try:
                data = bytes(raw)
                if len(data) > LARGEST_EVENT:
                    raise Unreadable(f"It is longer than {LARGEST_EVENT:,} bytes.")
                if b"\\u0000" in data and _NUL.search(data):
                    raise Unreadable("It has a NUL character, which no database keeps.")
                event = read(raw, sender)
            except _NotAllowed as error:
                batch.refused.append(Refused(place, "not-allowed", str(error)))
            except Unreadable as error:
                batch.refused.append(Refused(place, "bad-event", str(error)))
            except msgspec.ValidationError as error:
                batch.refused.append(Refused(place, "bad-event", complaint(error, _FIELDS, self.names)))
            except UnicodeDecodeError:
                batch.refused.append(Refused(place, "bad-event", "It is not UTF-8."))
            except RecursionError:
                batch.refused.append(Refused(place, "bad-event", "Its lists and objects stand too deep in each other."))
            except msgspec.DecodeError:
                batch.refused.append(Refused(place, "bad-event", "It is not JSON."))
            else:
                batch.events.append(event)
                batch.places.append(place)
        return batch

    def _native(self, raw: msgspec.Raw, sender: Sender) -> Event:
        said = _native.decode(raw)
        is_public = sender.trust == PUBLIC
        source = said.source
        if source is None:
            source = "web" if is_public else "server"
        elif source not in SOURCES:
            raise Unreadable(f"'source' is one of {listing(SOURCES)}{suggestion(source, SOURCES)}.")
        if is_public:
            if said.actor is not None:
                raise _NotAllowed("A public key says nothing of an actor; send the token of whoever is signed in.")
            if source != "web":
                raise _NotAllowed("What a public key sends comes from the web.")
            if said.ip is not None or said.user_agent is not None:
                raise _NotAllowed("'ip' and 'user_agent' are said by servers; a browser has its own.")
            said.user_agent, said.ip = sender.user_agent, sender.address
        return self._event(said, sender, source)

    def _segment(self, raw: msgspec.Raw, sender: Sender, kind: str | None) -> Event:
        """A message of Segment's as an event of our own."""
        said = _segment.decode(raw)
        kind = kind or said.type or ""
        if kind not in SEGMENT_TYPES:
            raise Unreadable(f"'type' is one of {listing(SEGMENT_TYPES)}{suggestion(kind, SEGMENT_TYPES)}.")
        event_type = SEGMENT_TYPES[kind] or said.event
        if not event_type:
            raise Unreadable("A track has an 'event'.")
        context = said.context or {}
        properties = dict(said.properties or {})
        if kind in ("identify", "group"):
            properties |= said.traits or {}
        if said.group_id is not None:
            properties.setdefault("group_id", said.group_id)
        for name, value in (("name", said.name), ("category", said.category)):
            if value is not None and kind in ("page", "screen"):
                properties.setdefault(name, value)
        # A public key's word on who somebody is, is anybody's word.
        is_public = sender.trust == PUBLIC
        known = not is_public and said.user_id is not None and said.user_id != ""
        page = context.get("page")
        page = page if isinstance(page, dict) else {}
        campaign = context.get("campaign")
        campaign = campaign if isinstance(campaign, dict) else {}
        is_page = kind == "page"
        agent = _text_of(context.get("userAgent"))
        as_native = Native(
            event_type,
            said.message_id,
            properties=properties,
            session_id=_text_of(context.get("sessionId")),
            actor=Actor(said.user_id) if known and said.user_id is not None else None,
            anonymous_id=said.previous_id if kind == "alias" and said.anonymous_id is None else said.anonymous_id,
            occurred_at=said.original_timestamp if said.original_timestamp is not None else said.timestamp,
            sent_at=said.sent_at,
            attribution=Attribution(
                utm_source=_text_of(campaign.get("source")),
                utm_medium=_text_of(campaign.get("medium")),
                utm_campaign=_text_of(campaign.get("name")),
                utm_term=_text_of(campaign.get("term")),
                utm_content=_text_of(campaign.get("content")),
                referrer=_first_text(page.get("referrer"), properties.get("referrer") if is_page else None),
            ),
            page=_first_text(page.get("url"), properties.get("url") if is_page else None),
            user_agent=agent or sender.user_agent if is_public else agent,
            ip=sender.address if is_public else _text_of(context.get("ip")),
        )
        return self._event(as_native, sender, "web" if is_public else "server", context)

    def _event(self, said: Native, sender: Sender, source: str, context: Mapping[str, Any] | None = None) -> Event:
        """An event as it is made of what was said and of who said it."""
        event_type = said.event_type
        if not event_type or len(event_type) > LONGEST_NAME:
            raise Unreadable(f"The type of an event has 1 to {LONGEST_NAME} letters.")
        if sender.types is not None and event_type not in sender.types:
            raise _NotAllowed(
                f"This key does not send '{event_type}'{suggestion(event_type, sender.types)}; it may send "
                f"{listing(sorted(sender.types))}."
            )
        properties = said.properties
        if properties:
            text = _canonical.encode(properties)
            _check_properties(properties, text)
        else:
            properties, text = {}, b"{}"
        actor_id, actor_type = None, None
        if said.actor is not None:
            actor_id, actor_type = _name(said.actor.id, "the actor's id"), said.actor.type
        anonymous_id = _name(said.anonymous_id, "anonymous_id")
        session_id = _name(said.session_id, "session_id")
        received_at = occurred_at = sender.received_at
        sent_at = sender.sent_at if said.sent_at is None else moment(said.sent_at, "sent_at")
        original = None
        if said.occurred_at is not None:
            original = occurred_at = moment(said.occurred_at, "occurred_at")
            if sent_at is not None:
                occurred_at += received_at - sent_at
            # Nothing is received before it happens; a clock that says so is wrong.
            occurred_at = min(occurred_at, received_at)
            if occurred_at < _EARLIEST:
                raise Unreadable("'occurred_at' is before 1990.")
        entity = None
        if said.entity_type is not None or said.entity_id is not None:
            entity = self._entity(said)
        # All that its sender decided, and nothing that another sending of the same event may say otherwise.
        words = "\x1f".join(
            (
                source,
                event_type,
                f"{said.occurred_at}{entity}",
                actor_id or "",
                actor_type or "",
                anonymous_id or "",
                session_id or "",
            )
        )
        if said.attribution is not None:
            words += repr(said.attribution)
        digest = hashlib.blake2b(text + words.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        # A repetition may come without the token, or on another day: neither makes another event of it.
        actor_id, anonymous_id = sender.actor or actor_id, sender.visitor or anonymous_id
        event = Event(
            _id(said.id, received_at), event_type, occurred_at, received_at, int.from_bytes(digest, "big", signed=True), sender.trust,
            source, text.decode(), properties, entity, self._entities(properties, entity, context), sent_at, original,
            actor_type or ("user" if actor_id else None), actor_id, anonymous_id, session_id,
        )  # fmt: skip
        if said.attribution is not None:
            _attribute(event, said.attribution)
        event.page, event.user_agent, event.address = _cut(said.page), _cut(said.user_agent), said.ip
        if context:
            event.context = {name: context[name] for name in self.names if context.get(name) is not None}
        return event

    def _entity(self, said: Native) -> tuple[str, str]:
        """What an event is about, as its sender names it."""
        name = said.entity_type
        if name is None or said.entity_id is None:
            raise Unreadable("'entity_type' and 'entity_id' belong together.")
        if name not in self._named:
            raise self._no_entity(name)
        return name, _name(said.entity_id, "entity_id") or ""

    def _no_entity(self, name: str) -> Unreadable:
        known = suggestion(name, self._named) or f"; events.columns(…) declares {listing(self.names)}"
        return Unreadable(f"There is no entity '{name[:LONGEST_NAME]}'{known}.")

    def _entities(
        self, properties: Mapping[str, Any], entity: tuple[str, str] | None, context: Mapping[str, Any] | None
    ) -> tuple[Any, ...]:
        found: list[Any] = []
        about = self._named[entity[0]] if entity is not None else None
        for name, is_text, cast, type_ in self._columns:
            value = entity[1] if entity is not None and name == about else properties.get(name)
            if value is None:
                value = context.get(name) if context is not None else None
                if value is None:
                    found.append(None)
                    continue
            if not (is_text and value.__class__ is str and len(value) <= LONGEST_NAME):
                try:
                    value = cast(value)
                except (ValueError, TypeError):
                    raise Unreadable(f"'{name}' is not of the type {type_}.") from None
            found.append(value)
        return tuple(found)

    def entities_of(self, event: Event) -> tuple[Any, ...]:
        """The values of the declared columns of an event that was read earlier. Raises Unreadable."""
        if event.entity is not None and event.entity[0] not in self._named:
            raise self._no_entity(event.entity[0])
        return self._entities(event.props, event.entity, event.context)


def _attribute(event: Event, said: Attribution) -> None:
    event.utm_source, event.utm_medium = _cut(said.utm_source), _cut(said.utm_medium)
    event.utm_campaign, event.utm_term = _cut(said.utm_campaign), _cut(said.utm_term)
    event.utm_content, event.click_id = _cut(said.utm_content), _cut(said.click_id)
    event.referrer, event.landing_page = _cut(said.referrer), _cut(said.landing_page)


class _NotAllowed(Unreadable):
    """The sender may not send this."""


def _check_properties(properties: Mapping[str, Any], text: bytes) -> None:
    if len(properties) > MOST_PROPERTIES:
        raise Unreadable(f"It has more than {MOST_PROPERTIES} properties.")
    if (b"[" in text or text.count(b"{") > 1) and not _is_shallow(properties, DEEPEST):
        raise Unreadable(f"Its properties stand more than {DEEPEST} deep in each other.")


def _is_shallow(value: Any, left: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return left > 0 and all(_is_shallow(one, left - 1) for one in inner)


def moment(value: str | float, name: str) -> int:
    """A moment in microseconds, from ISO text (UTC where it names no zone) or milliseconds since 1970. Raises Unreadable.

    >>> moment("2026-03-09T12:00:00.5Z", "occurred_at") == moment(1773057600500, "occurred_at")
    True
    """
    try:
        if isinstance(value, str):
            found = dt.datetime.fromisoformat(value)
            found = found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found
            since = found - _EPOCH
            return since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds
        micros = round(value * 1000)
        _EPOCH + dt.timedelta(microseconds=micros)
        return micros
    except (ValueError, OverflowError):
        raise Unreadable(
            f"'{name}' is a moment as ISO 8601 text, or a number of milliseconds since 1970-01-01 UTC."
        ) from None


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def uuid_of(text: str) -> str:
    """The id of an event in the log: a UUID as it is, any other text as one made of it.

    >>> uuid_of("0C9D1D0E-7F6B-4A0E-9D55-3F8F3B0E7A11")
    '0c9d1d0e-7f6b-4a0e-9d55-3f8f3b0e7a11'
    >>> uuid_of("order-17-paid") == uuid_of("order-17-paid")
    True
    """
    return text.lower() if _UUID.fullmatch(text) else _made(text.encode())


def _made(data: bytes) -> str:
    made = hashlib.blake2b(data, digest_size=16, person=b"dayfold-event-id").hexdigest()
    # Marked as a UUID whose maker decides what it holds (RFC 9562, version 8).
    return f"{made[:8]}-{made[8:12]}-8{made[13:16]}-a{made[17:20]}-{made[20:]}"


def new_id(now: int) -> str:
    """A new id that stands near those of the same time (RFC 9562, version 7); ``now`` in microseconds."""
    made = f"{now // 1000:012x}{os.urandom(10).hex()}"
    return f"{made[:8]}-{made[8:12]}-7{made[13:16]}-a{made[17:20]}-{made[20:]}"


def _id(given: str | int | None, received_at: int) -> str:
    """Without an id of its own, an event sent twice is two events: nothing tells them from two that are alike."""
    if given is None:
        return new_id(received_at)
    text = given if isinstance(given, str) else str(given)
    if not text or len(text) > LONGEST_NAME:
        raise Unreadable(f"An id has 1 to {LONGEST_NAME} letters.")
    return uuid_of(text)


def _name(value: str | int | None, name: str) -> str | None:
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else str(value)
    if len(text) > LONGEST_NAME:
        raise Unreadable(f"'{name}' has at most {LONGEST_NAME} letters.")
    return text


def _cut(text: str | None) -> str | None:
    return text[:LONGEST_TEXT] if text else None


def _text_of(value: object) -> str | None:
    if isinstance(value, str):
        return value[:LONGEST_TEXT] or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _first_text(*values: object) -> str | None:
    return next((found for found in map(_text_of, values) if found), None)


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    number = int(value) if isinstance(value, int) or (isinstance(value, str) and _DIGITS.fullmatch(value)) else None
    if number is None and isinstance(value, float) and value.is_integer():
        number = int(value)
    if number is None or not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _identifier(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > LONGEST_NAME:
        raise ValueError
    return str(value)


def _uuid_value(value: Any) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError
    return value.lower()


def _date_value(value: Any) -> str:
    """A date as ISO text: whatever an event holds stays the same in a journal."""
    return dt.date.fromisoformat(value).isoformat()


def _truth(value: Any) -> bool:
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise ValueError


_CASTS: dict[Kind, Callable[[Any], Any]] = {
    Kind.TEXT: _identifier,
    Kind.INT: _whole,
    Kind.UUID: _uuid_value,
    Kind.BOOL: _truth,
    Kind.DATE: _date_value,
}
