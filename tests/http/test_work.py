"""Routes of jobs and runs: what they take, what they answer, what they leave in the ledger."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from dayfold import Count, Dayfold, Rollup, Table
from dayfold.clock import FixedClock
from dayfold.http.application import make
from dayfold.http.rights import Right, right_of
from dayfold.http.service import Service
from dayfold.http.work import work
from dayfold.ledger import tokens
from dayfold.plan.access import EVERYTHING
from tests.engines.test_jobs import run_sql_apart
from tests.sql import load_rows, run_sql, store_config

NOW = dt.datetime(2026, 3, 12, 12, tzinfo=dt.UTC)
SCHEDULE = {"fold": "0 * * * *", "finalize": "off", "verify": "off", "retain": "off"}


class Shops(Rollup):
    """What shops were asked."""

    key = "shop"
    lookback = 0
    orders = Count(Table("orders"), at="made")


class Nightly(Rollup):
    schedule = "01:00"
    timezone = "Europe/London"
    lookback = 0
    orders = Count(Table("orders"), at="made")


class Served:
    """A served store: its service, and a client for each kind of token."""

    def __init__(self, url: str, app: Dayfold) -> None:
        self.url = url
        self.app = app
        self.service = Service(app)
        self.api = make(self.service)
        self.secrets = {}
        with app.ledger.store.transaction() as session:
            for kind in ("admin", "jobs", "read"):
                _, self.secrets[kind] = tokens.create(app.ledger, session, kind, kind, EVERYTHING, None, "test")
        self.client = TestClient(self.api, headers={"Authorization": f"Bearer {self.secrets['admin']}"})

    def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        found = self.client.request(method, f"/v1{path}", **more)
        assert found.status_code == status, found.text
        return found.json()

    def settle(self) -> None:
        """Do what waits."""
        for _ in range(10):
            self.service.scheduler.step()
            self.service.scheduler.join()


@pytest.fixture
def served(store_url: str) -> Iterator[Served]:
    rows = [{"shop": n % 2, "made": NOW - dt.timedelta(days=n)} for n in range(10)]
    load_rows(store_url, "orders", "shop bigint, made timestamptz", rows)
    with Dayfold([Shops, Nightly], {**store_config(store_url), "schedule": SCHEDULE}, clock=FixedClock(NOW)) as app:
        app.ledger.ready()
        found = Served(store_url, app)
        yield found
        found.service.close()


def test_jobs_are_listed_with_what_they_are(served: Served) -> None:
    """Before any run, and after one."""
    before = {one["job"]: one for one in served.ask("GET", "/jobs")["jobs"]}
    assert list(before) == ["fold", "fold:Nightly", "finalize", "verify", "retain", "rebuild", "export", "erase"]
    assert before["fold:Nightly"] == {
        "job": "fold:Nightly", "description": "Brings Nightly up to date.", "schedule": "01:00", "timezone": "Europe/London",
        "enabled": True, "running": False, "run_id": None, "run_count": 0, "success_count": 0, "error_count": 0, "last_run": None,
        "last_status": None, "last_duration_s": None, "last_error": None, "next_run": "2026-03-12T12:00:00Z",
    }  # fmt: skip
    served.settle()
    after = served.ask("GET", "/jobs/fold:Nightly")
    assert (after["run_count"], after["success_count"], after["error_count"]) == (1, 1, 0)
    assert (after["last_run"], after["last_status"], after["next_run"]) == (
        "2026-03-12T12:00:00Z", "done", "2026-03-13T01:00:00Z",
    )  # fmt: skip
    assert served.ask("GET", "/jobs/status") == {
        "runs_jobs_here": True, "enabled": 8, "stopped": [], "running": [], "run_count": 2, "success_count": 2, "error_count": 0,
        "last_job": "fold:Nightly", "last_run": "2026-03-12T12:00:00Z", "last_status": "done", "last_duration_s": 0.0,
        "next_job": "fold", "next_run": "2026-03-12T13:00:00Z",
    }  # fmt: skip


def test_work_that_is_asked_for_is_a_run(served: Served) -> None:
    """202 with its number and where it is; there are its request, its summary and what it did to each rollup."""
    found = served.client.post("/v1/jobs/fold/trigger", json={})
    assert found.status_code == 202
    queued = found.json()
    assert queued == {"run_id": queued["run_id"], "href": f"/v1/runs/{queued['run_id']}"}
    assert found.headers["location"] == queued["href"]
    waiting = served.ask("GET", f"/runs/{queued['run_id']}")
    assert (waiting["status"], waiting["summary"], waiting["children"]) == ("queued", None, [])
    served.settle()
    run = served.ask("GET", f"/runs/{queued['run_id']}")
    assert (run["of"], run["job"], run["status"], run["cause"], run["request"]) == (
        "job",
        "fold",
        "done",
        "request",
        {},
    )
    assert run["asked_by"].startswith("token admin (")
    [child] = run["children"]
    assert (child["of"], child["rollup"], child["cells"], child["rows_inserted"]) == ("rollup", "Shops", 10, 10)
    assert run["summary"]["rollups"][0]["run_id"] == child["id"]
    assert served.ask("GET", f"/runs/{child['id']}")["rollup"] == "Shops"


def test_days_of_a_trigger_are_resolved_when_it_is_asked(served: Served) -> None:
    """However late the run begins."""
    served.settle()
    number = served.ask("POST", "/jobs/fold/trigger", 202, json={"date": "yesterday"})["run_id"]
    assert served.ask("GET", f"/runs/{number}")["request"] == {"from": "2026-03-11", "to": "2026-03-11"}
    served.settle()
    assert [(one["rollup"], one["days"]) for one in served.ask("GET", f"/runs/{number}")["summary"]["rebuilt"]] == [
        ("Shops", 1)
    ]


def test_a_rebuild_and_a_verification_are_asked_for(served: Served) -> None:
    """Counts and no values: a dry run says how many cells would change, and changes nothing."""
    served.settle()
    run_sql_apart(served.app, "INSERT INTO orders VALUES (7, TIMESTAMPTZ '2026-03-05 09:00:00+00')")
    words = {"rollup": "shops", "from": "2026-03-01", "to": "2026-03-06"}
    dry = served.ask("POST", "/rebuild", 202, json={**words, "where": ["shop=7"], "dry_run": True})["run_id"]
    drift = served.ask("POST", "/verify", 202, json=words)["run_id"]
    served.settle()
    found = served.ask("GET", f"/runs/{dry}")
    assert found["request"] == {
        "rollup": "Shops",
        "from": "2026-03-01",
        "to": "2026-03-06",
        "where": ["shop=7"],
        "dry_run": True,
    }
    assert (found["status"], found["summary"]["dry_run"], found["summary"]["rollups"][0]["cells"]) == ("done", True, 1)
    assert (found["children"], "moves" in str(found)) == ([], False)
    found = served.ask("GET", f"/runs/{drift}")
    assert (found["status"], found["error"]) == ("failed", "Cells differ from their sources: 1 of Shops.")
    real = served.ask("POST", "/rebuild", 202, json={**words, "where": ["shop=7"]})["run_id"]
    served.settle()
    [child] = served.ask("GET", f"/runs/{real}")["children"]
    assert (child["job"], child["rows_inserted"]) == ("rebuild", 1)


def test_a_job_is_stopped_and_started(served: Served) -> None:
    """Both again are harmless; a stopped job runs for nobody."""
    for _ in range(2):
        stopped = served.ask("POST", "/jobs/fold/stop")
        assert (stopped["enabled"], stopped["next_run"]) == (False, None)
    assert served.ask("GET", "/jobs/status")["stopped"] == ["fold"]
    refused = served.ask("POST", "/jobs/fold/trigger", 409, json={})
    assert (refused["code"], refused["detail"]) == ("stopped", "The job 'fold' is stopped.")
    served.settle()
    assert served.ask("GET", "/runs?job=fold") == {"runs": [
        one for one in served.ask("GET", "/runs")["runs"] if one["of"] == "rollup"
    ]}  # fmt: skip
    for _ in range(2):
        assert served.ask("POST", "/jobs/fold/start")["enabled"] is True
    served.settle()
    assert served.ask("GET", "/jobs/fold")["success_count"] == 1


def test_runs_are_filtered_and_paged(served: Served) -> None:
    """The newest first; `before` gives the next page."""
    served.settle()
    served.ask("POST", "/jobs/fold/trigger", 202, json={})
    whole = served.ask("GET", "/runs")["runs"]
    assert [one["id"] for one in whole] == sorted((one["id"] for one in whole), reverse=True)
    assert {(one["of"], one["job"], one["rollup"]) for one in whole} == {
        ("job", "fold", None), ("job", "fold:Nightly", None), ("rollup", "fold", "Shops"), ("rollup", "fold", "Nightly"),
    }  # fmt: skip
    first = served.ask("GET", "/runs?limit=2")["runs"]
    rest = served.ask("GET", f"/runs?before={first[-1]['id']}")["runs"]
    assert [*first, *rest] == whole
    assert {one["rollup"] for one in served.ask("GET", "/runs?rollup=shops")["runs"]} == {"Shops"}
    assert [one["status"] for one in served.ask("GET", "/runs?status=queued")["runs"]] == ["queued"]


def test_an_outside_scheduler_triggers_one_run_at_a_time(served: Served) -> None:
    """202 with the run; 409 with the number of the active one; with `wait`, the summary once it has ended."""
    first = served.ask("GET", "/cron/fold", 202)
    refused = served.ask("POST", "/cron/fold", 409)
    assert refused == {
        "type": "urn:dayfold:busy", "title": "Conflict", "status": 409, "code": "busy", "run_id": first["run_id"],
        "detail": f"Run {first['run_id']} of the job 'fold' is active.", "hint": f"Look at it: GET /v1/runs/{first['run_id']}",
    }  # fmt: skip
    served.settle()
    served.service.scheduler.start()
    done = served.ask("POST", "/cron/fold?wait=60")
    assert (done["status"], done["error"], done["summary"]["rollups"][0]["rollup"]) == ("done", None, "Shops")


def test_a_wait_that_is_too_short_is_no_answer(served: Served) -> None:
    """202: the run goes on all the same."""
    assert set(served.ask("POST", "/cron/fold?wait=0.1", 202)) == {"run_id", "href"}


MISTAKES: list[tuple[str, str, Any, int, str, str]] = [
    ("GET", "/jobs/fold:Nighly", None, 404, "unknown-name", "There is no job 'fold:Nighly'; the nearest is 'fold:Nightly'."),
    ("POST", "/jobs/x/start", None, 404, "unknown-name", "There is no job 'x'."),
    ("POST", "/jobs/finalise/stop", None, 404, "unknown-name", "There is no job 'finalise'; the nearest is 'finalize'."),
    ("POST", "/jobs/fold/trigger", {"date": "today", "to": "today"}, 400, "usage",
     "body (body): Value error, give 'date', or 'from' and 'to'."),
    ("POST", "/jobs/fold/trigger", {"from": "today"}, 400, "usage", "A range has two ends; 'from' or 'to' is missing."),
    ("POST", "/jobs/fold/trigger", {"date": "2026-02-30"}, 400, "bad-date", "'2026-02-30' is not a date."),
    ("POST", "/jobs/fold/trigger", {"day": "today"}, 400, "usage", "day (body): Extra inputs are not permitted."),
    ("POST", "/jobs/retain/trigger", {"date": "today"}, 400, "usage", "The job 'retain' has no days."),
    ("POST", "/jobs/rebuild/trigger", {}, 400, "usage", "A rebuild is of one rollup and of days."),
    ("POST", "/rebuild", {"rollup": "Shop", "from": "today", "to": "today"}, 404, "unknown-name",
     "There is no rollup 'Shop'; the nearest is 'Shops'."),
    ("POST", "/rebuild", {"rollup": "Shops", "from": "today", "to": "yesterday"}, 400, "bad-date",
     "The range ends before it starts: from 2026-03-12 to 2026-03-11."),
    ("POST", "/rebuild", {"rollup": "Shops", "from": "today", "to": "today", "where": ["shp=1"]}, 404, "unknown-name",
     "Shops has no key column 'shp' to filter by; the nearest is 'shop'."),
    ("POST", "/rebuild", {"rollup": "Shops"}, 400, "usage", "A rebuild of a rollup is of days."),
    ("POST", "/verify", {"from": "today", "to": "today", "sample": 3}, 400, "usage", "A range and a sample were given."),
    ("POST", "/verify", {"sample": 0}, 400, "usage", "sample (body): Input should be greater than or equal to 1."),
    ("GET", "/runs/4711", None, 404, "unknown-name", "There is no run 4711."),
    ("GET", "/runs/0", None, 400, "usage", "id (path): Input should be greater than or equal to 1."),
    ("GET", "/runs?job=flod", None, 404, "unknown-name", "There is no job 'flod'; the nearest is 'fold'."),
    ("GET", "/runs?rollup=x%00", None, 404, "unknown-name", "There is no rollup 'x\x00'."),
    ("GET", "/runs?limit=1001", None, 400, "usage", "limit (query): Input should be less than or equal to 1000."),
    ("GET", "/cron/flod", None, 404, "unknown-name", "There is no job 'flod'; the nearest is 'fold'."),
    ("GET", "/cron/fold?wait=301", None, 400, "usage", "wait (query): Input should be less than or equal to 300."),
    ("GET", "/cron/fold?wait=nan", None, 400, "usage", "wait (query): Input should be less than or equal to 300."),
]  # fmt: skip


def test_mistakes_say_what_to_change(served: Served) -> None:
    """A 4xx each, with the nearest known name; nothing is queued."""
    for method, path, body, status, code, detail in MISTAKES:
        found = served.ask(method, path, status, **({} if body is None else {"json": body}))
        assert (found["code"], found["detail"]) == (code, detail), (method, path)
    assert served.ask("GET", "/runs") == {"runs": []}


def test_who_may_not_see_jobs_is_refused(served: Served) -> None:
    """A token that reads numbers neither sees nor steers jobs; one for jobs is no secret of an outside scheduler."""
    paths = [("GET", "/jobs"), ("GET", "/runs"), ("POST", "/jobs/fold/stop"), ("POST", "/verify")]
    for method, path in paths:
        assert TestClient(served.api).request(method, f"/v1{path}").status_code == 401
        reader = {"Authorization": f"Bearer {served.secrets['read']}"}
        assert served.client.request(method, f"/v1{path}", headers=reader).status_code == 403
    worker = {"Authorization": f"Bearer {served.secrets['jobs']}"}
    assert served.client.get("/v1/jobs", headers=worker).status_code == 200
    assert served.client.get("/v1/cron/fold", headers=worker).status_code == 403


def test_every_route_says_its_right_its_audit_and_its_answers() -> None:
    """Whatever changes something is noted in the audit; every body and answer is described."""
    for route in work.routes:
        extra = route.openapi_extra or {}  # type: ignore[attr-defined]
        methods = route.methods  # type: ignore[attr-defined]
        assert right_of(route) in (Right.JOBS, Right.CRON)
        assert ("x-dayfold-audit" in extra) is ("POST" in methods or right_of(route) is Right.CRON)
        assert route.response_model is not None  # type: ignore[attr-defined]


def test_a_restart_loses_no_work_that_was_asked_for(store_url: str) -> None:
    """What was queued by a process that ended is done by the next one."""
    load_rows(store_url, "orders", "shop bigint, made timestamptz", [{"shop": 1, "made": NOW}])
    config = {**store_config(store_url), "schedule": {**SCHEDULE, "fold": "off"}}
    with Dayfold([Shops], config, clock=FixedClock(NOW)) as app:
        app.ledger.ready()
        served = Served(store_url, app)
        number = served.ask("POST", "/jobs/fold/trigger", 202, json={})["run_id"]
        served.service.close()
    with Dayfold([Shops], config, clock=FixedClock(NOW)) as app:
        served = Served(store_url, app)
        served.settle()
        assert served.ask("GET", f"/runs/{number}")["status"] == "done"
        served.service.close()
    assert run_sql(store_url, "SELECT status, job FROM dayfold_job_runs") == [("done", "fold")]
