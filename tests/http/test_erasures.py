"""Erasures over HTTP: asked for by an administrator, done by a job, and no answer, note or row has the person's names afterwards."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from dayfold import Count, Dayfold, Rollup, events
from dayfold.clock import FixedClock
from dayfold.http.application import make
from dayfold.http.service import Service
from dayfold.ledger import tokens
from dayfold.plan.access import EVERYTHING
from tests.eventlog import NOON, event, send
from tests.sql import store_config

ACTOR = "person-5b1f77e0"
SCHEDULE = {"fold": "off", "finalize": "off", "verify": "off", "retain": "off"}


class ByActor(Rollup):
    """What one actor did."""

    key = "actor_id"
    views = Count(events, at="occurred_at")


@pytest.fixture
def served(store_url: str) -> Iterator[Served]:
    """A served store with events of two people."""
    words = {**store_config(store_url, long_view=""), "schedule": SCHEDULE}
    with Dayfold([ByActor], words, clock=FixedClock(NOON + dt.timedelta(days=2))) as app:
        app.fold()
        send(app, event(1, actor_id=ACTOR), event(2, actor_id="u"))
        app.fold()
        found = Served(app)
        with found.client:
            yield found
        found.service.close()


class Served:
    """A service, and a client for each kind of token."""

    def __init__(self, app: Dayfold) -> None:
        self.app = app
        self.service = Service(app)
        self.client = TestClient(make(self.service))
        with app.ledger.store.transaction() as session:
            self.secrets = {
                kind: tokens.create(app.ledger, session, kind, kind, EVERYTHING, None, "test")[1]
                for kind in ("admin", "jobs", "read")
            }

    def ask(self, method: str, path: str, kind: str = "admin", **more: Any) -> Any:
        """An answer."""
        return self.client.request(
            method,
            f"/v1{path}",
            headers={"Authorization": f"Bearer {self.secrets[kind]}", **more.pop("headers", {})},
            **more,
        )

    def settle(self) -> None:
        """What waits is done."""
        for _ in range(20):
            self.service.scheduler.step()
            self.service.scheduler.join()

    def texts(self) -> str:
        """Everything that the ledger's tables of work and notes hold."""
        held = []
        with self.app.ledger.store.transaction(read_only=True) as session:
            for name in ("dayfold__job_runs", "dayfold__audit", "dayfold__erasures", "dayfold__runs", "dayfold__marks"):
                place = self.app.ledger.place(name)
                held += [
                    str(row)
                    for row in session.rows(self.app.ledger.sql("select cast(t as text) from _t as t", _t=place))
                ]
        return "\n".join(held)


def test_an_erasure_is_asked_for_and_done(served: Served) -> None:
    """The names are kept until the run has erased them, and stand nowhere else; kept answers are forgotten."""
    query = "/rollups/ByActor/query?from=2026-03-09&to=2026-03-09&metrics=views&by=actor_id"
    assert ACTOR in served.ask("GET", query).text
    assert len(served.service.cache) == 1
    asked = served.ask("POST", "/erasures", json={"actor": [ACTOR]})
    assert asked.status_code == 202, asked.text
    queued = asked.json()
    assert asked.headers["Location"] == queued["href"] == f"/v1/runs/{queued['run_id']}"
    before = served.ask("GET", queued["certificate"].removeprefix("/v1"))
    assert (before.json()["state"], before.json()["certificate"]) == ("asked", None)
    assert ACTOR not in before.text
    assert ACTOR not in served.ask("GET", f"/runs/{queued['run_id']}").text
    served.settle()
    run = served.ask("GET", f"/runs/{queued['run_id']}").json()
    assert (run["status"], run["summary"]["erasure"], run["request"]) == (
        "done",
        queued["erasure"],
        {"erasure": queued["erasure"]},
    )
    after = served.ask("GET", queued["certificate"].removeprefix("/v1"))
    assert after.json()["state"] == "done"
    assert {one["holder"]: one["rows"] for one in after.json()["certificate"]["searched"]}["events"] == 1
    assert len(served.service.cache) == 0
    assert ACTOR not in after.text + served.ask("GET", query).text + served.texts()
    notes = [(one.action, one.target) for one in served.app.accounts.notes() if one.action == "erase"]
    assert notes == [("erase", "/v1/erasures")]


@pytest.mark.parametrize("kind", ["jobs", "read"])
def test_only_an_administrator_erases(served: Served, kind: str) -> None:
    """Nobody else asks for it, or sees a certificate."""
    assert served.ask("POST", "/erasures", kind, json={"actor": [ACTOR]}).status_code == 403
    assert served.ask("GET", "/erasures/1", kind).status_code == 403


def test_what_cannot_be_asked_is_refused(served: Served) -> None:
    """Nobody, a name that is none, an unknown erasure; and nothing is kept of what could not be begun."""
    for body, said in (
        ({}, "Nobody is named."),
        ({"actor": [" "]}, "A name is empty, or holds a NUL."),
    ):
        answer = served.ask("POST", "/erasures", json=body)
        assert (answer.status_code, answer.json()["detail"]) == (400, said)
    assert served.ask("POST", "/erasures", json={"user": ["u"]}).status_code == 400
    form = served.ask(
        "POST", "/erasures", content=b'{"actor": ["u"]}', headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (form.status_code, form.json()["detail"], form.json()["hint"]) == (
        400, "The body does not say that it is JSON.", "Send it with Content-Type: application/json.",
    )  # fmt: skip
    missing = served.ask("GET", "/erasures/999")
    assert (missing.status_code, missing.json()["detail"]) == (404, "There is no erasure 999.")
    bare = served.ask("POST", "/jobs/erase/trigger", json={})
    assert (bare.status_code, bare.json()["detail"]) == (400, "An erasure is of one person.")
    assert served.ask("POST", "/jobs/erase/stop").status_code == 200
    assert served.ask("POST", "/erasures", json={"actor": [ACTOR]}).status_code == 409
    assert ACTOR not in served.texts()
