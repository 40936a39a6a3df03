"""Alerts over HTTP: what the routes show, whom they let in, and that errors nobody foresaw are reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from dayfold.http.application import make
from dayfold.http.service import Service
from dayfold.jobs.alerts import Alerts
from dayfold.jobs.report import reporting
from dayfold.ledger import tokens
from dayfold.plan.access import EVERYTHING, Scope
from dayfold.settings import ErrorsSettings
from tests.engines.ground import Ground
from tests.engines.receivers import Receiver
from tests.engines.test_alerts import DDL, ads, define, folded, rule, spend

__all__: list[str] = []


class Door:
    """The HTTP application over a ground, with a token of each kind."""

    def __init__(self, ground: Ground) -> None:
        self.ledger = ground.opened.ledger
        self.service = Service(ground.opened)
        self.client = TestClient(make(self.service), raise_server_exceptions=False)

    def close(self) -> None:
        self.client.close()
        self.service.close()

    def token(self, kind: str, scope: Scope = EVERYTHING) -> dict[str, str]:
        with self.ledger.store.transaction() as session:
            _, secret = tokens.create(self.ledger, session, kind, kind, scope, None, "a test")
        return {"Authorization": f"Bearer {secret}"}

    def get(self, path: str, kind: str = "jobs", scope: Scope = EVERYTHING) -> Any:
        return self.client.get(path, headers=self.token(kind, scope))

    def post(self, path: str, body: Any = None, kind: str = "admin") -> Any:
        return self.client.post(path, json=body, headers=self.token(kind))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture
def door(store: Ground, receiver: Receiver) -> Iterator[Door]:
    """Three episodes of a rule by campaign, one of them closed, and a rule that is clear."""
    rows = [spend(11, 500, "a"), spend(11, 600, "b"), spend(11, 700, "c")]
    calm = rule(when="ads > 100")
    calm.__name__ = "Calm"
    alerts: Alerts = folded(store, rows, rule(when="ad_spend > 100", by="campaign"), calm, receiver=receiver)
    alerts.look()
    store.source("update ad set spend = 1 where campaign = 'b'")
    store.fold()
    alerts.look()
    alerts.deliver()
    made = Door(store)
    yield made
    made.close()


def test_episodes_rules_and_messages(door: Door) -> None:
    """The newest first, each with what became of its messages."""
    page = door.get("/v1/alerts").json()
    assert [(one["subject"], one["closed_at"] is None) for one in page["alerts"]] == [
        ('{"campaign": "c"}', True), ('{"campaign": "b"}', False), ('{"campaign": "a"}', True),
    ]  # fmt: skip
    assert [(one["event"], one["state"], one["attempts"]) for one in page["alerts"][1]["deliveries"]] == [
        ("opened", "delivered", 1), ("recovered", "waiting", 0),
    ]  # fmt: skip
    assert page["alerts"][0]["details"]["metrics"] == {"ad_spend": 700}
    assert [(one["name"], one["state"]) for one in page["rules"]] == [
        ("Watched", "not looked at"),
        ("Calm", "not looked at"),
    ]
    door.service.alerts.look()
    rules = door.get("/v1/alerts").json()["rules"]
    assert [(one["name"], one["kind"], one["state"], one["to"], one["description"]) for one in rules] == [
        ("Watched", "threshold", "firing", ["ops"], "What is watched."), ("Calm", "threshold", "clear", ["ops"], "What is watched."),
    ]  # fmt: skip
    assert sorted(rules[0]["firing"]) == ['{"campaign": "a"}', '{"campaign": "c"}']
    assert rules[0]["looked_at"] == "2026-03-12T12:00:00Z"


def test_pages_and_open_ones(door: Door) -> None:
    """`before` of one page asks for the next; the last one has none."""
    first = door.get("/v1/alerts?limit=2").json()
    second = door.get(f"/v1/alerts?limit=2&before={first['before']}").json()
    assert [one["subject"] for one in first["alerts"] + second["alerts"]] == [
        f'{{"campaign": "{name}"}}' for name in "cba"
    ]
    assert second["before"] is None
    assert [one["subject"] for one in door.get("/v1/alerts?open=1").json()["alerts"]] == [
        '{"campaign": "c"}',
        '{"campaign": "a"}',
    ]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "before=0", "before=x", "before=99999999999999999999", "open=maybe"]
)
def test_words_that_do_not_fit_are_refused(door: Door, query: str) -> None:
    """A 400 that names the parameter."""
    answer = door.get(f"/v1/alerts?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "usage")
    assert answer.json()["errors"][0]["name"] == query.partition("=")[0]


def test_whom_the_routes_let_in(door: Door, receiver: Receiver) -> None:
    """Jobs and admin may see; only admin may send; a caller of whom rows or rollups are kept may neither."""
    sent = len(receiver.requests)
    assert door.client.get("/v1/alerts").status_code == 401
    assert [door.get("/v1/alerts", kind).status_code for kind in ("read", "track", "jobs", "admin")] == [
        403,
        403,
        200,
        200,
    ]
    assert [door.post("/v1/alerts/test", kind=kind).status_code for kind in ("read", "track", "jobs")] == [
        403,
        403,
        403,
    ]
    for scope in (Scope(rows=(("campaign", ("a",)),)), Scope(rollups=("AdsDaily",))):
        refused = door.get("/v1/alerts", "jobs", scope)
        assert (refused.status_code, refused.json()["detail"]) == (
            403, "Alerts speak of all rows of all rollups, and some are kept from this caller.",
        )  # fmt: skip
        assert "campaign" not in refused.text
    assert len(receiver.requests) == sent


def test_test_message_says_what_happened(door: Door, receiver: Receiver) -> None:
    """One that is refused is no failure of the request."""
    receiver.statuses = [200, 500]
    for body, ok, error in (
        (None, True, None),
        ({"channel": "ops"}, False, "127.0.0.1 answered 500; expected 200 to 299."),
    ):
        answer = door.post("/v1/alerts/test", body)
        [one] = answer.json()["channels"]
        assert (answer.status_code, one["channel"], one["kind"], one["ok"], one["error"]) == (
            200,
            "ops",
            "webhook",
            ok,
            error,
        )
    assert receiver.events[-2:] == [("test", "test")] * 2
    unknown = door.post("/v1/alerts/test", {"channel": "opps"})
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "There is no channel 'opps'; the nearest is 'ops'.")
    assert door.post("/v1/alerts/test", {"chanel": "ops"}).status_code == 400


def test_without_a_channel_there_is_nothing_to_test(store: Ground) -> None:
    """The answer says which section is missing."""
    store.load("ad", DDL, [spend(11, 1)])
    define(store, ads(store))
    store.fold()
    door = Door(store)
    answer = door.post("/v1/alerts/test")
    door.close()
    assert (answer.status_code, answer.json()["detail"], answer.json()["hint"]) == (
        400, "There is no channel to send to.", "Add [alerts.channels.NAME] to dayfold.toml.",
    )  # fmt: skip


def test_unforeseen_error_of_a_request_is_reported_without_values(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller hears its class, Sentry its class and place, nobody its text."""

    def broken(**_: object) -> None:
        raise ZeroDivisionError("row 4711")

    monkeypatch.setattr(door.service.alerts, "listed", broken)
    with Receiver() as sentry:
        dsn = f"http://key@127.0.0.1:{sentry.port}/1"
        with reporting(ErrorsSettings.model_validate({"sentry_dsn": dsn})):
            answer = door.get("/v1/alerts")
        assert answer.status_code == 500
        assert "4711" not in answer.text
        [(_, headers, body)] = sentry.requests
    import gzip

    text = gzip.decompress(body).decode() if headers.get("Content-Encoding") == "gzip" else body.decode()
    event = json.loads(text.splitlines()[2])
    assert (event["exception"]["values"][0]["type"], event["tags"]["action"]) == ("ZeroDivisionError", "request-failed")
    assert event["tags"]["place"].startswith("dayfold.http.")
    for secret in ("4711", "Bearer", "dfk_"):
        assert secret not in text
