"""Erases or retains in a process that kills itself with SIGKILL at a named point: ``python -m tests.faults.erasing``."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys

from dayfold import Count, Dayfold, Distinct, Rollup, events
from dayfold.clock import FixedClock
from tests.eventlog import NOON, event, send
from tests.faults.killed import around_commits, around_points, store_class
from tests.sql import store_config

ACTOR, BROWSER = "person-5b1f77e0", "browser-90c2aa4d"
OLD = NOON - dt.timedelta(days=40)


class Daily(Rollup):
    """What happened in one project on one day."""

    key = "project_id"
    views = Count(events, at="occurred_at")
    visitors = Distinct(events, "coalesce(actor_id, anonymous_id)", at="occurred_at")


class ByActor(Rollup):
    """What one actor did."""

    key = "actor_id"
    views = Count(events, at="occurred_at")


def opened(url: str) -> Dayfold:
    """The application, three days after the newest event."""
    words = {**store_config(url, long_view=""), "retain": {"events_days": 20}, "fold": {"wait_s": 30}}
    return Dayfold(
        [Daily, ByActor, events.columns(project_id="text")], words, clock=FixedClock(NOON + dt.timedelta(days=3))
    )


def fill(url: str) -> None:
    """Three old days, and one that is not, of the person and of two others."""
    with opened(url) as app:
        app.fold()
        number = 0
        for day in (OLD, OLD + dt.timedelta(days=1), OLD + dt.timedelta(days=2), NOON):
            for who, browser in ((ACTOR, BROWSER), (None, BROWSER), ("u", "b"), ("v", BROWSER)):
                number += 1
                send(app, event(number, occurred_at=day, actor_id=who, anonymous_id=browser, project_id="p"))
        app.fold()


def run(app: Dayfold, verb: str) -> None:
    """What is killed, and what is done again."""
    if verb == "erase":
        app.erase([ACTOR])
    else:
        app.retain(yes=True)


def main(url: str, verb: str, point: str, nth: int) -> None:
    """Do it; at the n-th time that the point is passed this process is no more."""
    passed = 0

    def act(name: str) -> None:
        nonlocal passed
        passed += name == point
        if passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    around_points(act)
    around_commits(store_class(url), act)
    with opened(url) as app:
        run(app, verb)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
