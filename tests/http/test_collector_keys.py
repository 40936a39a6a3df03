"""Who may send what: write keys of servers and of pages, tokens of who is signed in, and what browsers ask for."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest

from dayfold import events
from dayfold.collect.intake import Ticket
from dayfold.http import collector, sent
from tests.engines.ground import NOW, Ground
from tests.http.gathering import ADDRESS, Gathering, basic, kept
from tests.http.site import header, problem
from tests.http.test_embedding import SECRET, signed
from tests.unit.test_country import write

Make = Callable[..., Gathering]
PAGE = {"event_type": "page_viewed", "page": "https://shop.example/a"}
ORIGIN = "https://shop.example"
JWT = {
    "jwt": {"secret": SECRET, "algorithms": ["HS256"], "audience": "dayfold", "claims": {"rows": {"project_id": "p"}}}
}
NO_KEY = (
    401, "unauthenticated", "This needs a write key.",
    "Send it as Authorization: Bearer …, as the user of Basic, or in the body; `dayfold token create NAME --kind track` makes one.",
)  # fmt: skip
UNKNOWN = (
    401, "unauthenticated", "The write key is not known, or it has expired or was revoked.",
    "Make a new one: dayfold token create NAME --kind track, or --kind public for pages.",
)  # fmt: skip


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


def refused(detail: str) -> tuple[int, str, str, str]:
    return 400, "not-allowed", detail, ""


# -- keys --------------------------------------------------------------------------------------------


def test_a_key_comes_in_three_ways(here: Gathering) -> None:
    """As Bearer, as the user of Basic, or in the body; a header goes before the body."""
    key, sent = here.server, {"events": [PAGE]}
    assert here.post(sent).status_code == 200
    assert here.post(sent, key=None, authorization=basic(key)).status_code == 200
    assert (
        here.post(sent, key=None, authorization=basic(key)[:-4] + base64.b64encode(b"x:").decode()).status_code == 401
    )
    assert here.post({**sent, "write_key": key}, key=None).status_code == 200
    track = {"event": "a", "userId": "ada", "writeKey": key}
    assert here.post(track, "/v1/track", key=None).status_code == 200
    batch = {"batch": [{"type": "track", "event": "a"}], "writeKey": key}
    assert here.post(batch, "/v1/batch", key=None, content_type="text/plain").status_code == 200
    assert problem(here.post({**sent, "write_key": key}, key="dfk_other")) == UNKNOWN


def test_keys_that_let_nobody_in(here: Gathering) -> None:
    """None, a form that is no key, one that is not known, one that reads; nothing is told of what they would do."""
    assert problem(here.post(PAGE, key=None)) == NO_KEY
    for words in ("Basic !!!", "Basic " + base64.b64encode(b":secret").decode(), "Digest x y", "Bearer", "Bearer a b"):
        assert problem(here.post(PAGE, key=None, authorization=words)) == NO_KEY
    for key in ("dfk_x", "'or/**/1=1--", "x" * 10_000):
        assert problem(here.post(PAGE, key=key)) == UNKNOWN
    for kind in ("read", "jobs"):
        hint = "Make a key for it: dayfold token create NAME --kind track, or --kind public for pages."
        told = (403, "forbidden", f"A token of the kind '{kind}' sends no events.", hint)
        assert problem(here.post(PAGE, key=here.key(kind))) == told
    assert here.rows("id") == []


def test_a_revoked_or_expired_key_sends_no_more(here: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a second; here at once."""
    monkeypatch.setattr(sent, "_KEY_S", 0.0)
    key = here.key("track", expires="1d")
    assert here.post(PAGE, key=key).status_code == 200
    here.ground.clock.instant = NOW.replace(day=14)
    assert problem(here.post(PAGE, key=key)) == UNKNOWN
    made = here.app.accounts.create_token("another", "track")
    assert here.post(PAGE, key=made.secret).status_code == 200
    here.app.accounts.revoke_token(made.id)
    assert problem(here.post(PAGE, key=made.secret)) == UNKNOWN


def test_write_keys_read_nothing(here: Gathering) -> None:
    """Neither a server's nor a page's; nor do they steer anything."""
    for key in (here.server, here.page):
        for path in ("/v1/rollups", "/v1/rollups/Daily/query", "/v1/metrics/happened", "/v1/jobs"):
            answer = here.site.get(path, header(key))
            assert answer.status_code in (401, 403), (path, answer.text)


# -- pages -------------------------------------------------------------------------------------------


def test_a_page_sends_its_types_and_says_nothing_of_an_actor(gathering: Gathering) -> None:
    """What a public key may not say is refused by index; what it says of somebody in Segment's form is left out."""
    key = gathering.page
    nearest = "This key does not send 'page_view'; the nearest is 'page_viewed'; it may send asset_viewed, page_viewed."
    actor = "A public key says nothing of an actor; send the token of whoever is signed in."
    own = "'ip' and 'user_agent' are said by servers; a browser has its own."
    for told, detail in (
        ({"event_type": "page_view"}, nearest),
        ({**PAGE, "actor": {"id": "ada"}}, actor),
        ({**PAGE, "source": "server"}, "What a public key sends comes from the web."),
        ({**PAGE, "ip": "1.2.3.4"}, own),
        ({**PAGE, "user_agent": "x"}, own),
    ):
        assert problem(gathering.post(told, key=key)) == refused(detail)
        wrong = {"index": 1, "code": "not-allowed", "detail": detail}
        assert gathering.send(PAGE, told, key=key) == kept(1, repeated=0, conflicts=0, errors=[wrong])
    track = {"event": "asset_viewed", "userId": "ada", "anonymousId": "b-1", "context": {"ip": "198.51.100.7"}}
    assert gathering.post(track, "/v1/t", key=key).json() == {"success": True}
    identify = {"userId": "ada", "traits": {}}
    none = "This key does not send 'identified'; it may send asset_viewed, page_viewed."
    assert problem(gathering.post(identify, "/v1/i", key=key)) == refused(none)
    rows = set(gathering.rows("event_type, source, trust, actor_id, anonymous_id, browser"))
    assert rows == {
        ("page_viewed", "web", "public", None, None, "Chrome"), ("asset_viewed", "web", "public", None, "b-1", "Chrome"),
    }  # fmt: skip


def test_a_key_has_types_and_origins_of_its_own(here: Gathering) -> None:
    """Others are refused; an origin is compared as a whole."""
    key = here.key("public", types=["cta_clicked"], origins=[ORIGIN])
    click = {"event_type": "cta_clicked"}
    told = (403, "forbidden", "This key is not for pages of this origin.", "Make one with --origin for it.")
    assert here.post(click, key=key, origin=ORIGIN).status_code == 200
    assert here.post(click, key=key, origin=ORIGIN.upper()).status_code == 200
    for origin in ("https://shop.example.evil.example", "http://shop.example", "https://shop.example:8443", "null", ""):
        assert problem(here.post(click, key=key, origin=origin)) == told
    assert problem(here.post(click, key=key)) == (
        403, "forbidden", "This key is for pages of certain origins, and the request names none, as only a browser does.",
        "Try it from a page or with the header Origin; servers send with a key of the kind track.",
    )  # fmt: skip
    assert problem(here.post(PAGE, key=key, origin=ORIGIN)) == refused(
        "This key does not send 'page_viewed'; it may send cta_clicked."
    )


def test_who_is_signed_in_is_said_by_their_token(make: Make) -> None:
    """The subject of the host product's JWT is the actor, in the body or in a header; with a wrong one the events have none."""
    here = make(auth=JWT)

    def sent(token: str) -> Any:
        return here.post({"events": [PAGE], "token": token}, "/v1/events?wait=log", here.page)

    assert sent(signed(sub="ada")).status_code == 200
    assert here.post(PAGE, key=here.page, x_dayfold_actor=signed(sub="grace")).status_code == 200
    none = jwt.encode({"sub": "eve", "aud": "dayfold", "exp": time.time() + 60}, None, "none")
    for token, why in (
        (signed(sub="eve", exp=1), "it has expired"),
        (signed(sub="eve", aud="another"), "it is for another audience"),
        (signed(sub="eve", without="aud"), "it lacks the claim aud"),
        (signed(sub="eve", without="exp"), "it lacks the claim exp"),
        (signed("another secret that is long enough!!", sub="eve"), "its signature is not right"),
        (none, "its algorithm is not one that is accepted"),
        (signed(sub=""), "it names no subject"),
        (signed(sub="e" * 201), "its subject is no name that can be kept"),
        (signed(sub="eve\ud800"), "its subject is no name that can be kept"),
    ):
        assert sent(token).json()["token_refused"] == f"The token is not accepted: {why}."
    assert sent(signed()).json()["token_refused"] == "The token is not accepted: it names no subject."
    found = here.rows("actor_id, trust, actor_type")
    assert sorted(row for row in found if row[0]) == [("ada", "public", "user"), ("grace", "public", "user")]
    assert {row for row in found if not row[0]} == {(None, "public", None)}


def test_no_tokens_where_no_product_signs_them(here: Gathering) -> None:
    """It is said, and the events are kept without an actor."""
    found = here.post({"events": [PAGE], "token": "a.b.c"}, key=here.page).json()
    assert (found["accepted"], found["token_refused"]) == (1, "No tokens of another product are accepted here.")
    assert here.rows("actor_id") == [(None,)]


def test_what_browsers_ask_before_they_send(here: Gathering) -> None:
    """The preflight lets keys and whatever libraries add through; answers and refusals can be read by the page."""
    asked = {
        "Origin": ORIGIN, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-retry-count",
    }  # fmt: skip
    for path in ("/v1/events", "/v1/t", "/v1/batch", "/v1/m"):
        answer = here.site.client.options(path, headers=asked)
        assert (answer.status_code, answer.content) == (204, b"")
        words = {name: answer.headers[name] for name in answer.headers if name.startswith("access-control")}
        assert words == {
            "access-control-allow-methods": "POST", "access-control-max-age": "86400", "access-control-allow-origin": ORIGIN,
            "access-control-allow-headers": "authorization, content-type, content-encoding, x-dayfold-actor, x-retry-count, *",
            "access-control-expose-headers": "retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset",
        }  # fmt: skip
    for key in (here.page, "dfk_wrong"):
        answer = here.post(PAGE, key=key, origin=ORIGIN)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers


def test_who_asks_not_to_be_tracked_is_not(gathering: Gathering) -> None:
    """Answered as ever, counted, and nowhere; what a server says of somebody is another matter."""
    for name in ("dnt", "sec_gpc"):
        assert gathering.post([PAGE, PAGE], key=gathering.page, **{name: "1"}).json() == kept(ignored=2)
        assert gathering.post({"event": "page_viewed"}, "/v1/t", gathering.page, **{name: "1"}).status_code == 200
        assert gathering.send(PAGE, key=gathering.page, **{name: "0"})["accepted"] == 1
        assert gathering.send(PAGE, **{name: "1"})["accepted"] == 1
    assert len(gathering.rows("id")) == 4
    assert gathering.counted() == {"accepted": 4, "ignored": 6}
    # Also where no event that is kept follows; and each once in what the process says of itself.
    gathering.post(PAGE, key=gathering.page, dnt="1")
    assert gathering.counted() == {"accepted": 4, "ignored": 7}
    figures = gathering.site.get("/metrics", header(gathering.site.token("admin"))).text
    assert 'dayfold_events_total{outcome="ignored"} 7.0' in figures


def test_a_browser_that_keeps_nothing_has_a_name_for_a_day(gathering: Gathering) -> None:
    """One name for one address, browser and key on one day; another one for any other, and on the next day."""
    sent = {"events": [PAGE], "cookieless": True}

    def name(**headers: str) -> str:
        before = {one for (one,) in gathering.rows("anonymous_id")}
        assert gathering.post(sent, key=gathering.page, **headers).status_code == 200
        new = {one for (one,) in gathering.rows("anonymous_id")} - before
        return str(new.pop()) if new else ""

    first = name()
    assert len(first) == 32
    assert name() == ""
    assert name(user_agent="another") not in ("", first)
    gathering.ground.clock.instant = NOW.replace(day=13)
    assert name() not in ("", first)
    assert ADDRESS not in str(gathering.rows("anonymous_id"))


def test_the_country_is_kept_and_the_address_is_not(make: Make, tmp_path: Path, duckdb_url: str) -> None:
    """Of a page the address that it came from, of a server the one that it says; in no row, no quarantine, no file."""
    file = write(
        tmp_path / "c.mmdb",
        {"203.0.113.0/24": {"country": {"iso_code": "NP"}}, "198.51.100.0/24": {"country": {"iso_code": "FR"}}},
    )
    types = events.types({"page": {"page_viewed": {}}})
    here = make(types, collect={"countries": str(file)})
    here.send(PAGE, key=here.page)
    here.send({**PAGE, "ip": "198.51.100.77"})
    assert here.send({"event_type": "undeclared", "ip": "198.51.100.77"})["quarantined"] == 1
    assert here.post({"event": "page_viewed", "context": {"ip": "198.51.100.77"}}, "/v1/track").status_code == 200
    assert [one for (one,) in here.rows("country")] == ["FR", "FR", "NP"]
    here.app.ledger.store.close()
    store = Path(duckdb_url.removeprefix("duckdb:///"))
    files = [*store.parent.glob("store*"), *store.parent.glob("store*/*")]
    for one in files:
        if one.is_file():
            data = one.read_bytes()
            assert b"198.51.100.77" not in data, one
            assert ADDRESS.encode() not in data, one


# -- limits ------------------------------------------------------------------------------------------


def test_one_visitor_may_send_so_much(make: Make) -> None:
    """The answer says what is left; beyond it is told when to come again, and others are not held up."""
    here = make(collect={"per_minute": 5})

    def sent(who: str, count: int = 1) -> Any:
        return here.post([{**PAGE, "anonymous_id": who}] * count, key=here.page)

    answers = [sent("b-1") for _ in range(6)]
    assert [one.status_code for one in answers] == [200] * 5 + [429]
    assert [one.headers["ratelimit-remaining"] for one in answers] == ["4", "3", "2", "1", "0", "0"]
    assert {one.headers["ratelimit-limit"] for one in answers} == {"5"}
    assert int(answers[-1].headers["ratelimit-reset"]) > 50
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 12
    assert problem(answers[-1]) == (429, "too-many", "This visitor has sent too many events.", "Send them again later.")
    assert sent("b-2", 50).status_code == 200, "what was kept offline goes at once"
    assert sent("b-2").status_code == 429
    assert here.post([PAGE] * 50).status_code == 200, "a server has no such limit"
    assert len(here.rows("id")) == 105
    assert here.counted() == {"accepted": 105, "limited": 2}


def test_nobody_uses_up_what_another_may_send(make: Make) -> None:
    """A page that calls its browser by somebody's id is another visitor than they are."""
    here = make(auth=JWT, collect={"per_minute": 2})
    assert here.post([{**PAGE, "anonymous_id": "ada"}] * 5, key=here.page).status_code == 200
    assert here.post({**PAGE, "anonymous_id": "ada"}, key=here.page).status_code == 429
    assert here.post(PAGE, key=here.page, x_dayfold_actor=signed(sub="ada")).status_code == 200
    assert here.post([{**PAGE, "anonymous_id": ADDRESS}] * 5, key=here.page).status_code == 200
    assert here.post(PAGE, key=here.page).status_code == 200


def test_a_full_queue_says_come_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 with Retry-After while the log is behind; nothing that was acknowledged is lost."""
    here = make(collect={"waiting_mb": 1})
    intake = here.site.service.collector.intake
    assert intake is not None
    intake.most_bytes = 2_000
    intake.figures.waiting_bytes = 1_990
    monkeypatch.setattr(collector, "_ROOM_S", 0.1)
    answer = here.post(PAGE)
    assert problem(answer) == (
        429, "too-many", "More events wait than there is room for.", "Send them again a little later.",
    )  # fmt: skip
    assert answer.headers["retry-after"] == "1"
    intake.figures.waiting_bytes = 0
    assert here.post(PAGE).status_code == 200
    assert len(here.rows("id")) == 1


def test_a_request_waits_a_little_for_room(make: Make) -> None:
    """Whoever sends faster than the log takes is slowed down before anybody is refused."""
    here = make()
    intake = here.site.service.collector.intake
    assert intake is not None
    intake.most_bytes = 2_000
    intake.figures.waiting_bytes = 1_990
    makes_room = threading.Timer(0.3, lambda: setattr(intake.figures, "waiting_bytes", 0))
    makes_room.start()
    assert here.post(PAGE).status_code == 200
    makes_room.join()
    assert len(here.rows("id")) == 1


def test_a_log_that_takes_nothing_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, without a word of why."""
    here = make()
    intake = here.site.service.collector.intake
    assert intake is not None
    monkeypatch.setattr(collector, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(intake, "offer", lambda ticket: None)
    answer = here.post(PAGE)
    assert problem(answer) == (
        503, "not-ready", "The events are not written yet; whether they are, shows when they are sent again.",
        "Send them again, with the same ids.",
    )  # fmt: skip
    assert answer.headers["retry-after"] == "1"

    def fails(ticket: Ticket) -> None:
        from dayfold.errors import StoreError

        ticket.error = StoreError("the disk of anna is full")
        here.site.service.collector._tell([ticket])

    monkeypatch.setattr(intake, "offer", fails)
    assert problem(here.post(PAGE)) == (
        503, "not-ready", "The events could not be written.", "Send them again, with the same ids.",
    )  # fmt: skip


def test_nothing_of_an_event_is_in_the_log_of_the_server(here: Gathering, caplog: pytest.LogCaptureFixture) -> None:
    """Neither values nor keys, whether it was kept, refused or met a mistake of ours; nor in the answers."""
    caplog.set_level(logging.DEBUG)
    told = {**PAGE, "properties": {"card": "4111-Rosebud", "asset_id": "Rosebud"}, "actor": {"id": "Rosebud"}}
    answers = [
        here.post(told), here.post({**told, "occurred_at": "Rosebud"}), here.post(told, key="dfk_Rosebud"),
        here.post({**told, "source": "Rosebud"}), here.post(b'{"event_type": "Rosebud'), here.post([told], "/v1/track"),
    ]  # fmt: skip
    assert {one.status_code for one in answers} == {400, 401}
    here.app = here.site.service.collector.enricher = None  # type: ignore[assignment]
    broken = here.post({**PAGE, "properties": {"card": "4111-Rosebud"}})
    assert problem(broken) == (500, "internal", "This request could not be answered.", "")
    for one in [*answers, broken]:
        assert "Rosebud" not in one.text
    from dayfold.http.logs import JsonLines

    written = "\n".join(JsonLines().format(record) for record in caplog.records if record.name.startswith("dayfold"))
    assert "a request of the collector failed" in written
    for secret in ("Rosebud", here.server, here.page, ADDRESS):
        assert secret not in written


def test_what_segments_browser_library_asks_first(here: Gathering) -> None:
    """It is sent back here, whatever the key."""
    answer = here.site.get(f"/v1/projects/{here.page}/settings", {"Origin": ORIGIN})
    assert answer.json() == {
        "integrations": {
            "Segment.io": {
                "apiKey": here.page, "apiHost": "testserver/v1", "protocol": "http", "addBundledMetadata": False, "type": "browser",
            }
        },
        "plan": {}, "metrics": {"sampleRate": 0},
    }  # fmt: skip
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert here.post({"series": []}, "/v1/m", key=None).json() == {"success": True}


def test_segments_kinds(gathering: Gathering) -> None:
    """Each short path is the long one; a batch says the kind of each; who and what it is about is kept."""
    kinds = {"track": "t", "page": "p", "screen": "s", "identify": "i", "group": "g", "alias": "a"}
    types = {
        "track": "paid", "page": "page_viewed", "screen": "screen_viewed", "identify": "identified", "group": "grouped",
        "alias": "aliased",
    }  # fmt: skip
    told = {
        "event": "paid",
        "userId": "ada",
        "previousId": "b-1",
        "groupId": "acme",
        "name": "n",
        "traits": {"plan": "pro"},
    }
    for kind, short in kinds.items():
        for path in (f"/v1/{kind}", f"/v1/{short}"):
            assert gathering.post(told, path).json() == {"success": True}
    for path in ("/v1/batch", "/v1/b", "/v1/import"):
        assert gathering.post({"batch": [{**told, "type": kind} for kind in kinds]}, path).json() == {"success": True}
    rows = gathering.rows("event_type, actor_id, anonymous_id, cast(properties as text)")
    assert sorted({one[0] for one in rows}) == sorted(types.values())
    assert len(rows) == 5 * 6
    assert {one[:3] for one in rows if one[0] in ("aliased", "paid")} == {
        ("aliased", "ada", "b-1"),
        ("paid", "ada", None),
    }
    [properties] = {text for kind, _, _, text in rows if kind == "identified"}
    assert json.loads(properties) == {"plan": "pro", "group_id": "acme"}
    wrong = "'type' is one of track, page, screen, identify, group, alias; the nearest is 'track'."
    assert problem(gathering.post({"batch": [{"type": "trak"}]}, "/v1/batch")) == (400, "bad-event", wrong, "")
    assert problem(gathering.post({}, "/v1/track")) == (400, "bad-event", "A track has an 'event'.", "")
    some = gathering.post({"batch": [{"type": "trak"}, {"type": "page"}]}, "/v1/batch").json()
    assert some == {"success": True} | kept(1, errors=[{"index": 0, "code": "bad-event", "detail": wrong}])
