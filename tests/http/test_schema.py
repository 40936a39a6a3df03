"""The whole API against its own description: drawn requests, right ones and wrong ones, and what they are answered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from dayfold.http.application import described
from dayfold.http.collector import BATCHES, EVENTS, SEGMENT
from dayfold.http.counting import COUNT
from dayfold.http.rights import MARK
from tests.conftest import SOAK, Pairing
from tests.engines.ground import Ground
from tests.http.shops import COLUMNS, customers, order, rollups, studies
from tests.http.site import Site, header
from tests.servers import PostgresServer

DOCUMENT = described().openapi()
OPERATIONS = [
    f"{method.upper()} {path}" for path, methods in sorted(DOCUMENT["paths"].items()) for method in sorted(methods)
]
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, unsupported_method,
]  # fmt: skip
FORM = "application/x-www-form-urlencoded"
PASSWORD = "a password that is long enough"
#: Words that lead past the first check, for parameters and fields of these names.
LIKELY: dict[str, list[Any]] = {
    "name": ["ShopDaily", "channel_daily", "PlatformDaily", "Customers", "fold", "verify", "Returning", "Growing"],
    "metric": ["orders", "per_order", "customers", "sales", "ShopDaily.cents"],
    "job": ["fold", "finalize", "verify"],
    "metrics": ["orders", "cents,per_order", "customers"],
    "from": ["2026-03-01", "-7d", "yesterday"],
    "to": ["2026-03-10", "today"],
    "day": ["2026-03-03", "2026-03-12"],
    "date": ["2026-03-03"],
    "by": ["shop_id", "shop_id,channel"],
    "where": [["shop_id=1"], ["shop_id!=1", "shop_id!="], ["shop_id=1", "channel=web"]],
    "tz": ["Europe/London", "UTC"],
    "sort": ["-orders", "day"],
    "rollup": ["ShopDaily", "platform_daily"],
    "status": ["queued"],
    "id": [1, 2, 3],
    "password": [PASSWORD],
    "next": ["/sign-in"],
    "channel": ["nowhere"],
    "what": ["rollup", "events", "actor"],
    "entity_type": ["shop"],
    "sample": [2],
    "periods": [2],
    "key": ["no-public-key", ["shop_id=1", "customer=c"]],
    "columns": ["orders,cents", "segment"],
    "count_by": ["segment", "shop_id,customer"],
    "limit": [1, 2],
}
#: What more an operation needs to be done than the first of the likely words.
DONE_BY: dict[str, dict[str, Any]] = {
    "GET /v1/rollups/{name}/explain": {"query": {"metric": "orders", "day": "2026-03-03", "where": ["shop_id=1"]}},
    "GET /v1/rollups/{name}/top": {"query": {"metric": "orders", "by": "shop_id"}},
    "GET /v1/cohorts/{name}": {"path_parameters": {"name": "Returning"}, "query": {"from": "2026-03-01"}},
    "GET /v1/funnels/{name}": {"path_parameters": {"name": "Growing"}, "query": {"from": "2026-03-01"}},
    "GET /v1/profiles/{name}": {"path_parameters": {"name": "Customers"}},
    "GET /v1/profiles/{name}/one": {
        "path_parameters": {"name": "Customers"},
        "query": {"key": ["shop_id=1", "customer=c"]},
    },
    "GET /v1/jobs/{name}": {"path_parameters": {"name": "fold"}},
    "POST /v1/jobs/{name}/start": {"path_parameters": {"name": "fold"}},
    "POST /v1/jobs/{name}/stop": {"path_parameters": {"name": "retain"}},
    "POST /v1/jobs/{name}/trigger": {"path_parameters": {"name": "fold"}, "body": {"date": "2026-03-03"}},
    "POST /v1/rebuild": {"body": {"rollup": "ShopDaily", "from": "2026-03-01", "to": "-1d"}},
    "POST /v1/verify": {"body": {"sample": 2}},
    "POST /v1/erasures": {"body": {"actor": ["user-42"]}},
    "POST /v1/alerts/test": {"body": {"channel": "nowhere"}},
    "POST /sign-in": {"body": {"name": "anna", "password": PASSWORD}, "media_type": FORM},
    "POST /sign-out": {"body": {}, "media_type": FORM},
    "POST /v1/exports": {"body": {"what": "rollup", "name": "ShopDaily"}},
}
#: Whose answers have no end: tests/http/test_stream.py.
ENDLESS = {"GET /v1/events/stream"}
#: What the collector answers; here no definition says anything of events.
COLLECTED = {f"POST {path}" for path in (EVENTS, *SEGMENT, *BATCHES)}
#: Operations that nothing leads into here: no definition is a counter; there is no provider to sign in with; no number of a run, an
#: export or an erasure is known before; an administrator is no actor; and nobody made a public key.
NEVER_DONE = {
    f"POST {COUNT}", "GET /v1/counters/{name}/held", "POST /v1/counters/{name}/replay",
    "GET /v1/projects/{key}/settings",
    "GET /sign-in/oidc", "GET /sign-in/oidc/return", "GET /v1/runs/{id}", "GET /v1/erasures/{id}", "GET /v1/exports/{id}",
    "DELETE /v1/exports/{id}", "GET /v1/exports/{id}/download", *COLLECTED, *(one for one in OPERATIONS if "/v1/me/" in one),
}  # fmt: skip


def test_every_operation_says_who_is_let_in() -> None:
    """From one place: a public one says nothing, the others a token or a session; outside schedulers and actors have no session."""
    assert set(DOCUMENT["components"]["securitySchemes"]) == {"bearer", "cookie"}
    for path, methods in DOCUMENT["paths"].items():
        for method, one in methods.items():
            alone = [{"bearer": []}]
            expected = {"public": None, "cron": alone, "self": alone}.get(one[MARK], [*alone, {"cookie": []}])
            assert one.get("security") == expected, (method, path)
            assert ({"401", "403"} <= set(one["responses"])) or expected is None, (method, path)


def test_every_answer_and_refusal_is_described() -> None:
    """An answer has a shape, a refusal is a problem; the framework's own shape of a refusal is nowhere."""
    assert "HTTPValidationError" not in str(DOCUMENT)
    for path, methods in DOCUMENT["paths"].items():
        for method, one in methods.items():
            for status, answer in one["responses"].items():
                content = answer.get("content", {})
                if int(status) >= 400:
                    assert content["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
                    assert "application/json" not in content
                elif status not in ("204", "303", "304"):
                    assert all(kind["schema"] for kind in content.values()), (method, path, status)
                    assert content, (method, path, status)


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, dict[str, str]]]:
    """A folded store on each engine, and an administrator's token."""
    with ExitStack() as stack:
        if request.param == "duckdb":
            url = f"duckdb:///{tmp_path_factory.mktemp('schema')}/store.duckdb"
        else:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = stack.enter_context(server.database())
        ground = stack.enter_context(Ground(Pairing(f"{request.param}-same", url, url)))
        ground.config["alerts"] = {"channels": {"nowhere": {"command": ["true"]}}}
        ground.load("orders", COLUMNS, [order(shop, day, 10 * day) for shop in (1, 2, None) for day in range(1, 12)])
        ground.define(*rollups(ground), *studies(ground), customers(ground))
        ground.fold()
        site = stack.enter_context(Site(ground))
        site.app.accounts.add_user("anna", PASSWORD, "admin")
        yield site, header(site.token("admin"))


def tuned(case: Case, data: st.DataObject) -> None:
    """Some values become likely ones, so that what lies behind the first check is met as well."""
    for place in (case.path_parameters, case.query, case.body):
        if not isinstance(place, dict):
            continue
        for name in list(place):
            if name in LIKELY and data.draw(st.integers(0, 3)):
                place[name] = data.draw(st.sampled_from(LIKELY[name]))


def shorten(case: Case) -> None:
    """No wait for a run, which nobody does here, is long."""
    wait = case.query.get("wait") if case.query else None
    if isinstance(wait, int | float) and 0 < wait <= 300:
        case.query["wait"] = 0.01


def ask(case: Case, site: Site, headers: dict[str, str], *, is_wrong: bool = False) -> Response:
    """The answer to a request, which is as the description says; what is wrong by the description is refused."""
    answer = case.call(app=site.api, headers=headers)
    case.validate_response(answer, checks=[*CHECKS, negative_data_rejection] if is_wrong else CHECKS)
    if answer.status_code >= 400:
        [kind] = answer.headers["content-type"]
        assert kind == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail"].endswith((".", "?"))
        assert jsonschema_rs.is_valid(DOCUMENT["components"]["schemas"]["Problem"], problem)
    return answer


def attack(operation: str, site: Site, headers: dict[str, str], examples: int) -> None:
    """One request that is done, so that the answer's shape is seen, and then drawn ones."""
    # Who is let in is tried elsewhere; here a wrong token would hide what lies behind it.
    schema = schemathesis.openapi.from_dict(without_locks(DOCUMENT))
    schema.app = site.api
    method, _, path = operation.partition(" ")
    one = schema[path][method]
    settle(site)
    if operation not in NEVER_DONE:
        assert ask(one.Case(**good(operation)), site, headers).status_code < 400

    @settings(max_examples=examples)
    @given(data=st.data())
    def each(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case = data.draw(one.as_strategy(mode))
        is_tuned = data.draw(st.booleans())
        if is_tuned:
            tuned(case, data)
        shorten(case)
        ask(case, site, headers, is_wrong=mode is GenerationMode.NEGATIVE and not is_tuned)

    each()


def without_locks(document: dict[str, Any]) -> dict[str, Any]:
    """The description as if everything were public."""
    paths = {
        path: {
            method: {name: part for name, part in one.items() if name != "security"} for method, one in methods.items()
        }
        for path, methods in document["paths"].items()
    }
    return {**document, "paths": paths}


def settle(site: Site) -> None:
    """Every job may run, and none does."""
    for job in site.service.desk.jobs:
        site.service.desk.start(job)
    with site.app.ledger.store.transaction() as session:
        session.execute(site.app.ledger.sql("delete from dayfold__job_runs"))


def good(operation: str) -> dict[str, Any]:
    """The words of a request that is done."""
    found: dict[str, Any] = {"path_parameters": {name: LIKELY[name][0] for name in re.findall(r"{(\w+)}", operation)}}
    found |= DONE_BY.get(operation, {})
    if "body" in found:
        found.setdefault("media_type", "application/json")
    return found


@pytest.mark.in_turn
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one not in ENDLESS])
def test_an_operation_does_what_is_described(operation: str, served: tuple[Site, dict[str, str]]) -> None:
    """Whatever is sent, an answer is one that the description knows, and never a fault."""
    attack(operation, *served, examples=12)


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="thousands of requests: `make soak`")
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one not in ENDLESS])
def test_an_operation_does_what_is_described_at_length(operation: str, served: tuple[Site, dict[str, str]]) -> None:
    """The same of many more requests."""
    attack(operation, *served, examples=300)
