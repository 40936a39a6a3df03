"""Runs one job in a process that kills itself with SIGKILL at a named point: ``python -m tests.faults.killed``.

The points are set from outside, around functions of the product; the product knows nothing of them.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.define.alert import of_settings
from dayfold.engines import base, compacting, kept, rewriting, scans
from dayfold.engines.pair import PairSession, PairStore
from dayfold.engines.writes import Writes
from dayfold.errors import SourceFailed
from dayfold.fold import chunk, discover, fetch, move_receipts, prune, reduce, reshape
from dayfold.fold.install import Installer
from dayfold.fold.longview import LongView
from dayfold.fold.move import Mover
from dayfold.fold.move_copy import Copier
from dayfold.fold.rebuild import Rebuilder
from dayfold.fold.retain import Retainer
from dayfold.jobs.alerts import Alerts
from dayfold.jobs.desk import Desk
from dayfold.jobs.scheduler import Scheduler
from dayfold.ledger import alerts as ledger_alerts
from dayfold.ledger import (
    coverage,
    cursors,
    erasures,
    fetches,
    history,
    holders,
    leases,
    marks,
    moves,
    receipts,
    runs,
    verifications,
    versions,
)
from dayfold.ledger import exports as ledger_exports
from dayfold.ledger import jobs as ledger_jobs
from dayfold.movedesk import MoveDesk
from dayfold.plan.access import UNREDACTED
from dayfold.plan.exports import ExportAsked
from dayfold.settings import AlertsSettings
from tests.faults.shops import NOW, config, definitions
from tests.sql import is_clickhouse, is_duckdb

#: Name of a point to the function after whose call it lies.
POINTS: dict[str, tuple[Any, str]] = {
    "registered": (versions, "register"),
    "leased": (leases, "_acquire"),
    "started": (runs, "start"),
    "computed": (scans, "compute"),
    "replaced": (chunk, "replace"),
    "indexed": (base, "match_indexes"),
    "covered": (coverage, "record_folded"),
    "counted": (runs, "progress"),
    "finished": (runs, "finish"),
    "build begun": (versions, "begin_build"),
    "build published": (reshape, "replace"),
    "build dropped": (reshape, "drop_build"),
    "build ended": (versions, "end_build"),
    "failure recorded": (coverage, "record_failed"),
    "coverage forgotten": (coverage, "forget"),
    "build abandoned": (versions, "abandon_build"),
    "revision moved": (versions, "bump_revision"),
    "fence passed": (versions, "pass_fence"),
    "made": (base, "ensure"),
    "stamp kept": (cursors, "keep_stamp"),
    "cursor moved": (cursors, "move"),
    "marked": (marks, "mark"),
    "taken over": (marks, "take_over"),
    "forgotten beside the source": (discover, "forget_beside"),
    "older marks forgotten": (marks, "forget_of"),
    "marks beyond dropped": (marks, "drop_beyond"),
    "marks deleted": (marks, "delete_read"),
    "entities followed": (marks, "delete_entities"),
    "receipts recorded": (receipts, "record"),
    "receipts corrected": (receipts.Correction, "after"),
    "days closed": (coverage, "close_days"),
    "put aside": (Rebuilder, "_put_aside"),
    "aside dropped": (reshape, "drop_aside"),
    "sealed": (coverage, "seal"),
    "tables dropped": (prune, "_drop"),
    "removed": (versions, "remove"),
    "triggers installed": (Installer, "install"),
    "triggers removed": (Installer, "remove"),
    "verified": (verifications, "record"),
    "fetched rows' table made": (fetch, "make_table"),
    "fence added": (versions, "add_fence"),
    "fetched rows replaced": (fetch, "replace_rows"),
    "fetches recorded": (fetches, "record_fetches"),
    "fetches forgotten": (fetches, "forget_fetches"),
    "standing recorded": (fetches, "record_standing"),
    "unread dropped": (fetch, "drop_unread"),
    "episode opened": (ledger_alerts, "open_episode"),
    "episode closed": (ledger_alerts, "close_episode"),
    "message queued": (ledger_alerts, "queue"),
    "attempt begun": (ledger_alerts, "claim"),
    "attempt failed": (ledger_alerts, "failed"),
    "message delivered": (ledger_alerts, "delivered"),
    "job registered": (ledger_jobs, "register"),
    "job rescheduled": (ledger_jobs, "reschedule"),
    "job enabled": (ledger_jobs, "enable"),
    "job disabled": (ledger_jobs, "disable"),
    "slot claimed": (ledger_jobs, "claim_slot"),
    "run queued": (ledger_jobs, "queue"),
    "run claimed": (ledger_jobs, "claim_run"),
    "heart beaten": (ledger_jobs, "beat"),
    "run finished": (ledger_jobs, "finish"),
    "run put back": (ledger_jobs, "put_back"),
    "run interrupted": (ledger_jobs, "_interrupt"),
    "history forgotten": (history, "forget_older"),
    "export asked": (ledger_exports, "add"),
    "export begun": (ledger_exports, "begun"),
    "export finished": (ledger_exports, "finish"),
    "export removed": (ledger_exports, "remove"),
    "view made": (LongView, "_make"),
    "erasure asked": (erasures, "ask"),
    "sets reduced": (reduce, "_reduce_sets"),
    "keys blurred": (reduce, "_blur_keys"),
    "person let go": (holders, "erase"),
    "erasure recorded": (erasures, "erased"),
    "file copied": (rewriting, "_copied"),
    "file replaced": (rewriting, "_take_place"),
    "erasure ended": (erasures, "done"),
    "events deleted": (Retainer, "_delete_day"),
    "ids deleted": (Retainer, "_delete_ids"),
    "write begun": (Writes, "_begun"),
    "versions written": (PairSession, "_write"),
    "write published": (Writes, "publish"),
    "table made": (kept, "note"),
    "told": (Writes, "tell"),
    "view put": (PairSession, "_put_view"),
    "versions removed": (Writes, "_remove"),
    "table written anew": (PairSession, "renew"),
    "versions compacted": (compacting, "_compacted"),
    "way taken": (moves, "go"),
    "store begun": (moves, "begin"),
    "part noted": (moves, "note"),
    "portion put": (Copier, "_put"),
    "table finished": (Copier, "_finish"),
    "table compared": (Copier, "compare"),
    "receipts renewed": (move_receipts, "_write"),
    "sources named": (moves, "name_database"),
    "gone": (Mover, "_gone"),
    "store whole": (moves, "end"),
    "way given up": (moves, "stay"),
}
#: After a transaction that writes has committed.
COMMITTED = "committed"


def around_points(act: Callable[[str], None], patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on ``act`` is called with a point's name whenever it has been passed."""
    for name, (owner, function) in POINTS.items():
        patch(owner, function, _followed(getattr(owner, function), name, act))


def _followed(function: Callable[..., Any], name: str, act: Callable[[str], None]) -> Callable[..., Any]:
    def call(*args: Any, **more: Any) -> Any:
        result = function(*args, **more)
        act(name)
        return result

    return call


def around_commits(store: type[Any], act: Callable[[str], None]) -> None:
    """The same for commits of a kind of store."""
    original = store.transaction

    @contextmanager
    def transaction(self: Any, *, read_only: bool = False) -> Iterator[Any]:
        with original(self, read_only=read_only) as session:
            yield session
        if not read_only:
            act(COMMITTED)

    store.transaction = transaction


def store_class(url: str) -> type[Any]:
    if is_duckdb(url):
        from dayfold.engines.duckdb import DuckStore

        return DuckStore
    if is_clickhouse(url):
        return PairStore
    from dayfold.engines.postgres import PostgresStore

    return PostgresStore


def fold(app: Dayfold) -> list[str]:
    return [run.error for run in app.fold() if run.error]


def later(app: Dayfold) -> list[str]:
    """A fold on the next day."""
    assert isinstance(app.clock, FixedClock)
    app.clock.instant += dt.timedelta(days=1)
    return fold(app)


def rebuild(app: Dayfold) -> list[str]:
    app.rebuild("Shops", from_="2026-03-01", to="2026-03-20")
    return []


def adopt(app: Dayfold) -> list[str]:
    app.adopt("Others", "legacy")
    return []


def remove(app: Dayfold) -> list[str]:
    app.prune(["Shops"])
    return []


def track(app: Dayfold) -> list[str]:
    app.track_install()
    return []


def untrack(app: Dayfold) -> list[str]:
    app.track_remove()
    return []


def move(app: Dayfold) -> list[str]:
    """The store goes where the environment says, in small portions."""
    to, _, ledger = os.environ["MOVE_TO"].partition("#")
    MoveDesk(app, rows_at_once=16).move(to, ledger=ledger or None, sources="old")
    return []


def stay(app: Dayfold) -> list[str]:
    """A move is given up."""
    app.move(abandon=True)
    return []


def heal(app: Dayfold) -> list[str]:
    return [one.error for one in app.verify(heal=True) if one.error]


def alerts(app: Dayfold) -> list[str]:
    """Look and deliver, as the environment says: the rule, the command that is told, and how many minutes later."""
    app.clock.instant += dt.timedelta(minutes=int(os.environ["ALERTS_MINUTES"]))
    words = {
        "channels": {"log": {"command": ["sh", "-c", os.environ["ALERTS_COMMAND"]]}},
        "rules": {"low": {"when": os.environ["ALERTS_WHEN"]}},
    }
    app.settings.alerts = AlertsSettings.model_validate(words)
    app.catalog = app.catalog.with_rules(of_settings(app.settings.alerts.words()), ["log"])
    found = Alerts(app)
    found.look()
    found.deliver()
    return [one.error for one in found.states() if one.error]


def scheduled(app: Dayfold) -> list[str]:
    """Everything that is due, done by the scheduler; and what a process left that died."""
    app.ledger.ready()
    scheduler = Scheduler(app)
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        scheduler.step()
        scheduler.join()
        now = app.clock.now()
        with app.ledger.store.transaction(read_only=True) as session:
            active = ledger_jobs.active(app.ledger, session)
            states = ledger_jobs.states(app.ledger, session).values()
            ended = ledger_jobs.listed(app.ledger, session, 100)
        if not active and not any(one.is_enabled and one.due_at and one.due_at <= now for one in states):
            return [one.error for one in ended if one.status == "failed" and one.error]
        # PostgreSQL takes a moment to see that a process is gone, and an attempt may wait for its time.
        if any(one.not_before for one in active) and isinstance(app.clock, FixedClock):
            app.clock.instant += dt.timedelta(seconds=30)
        time.sleep(0.02)
    return ["there is still something to do"]


def served(app: Dayfold) -> list[str]:
    """The real server, which runs what is due."""
    from dayfold.cli import errand
    from dayfold.http.server import serve

    serve(app, "127.0.0.1", 0, lambda url: None, errand.run)
    return []


def stopped(app: Dayfold) -> list[str]:
    """A job is stopped, started, and does what is due."""
    app.ledger.ready()
    Desk(app).stop("fold")
    Desk(app).start("fold")
    return scheduled(app)


def moved(app: Dayfold) -> list[str]:
    """The same with another schedule."""
    app.settings.schedule.fold = "*/7 * * * *"
    return scheduled(app)


def beating(app: Dayfold) -> list[str]:
    """A run that goes on until its heart has beaten, which is where it is killed."""
    app.settings.jobs.heartbeat_s = 0.02
    whole = app.fold

    def slow(*words: Any, **more: Any) -> Any:
        results = whole(*words, **more)
        threading.Event().wait(30)
        return results

    app.fold = slow  # type: ignore[method-assign]
    return scheduled(app)


def failing_once(app: Dayfold) -> list[str]:
    """The first attempt fails."""
    whole = app.fold

    def fails(*words: Any, **more: Any) -> Any:
        app.fold = whole  # type: ignore[method-assign]
        raise SourceFailed("request cannot be read.", source="request")

    app.fold = fails  # type: ignore[method-assign]
    return scheduled(app)


def compacted(app: Dayfold) -> list[str]:
    """Versions that others have replaced go at once, and then each table is written anew."""
    store = app.databases.store
    assert isinstance(store, PairStore)
    compacting.compact(store, keep_s=0)
    store.rewrite(["shops", "shops__sets"])
    return []


def retained(app: Dayfold) -> list[str]:
    app.ledger.ready()
    Desk(app).trigger("retain", {}, "test")
    return scheduled(app)


def exported(app: Dayfold) -> list[str]:
    """An export is asked for and written, with what a process left that died; then all that there are go."""
    app.settings.export.folder = Path(os.environ["EXPORT_FOLDER"])
    app.fold()
    exports = app.exports
    words = ExportAsked.parse(app.catalog, UNREDACTED, app.today, what="rollup", name="Shops")
    asked = exports.ask(words, UNREDACTED, "me", "test", lambda request: Desk(app).trigger("export", request, "test"))
    errors = scheduled(app)
    if exports.one(asked.row.id).state != "done":
        errors.append("the export is not done")
    exports.erase(["Shops"])
    return errors + [one.row.id for one in exports.listed()]


JOBS = {
    one.__name__: one
    for one in (
        compacted,
        fold, later, rebuild, adopt, remove, track, untrack, move, stay, heal, scheduled, served, stopped, moved, beating,
        failing_once, retained, alerts, exported,
    )
}  # fmt: skip


def main(store: str, version: str, point: str, nth: int, job: str = "fold", source: str | None = None) -> None:
    """Do the job; at the n-th time that the point is passed this process is no more."""
    passed = 0

    def act(name: str) -> None:
        nonlocal passed
        passed += name == point
        if passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    around_points(act)
    for kind in {store_class(url) for url in (store, os.environ.get("MOVE_TO", store))}:
        around_commits(kind, act)
    with Dayfold(definitions(version, apart=source is not None), config(store, source), clock=FixedClock(NOW)) as app:
        errors = JOBS[job](app)
    sys.exit("; ".join(errors) or 0)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
