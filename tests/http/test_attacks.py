"""Requests that nobody sends by mistake: each is refused in words, and changes and tells nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from dayfold.http import bounds, reads
from dayfold.plan.access import Scope
from tests.conftest import Pairing
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, order, rollups
from tests.http.site import Site, header, problem, routes

QUERY = "/v1/rollups/ShopDaily/query"
EXPLAIN = "/v1/rollups/ShopDaily/explain"
SPAN = {"from_": "2026-03-02", "to": "2026-03-05"}
JSON, FORM = {"Content-Type": "application/json"}, {"Content-Type": "application/x-www-form-urlencoded"}
TAKING_JSON = ["/v1/jobs/fold/trigger", "/v1/rebuild", "/v1/verify", "/v1/alerts/test"]
TOO_LONG = (413, "too-long", "The body is too long: at most 1 MiB is read.", "Send less at once.")
UNREADABLE = (400, "request", "The body cannot be read.", "Send JSON, as UTF-8.")
NO_PATH = (404, "unknown-path", "There is no path like this.", "GET /openapi.json lists every path.")
DESCRIBED = "GET /openapi.json describes every parameter."


def folded(ground: Ground) -> Ground:
    """Three shops over a few days."""
    ground.load("orders", COLUMNS, [order(shop, day, 10 * day) for shop in (1, 2, None) for day in range(2, 6)])
    ground.define(*rollups(ground))
    ground.fold()
    return ground


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A served store on DuckDB. Nothing here changes it."""
    url = f"duckdb:///{tmp_path_factory.mktemp('attacks')}/store.duckdb"
    with Ground(Pairing("duckdb-same", url, url)) as ground, Site(folded(ground)) as made:
        yield made


@pytest.fixture
def admin(site: Site) -> dict[str, str]:
    """Who may do everything."""
    return header(site.token("admin"))


def queued(site: Site) -> int:
    """How many runs were asked for."""
    with site.app.ledger.store.transaction(read_only=True) as session:
        [[count]] = session.rows(site.app.ledger.sql("select count(*) from dayfold__job_runs"))
    return int(count)


# -- bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*TAKING_JSON, "/sign-in", "/sign-out", "/v1/jobs/fold/stop", "/v1/cron/fold"])
def test_a_body_that_is_too_long_is_not_read(site: Site, admin: dict[str, str], path: str) -> None:
    """Ten megabytes are refused by their announced length, whatever they are sent to."""
    answer = site.client.post(path, content=b" " * 10_000_000, headers=admin | JSON)
    assert problem(answer) == TOO_LONG


@pytest.mark.parametrize("path", TAKING_JSON)
def test_a_body_without_a_length_is_read_to_the_limit(site: Site, admin: dict[str, str], path: str) -> None:
    """Who does not say how much comes is stopped once it is too much; the rest is never asked for."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 3 * bounds.LARGEST_BYTES:
            sent += 65_536
            yield b" " * 65_536

    assert problem(site.client.post(path, content=endless(), headers=admin | JSON)) == TOO_LONG


@pytest.mark.parametrize("path", TAKING_JSON)
@pytest.mark.parametrize(
    "body",
    [b"[" * 500_000, b'{"a":' * 100_000, b'{"rollup":"\xff"}', b'{"sample":' + b"9" * 5_000 + b"}", b"{", b"\x00"],
    ids=["deep lists", "deep objects", "not UTF-8", "a wide number", "cut short", "NUL"],
)
def test_a_body_that_is_no_json_is_refused(site: Site, admin: dict[str, str], path: str, body: bytes) -> None:
    """However it is broken, it is said to be, and nothing is queued."""
    assert problem(site.client.post(path, content=body, headers=admin | JSON)) == UNREADABLE
    assert queued(site) == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("path", TAKING_JSON)
def test_a_body_of_another_type_is_not_guessed_at(site: Site, admin: dict[str, str], path: str, kind: str) -> None:
    """A page of another site can send these without asking; they are no JSON."""
    body = b'{"rollup":"ShopDaily","from":"2026-03-01","to":"2026-03-02"}'
    answer = site.client.post(path, content=body, headers=admin | {"Content-Type": kind})
    assert problem(answer)[:2] == (400, "usage")
    assert queued(site) == 0


_RANGE = {"from": "2026-03-01", "to": "2026-03-02"}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/rebuild", {"rollup": "ShopDayli", **_RANGE},
         (404, "unknown-name", "There is no rollup 'ShopDayli'; the nearest is 'ShopDaily'.",
          "Rollups: ShopDaily, ChannelDaily, PlatformDaily")),
        ("/v1/rebuild", {"rollup": "ShopDaily", **_RANGE, "where": ["shop=1"]},
         (404, "unknown-name", "ShopDaily has no key column 'shop' to filter by; the nearest is 'shop_id'.", "Key columns: shop_id")),
        ("/v1/rebuild", {"rollup": "ShopDaily", **_RANGE, "where": ["shop_id=\0"]},
         (400, "usage", "where.0 (body): String should match pattern '^[^\\x00]*$'.", DESCRIBED)),
        ("/v1/rebuild", {"rollup": "ShopDaily", "from": "2026-03-02", "to": "2026-03-01"},
         (400, "bad-date", "The range ends before it starts: from 2026-03-02 to 2026-03-01.",
          "A range names its first and its last day, both included.")),
        ("/v1/rebuild", {"rollup": "ShopDaily", "from": "0001-01-01", "to": "9999-12-31"},
         (400, "usage", "The range has 3,652,059 days; at most 40,000 are asked at once.", "Ask for a shorter range.")),
        ("/v1/verify", {"rollup": "ShopDaily", "from": "0001-01-01", "to": "9999-12-31"},
         (400, "usage", "The range has 3,652,059 days; at most 40,000 are asked at once.", "Ask for a shorter range.")),
        ("/v1/jobs/fold/trigger", {"from": "0001-01-01", "to": "9999-12-31"},
         (400, "usage", "The range has 3,652,059 days; at most 40,000 are asked at once.", "Ask for a shorter range.")),
        ("/v1/jobs/fold/trigger", {"date": "-\u0663d"},
         (400, "bad-date", "'-\u0663d' is not a date.", "Expected YYYY-MM-DD, today, yesterday (UTC), or -7d.")),
        ("/v1/verify", {"sample": 100_001}, (400, "usage", "sample (body): Input should be less than or equal to 100000.", DESCRIBED)),
        ("/v1/verify", {"sample": -1}, (400, "usage", "sample (body): Input should be greater than or equal to 1.", DESCRIBED)),
        ("/v1/verify", {"heel": True}, (400, "usage", "heel (body): Extra inputs are not permitted.", DESCRIBED)),
    ],
)  # fmt: skip
def test_work_that_cannot_be_is_not_queued(
    site: Site, admin: dict[str, str], path: str, body: dict[str, Any], said: tuple[int, str, str, str]
) -> None:
    """Unknown rollups and keys, days that are none, ranges beyond every calendar: refused at once, with what to change."""
    assert problem(site.client.post(path, json=body, headers=admin)) == said
    assert queued(site) == 0


@pytest.mark.parametrize(
    "body", [b"name=\xff&password=x", b"name=%FF&password=x", b"name=%00&password=x", b"&".join([b"a=1"] * 30)],
    ids=["bytes", "escapes", "NUL", "fields"],
)  # fmt: skip
def test_a_form_that_is_none_is_refused(site: Site, body: bytes) -> None:
    """The sign-in takes a short form of texts."""
    assert problem(site.client.post("/sign-in", content=body, headers=FORM)) == (
        400, "usage", "The form cannot be read.", "Send UTF-8 as application/x-www-form-urlencoded.",
    )  # fmt: skip


# -- addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["%FF", "%C3%28", "%ED%A0%80", "%C0%AF"], ids=["byte", "cut", "surrogate", "overlong"])
def test_an_address_that_is_not_utf8_is_refused(site: Site, admin: dict[str, str], text: str) -> None:
    """Bytes that are no text are not taken for some other text, whose rows would be the answer."""
    for path in (f"{QUERY}?where=shop_id%3D{text}", f"/v1/rollups/{text}", f"/v1/jobs/{text}", f"/healthz?{text}=1"):
        assert problem(site.client.get(path, headers=admin)) == (
            400, "usage", "The address is not UTF-8.", "Send each value as UTF-8 with %-escapes.",
        )  # fmt: skip


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..%2f..%2fetc", "fold\r\nX-Evil: 1", "\0", "a" * 201, "💥", "' OR 1=1"]
)
def test_a_name_leads_nowhere_else(site: Site, admin: dict[str, str], name: str) -> None:
    """Whatever stands where a name is expected: a name that is not there, and no header of the answer."""
    for base in ("/v1/rollups/", "/v1/metrics/", "/v1/jobs/", "/v1/cron/", "/v1/runs/"):
        answer = site.client.get(base + quote(name, safe=""), headers=admin)
        assert problem(answer)[0] in (400, 404)
        assert "x-evil" not in answer.headers


@pytest.mark.parametrize("zone", ["localtime", "Europe", "../../etc/passwd", "/etc/passwd", "a" * 3000, "UTC\n"])
def test_a_zone_is_one_of_the_known_ones(site: Site, admin: dict[str, str], zone: str) -> None:
    """No file is named by it, and not the machine's own zone, by which the same question had another answer elsewhere."""
    assert problem(site.get(QUERY, admin, tz=zone, **SPAN))[:2] == (404, "unknown-name")


@pytest.mark.parametrize(
    ("words", "detail"),
    [
        ({"limit": "\u0663"}, "limit is a number from 1 to 1,000,000."),
        ({"limit": "-1"}, "limit is a number from 1 to 1,000,000."),
        ({"limit": "1e3"}, "limit is a number from 1 to 1,000,000."),
        ({"limit": "9" * 4000}, "limit is a number from 1 to 1,000,000."),
        ({"limit": ["1", "2"]}, "The parameter 'limit' is given twice; it has one value."),
        ({"from": "-\u0663d"}, "'-\u0663d' is not a date."),
        ({"from": "-999999d"}, "'-999999d' is not a date."),
        ({"where": "shop_id=99999999999999999999999999"}, "The filter's value for 'shop_id' is not integer, which that key column holds."),
        ({"metrics": "orders," * 700}, "metrics is longer than 4,000 letters."),
        ({"compare": "previous", "from": "0001-01-01", "to": "0001-01-02"},
         "There is no range before 0001-01-01..0001-01-02 in the calendar."),
    ],
)  # fmt: skip
def test_numbers_and_days_have_ends(site: Site, admin: dict[str, str], words: dict[str, Any], detail: str) -> None:
    """Beyond them is a refusal, in words."""
    found = problem(site.client.get(QUERY, headers=admin, params=words))
    assert (found[0], found[2]) == (400, detail)


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "301", "soon"])
def test_nobody_waits_for_ever(site: Site, admin: dict[str, str], wait: str) -> None:
    """Not for a time that is no number, and nothing is queued."""
    assert problem(site.client.get("/v1/cron/verify", headers=admin, params={"wait": wait}))[:2] == (400, "usage")
    assert queued(site) == 0


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_a_method_that_a_path_lacks(site: Site, admin: dict[str, str], method: str) -> None:
    """405, with those that there are; no header makes one method into another."""
    for path, known in ((QUERY, "GET"), ("/v1/rebuild", "POST"), ("/healthz", "GET")):
        override = {"X-HTTP-Method-Override": known, "X-HTTP-Method": known}
        answer = site.client.request(method, path, headers=admin | override)
        assert (answer.status_code, answer.headers["allow"]) == (405, known)
        assert answer.headers["content-type"] == "application/problem+json"


def test_an_offset_has_an_end(site: Site, admin: dict[str, str]) -> None:
    """Past the last source row is none; past every number is a refusal."""
    words = {"metric": "orders", "day": "2026-03-03", "where": "shop_id=1"}
    assert site.get(EXPLAIN, admin, **words, offset=1_000_000_000).json()["value"] == 1
    for name, value, detail in (
        ("offset", "-1", "offset is a number from 0 to 1,000,000,000."),
        ("offset", "1000000001", "offset is a number from 0 to 1,000,000,000."),
        ("limit", "0", "limit is a number from 1 to 10,000."),
        ("limit", "10001", "limit is a number from 1 to 10,000."),
    ):
        assert problem(site.get(EXPLAIN, admin, **words, **{name: value}))[:3] == (400, "usage", detail)


# -- who asks ----------------------------------------------------------------------------------------

NEAR = {"client": ("127.0.0.1", 4711), "base_url": "http://127.0.0.1:8787"}


def test_figures_are_for_this_machine(site: Site) -> None:
    """Prometheus beside the server asks without a token."""
    for base in ("http://127.0.0.1:8787", "http://localhost:8787", "http://[::1]:8787"):
        assert TestClient(site.api, client=("127.0.0.1", 4711), base_url=base).get("/metrics").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}, {"X-Forwarded-Host": "localhost"},
        {"X-Forwarded-Proto": "https"}, {"Via": "1.1 proxy"}, {"Host": "metrics.example.com"}, {"Host": "127.0.0.1.example.com"},
    ],
    ids=lambda headers: " ".join(next(iter(headers.items()))),
)  # fmt: skip
def test_figures_are_not_for_whom_a_proxy_asks(site: Site, headers: dict[str, str]) -> None:
    """What a proxy on this machine passes on is not of this machine, and neither is a page that named itself so."""
    answer = TestClient(site.api, **NEAR).get("/metrics", headers=headers)  # type: ignore[arg-type]
    assert problem(answer)[:2] == (401, "unauthenticated")


def test_nobody_far_becomes_near(site: Site) -> None:
    """By no header and no name."""
    for headers in (
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Real-IP": "::1"},
        {"Host": "localhost"},
        {"Host": "127.0.0.1"},
    ):
        assert problem(site.client.get("/metrics", headers=headers))[:2] == (401, "unauthenticated")
    refused = site.get("/metrics", site.reader()).json()
    assert (refused["status"], refused["hint"]) == (
        403,
        "Ask from the same machine, or send the token of an administrator.",
    )


@pytest.mark.parametrize("secret", ["\xff\xfe", "a" * 60_000, "..", "e30.e30.", "dfk_"], ids=ascii)
def test_a_secret_that_is_none_lets_nobody_in(site: Site, secret: str) -> None:
    """As a token and as a cookie, on every route that is not public."""
    raw = secret.encode("latin-1")
    for headers in ({"authorization": b"Bearer " + raw}, {"cookie": b"dayfold_session=" + raw}):
        answer = site.client.get("/v1/me", headers=headers)
        assert problem(answer)[:2] == (401, "unauthenticated")


def test_a_token_that_is_revoked_between_pages_reads_no_more(site: Site) -> None:
    """The next page is refused, although the answer is kept."""
    made = site.app.accounts.create_token("pager", "read")
    words = {"by": "shop_id", "limit": 2, **SPAN}
    first = site.get(QUERY, header(made.secret), **words)
    again = site.get(QUERY, header(made.secret), **words)
    assert again.headers["dayfold-cache"] == "hit"
    site.app.accounts.revoke_token("pager")
    refused = site.get(QUERY, header(made.secret), **words, after=first.json()["next"])
    assert problem(refused)[:2] == (401, "unauthenticated")
    assert problem(site.get(QUERY, header(made.secret), **words))[:2] == (401, "unauthenticated")


def test_a_secret_in_an_address_is_refused_everywhere(site: Site) -> None:
    """Also on routes that need none, and where it would have been right."""
    for route in routes(site.api):
        path = route.path.replace("{", "").replace("}", "")
        for method in route.methods:
            answer = site.client.request(method, path, params={"secret": "x"})
            assert problem(answer)[:3] == (400, "usage", "A secret was sent in the address, where logs keep it."), path


# -- what is kept ------------------------------------------------------------------------------------


def test_answers_that_say_more_are_kept_apart(site: Site, admin: dict[str, str]) -> None:
    """A metric asked by its name and by its rollup has the same rows and another answer; neither is given for the other."""
    by_rollup = site.get(QUERY, admin, metrics="orders", **SPAN)
    by_name = site.get("/v1/metrics/orders", admin, **SPAN)
    assert by_name.json() == {**by_rollup.json(), "metric": "orders", "period": "daily"}
    assert site.get(QUERY, admin, metrics="orders", **SPAN).content == by_rollup.content
    assert by_rollup.headers["etag"] != by_name.headers["etag"]


def test_forms_are_kept_apart(site: Site, admin: dict[str, str]) -> None:
    """Each form's bytes and type, however often they are asked for in turn."""
    kinds = {"json": "application/json", "csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
    bodies: dict[str, bytes] = {}
    for form, kind in [*kinds.items(), *kinds.items()]:
        answer = site.get(QUERY, admin, by="shop_id", format=form, **SPAN)
        assert answer.headers["content-type"] == kind
        assert bodies.setdefault(form, answer.content) == answer.content
    assert len(set(bodies.values())) == 3


def test_the_tag_of_another_scope_saves_nothing(site: Site, admin: dict[str, str]) -> None:
    """An administrator's tag tells a limited caller nothing: their answer is sent whole."""
    limited = site.reader({"shop_id": ["1"]})
    whole = site.get(QUERY, admin, by="shop_id", **SPAN)
    mine = site.get(QUERY, limited | {"If-None-Match": whole.headers["etag"]}, by="shop_id", **SPAN)
    assert (mine.status_code, {row["shop_id"] for row in mine.json()["rows"]}) == (200, {1})
    again = site.get(QUERY, limited | {"If-None-Match": mine.headers["etag"]}, by="shop_id", **SPAN)
    assert (again.status_code, again.content) == (304, b"")


def test_the_place_of_another_scope_tells_nothing(site: Site, admin: dict[str, str]) -> None:
    """The `next` of an answer about other rows is refused alike, whether its row is there for somebody or for nobody."""
    limited = header(site.token("read", Scope.of(None, {"shop_id": ["1"]})))
    words = {"by": "shop_id", "sort": "-shop_id", **SPAN}
    there = site.get(QUERY, admin, limit=1, **words).json()["next"]
    nowhere = "WyIyMDI2LTAzLTAyIiwgIjc3Il0"
    refusals = [problem(site.get(QUERY, limited, limit=1, after=after, **words)) for after in (there, nowhere)]
    assert refusals[0] == refusals[1]
    assert refusals[0][:3] == (400, "query-refused", "The row that 'after' names is gone from the answer.")


def test_new_definitions_are_never_answered_by_old_ones(site: Site, admin: dict[str, str]) -> None:
    """What was checked by old definitions just before new ones were read is not kept for those who ask by the new ones."""
    words = {"grain": "month", **SPAN}
    checked = reads.checked

    def overtaken(*asked: Any) -> Any:
        one = checked(*asked)
        site.service._serve(site.app)
        return one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reads, "checked", overtaken)
        assert site.get(QUERY, admin, **words).headers["dayfold-cache"] == "miss"
    assert site.get(QUERY, admin, **words).headers["dayfold-cache"] == "miss"
    assert site.get(QUERY, admin, **words).headers["dayfold-cache"] == "hit"


# -- notes -------------------------------------------------------------------------------------------


def test_a_change_is_noted_whatever_its_path(store: Ground) -> None:
    """A path with a letter that PostgreSQL keeps nowhere does not escape the audit table, on each engine."""
    with Site(folded(store)) as site:
        admin = header(site.token("admin"))
        assert site.client.post("/v1/jobs/%00/start", headers=admin).status_code == 404
        [note] = [one for one in site.app.accounts.notes(10) if one.action == "start"]
        assert (note.target, note.outcome) == ("/v1/jobs/\N{REPLACEMENT CHARACTER}/start", "refused")
