"""Counting over HTTP: every increment of a request is in the live store once that is said, or none of it is; and what operators see."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, ClassVar, Self

import pytest

from dayfold import Counter, Total
from tests.engines.ground import Ground
from tests.http.gathering import SAID, Daily, ago
from tests.http.site import Site, header, problem
from tests.valkeys import FORGETFUL, ValkeyServer


class ApiKeyUsage(Counter):
    """Requests of one key."""

    key = "api_key_id"
    owner = "user_id"
    identities = "total = good + bad"

    total = Total()
    good = Total()
    bad = Total()


class Level(Counter):
    """Something that goes up and down."""

    key = ("place", "shelf")
    types: ClassVar = {"shelf": "bigint"}

    pieces = Total(negative=True)


ONE = {"counter": "api_key_usage", "key": {"api_key_id": "k1"}, "owner": "u1", "add": {"total": 1, "good": 1}}
PIECES = {"counter": "level", "key": {"place": "Zürich", "shelf": 7}, "add": {"pieces": -3}}
SECRET = "a-key-that-nobody-may-read"


class Tallying:
    """A site whose counters are added to."""

    def __init__(self, ground: Ground, *, defined: bool = True, **live: Any) -> None:
        ground.config["live"] = {"wait_ms": 20_000} | live
        self.app = ground.define(*([ApiKeyUsage, Level] if defined else []))
        self.site = Site(ground)

    def __enter__(self) -> Self:
        self.site.__enter__()
        self.key = self.app.accounts.create_token("uploads", "track").secret
        self.admin = header(self.site.token("admin"))
        return self

    def __exit__(self, *error: Any) -> None:
        self.site.__exit__(*error)

    def post(self, body: Any, key: str = "", **headers: str) -> Any:
        """The answer to a body as it is, or as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = header(key or self.key) | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.site.client.post("/v1/count", content=content, headers=sent)

    def applied(self, counter: str = "api_key_usage") -> Mapping[str, int]:
        """What the store has of each total after a flush, while the law holds."""
        self.app.counters.flush()
        [law] = self.app.counters.conservation([counter])
        assert law.holds, law
        return law.applied


Make = Callable[..., Tallying]


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A server that holds the increments of this module."""
    with ValkeyServer(FORGETFUL) as found:
        yield found


@pytest.fixture
def make(duck: Ground) -> Iterator[Make]:
    """Makes a site on DuckDB, with settings of ``[live]``."""
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(Tallying(duck, **how))


@pytest.fixture(params=["store", "valkey"])
def tallying(request: pytest.FixtureRequest, make: Make) -> Tallying:
    """A site whose increments wait in the store itself, and one whose do in Valkey."""
    if request.param == "store":
        return make()
    server: ValkeyServer = request.getfixturevalue("valkey")
    with server.client() as client:
        client.flushall()
    return make(url=server.url)


# -- adding ----------------------------------------------------------------------------------------


def test_one_and_a_list_are_added(tallying: Tallying) -> None:
    """The answer counts, and what was answered for is in the store after the next flush; a body may be packed."""
    assert (tallying.post(ONE).status_code, tallying.post(ONE).json()) == (200, {"accepted": 1, "repeated": 0})
    assert tallying.post([ONE, PIECES]).json() == {"accepted": 2, "repeated": 0}
    assert tallying.post([]).json() == {"accepted": 0, "repeated": 0}
    assert tallying.post(gzip.compress(json.dumps(ONE).encode()), content_encoding="gzip").json()["accepted"] == 1
    assert tallying.applied() == {"total": 4, "good": 4, "bad": 0}
    assert tallying.applied("level") == {"pieces": -3}
    tallying.app.fold()
    [row] = tallying.app.query("ApiKeyUsage", ["total"], from_="2026-03-12", to="2026-03-12", by=["user_id"]).rows
    assert (row["user_id"], row["total"]) == ("u1", 4)


def test_an_id_counts_once(tallying: Tallying) -> None:
    """Whether it waits still, which the answer tells, or was applied; its day is that of the event."""
    named = ONE | {"id": "upload-1", "at": ago(days=2)}
    answers = [tallying.post(one).json() for one in (named, [named, ONE])]
    assert [one["accepted"] + one["repeated"] for one in answers] == [1, 2]
    assert tallying.applied()["total"] == 2
    assert tallying.post(named).status_code == 200
    assert tallying.applied()["total"] == 2
    tallying.app.fold()
    rows = tallying.app.query("ApiKeyUsage", ["total"], from_="2026-03-10", to="2026-03-12").rows
    assert [row["total"] for row in rows] == [1, 0, 1]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"counter": "api_key_usag"}, "unknown-name",
     "There is no counter 'api_key_usag'; the nearest is 'api_key_usage'. Counters: api_key_usage, level"),
    ({"key": {"api_key": SECRET}}, "bad-increment",
     "api_key_usage has no key column 'api_key'; the nearest is 'api_key_id'."),
    ({"key": {}}, "bad-increment", "api_key_usage is counted by api_key_id; api_key_id is missing."),
    ({"key": {"api_key_id": 7}}, "bad-increment", "'api_key_id' is text, and what was given is none."),
    ({"key": {"api_key_id": None}}, "bad-increment", "'key[...]' is true or false or a whole number or a text, got null."),
    ({"key": {"api_key_id": f"{SECRET}\0"}}, "bad-increment", "'api_key_id' holds a NUL, or half of a character."),
    ({"add": {"totl": 1}}, "bad-increment",
     "Api_key_usage has no total 'totl'; the nearest is 'total'; it has total, good, bad."),
    ({"add": {"total": 1.5}}, "bad-increment", "'add[...]' is a whole number, got a number."),
    ({"add": {"total": True}}, "bad-increment", "'add[...]' is a whole number, got true or false."),
    ({"add": {"total": -1, "good": -1}}, "bad-increment", "The amount of total is below zero, and it is no Total(negative=True)."),
    ({"add": {"total": 2**64, "good": 2**64}}, "bad-increment", "The amount of total does not fit into 64 bits."),
    ({"add": {"total": 1}}, "bad-increment", "The amounts do not meet the identity total = good + bad."),
    ({"add": {}}, "bad-increment", "Nothing is added to api_key_usage."),
    ({"at": "soon"}, "bad-increment", "At is a moment such as 2026-03-01T10:00:00Z."),
    ({"at": ago(days=-3)}, "bad-increment", "At lies more than a day ahead."),
    ({"id": ""}, "bad-increment", "An id is a text of 1 to 200 letters."),
    ({"id": "late", "at": ago(days=8)}, "too-old",
     "An increment with an id is older than ids are remembered, 7 days: it may have been counted."),
    ({"ownr": 1}, "bad-increment", "An increment has no field 'ownr'; the nearest is 'owner'."),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code", "detail"), WRONG)
def test_a_wrong_increment_is_told_and_none_of_its_request_added(
    make: Make, caplog: pytest.LogCaptureFixture, change: dict[str, Any], code: str, detail: str
) -> None:
    """By its index, code and detail, in which no value of a key stands; the same by itself."""
    caplog.set_level(logging.DEBUG)
    tallying = make()
    answer = tallying.post([ONE, ONE | change])
    said = answer.json()
    assert problem(answer)[:3] == (400, code, "Nothing was added: 1 of 2 increments cannot be.")
    [error] = said["errors"]
    assert (error["index"], error["code"]) == (1, code)
    assert error["detail"].lower() == detail.lower()
    alone = tallying.post(ONE | change)
    assert problem(alone)[:3] == (400, code, error["detail"])
    assert SECRET not in answer.text + alone.text + caplog.text
    assert tallying.applied()["total"] == 0


@pytest.mark.parametrize(
    "body", [b"", b"7", b'"a"', b"[", b'{"counter": ', b"{}{}", b"\xff", b"[" * 5_000, b'[{"counter":"\xff"}]']
)
def test_what_is_no_list_of_increments_is_refused(make: Make, body: bytes) -> None:
    """Whatever is sent."""
    assert problem(make().post(body))[:2] == (400, "bad-increment")


def test_bodies_that_are_too_long_are_refused(make: Make) -> None:
    """By their number and their bytes."""
    tallying = make()
    assert problem(tallying.post([ONE] * 1_001))[:3] == (
        413, "too-long", "At most 1,000 increments are read at once.",
    )  # fmt: skip
    assert problem(tallying.post(b" " * (1 << 20) + b"[]"))[:2] == (413, "too-long")
    assert problem(tallying.post(ONE, content_type="text/html"))[:3] == (
        415, "content-type", "Increments are sent as application/json or text/plain.",
    )  # fmt: skip
    assert tallying.site.client.get("/v1/count", headers=header(tallying.key)).status_code == 405


def test_only_keys_that_write_count(make: Make) -> None:
    """A server's key and an administrator's token do; a page's, a reader's and none do not."""
    tallying = make()
    for kind in ("read", "jobs", "public"):
        token = tallying.app.accounts.create_token(kind, kind).secret
        assert problem(tallying.post(ONE, token)) == (
            403, "forbidden", f"A token of the kind '{kind}' counts nothing.",
            "Make a key for it: dayfold token create NAME --kind track",
        )  # fmt: skip
    assert problem(tallying.post(ONE, "dfk_none"))[:2] == (401, "unauthenticated")
    assert problem(tallying.site.client.post("/v1/count", json=ONE))[:3] == (
        401, "unauthenticated", "This needs a write key.",
    )  # fmt: skip
    assert tallying.post(ONE, tallying.site.token("admin")).status_code == 200
    assert tallying.applied()["total"] == 1


def test_without_counters_none_is_counted(make: Make) -> None:
    """The refusal says what to write."""
    assert problem(make(defined=False).post(ONE)) == (
        400, "usage", "These definitions have no counter.", "Write a class of Counter in metrics.py.",
    )  # fmt: skip


def test_a_live_store_that_is_down_buffers_and_then_refuses(make: Make) -> None:
    """202 while there is room, 503 with when to come again where there is none; both are figures, and all is added once it answers."""
    # With its id an increment is sent again wherever the live store ended, and counts once.
    first, second = ONE | {"id": "first"}, ONE | {"id": "second"}
    with ValkeyServer() as server:
        tallying = make(url=server.url, buffer=3, timeout_s=0.5)
        assert tallying.post(ONE).status_code == 200
        server.kill()
        answer = tallying.post([first, second])
        assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "repeated": 0, "buffered": 2})
        full = tallying.post([ONE, ONE])
        assert problem(full) == (
            503, "not-ready", "The live store does not answer, and there is no room to wait for it; nothing was added.",
            "Send them again.",
        )  # fmt: skip
        assert full.headers["retry-after"] == "1"
        lines = tallying.site.get("/metrics", tallying.admin).text.splitlines()
        assert 'dayfold_increments_total{outcome="lost"} 2.0' in lines
        assert "dayfold_increments_waiting 2.0" in lines
        assert "dayfold_live_store_up 0.0" in lines
        server.start()
        assert tallying.applied()["total"] == 3


def test_a_full_buffer_that_raises_is_the_same_answer(make: Make, valkey: ValkeyServer) -> None:
    """With `when_full = "raise"` a client is told the same, and nothing counts as lost."""
    tallying = make(url=valkey.url, buffer=1, when_full="raise")
    assert problem(tallying.post([ONE, ONE]))[:2] == (503, "not-ready")
    figures = tallying.app.counters.figures
    assert figures is not None
    assert figures.lost == 0


def test_a_sum_beyond_64_bits_is_a_conflict(make: Make, valkey: ValkeyServer) -> None:
    """The others of the request are added, and the answer says which is not."""
    tallying = make(url=valkey.url, prefix="overflow")
    most = PIECES | {"add": {"pieces": 2**63 - 1}}
    assert tallying.post(most).status_code == 200
    answer = tallying.post([PIECES | {"key": {"place": "b", "shelf": 1}}, PIECES | {"add": {"pieces": 1}}])
    said = answer.json()
    assert problem(answer)[:3] == (409, "overflow", "1 of 2 increments would pass 64 bits.")
    assert (said["accepted"], said["repeated"], [one["index"] for one in said["errors"]]) == (1, 0, [1])
    assert tallying.applied("level") == {"pieces": 2**63 - 4}


# -- operators -------------------------------------------------------------------------------------


def test_operators_see_and_flush(tallying: Tallying) -> None:
    """What waits of which day, the law, and the figures of the process; who steers jobs flushes and sees no number."""
    tallying.post([ONE, ONE | {"at": ago(days=1)}])
    read = lambda: tallying.site.get("/v1/counters", tallying.admin).json()  # noqa: E731
    [usage, level] = read()["counters"]
    assert (usage["counter"], usage["keys"], usage["pending_days"]) == (
        "api_key_usage", 0, {"2026-03-11": 1, "2026-03-12": 1},
    )  # fmt: skip
    assert (usage["law"]["accepted"]["total"], usage["law"]["pending"]["total"], usage["law"]["holds"]) == (2, 2, True)
    assert level["law"]["holds"]
    assert read()["process"]["accepted"] == 2
    steering = header(tallying.site.token("jobs"))
    assert problem(tallying.site.get("/v1/counters", steering))[:2] == (403, "forbidden")
    done = tallying.site.client.post("/v1/counters/flush", headers=steering).json()["flushed"]
    assert [(one["counter"], one["rows"], one["held"]) for one in done] == [("api_key_usage", 2, 0), ("level", 0, 0)]
    assert read()["counters"][0]["law"]["applied"]["total"] == 2


def test_held_rows_are_listed_and_replayed(tallying: Tallying) -> None:
    """In pages; what the definitions do not take by now stays."""
    most = PIECES | {"add": {"pieces": 2**63 - 1}}
    tallying.post(most)
    tallying.app.counters.flush()
    tallying.post([PIECES | {"add": {"pieces": 5}}, PIECES | {"add": {"pieces": 6}, "at": ago(days=1)}])
    tallying.app.counters.flush()
    path = "/v1/counters/level/held"
    held = tallying.site.get(path, tallying.admin).json()["held"]
    assert sorted((one["reason"], one["key"], one["amounts"]["pieces"]) for one in held) == [
        ("overflow", ["Zürich", 7], 5), ("overflow", ["Zürich", 7], 6),
    ]  # fmt: skip
    first = tallying.site.get(path, tallying.admin, limit=1).json()
    assert [one["id"] for one in tallying.site.get(path, tallying.admin, after=first["after"]).json()["held"]] == [
        held[1]["id"]
    ]
    replay = lambda: tallying.site.client.post("/v1/counters/level/replay", headers=tallying.admin).json()  # noqa: E731
    assert replay() == {"replayed": 0, "kept": 2}
    tallying.post(PIECES | {"add": {"pieces": -100}})
    tallying.app.counters.flush()
    assert replay() == {"replayed": 2, "kept": 0}
    assert tallying.applied("level") == {"pieces": 2**63 - 90}
    assert problem(tallying.site.get("/v1/counters/lvel/held", tallying.admin))[:2] == (404, "unknown-name")


def test_metrics_tell_the_law_and_survive_its_failure(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read at most every 15 seconds; where it cannot be, the other figures are there."""
    tallying = make()
    tallying.post(ONE)

    def broken() -> Any:
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(tallying.app.counters, "conservation", broken)
        patch.setattr("dayfold.http.laws.FRESH_S", 0.0)
        text = tallying.site.get("/metrics", tallying.admin).text
        assert 'dayfold_increments_total{outcome="accepted"} 1.0' in text
        assert "dayfold_counter_holds" not in text
    lines = tallying.site.get("/metrics", tallying.admin).text.splitlines()
    assert 'dayfold_counter_holds{counter="api_key_usage"} 1.0' in lines
    assert 'dayfold_counter_amount{counter="api_key_usage",part="pending",total="good"} 1.0' in lines
    tallying.applied()
    assert 'part="pending",total="good"} 1.0' in tallying.site.get("/metrics", tallying.admin).text


def test_a_server_flushes_by_itself(make: Make) -> None:
    """Where it runs jobs."""
    tallying = make(flush_s=0.01)
    tallying.post(ONE)
    tallying.site.service.start()
    while tallying.app.counters.conservation(["api_key_usage"])[0].applied["total"] < 1:
        pass


def test_events_and_counters_beside_each_other_begin_on_an_empty_store(store: Ground) -> None:
    """Whichever is made first does not ask for the other's tables; both are folded."""
    app = store.define(Daily, SAID, Level)
    with Site(store) as site:
        site.service.collector.start()
        track = header(app.accounts.create_token("all", "track").secret)
        event = {"event_type": "asset_viewed", "properties": {"project_id": "p1"}}
        assert site.client.post("/v1/events?wait=log", headers=track, json=event).status_code == 200
        assert site.client.post("/v1/count", headers=track, json=PIECES).status_code == 200
        store.fold()
        assert app.query("Level", from_="today", to="today").rows[0]["pieces"] == -3
        assert app.query("Daily", from_="today", to="today").rows[0]["happened"] == 1
