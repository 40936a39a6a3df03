"""Several runs of one profile at once: folds and a rebuild, and a holder that was paused between two parts."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.fold import chunk
from dayfold.ledger import leases
from tests.faults import salons, shops
from tests.faults.test_kills import comparable, undisturbed
from tests.faults.test_kills_profiles import fill, salon_fold, told_fold, tracked
from tests.faults.test_kills_trust import without_counts
from tests.faults.test_together import in_thread
from tests.sql import run_sql

pytestmark = pytest.mark.in_turn

Stores = Callable[[], str]


def open_app(url: str, version: str) -> Dayfold:
    return Dayfold(shops.definitions(version), shops.config(url), clock=FixedClock(shops.NOW))


def test_folds_and_a_rebuild_at_once_make_one_result(engine: str, new_store: Stores) -> None:
    """Customers were touched; whoever comes first computes them, and nobody's mark is lost."""
    url = new_store()
    fill(url)
    tracked(url)
    told_fold(url)
    salons.change(url)
    together = threading.Barrier(3)

    def work(job: Callable[[Dayfold], Any]) -> Any:
        with open_app(url, "salon told") as app:
            together.wait(30)
            return job(app)

    jobs: list[Callable[[Dayfold], Any]] = [Dayfold.fold, Dayfold.fold, lambda app: [app.rebuild("Customers")]]
    threads = [in_thread(functools.partial(work, job)) for job in jobs]
    for thread, _ in threads:
        thread.join(60)
    assert [one for _, results in threads for one in results if isinstance(one, Exception)] == []
    assert [run.error for _, [runs] in threads[:2] for run in runs if run.error] == []
    told_fold(url)
    salons.check(url, salons.changed())
    right = undisturbed(engine, new_store, fill, tracked, told_fold, salons.change, told_fold)
    assert without_counts(comparable(url)) == without_counts(right)


def test_a_holder_that_was_paused_between_two_parts_publishes_nothing_more(
    engine: str, new_store: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run took over after its first part; the bookings changed meanwhile, and what it would have written is refused."""
    url = new_store()
    fill(url)
    paused, go_on = threading.Event(), threading.Event()
    holder: list[int] = []
    real = chunk.Chunk._read_apart

    def read(self: chunk.Chunk, portion: Any) -> Any:
        if threading.get_ident() in holder and self.indexed and not paused.is_set():
            paused.set()
            assert go_on.wait(60)
        return real(self, portion)

    monkeypatch.setattr(chunk.Chunk, "_read_apart", read)
    monkeypatch.setattr(leases, "_renew", lambda *_: None)
    monkeypatch.setattr(leases, "lease", functools.partial(leases.lease, lease_s=0.05))

    def late() -> Any:
        holder.append(threading.get_ident())
        with open_app(url, "salon") as app:
            return app.fold()

    thread, results = in_thread(late)
    assert paused.wait(60)
    try:
        assert 0 < len(salons.visible(url)) < len(salons.right(salons.rows()))
        salon_fold(url)
    finally:
        go_on.set()
        thread.join(60)
    [[profile, _]] = results
    assert profile.status == "failed"
    assert profile.error == (
        "The lease of Customers was taken over by another run while this one was paused.\n"
        "  Nothing more was published by this run; the other one goes on."
    )
    salons.check(url, salons.rows())
    # The late run could not know that the other one did its work, and said so of the days above; the next one knows.
    salon_fold(url)
    assert comparable(url) == undisturbed(engine, new_store, fill, salon_fold)
    statuses = run_sql(url, "SELECT status FROM dayfold_runs WHERE rollup = 'Customers' ORDER BY id")
    assert statuses == [("interrupted",), ("done",), ("done",)]
