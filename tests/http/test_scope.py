"""What a limited caller sees: exactly their rows, through every route; and nothing about the rows of others."""

from __future__ import annotations

import datetime as dt
import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from dayfold import events
from dayfold.errors import UsageError
from dayfold.http.embed import Embed
from dayfold.http.rights import Right, right_of
from dayfold.plan.access import UNREDACTED, Scope
from dayfold.settings_auth import JwtSettings
from tests.conftest import Pairing
from tests.engines.ground import NOW, Ground
from tests.eventlog import event, send
from tests.http.shops import COLUMNS, customers, order, rollups, studies
from tests.http.site import Site, header, problem, routes

MINE = "42"
LOG = events.columns(shop_id="bigint")
SPAN = {"from_": "2026-03-01", "to": "2026-03-12"}
Words = dict[str, Any]
#: Questions to every route that reads: whole ones, sneaky ones and wrong ones.
QUESTIONS: dict[str, list[tuple[str, Words]]] = {
    "/v1/rollups": [("/v1/rollups", {})],
    "/v1/rollups/{name}": [(f"/v1/rollups/{name}", {}) for name in ("ShopDaily", "PlatformDaily", "Nothing")],
    "/v1/rollups/{name}/query": [
        ("/v1/rollups/ShopDaily/query", words | SPAN)
        for words in (
            {},
            {"by": "shop_id"},
            {"by": "shop_id", "format": "csv"},
            {"by": "shop_id", "format": "parquet"},
            {"grain": "total", "metrics": "customers"},
            {"grain": "total", "by": "shop_id", "sort": "-orders", "limit": 3},
            {"where": "shop_id=43"},
            {"where": "shop_id!=42"},
            {"where": ["shop_id=42", "shop_id=43"], "by": "shop_id"},
            {"where": "shop_id="},
            {"where": "shop_id=nine"},
            {"compare": "previous", "by": "shop_id", "grain": "week"},
            {"compare": "year"},
            {"live": "1", "by": "shop_id"},
            {"after": "WyIyMDI2LTAzLTAyIiwgIjQzIl0", "by": "shop_id", "limit": 2},
            {"grain": "month", "allow_missing": "1"},
            {"metrics": "nothing"},
            {"tz": "Asia/Kathmandu"},
        )
    ]
    + [
        ("/v1/rollups/ChannelDaily/query", {"by": "channel", **SPAN}),
        ("/v1/rollups/PlatformDaily/query", {**SPAN}),
        ("/v1/rollups/platform_daily/query", {**SPAN}),
    ],
    "/v1/rollups/{name}/latest": [
        ("/v1/rollups/ShopDaily/latest", {"by": "shop_id"}),
        ("/v1/rollups/ShopDaily/latest", {"where": "shop_id=43"}),
        ("/v1/rollups/PlatformDaily/latest", {}),
    ],
    "/v1/rollups/{name}/top": [
        ("/v1/rollups/ShopDaily/top", {"metric": "orders", "by": "shop_id", "n": 5, **SPAN}),
        ("/v1/rollups/ChannelDaily/top", {"metric": "sales", "by": "channel", **SPAN}),
        ("/v1/rollups/PlatformDaily/top", {"metric": "everything", "by": "shop_id", **SPAN}),
    ],
    "/v1/rollups/{name}/explain": [
        ("/v1/rollups/ShopDaily/explain", {"metric": metric, "day": "2026-03-03", "where": f"shop_id={shop}"})
        for metric in ("orders", "customers", "per_order")
        for shop in ("42", "43", "9999", "")
    ]
    + [("/v1/rollups/PlatformDaily/explain", {"metric": "everything", "day": "2026-03-03"})],
    "/v1/profiles/{name}": [
        ("/v1/profiles/Customers", words)
        for words in (
            {},
            {"limit": 2},
            {"sort": "-cents"},
            {"sort": "run_id"},
            {"sort": "shop_id", "format": "csv"},
            {"format": "parquet", "columns": "customer,cents"},
            {"count_by": "segment", "columns": "cents"},
            {"count_by": "shop_id,customer", "sort": "-count"},
            {"where": "shop_id=43"},
            {"where": ["shop_id=42", "shop_id=43"]},
            {"where": "shop_id!=42"},
            {"where": ["cents>0", "last_at<-1d", "segment="]},
            {"where": "customer=' or 1=1 --"},
            {"where": "run_id>1"},
            {"columns": "run_id"},
            {"after": "WyJhIiwgIjQzIl0", "limit": 1},
        )
    ]
    + [("/v1/profiles/ShopDaily", {}), ("/v1/profiles/PlatformDaily", {})],
    "/v1/profiles/{name}/one": [
        ("/v1/profiles/Customers/one", {"key": [f"shop_id={shop}", f"customer={customer}"], **more})
        for shop, customer in (
            ("42", "m1"),
            ("42", "o1"),
            *((shop, "o1") for shop in ("1", "43", "44", "")),
            ("9999", "x"),
            ("nine", "x"),
        )
        for more in ({}, {"format": "csv"})
    ]
    + [("/v1/profiles/Customers/one", {"key": "shop_id=42"}), ("/v1/profiles/ShopDaily/one", {"key": "shop_id=42"})],
    "/v1/coverage": [("/v1/coverage", {}), ("/v1/coverage", {"rollup": "PlatformDaily"})],
    "/v1/cohorts/{name}": [
        (f"/v1/cohorts/{name}", {"from_": "2026-02-20", **words})
        for name, words in (
            ("Returning", {"grain": "day"}),
            ("Returning", {"grain": "week", "by": "shop_id", "unbounded": "1"}),
            ("Returning", {"by": "customer,dearest", "format": "csv"}),
            ("Returning", {"where": "shop_id=43", "grain": "week"}),
            ("Returning", {"where": ["shop_id!=42", "customer=o1"], "by": "shop_id"}),
            ("Returning", {"periods": "1", "format": "parquet", "by": "shop_id"}),
            ("Returning", {"by": "first_order_at"}),
            ("Returnin", {}),
        )
    ],
    "/v1/funnels/{name}": [
        (f"/v1/funnels/{name}", {"from_": "2026-02-20", **words})
        for name, words in (
            ("Growing", {}),
            ("Growing", {"by": "shop_id", "format": "csv"}),
            ("Growing", {"where": "shop_id=43"}),
            ("Growing", {"from_": "2026-03-04", "to": "2026-03-05", "by": "customer"}),
            ("Growin", {}),
        )
    ],
    "/v1/events": [
        ("/v1/events", words)
        for words in (
            {},
            {"limit": 3},
            {"limit": 2, "after": "WzE3NzI2MjIwMDAwMDAwMDAsICIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDEiXQ"},
            {"entity_type": "shop"},
            {"entity_type": "shop", "entity_id": "42"},
            {"entity_type": "shop_id", "entity_id": "43"},
            {"entity_type": "customer"},
            {"entity_id": "42"},
            {"event_type": "opened"},
            {"from_": "2026-03-04", "to": "2026-03-06"},
            {"actor": "m1"},
            {"actor": "o1"},
            {"session": "s1"},
        )
    ],
    "/v1/exports": [("/v1/exports", {})],
    "/v1/exports/{id}": [("/v1/exports/nothing", {})],
    "/v1/metrics": [("/v1/metrics", {})],
    "/v1/metrics/{metric}": [
        ("/v1/metrics/orders", {"by": "shop_id", **SPAN}),
        ("/v1/metrics/orders", {"shop_id": "43", **SPAN}),
        ("/v1/metrics/sales", {"channel": "app", "period": "weekly", **SPAN}),
        ("/v1/metrics/everything", {**SPAN}),
        ("/v1/metrics/PlatformDaily.everything", {**SPAN}),
    ],
    "/v1/metrics/{metric}/latest": [("/v1/metrics/orders/latest", {}), ("/v1/metrics/everything/latest", {})],
}


def world(ground: Ground, others: int) -> Ground:
    """Shop 42 as it always is, and others who differ from world to world on the same days."""
    mine = [order(42, day, 100 * day, customer=f"m{day % 3}") for day in range(2, 12)]
    draw = random.Random(others)
    theirs = [
        order(
            draw.choice([1, 43, 44, 500 + others, None]),
            day,
            draw.randrange(10_000),
            draw.choice(["web", "app"]),
            f"o{n}",
        )
        for n, day in enumerate([1, *range(2, 12), *(draw.randrange(1, 13) for _ in range(others * 40))])
    ]
    ground.load("orders", COLUMNS, [*mine, *theirs])
    ground.define(*rollups(ground), *studies(ground), customers(ground), LOG)
    ground.fold()
    happened = [
        event(1000 * (1 + is_other) + number, shop_id=one["shop_id"], actor_id=one["customer"], occurred_at=one["made_at"],
              anonymous_id=f"b{one['customer']}", props={"cents": one["cents"]}, event_type="opened" if number % 3 else "closed",
              session_id="s1")
        for is_other, orders in enumerate((mine, theirs))
        for number, one in enumerate(orders)
    ]  # fmt: skip
    draw.shuffle(happened)
    send(ground.opened, *happened)
    return ground


@pytest.fixture(params=["duckdb", "postgres"])
def worlds(
    request: pytest.FixtureRequest, new_duckdb: Callable[..., str], new_postgres: Callable[[], str]
) -> Iterator[list[Site]]:
    """Two sites in which shop 42 is the same, and nobody else."""
    with ExitStack() as stack:
        sites = []
        for others in (1, 3):
            url = new_duckdb(f"world{others}") if request.param == "duckdb" else new_postgres()
            ground = stack.enter_context(Ground(Pairing(f"{request.param}-same", url, url)))
            sites.append(stack.enter_context(Site(world(ground, others))))
        yield sites


def told(site: Site, token: str, path: str, words: Words) -> tuple[Any, ...]:
    """All of an answer that a caller can tell from another one."""
    # Once as it is computed, once as it is kept.
    first, second = (
        (answer.status_code, answer.headers.get("etag"), answer.headers["content-type"], answer.content)
        for answer in (site.get(path, header(token), **words) for _ in range(2))
    )
    assert first == second
    return first


#: Every route that is open to everybody, or to this machine. A new one is a decision, written down here.
OPEN = {
    Right.PUBLIC: {
        "GET /openapi.json", "GET /healthz", "GET /readyz", "GET /sign-in", "POST /sign-in", "POST /sign-out", "GET /sign-in/oidc",
        "GET /sign-in/oidc/return",
        # Its signature is the right.
        "GET /dayfold.js", "GET /dayfold.mjs", "GET /v1/projects/{key}/settings", "GET /v1/exports/{id}/download", "POST /v1/m",
    },
    Right.NEAR: {"GET /metrics"},
    Right.KNOWN: {"GET /v1/me"},
    # Of the one actor that a signed token names, whatever its scope: tests/http/test_events.py.
    Right.SELF: {
        "GET /v1/me/events", "POST /v1/me/exports", "GET /v1/me/exports", "GET /v1/me/exports/{id}", "DELETE /v1/me/exports/{id}",
    },
}  # fmt: skip
#: What a reader may do beside reading: their own exports, of what they could read.
EXPORTING = {"POST /v1/exports", "DELETE /v1/exports/{id}"}
#: Its answer has no end: tests/http/test_stream.py.
STREAMED = {"GET /v1/events/stream"}
#: What no caller of whom rows are kept may do.
UNLIMITED = {Right.JOBS, Right.ADMIN, Right.CRON, Right.TRACK}


def by_right(site: Site) -> dict[Right, set[str]]:
    """Every route of the application, by what it asks for."""
    found: dict[Right, set[str]] = {}
    for route in routes(site.api):
        right = right_of(route)
        assert right is not None, f"{route.path} does not say what it needs"
        found.setdefault(right, set()).update(f"{method} {route.path}" for method in route.methods)
    return found


def test_every_route_is_scoped_public_or_not_for_readers(duck: Ground) -> None:
    """A route that says nothing of its right, that is open and not in the list, or that reads and has no question here, fails."""
    with Site(world(duck, 1)) as site:
        found = by_right(site)
        assert {right: found.get(right, set()) for right in OPEN} == OPEN
        assert found[Right.READ] - EXPORTING - STREAMED == {f"GET {path}" for path in QUESTIONS}, (
            "every route that reads is asked below"
        )
        assert set(found) - {*OPEN, Right.READ} <= UNLIMITED


JWT = {"secret": "s" * 32, "algorithms": ["HS256"], "audience": "dayfold", "claims": {"rows": {"shop_id": "shop"}}}
PASSWORD = "a password that is long enough"


def limited_callers(site: Site) -> dict[str, dict[str, str]]:
    """Shop 42 as each kind of caller of whom rows can be kept: a token, a JWT and a browser that signed in."""
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    signed = jwt.encode({"aud": "dayfold", "exp": ends, "shop": MINE}, "s" * 32, "HS256")
    site.app.accounts.add_user("anna", PASSWORD, "read", rows=[f"shop_id={MINE}"])
    browser = TestClient(site.api, follow_redirects=False)
    assert browser.post("/sign-in", data={"name": "anna", "password": PASSWORD}).status_code == 303
    csrf = browser.get("/v1/me").json()["csrf_token"]
    cookie = "; ".join(f"{one.name}={one.value}" for one in browser.cookies.jar)
    return {
        "token": header(site.token("read", Scope.of(None, {"shop_id": [MINE]}))),
        "jwt": header(signed),
        "cookie": {"Cookie": cookie, "X-CSRF-Token": csrf},
    }


def refused(site: Site, headers: dict[str, str], route: str, name: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """All that a caller is told by a route, but the moment and the random number of a token."""
    method, _, path = route.partition(" ")
    answer = site.client.request(method, re.sub(r"{\w+}", name, path), headers=headers)
    said = answer.json()
    said["detail"] = re.sub(r"\([0-9a-f]+\)", "(id)", said["detail"])
    kept = {key: value for key, value in answer.headers.items() if key != "content-length"}
    return answer.status_code, said, kept


def test_a_limited_caller_is_refused_whatever_is_not_reading(
    worlds: list[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every such route: 403 to a token, a JWT and a cookie, in the same words in both worlds, of a name that is there or not."""
    for site in worlds:
        settings_ = JwtSettings.model_validate(JWT)
        monkeypatch.setattr(site.service.doorkeeper, "embed", Embed(settings_, site.app.catalog, site.app.folder))
    callers = [limited_callers(site) for site in worlds]
    found = by_right(worlds[0])
    others = sorted(route for right in UNLIMITED for route in found.get(right, ()))
    assert len(others) > 10
    for kind in callers[0]:
        for route in others:
            told_of = {
                json.dumps(refused(site, mine[kind], route, name), sort_keys=True)
                for site, mine in zip(worlds, callers, strict=True)
                for name in ("fold", "1", "nothing")
            }
            assert len(told_of) == 1, (kind, route)
            [status, said, _] = json.loads(told_of.pop())
            # Outside schedulers have no browser: a session does not even make somebody known there. Events are sent with keys alone.
            is_unknown = kind == "cookie" and route in found[Right.CRON]
            is_unknown |= kind != "token" and route in found[Right.TRACK]
            assert (status, said["code"]) == ((401, "unauthenticated") if is_unknown else (403, "forbidden")), (
                kind,
                route,
            )


def test_a_limited_caller_is_known_as_such(worlds: list[Site]) -> None:
    """`/v1/me` tells each world's caller the same, and of nobody else."""
    told_of = [
        site.get("/v1/me", header(site.token("read", Scope.of(["ShopDaily"], {"shop_id": [MINE]})))).json()
        for site in worlds
    ]
    for one in told_of:
        assert one.pop("name").startswith("token a read token (")
        assert one == {"rights": ["read"], "rollups": ["ShopDaily"], "rows": {"shop_id": [MINE]}}


@pytest.mark.parametrize("kind", ["jobs", "admin"])
def test_only_a_reader_is_limited(duck: Ground, kind: str) -> None:
    """No token or user that steers or administers is made with rows or rollups: its limits would hold nothing back."""
    with Site(world(duck, 1)) as site:
        for limits in ({"rows": [f"shop_id={MINE}"]}, {"rollups": ["ShopDaily"]}):
            with pytest.raises(UsageError, match="read"):
                site.app.accounts.create_token("limited", kind, **limits)
            with pytest.raises(UsageError, match="read"):
                site.app.accounts.add_user("limited", PASSWORD, kind, **limits)


def test_no_answer_tells_of_the_rows_of_others(worlds: list[Site]) -> None:
    """All that shop 42 is told is the same in two worlds that differ in everybody else."""
    scope = Scope.of(None, {"shop_id": [MINE]})
    tokens = [site.token("read", scope) for site in worlds]
    differing = []
    for asked in QUESTIONS.values():
        for path, words in asked:
            one, other = (told(site, token, path, words) for site, token in zip(worlds, tokens, strict=True))
            if one != other:
                differing.append((path, words, one, other))
    assert differing == []


def test_the_worlds_do_differ(worlds: list[Site]) -> None:
    """Who sees everything is told different numbers, so that the comparison above can fail."""
    tokens = [site.token() for site in worlds]
    same = []
    for path, asked in QUESTIONS.items():
        told_in = [[told(site, token, *one) for one in asked] for site, token in zip(worlds, tokens, strict=True)]
        if told_in[0] == told_in[1]:
            same.append(path)
    # What there is, and which days are covered, is the same in both.
    assert same == [
        "/v1/rollups",
        "/v1/rollups/{name}",
        "/v1/coverage",
        "/v1/exports",
        "/v1/exports/{id}",
        "/v1/metrics",
    ]


#: Every kind of export, and some that are refused.
EXPORTED: list[Words] = [
    {"what": "events"},
    {"what": "events", "personal": True, "from": "2026-03-03", "to": "2026-03-09"},
    {"what": "events", "entity_type": "shop", "entity_id": "43"},
    {"what": "events", "actor": "o1"},
    {"what": "actor", "name": "m1", "personal": True},
    {"what": "actor", "name": "o1"},
    {"what": "rollup", "name": "ShopDaily"},
    {"what": "rollup", "name": "shop_daily", "where": ["shop_id=43"]},
    {"what": "rollup", "name": "ChannelDaily", "from": "2026-03-01", "to": "2026-03-12"},
    {"what": "rollup", "name": "PlatformDaily"},
]


def exported(site: Site, token: str, asked: Words) -> tuple[Any, ...]:
    """All that an export tells its asker, but what is random: how it was answered, the file and what is known of it."""
    answer = site.client.post("/v1/exports", headers=header(token), json=asked)
    if answer.status_code != 202:
        return answer.status_code, answer.json()
    for _ in range(10):
        site.service.scheduler.step()
        site.service.scheduler.join()
    done = site.get(answer.json()["href"], header(token)).json()
    file = site.client.get(done.pop("download"))
    for name in ("id", "href", "asked_by"):
        done.pop(name)
    kept = {name: value for name, value in file.headers.items() if name != "content-disposition"}
    return done, file.status_code, kept, file.content


@pytest.mark.in_turn
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_no_export_tells_of_the_rows_of_others(worlds: list[Site], tmp_path: Path, form: str) -> None:
    """Byte for byte the same in two worlds that differ in everybody else; who sees everything is told different things."""
    scope = Scope.of(None, {"shop_id": [MINE]}, personal=True, events=True)
    for place, site in enumerate(worlds):
        site.app.settings.export.folder = tmp_path / str(place)
    limited, whole = ([site.token("read", one) for site in worlds] for one in (scope, UNREDACTED))
    for asked in EXPORTED:
        one, other = (
            exported(site, token, asked | {"format": form}) for site, token in zip(worlds, limited, strict=True)
        )
        assert one == other, asked
        assert one[0] != 202
    asked = {"what": "events", "format": form}
    one, other = (exported(site, token, asked) for site, token in zip(worlds, whole, strict=True))
    assert one[3] != other[3]
    # And what there is of the worlds is in them.
    mine = exported(worlds[0], limited[0], {"what": "events", "format": "jsonl"})
    assert mine[3].count(b"\n") == 10


def test_a_limited_answer_is_the_answer_about_ones_own_rows(worlds: list[Site]) -> None:
    """The rows are those that an administrator is shown for shop 42, whatever the grouping."""
    site = worlds[1]
    limited, admin = header(site.token("read", Scope.of(None, {"shop_id": [MINE]}))), header(site.token())
    for words in (
        {},
        {"by": "shop_id"},
        {"grain": "total", "metrics": "customers"},
        {"grain": "week", "compare": "previous"},
    ):
        path = "/v1/rollups/ShopDaily/query"
        mine = site.get(path, limited, **SPAN, **words).json()
        theirs = site.get(path, admin, **SPAN, **words, where="shop_id=42").json()
        assert mine["rows"] == theirs["rows"] != []
        if "compare" in words:
            assert mine["compare"]["rows"] == theirs["compare"]["rows"]


@settings(max_examples=60)
@given(data=st.data())
def test_any_question_of_a_limited_caller(data: st.DataObject, scoped_worlds: list[tuple[Site, str]]) -> None:
    """Drawn questions: the two worlds answer alike."""
    shops = st.sampled_from(["42", "43", "1", "501", "", "x"])
    words: Words = {
        "by": data.draw(st.sampled_from(["", "shop_id", "channel", "shop_id,channel"])),
        "grain": data.draw(st.sampled_from(["day", "week", "month", "total"])),
        "where": data.draw(
            st.lists(st.builds("{}{}{}".format, st.just("shop_id"), st.sampled_from(["=", "!="]), shops), max_size=3)
        ),
        "limit": data.draw(st.none() | st.integers(1, 4)),
        "compare": data.draw(st.none() | st.sampled_from(["previous", "year"])),
        "format": data.draw(st.sampled_from(["json", "csv"])),
        "live": data.draw(st.sampled_from(["0", "1"])),
        "from": str(dt.date(2026, 3, 1) + dt.timedelta(days=data.draw(st.integers(-3, 6)))),
        "to": str(dt.date(2026, 3, 8) + dt.timedelta(days=data.draw(st.integers(0, 6)))),
    }
    words = {name: value for name, value in words.items() if value}
    rollup = data.draw(st.sampled_from(["ShopDaily", "ChannelDaily", "PlatformDaily"]))
    found = [told(site, token, f"/v1/rollups/{rollup}/query", words) for site, token in scoped_worlds]
    assert found[0] == found[1]


@pytest.fixture
def scoped_worlds(new_duckdb: Callable[..., str]) -> Iterator[list[tuple[Site, str]]]:
    """Two worlds, each with the token of shop 42."""
    with ExitStack() as stack:
        made = []
        for others in (1, 3):
            url = new_duckdb(f"drawn{others}")
            ground = stack.enter_context(Ground(Pairing("duckdb-same", url, url)))
            site = stack.enter_context(Site(world(ground, others)))
            made.append((site, site.token("read", Scope.of(None, {"shop_id": [MINE]}))))
        yield made


def test_a_shared_cache_never_crosses_scopes(duck: Ground) -> None:
    """The same question of two shops, one after the other, has two answers, each of which is kept."""
    with Site(world(duck, 1)) as site:
        answers = []
        for shop in ("42", "43", "42", "43"):
            headers = site.reader({"shop_id": [shop]}) if len(answers) < 2 else answers[len(answers) - 2][0]
            answer = site.get("/v1/rollups/ShopDaily/query", headers, by="shop_id", **SPAN)
            answers.append((headers, {row["shop_id"] for row in answer.json()["rows"]}))
        assert [shops for _, shops in answers] == [{42}, {43}, {42}, {43}]
        assert (site.service.cache.hits, site.service.cache.misses) == (2, 2)


def test_an_empty_list_sees_nothing(duck: Ground) -> None:
    """A token with no value for its column sees no row, and zero where rows are added up."""
    with Site(world(duck, 1)) as site:
        nobody = site.reader({"shop_id": []})
        path = "/v1/rollups/ShopDaily/query"
        assert site.get(path, nobody, by="shop_id", **SPAN).json()["rows"] == []
        [row] = site.get(path, nobody, grain="total", metrics="orders,customers", **SPAN).json()["rows"]
        assert (row["orders"], row["customers"]) == (0, 0)


def test_a_rollup_that_is_not_ones_own_is_not_there(duck: Ground) -> None:
    """A rollup without the column, or not on the token's list, is refused in the words for one that does not exist."""
    with Site(world(duck, 1)) as site:
        limited = site.reader({"shop_id": [MINE]})
        for name in ("PlatformDaily", "PlatformDayly"):
            answer = site.get(f"/v1/rollups/{name}", limited)
            assert problem(answer) == (
                404, "unknown-name", f"There is no rollup '{name}'.",
                "Rollups: ShopDaily, ChannelDaily, Shoppers, ShopperDaily, Customers",
            )  # fmt: skip
        listed = site.reader(rollups=["ShopDaily"])
        assert [one["name"] for one in site.get("/v1/rollups", listed).json()["rollups"]] == ["ShopDaily"]
        answer = site.get("/v1/metrics/sales", listed, **SPAN)
        assert problem(answer)[:3] == (404, "unknown-name", "There is no metric 'sales'.")


def test_a_cohort_of_what_is_not_ones_own_is_not_there(duck: Ground) -> None:
    """Who may see the profile and not the rollup, or none of them, is told the same as of a name that nobody has."""
    with Site(world(duck, 1)) as site:
        for headers in (
            site.reader(rollups=["Shoppers"]), site.reader(rollups=["ShopperDaily"]), site.reader({"channel": ["web"]}),
        ):  # fmt: skip
            for name in ("Returning", "Returned"):
                answer = site.get(f"/v1/cohorts/{name}", headers, from_="2026-03-01")
                assert problem(answer) == (404, "unknown-name", f"There is no cohort '{name}'.", "Cohorts: none")
        both = site.reader(rollups=["Shoppers", "ShopperDaily"])
        assert site.get("/v1/cohorts/Returning", both, from_="2026-03-01").status_code == 200
        answer = site.get("/v1/funnels/Growing", site.reader(rollups=["ShopperDaily"]), from_="2026-03-01")
        assert problem(answer)[2] == "There is no funnel 'Growing'."


def test_a_kept_cohort_is_never_older_than_what_it_is_read_from(duck: Ground) -> None:
    """A publication of the rollup alone, or of the profile alone, is a new answer; an unchanged one costs 304."""
    duck.load("orders", COLUMNS, [order(42, 2, 100), order(42, 4, 100)])
    duck.define(*studies(duck))
    duck.fold()
    with Site(duck) as site:
        everybody = header(site.token())

        def ask() -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = site.get("/v1/cohorts/Returning", everybody, from_="2026-03-01").json()["rows"]
            return rows

        assert [(row["size"], row["paid"]) for row in ask()] == [(1, 200)]
        kept = site.get("/v1/cohorts/Returning", everybody, from_="2026-03-01")
        tagged = {**everybody, "If-None-Match": kept.headers["etag"]}
        assert site.get("/v1/cohorts/Returning", tagged, from_="2026-03-01").status_code == 304
        with site.app.ledger.store.transaction() as session:
            session.execute(
                "insert into orders values (42, 'web', 'c', 50, '2026-03-05'), (42, 'web', 'd', 1, '2026-03-06')"
            )
        site.app.fold(["ShopperDaily"])
        assert [(row["size"], row["paid"]) for row in ask()] == [(1, 250)]
        site.app.fold(["Shoppers"])
        assert [(row["size"], row["paid"]) for row in ask()] == [(2, 251)]


def test_another_key_cannot_be_explained(duck: Ground) -> None:
    """The refusal is the same whether the cell exists or not."""
    with Site(world(duck, 1)) as site:
        limited = site.reader({"shop_id": [MINE]})
        for shop in ("43", "9999", ""):
            answer = site.get(
                "/v1/rollups/ShopDaily/explain", limited, metric="orders", day="2026-03-03", where=f"shop_id={shop}"
            )
            assert problem(answer) == (
                400, "query-refused", "The value of shop_id is not among those that you may see.",
                "Ask for a key of your own; who issued the token knows which these are.",
            )  # fmt: skip
        mine = site.get(
            "/v1/rollups/ShopDaily/explain", limited, metric="orders", day="2026-03-03", where="shop_id=042"
        )
        told_of = mine.json()
        assert (told_of["value"], told_of["verification"], told_of["receipt"]) == (1, None, None)
        assert [one["facts"] for one in told_of["coverage"]] == [None]


def test_a_value_that_is_not_of_the_keys_type_opens_nothing(duck: Ground) -> None:
    """A token made for a text that no shop can have sees nothing, without an error."""
    with Site(world(duck, 1)) as site:
        odd = site.reader({"shop_id": ["forty-two"]})
        assert site.get("/v1/rollups/ShopDaily/query", odd, by="shop_id", **SPAN).json()["rows"] == []


def test_worlds_stand_in_the_present() -> None:
    """The days that are asked have begun."""
    assert dt.date(2026, 3, 12) == NOW.date()
