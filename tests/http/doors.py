"""A served application for the tests of the HTTP door: its store, its clock and browsers and programs that come to it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Self

from fastapi import APIRouter
from starlette.requests import Request
from starlette.testclient import TestClient

from dayfold import Count, Dayfold, Rollup, Table
from dayfold.clock import FixedClock
from dayfold.http import application
from dayfold.http.rights import Caller, Right, caller, name_target, needs
from dayfold.http.route import Route
from dayfold.http.service import Service
from tests.sql import run_sql, store_config

NOW = dt.datetime(2026, 3, 12, 12, tzinfo=dt.UTC)
HOST = "http://metrics.test"
VISITS = "select 42 as shop, timestamptz '2026-03-01 10:00:00+00' as made"


class Visits(Rollup):
    """Visits of one shop."""

    key = "shop"

    visits = Count(Table(sql=VISITS), at="made")


class Sales(Rollup):
    """Sales of one shop in one country."""

    key = ("shop", "country")

    sales = Count(Table(sql=f"select 'FR' as country, * from ({VISITS}) as v"), at="made")


class Doors:
    """One served application.

    Beside the routes of the product it has one for each right, so that each can be tried whatever the product serves.
    """

    def __init__(self, url: str, auth: Mapping[str, Any] | None = None, clock: FixedClock | None = None) -> None:
        self.url = url
        self.clock = clock or FixedClock(NOW)
        self.stack = ExitStack()
        config = {**store_config(url), "auth": dict(auth or {})}
        self.app = self.stack.enter_context(Dayfold([Visits, Sales], config, clock=self.clock))
        self.app.ledger.ready()
        self.service = Service(self.app)
        self.stack.callback(self.service.close)
        self.api = application.make(self.service)
        self.api.include_router(_trials())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def browser(self, **how: Any) -> TestClient:
        """A client that keeps cookies, and follows no redirect by itself."""
        how = {"base_url": HOST, "follow_redirects": False} | how
        return TestClient(self.api, raise_server_exceptions=False, **how)

    def get(self, path: str, token: str | None = None, **headers: str) -> Any:
        """What a program with a token is answered."""
        words = ({"Authorization": f"Bearer {token}"} if token else {}) | headers
        return self.browser().get(path, headers=words)

    def token(self, kind: str = "admin", name: str = "trial", **how: Any) -> str:
        """The secret of a new token."""
        return self.app.accounts.create_token(name, kind, **how).secret

    def notes(self) -> list[tuple[str, str, str | None, str]]:
        """The audit table, the oldest note first: actor, action, target and outcome."""
        self.service.trail.close()
        return [(one.actor, one.action, one.target, one.outcome) for one in reversed(self.app.accounts.notes(1000))]

    def later(self, **span: float) -> None:
        """The clock moves on."""
        self.clock.instant += dt.timedelta(**span)

    def stored(self, text: str) -> list[tuple[Any, ...]]:
        """A query past the product, of the store in this process."""
        with self.app.ledger.store.transaction(read_only=True) as session:
            found: list[tuple[Any, ...]] = session.rows(self.app.ledger.sql(text))
            return found

    def revoke_elsewhere(self) -> None:
        """Another process revokes all tokens; on DuckDB, whose file has one owner, another connection does."""
        text = "UPDATE dayfold__tokens SET revoked_at = created_at"
        if self.url.startswith("postgresql"):
            run_sql(self.url, text)
        else:
            with self.app.ledger.store.transaction() as session:
                session.execute(text)


def problem(answer: Any) -> tuple[int, str, str, str]:
    """A refusal in whole: its status, code, detail and hint."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    words = answer.json()
    assert words["status"] == answer.status_code
    return answer.status_code, words["code"], words["detail"], words.get("hint", "")


def csrf_of(page: str) -> str:
    """The CSRF token that stands in a page."""
    found = re.search(r'name="csrf_token" value="(\w+)"', page)
    assert found, page
    return found[1]


def _trials() -> APIRouter:
    router = APIRouter(route_class=Route)

    async def answer(request: Request) -> dict[str, Any]:
        who: Caller = caller(request)
        return {"name": who.name, "rollups": who.scope.rollups, "rows": dict(who.scope.rows)}

    async def failing(request: Request) -> None:
        raise RuntimeError("the shop's name is Rosebud")

    async def targeted(request: Request) -> dict[str, Any]:
        name_target(request, "Visits 2026-03-01..2026-03-02")
        return await answer(request)

    for right in Right:
        router.add_api_route(f"/try/{right}", answer, methods=["GET"], openapi_extra=needs(right))
        router.add_api_route(f"/try/{right}", answer, methods=["POST"], openapi_extra=needs(right))
    for name, how in (("rebuild", targeted), ("start", answer), ("fails", failing)):
        router.add_api_route(
            f"/try/noted/{name}", how, methods=["POST"], openapi_extra=needs(Right.JOBS, audit=name), status_code=202
        )
    router.add_api_route("/try/unmarked", answer, methods=["GET"])
    return router
