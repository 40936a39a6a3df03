"""Dayfold's own way to send events, and what becomes of them: each once, on its day, or refused by its index."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dayfold import events
from tests.engines.ground import NOW, Ground
from tests.http.gathering import ADDRESS, AGENT, Gathering, ago, kept
from tests.http.site import problem

Make = Callable[..., Gathering]
ID = "0c9d1d0e-7f6b-4a0e-9d55-3f8f3b0e7a11"
LICENCE = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
VIEW = {"event_type": "asset_viewed"}


@pytest.fixture
def gathering(store: Ground) -> Iterator[Gathering]:
    """A collector, on each engine."""
    with Gathering(store) as found:
        yield found


@pytest.fixture
def make(duck: Ground) -> Iterator[Make]:
    """Makes a collector on DuckDB, with more definitions and settings."""
    with ExitStack() as stack:
        yield lambda *definitions, **settings: stack.enter_context(Gathering(duck, *definitions, **settings))


@pytest.fixture
def here(make: Make) -> Gathering:
    """A collector on DuckDB."""
    return make()


# -- what an event holds -----------------------------------------------------------------------------


def test_one_a_list_and_an_envelope(gathering: Gathering) -> None:
    """All three are read, as JSON or as text, packed or not; the answer counts."""
    assert gathering.post(VIEW).json() == kept(1)
    assert gathering.post([VIEW, VIEW]).json() == kept(2)
    assert gathering.post([]).json() == kept()
    assert gathering.post({"events": [VIEW]}, content_type="text/plain;charset=UTF-8").json() == kept(1)
    packed = gzip.compress(json.dumps([VIEW]).encode())
    assert gathering.post(packed, content_encoding="gzip").json() == kept(1)
    assert gathering.post(packed).json() == kept(1), "a proxy may drop the header"
    assert gathering.post({"events": [VIEW], "write_key": gathering.server}, key=None).json() == kept(1)
    assert len(gathering.rows("id")) == 7


def test_every_field(gathering: Gathering) -> None:
    """What was sent is what is kept; the IP address is in nothing."""
    told = {
        "id": ID.upper(), "event_type": "asset_viewed", "source": "import", "entity_type": "project_id", "entity_id": "p-1",
        "properties": {"asset_id": "12", "licence_id": LICENCE.upper(), "is_trial": True, "due_on": "2026-04-01", "cents": 5},
        "session_id": "s-1", "actor": {"type": "member", "id": 17}, "anonymous_id": "b-1", "occurred_at": ago(days=2),
        "attribution": {
            "utm_source": "news", "utm_medium": "email", "utm_campaign": "spring", "utm_term": "t", "utm_content": "c",
            "click_id": "gclid:1", "referrer": "https://www.google.com/", "landing_page": "https://shop.example/l",
        },
        "page": "https://shop.example/a", "user_agent": AGENT, "ip": "198.51.100.7",
    }  # fmt: skip
    assert gathering.send(told) == kept(1, repeated=0, conflicts=0)
    [row] = gathering.rows(
        "cast(id as text), event_type, source, trust, project_id, asset_id, cast(licence_id as text), is_trial, cast(due_on as text), "
        "session_id, actor_type, actor_id, anonymous_id, cast(occurred_at as date), utm_source, utm_medium, utm_campaign, utm_term, "
        "utm_content, click_id, referrer, landing_page, page, browser, country"
    )
    assert row == (
        ID, "asset_viewed", "import", "server", "p-1", 12, LICENCE, True, "2026-04-01", "s-1", "member", "17", "b-1",
        dt.date(2026, 3, 10), "news", "email", "spring", "t", "c", "gclid:1", "https://www.google.com/",
        "https://shop.example/l", "https://shop.example/a", "Chrome", None,
    )  # fmt: skip
    assert "198.51.100.7" not in str(
        gathering.rows("*" if gathering.ground.engine == "postgres" else "columns(*)::text")
    )


def test_any_text_is_an_id(gathering: Gathering) -> None:
    """A UUID stands as it is, any other text always for the same one; without an id, two are two."""
    for one in (ID, ID.upper(), "order-17", "order-17", 17, "17"):
        gathering.send({**VIEW, "id": one})
    gathering.send(VIEW, VIEW)
    ids = [str(one) for (one,) in gathering.rows("cast(id as text)")]
    assert len(ids) == 5
    assert ID in ids
    assert all(uuid.UUID(one) for one in ids)


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ({}, NOW),
        ({"occurred_at": ago(days=7)}, NOW - dt.timedelta(days=7)),
        ({"occurred_at": "2026-03-10T23:30:00-02:00"}, dt.datetime(2026, 3, 11, 1, 30, tzinfo=dt.UTC)),
        ({"occurred_at": "2026-03-10T23:30:00"}, dt.datetime(2026, 3, 10, 23, 30, tzinfo=dt.UTC)),
        ({"occurred_at": 1773057600500}, dt.datetime(2026, 3, 9, 12, 0, 0, 500_000, tzinfo=dt.UTC)),
        ({"occurred_at": ago(days=-1)}, NOW),
        ({"occurred_at": ago(days=-1, hours=2), "sent_at": ago(days=-1)}, NOW - dt.timedelta(hours=2)),
        ({"occurred_at": ago(days=1, hours=2), "sent_at": ago(days=1)}, NOW - dt.timedelta(hours=2)),
        ({"occurred_at": ago(days=7), "sent_at": ago()}, NOW - dt.timedelta(days=7)),
        ({"occurred_at": ago(), "sent_at": ago(days=7)}, NOW),
    ],
    ids=[
        "now", "a week late", "another zone", "no zone", "milliseconds", "to come", "a clock a day ahead", "a clock a day behind",
        "a queue of a week", "sent before it happened",
    ],
)  # fmt: skip
def test_the_senders_clock_is_corrected(gathering: Gathering, told: dict[str, Any], at: dt.datetime) -> None:
    """It happened as long ago as its sender says, by our clock, and never later than it came."""
    gathering.send({**VIEW, **told})
    sent = told.get("sent_at")
    assert gathering.post({"events": [{**VIEW, **told, "sent_at": None}], "sent_at": sent}).status_code == 200
    wanted = f"{at:%Y-%m-%d %H:%M:%S}{'.5' if at.microsecond else ''}+00"
    assert gathering.rows("cast(occurred_at as text), cast(received_at as text)") == [
        (wanted, f"{NOW:%Y-%m-%d %H:%M:%S}+00")
    ] * 2  # fmt: skip


def test_an_event_is_kept_once_whenever_it_is_sent_again(gathering: Gathering) -> None:
    """After 25 hours too; the day on which it was first taken stands."""
    told = {**VIEW, "id": "order-17", "occurred_at": ago(hours=3), "properties": {"cents": 5}}
    assert gathering.send(told) == kept(1, repeated=0, conflicts=0)
    gathering.ground.clock.instant += dt.timedelta(hours=25)
    assert gathering.send(told) == kept(0, repeated=1, conflicts=0)
    assert gathering.send({**told, "sent_at": ago(hours=1)}, {**told, "properties": {"cents": 5}}) == kept(
        0, repeated=2, conflicts=0
    )
    assert gathering.rows("cast(occurred_at as date)") == [(NOW.date(),)]
    assert gathering.counted() == {"accepted": 1, "repeated": 3}
    assert gathering.held() == []


def test_thirty_two_at_once_are_one(gathering: Gathering) -> None:
    """One is accepted, the others are repetitions, whichever comes first."""
    told = [{**VIEW, "id": f"order-{n}", "occurred_at": ago(hours=n)} for n in range(3)]
    answers: list[Any] = []
    start = threading.Barrier(32)

    def send() -> None:
        start.wait()
        answers.append(gathering.post(told, "/v1/events?wait=log"))

    threads = [threading.Thread(target=send) for _ in range(32)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {one.status_code for one in answers} == {200}
    assert sum(one.json()["accepted"] for one in answers) == 3
    assert sum(one.json()["repeated"] for one in answers) == 93
    assert len(gathering.rows("id")) == 3


def test_the_same_id_with_another_payload_is_a_conflict(gathering: Gathering) -> None:
    """The first stands; the other one is counted, and whole in quarantine."""
    told = {**VIEW, "id": "order-17", "occurred_at": ago(hours=3), "properties": {"cents": 5}}
    gathering.send(told)
    assert gathering.send({**told, "properties": {"cents": 500}}) == kept(0, repeated=0, conflicts=1)
    assert gathering.send({**told, "occurred_at": ago(hours=4)}) == kept(0, repeated=0, conflicts=1)
    one = {**told, "id": "order-18"}
    assert gathering.send(one, {**one, "event_type": "licensed"}) == kept(1, repeated=0, conflicts=1)
    assert gathering.held() == [
        ("conflict", "Another event has its id.", "asset_viewed"), ("conflict", "Another event has its id.", "asset_viewed"),
        ("conflict", "Another event has its id.", "licensed"),
    ]  # fmt: skip
    assert len(gathering.rows("id")) == 2
    assert gathering.counted() == {"accepted": 2, "conflict": 3}
    assert gathering.post({**told, "properties": {"cents": 6}}).json() == kept(1), "nobody waited for the log"
    assert gathering.counted() == {"accepted": 2, "conflict": 4}


# -- what is not read --------------------------------------------------------------------------------

BODY = "The body is JSON: one event, a list of events, or an object with a list in 'events'."
MOMENT = "is a moment as ISO 8601 text, or a number of milliseconds since 1970-01-01 UTC."
DEEP = "Its lists and objects stand too deep in each other."
ENTITIES = "There is no entity 'shop'; events.columns(…) declares project_id, asset_id, licence_id, is_trial, due_on."
WRONG_EVENTS: list[tuple[bytes, str]] = [
    (b"{", "It is not JSON."),
    (b'{"event_type": "a", "properties": {"n": NaN}}', "It is not JSON."),
    (b'{"event_type": "a\x00"}', "It is not JSON."),
    (b"{}", "'event_type' is missing."),
    (b'{"event_type": 1}', "'event_type' is a text, got a whole number."),
    (b'{"event_type": ""}', "The type of an event has 1 to 200 letters."),
    (b'{"event_type": "' + b"a" * 201 + b'"}', "The type of an event has 1 to 200 letters."),
    (b'{"event_type": "a", "id": ""}', "An id has 1 to 200 letters."),
    (b'{"event_type": "a", "id": "' + b"a" * 201 + b'"}', "An id has 1 to 200 letters."),
    (b'{"event_type": "\xff"}', "It is not UTF-8."),
    (b'{"event_type": "a", "properties": {"\xc3\x28": 1}}', "It is not UTF-8."),
    (b'{"event_type": "a\\u0000"}', "It has a NUL character, which no database keeps."),
    (b'{"event_type": "a", "properties": {"a": {"b\\u0000": 1}}}', "It has a NUL character, which no database keeps."),
    (b'{"event_type": "a", "properties": {"n": 1e999}}', "Number out of range - at `$.properties[...]`."),
    (b'{"event_type": "a", "proprties": {}}', "An event has no field 'proprties'; the nearest is 'properties'."),
    (b'{"event_type": "a", "asset_id": 7}', "An event has no field 'asset_id': it is a column, and is said in 'properties'."),
    (b'{"event_type": "a", "colour": "red"}',
     "An event has no field 'colour'; it has event_type, id, source, entity_type, entity_id, properties, session_id, actor, anonymous_id, "
     "occurred_at, sent_at, attribution, page, user_agent, ip, and says all else in 'properties'."),
    (b'{"event_type": "a", "properties": []}', "'properties' is an object, got a list."),
    (b'{"event_type": "a", "actor": "u1"}', "'actor' is an object, got a text."),
    (b'{"event_type": "a", "actor": {"idd": 1}}', "'actor' has no field 'idd'."),
    (b'{"event_type": "a", "actor": {}}', "'actor.id' is missing."),
    (b'{"event_type": "a", "occurred_at": "yesterday"}', f"'occurred_at' {MOMENT}"),
    (b'{"event_type": "a", "occurred_at": 1e300}', f"'occurred_at' {MOMENT}"),
    (b'{"event_type": "a", "occurred_at": "1989-12-31"}', "'occurred_at' is before 1990."),
    (b'{"event_type": "a", "sent_at": 9e15}', f"'sent_at' {MOMENT}"),
    (b'{"event_type": "a", "properties": ' + b'{"a":' * 17 + b"1" + b"}" * 17 + b"}",
     "Its properties stand more than 16 deep in each other."),
    (b'{"event_type": "a", "properties": ' + b'{"a":' * 4000 + b"1" + b"}" * 4000 + b"}", DEEP),
    (b'{"event_type": "a", "properties": ' + json.dumps(dict.fromkeys(map(str, range(256)))).encode() + b"}",
     "It has more than 255 properties."),
    (b'{"event_type": "a", "properties": {"a": "' + b"x" * 32_768 + b'"}}', "It is longer than 32,768 bytes."),
    (b'{"event_type": "a", "entity_type": "project_id"}', "'entity_type' and 'entity_id' belong together."),
    (b'{"event_type": "a", "entity_type": "shop", "entity_id": 1}', ENTITIES),
    (b'{"event_type": "a", "entity_type": "projct_id", "entity_id": 1}', "There is no entity 'projct_id'; the nearest is 'project_id'."),
    (b'{"event_type": "a", "properties": {"asset_id": "Rosebud"}}', "'asset_id' is not of the type integer."),
    (b'{"event_type": "a", "properties": {"asset_id": 9223372036854775808}}', "'asset_id' is not of the type integer."),
    (b'{"event_type": "a", "properties": {"due_on": "2026-02-30"}}', "'due_on' is not of the type date."),
    (b'{"event_type": "a", "properties": {"licence_id": "x"}}', "'licence_id' is not of the type uuid."),
    (b'{"event_type": "a", "properties": {"is_trial": 2}}', "'is_trial' is not of the type boolean."),
    (b'{"event_type": "a", "source": "wep"}', "'source' is one of web, server, import; the nearest is 'web'."),
    (b'{"event_type": "a", "session_id": "' + b"u" * 201 + b'"}', "'session_id' has at most 200 letters."),
]  # fmt: skip


def test_events_that_cannot_be_read(here: Gathering) -> None:
    """Each says why, alone, and by its index among others that are kept."""
    for body, detail in WRONG_EVENTS:
        assert problem(here.post(body)) == (400, "bad-event", detail, ""), body[:80]
    together = [one for one in WRONG_EVENTS if one[1] not in ("It is not JSON.", DEEP)]
    good = json.dumps(VIEW).encode()
    for body, detail in together:
        answer = here.post(b"[" + good + b"," + body + b"," + good + b"]")
        told = {"index": 1, "code": "bad-event", "detail": detail}
        assert (answer.status_code, answer.json()) == (200, kept(2, errors=[told])), body[:80]
    assert len(here.rows("id")) == 2 * len(together)
    assert here.counted() == {"accepted": 2 * len(together), "refused": len(together) + len(WRONG_EVENTS)}


def test_half_a_character_is_replaced(gathering: Gathering) -> None:
    """A page may cut a text within an emoji; that event and those beside it are kept, and are the same when sent again."""
    cut = b'{"title": "\\ud83d\\ude42 \\ud83d", "\\uDE42": "\\\\ud83d"}'
    body = b'[{"event_type": "a", "id": "h", "properties": ' + cut + b'}, {"event_type": "b"}]'
    assert gathering.post(body).json() == kept(2)
    assert gathering.post(body, "/v1/events?wait=log").json() == kept(1, repeated=1, conflicts=0)
    [first, *_] = gathering.rows("event_type, cast(properties as text)")
    assert json.loads(first[1]) == {"title": "🙂 \ufffd", "\ufffd": "\\ud83d"}


def test_one_bad_event_among_a_hundred(gathering: Gathering) -> None:
    """The other ninety-nine are there, and only that one is told of."""
    told: list[Any] = [{**VIEW, "id": f"e-{n}"} for n in range(100)]
    told[42] = {**VIEW, "occurred_at": "soon"}
    wrong = {"index": 42, "code": "bad-event", "detail": f"'occurred_at' {MOMENT}"}
    assert gathering.send(*told) == kept(99, repeated=0, conflicts=0, errors=[wrong])
    assert len(gathering.rows("id")) == 99


def test_bodies_that_are_no_events(here: Gathering) -> None:
    """Refused whole; nothing of them is repeated."""
    for body in (b"", b"x", b"1", b'"a"', b"null", b"\xff\xfe", b"\xef\xbb\xbf{}"):
        assert problem(here.post(body)) == (400, "bad-event", BODY, "")
    for body in (b"[", b'[{"event_type": "a"},]', b'[{"event_type": "a"}] 1'):
        assert problem(here.post(body)) == (400, "bad-event", "The body is not JSON.", "")
    deep = "The body's lists and objects stand too deep in each other."
    assert problem(here.post(b"[" * 500_000)) == (400, "bad-event", deep, "")
    wrong = "The body is not an object with a list of events in 'events': 'events' is a list, got a whole number."
    assert problem(here.post({"events": 1})) == (400, "bad-event", wrong, "")
    other = "The body is not an object with a list of events in 'events': it has no field 'writekey'; the nearest is 'write_key'."
    assert problem(here.post({"events": [], "writekey": "Rosebud"})) == (400, "bad-event", other, "")
    sent = {"events": [VIEW], "sent_at": "Rosebud"}
    assert problem(here.post(sent)) == (400, "bad-event", f"'sent_at' {MOMENT}", "")
    none = here.post([{}, {"event_type": ""}])
    assert problem(none) == (400, "bad-event", "None of the 2 events can be kept.", "")
    assert [one["index"] for one in none.json()["errors"]] == [0, 1]
    assert here.rows("id") == []


def test_bodies_that_are_too_long_or_packed_wrongly(here: Gathering) -> None:
    """What is read is bounded, as it comes and unpacked; a bomb is not unpacked."""
    long = (413, "too-long", "The body is too long: at most 1 MiB is read, 4 MiB unpacked.", "")
    assert problem(here.post(b" " * (10 << 20) + b"{}")) == long
    assert problem(here.post(gzip.compress(b" " * (200 << 20)), content_encoding="gzip")) == long
    assert problem(here.site.client.post("/v1/events", content=iter([b" " * 600_000] * 2))) == long
    many = (413, "too-long", "At most 5,000 events are read at once.", "")
    assert problem(here.post([VIEW] * 5_001)) == many
    packed = gzip.compress(json.dumps(VIEW).encode())
    torn = (400, "request", "The packed body ends before its end.", "")
    assert problem(here.post(packed[:-9], content_encoding="gzip")) == torn
    plain = (400, "request", "The body is not packed with gzip.", "")
    assert problem(here.post(VIEW, content_encoding="gzip")) == plain
    assert problem(here.post(b"\x1f\x8bnothing")) == plain
    form = (415, "content-type", "A body is packed with gzip, or not at all.", "")
    assert problem(here.post(VIEW, content_encoding="br")) == form
    kind = (415, "content-type", "Events are sent as application/json or text/plain.", "")
    assert problem(here.post(VIEW, content_type="multipart/form-data")) == kind
    assert here.rows("id") == []


def test_other_methods(here: Gathering) -> None:
    """Events are posted; a HEAD has no body."""
    for path in ("/v1/track", "/v1/batch", "/v1/m"):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            answer = here.site.client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
            if method != "HEAD":
                hint = "GET /openapi.json lists every path."
                assert problem(answer) == (405, "method", "This path has no such method.", hint)
    assert here.site.client.head("/v1/track").content == b""


def test_definitions_without_events(duck: Ground) -> None:
    """Say so."""
    with Gathering(duck) as found:
        found.site.service.collector.intake = None
        assert problem(found.post(VIEW)) == (
            400, "usage", "These definitions say nothing of events, so none are collected.",
            "Say events.columns() in metrics.py, or fold a rollup from events.",
        )  # fmt: skip


def test_odd_values_are_kept(gathering: Gathering) -> None:
    """Numbers of any size, every character, names of two kinds; they are what is read, and nothing stops a fold."""
    odd = {
        "huge": 10**400, "big": 2**63, "small": -(2**63), "exact": 0.1, "emoji": "🙂 zero\u200dwidth", "": "no name",
        "a'); drop table dayfold_events; --": "\u2028", "nested": [[{"a": None}]], "slashes": "\\u0000 \\\\",
    }  # fmt: skip
    assert gathering.send({**VIEW, "properties": odd, "entity_type": "project_id", "entity_id": "'; --"}) == kept(
        1, repeated=0, conflicts=0
    )
    [(text, project)] = gathering.rows("cast(properties as text), project_id")
    found = json.loads(text)
    assert {name: found[name] for name in odd if name != "huge"} == {k: v for k, v in odd.items() if k != "huge"}
    assert project == "'; --"
    gathering.ground.fold()


POISON = ("Rosebud", 1e300, 2**70, "1e5", True, [1], {"a": 1}, " 5", "NaN", 1.5, "²")


def test_nothing_that_a_page_says_stops_the_fold(gathering: Gathering) -> None:
    """Whatever it puts where a number is expected: money of a page is no revenue, and is not looked at."""
    sent = [{**VIEW, "properties": {"cents": one, "project_id": "p"}} for one in [*POISON, 5]]
    assert gathering.send(*sent, key=gathering.page)["accepted"] == len(sent)
    gathering.send({**VIEW, "properties": {"cents": 7, "project_id": "p"}})
    gathering.ground.fold()
    assert gathering.rows("happened, cents", "daily") == [(len(sent) + 1, 7)]


def test_types_keep_values_out_that_no_fold_can_read(store: Ground) -> None:
    """What a server sends by mistake stands in quarantine, and the fold goes on."""
    with Gathering(store, events.types({"asset": {"asset_viewed": {"cents?": "bigint"}}})) as found:
        sent = [{**VIEW, "properties": {"cents": one, "project_id": "p"}} for one in [*POISON, None, 5]]
        assert found.send(*sent)["accepted"] == 2
        found.ground.fold()
        assert found.rows("happened, cents", "daily") == [(2, 5)]
        assert len(found.held()) == len(POISON)


# -- the registry ------------------------------------------------------------------------------------


def test_what_is_not_declared_is_held(store: Ground) -> None:
    """It is whole in quarantine, told by its index, and the others are kept."""
    types = events.types({"asset": {"asset_viewed": {"cents": "bigint"}}})
    with Gathering(store, types) as found:
        good = {**VIEW, "properties": {"cents": 5}}
        sent = [good, VIEW, {"event_type": "asset_viewd"}, {**VIEW, "properties": {"cents": "Rosebud"}}]
        details = [
            "the property 'cents' is missing, expected bigint (a whole number of 64 bits).",
            "its type is not declared; the nearest is 'asset_viewed'.",
            "the property 'cents' is text, expected bigint (a whole number of 64 bits).",
        ]
        errors = [{"index": n, "code": "quarantined", "detail": detail} for n, detail in enumerate(details, 1)]
        assert found.send(*sent) == kept(1, repeated=0, conflicts=0, quarantined=3, errors=errors)
        assert [detail for _, detail, _ in found.held()] == sorted(details)
        assert {reason for reason, _, _ in found.held()} == {"undeclared"}
        only = found.post(VIEW)
        assert (only.status_code, only.json()) == (200, kept(quarantined=1, errors=[{**errors[0], "index": 0}]))
        assert found.counted() == {"accepted": 1, "quarantined": 4}
        assert found.rows("event_type") == [("asset_viewed",)]
        assert ADDRESS not in str(found.rows("body", "dayfold__quarantine"))
