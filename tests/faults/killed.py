"""Runs one job in a process that kills itself with SIGKILL at a named point: ``python -m tests.faults.killed``.

The points are set from outside, around functions of the product; the product knows nothing of them.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.engines import base, scans
from dayfold.fold import chunk, discover, fetch, prune, reshape
from dayfold.fold.install import Installer
from dayfold.fold.longview import LongView
from dayfold.fold.rebuild import Rebuilder
from dayfold.ledger import coverage, cursors, fetches, leases, marks, receipts, runs, verifications, versions
from tests.faults.shops import NOW, config, definitions
from tests.sql import is_duckdb

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
    "view made": (LongView, "_make"),
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


def heal(app: Dayfold) -> list[str]:
    return [one.error for one in app.verify(heal=True) if one.error]


JOBS = {one.__name__: one for one in (fold, later, rebuild, adopt, remove, track, untrack, heal)}


def main(store: str, version: str, point: str, nth: int, job: str = "fold", source: str | None = None) -> None:
    """Do the job; at the n-th time that the point is passed this process is no more."""
    passed = 0

    def act(name: str) -> None:
        nonlocal passed
        passed += name == point
        if passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    around_points(act)
    around_commits(store_class(store), act)
    with Dayfold(definitions(version, apart=source is not None), config(store, source), clock=FixedClock(NOW)) as app:
        errors = JOBS[job](app)
    sys.exit("; ".join(errors) or 0)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
