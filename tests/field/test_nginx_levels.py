"""Levels that a real web server told across a midnight, counted as differences: each day's sum is the log's own end minus start.

Data: status of nginx.org by NGINX Plus (elastic/examples, Apache-2.0): 500 snapshots of 43 minutes, cumulative, of three zones.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dayfold import Counter, Dayfold, Total
from dayfold.clock import FixedClock
from tests.sql import store_config

FILE = Path(os.environ.get("DAYFOLD_FIELD_DATA", "nowhere")) / "nginx_plus_status" / "nginxplus_json_logs.jsonl.gz"
pytestmark = [
    pytest.mark.skipif(
        not FILE.is_file(), reason="needs DAYFOLD_FIELD_DATA: the folder with nginx_plus_status, cumulative counters"
    ),
    pytest.mark.in_turn,
]
TOTALS = ("requests", "responses", "ok", "failed", "discarded", "processing", "received", "sent")
BEFORE, AFTER = dt.date(2015, 10, 30), dt.date(2015, 10, 31)
Levels = dict[str, int]


class ZoneTraffic(Counter):
    """What one virtual server did."""

    key = "zone"
    identities = "requests = responses + discarded + processing"

    requests = Total()
    responses = Total()
    ok = Total()
    failed = Total()
    discarded = Total()
    # Requests under way: it goes up and down.
    processing = Total(negative=True)
    received = Total()
    sent = Total()


def snapshots() -> list[tuple[dt.datetime, dict[str, Levels]]]:
    """The moment and the levels of each zone, in order of time."""
    found = []
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        for line in lines:
            said = json.loads(line)
            moment = dt.datetime.fromtimestamp(said["timestamp"] / 1000, dt.UTC)
            found.append((moment, {zone: levels(one) for zone, one in said["server_zones"].items()}))
    return sorted(found, key=lambda one: one[0])


def levels(zone: dict[str, Any]) -> Levels:
    answers = zone["responses"]
    return {
        "requests": zone["requests"], "responses": answers["total"], "ok": answers["2xx"],
        "failed": answers["5xx"], "discarded": zone["discarded"], "processing": zone["processing"],
        "received": zone["received"], "sent": zone["sent"],
    }  # fmt: skip


@pytest.fixture
def app(store_url: str) -> Iterator[Dayfold]:
    """The counter, half an hour after the log ends: ids are remembered."""
    clock = FixedClock(dt.datetime(2015, 10, 31, 1, 10, tzinfo=dt.UTC))
    with Dayfold([ZoneTraffic], store_config(store_url), clock=clock) as found:
        yield found


def test_differences_of_levels_add_up_to_the_logs_own_end_minus_start(app: Dayfold) -> None:
    """Of every zone, total and day, though each difference is sent twice, and flushed whenever it happens to be."""
    log = snapshots()
    [counter] = app.counters.defined()
    outcomes = []
    for place, ((_, old), (moment, new)) in enumerate(pairwise(log)):
        adds = [
            app.counters.read(
                counter, {"zone": zone}, {name: new[zone][name] - old[zone][name] for name in TOTALS}, None, moment,
                f"{zone} {moment.isoformat()}",
            )
            for zone in new
        ]  # fmt: skip
        outcomes.append(app.counters.offer(adds))
        if place % 97 == 0:
            app.counters.flush()
        outcomes.append(app.counters.offer(adds))
    assert {one for answer in outcomes for one in answer.result(60)} <= {"accepted", "repeated"}
    assert [run.status for run in app.fold()] == ["done"]

    last_before = max(moment for moment, _ in log if moment.date() == BEFORE)
    at = dict(log)
    spans = {BEFORE: (log[0][0], last_before), AFTER: (last_before, log[-1][0])}
    answer = app.query("ZoneTraffic", list(TOTALS), by=["zone"], from_=BEFORE, to=AFTER)
    assert {(row["day"], row["zone"]): {name: row[name] for name in TOTALS} for row in answer.rows} == {
        (day, zone): {name: at[last][zone][name] - at[first][zone][name] for name in TOTALS}
        for day, (first, last) in spans.items()
        for zone in log[0][1]
    }
    # What the log's authors measured themselves.
    whole = {name: sum(row[name] for row in answer.rows if row["zone"] == "hg.nginx.org") for name in TOTALS}
    assert whole["sent"] == 6_503_611_952 - 6_490_717_598
    [law] = app.counters.conservation()
    assert law.holds
    assert law.applied["sent"] == sum(row["sent"] for row in answer.rows)
