"""`dayfold serve` runs jobs: the real server in a process of its own, over HTTP, through restarts."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from dayfold import Dayfold
from dayfold.ledger import tokens
from dayfold.plan.access import EVERYTHING
from tests.acceptance.command import COMMAND, LIMIT_S, environment, succeeds

SCHEDULE = '\n[schedule]\nfold = "off"\nfinalize = "off"\nverify = "off"\nretain = "off"\n'


def with_token(folder: Path) -> str:
    """The shop with nothing due by itself; the secret of an administrator."""
    with (folder / "dayfold.toml").open("a") as config:
        config.write(SCHEDULE)
    with Dayfold(folder / "metrics.py") as app:
        app.ledger.ready()
        with app.ledger.store.transaction() as session:
            _, secret = tokens.create(app.ledger, session, "test", "admin", EVERYTHING, None, "test")
    return secret


@contextmanager
def serving(
    folder: Path, secret: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[httpx.Client, list[Any]]]:
    """A client of the real server, which is told to end at the end; and its log, once it has."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--json"], cwd=folder, env=environment(env), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    log: list[Any] = []
    try:
        assert process.stdout is not None
        first = ""
        while not first.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, process.communicate(timeout=LIMIT_S)[1]
            first += line
        url = json.loads(first)["url"]
        with httpx.Client(
            base_url=f"{url}/v1", headers={"Authorization": f"Bearer {secret}"}, timeout=LIMIT_S
        ) as client:
            yield client, log
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    log += [json.loads(line) for line in errors.splitlines()]


def test_a_server_runs_jobs_and_ends_in_order(shop: Path) -> None:
    """What was asked for is done, logged and in `dayfold status`; a process that only answers leaves it to the next."""
    secret = with_token(shop)
    with serving(shop, secret) as (client, log):
        done = client.post("/cron/fold", params={"wait": 100}).json()
        assert (done["status"], [one["rollup"] for one in done["summary"]["rollups"]]) == (
            "done",
            ["ShopDaily", "ShopClock", "Seats"],
        )
    lines = [one for one in log if one["logger"] == "dayfold.jobs"]
    assert [(one["action"], one.get("rollup")) for one in lines] == [
        ("fold", "ShopDaily"), ("fold", "ShopClock"), ("fold", "Seats"), ("job", None),
    ]  # fmt: skip
    assert {"time", "level", "message", "days", "cells", "rows", "seconds", "run"} <= set(lines[0])
    assert (lines[-1]["job"], lines[-1]["status"], lines[-1]["run"]) == ("fold", "done", done["run_id"])

    with serving(shop, secret, {"DAYFOLD_SERVE__JOBS": "false"}) as (client, _):
        assert client.get("/jobs/status").json()["runs_jobs_here"] is False
        waiting = client.post("/verify", json={"rollup": "Seats", "from": "2026-01-01", "to": "2026-01-09"}).json()
        assert client.get(f"/runs/{waiting['run_id']}").json()["status"] == "queued"
    with serving(shop, secret) as (client, _):
        give_up = time.monotonic() + LIMIT_S
        while (run := client.get(f"/runs/{waiting['run_id']}").json())["status"] in ("queued", "running"):
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert (run["status"], run["summary"]["verified"][0]["days"]) == ("done", 9)

    status = succeeds("status", cwd=shop)
    assert re.search(r"^verify +– +2026-01-10T12:00:00Z +done +0.00$", status.out, re.MULTILINE), status.out
    jobs = {one["job"]: one for one in succeeds("status", "--json", cwd=shop).json["jobs"]}
    assert (jobs["fold"]["last_status"], jobs["fold"]["enabled"], jobs["fold"]["next_run"]) == ("done", True, None)
