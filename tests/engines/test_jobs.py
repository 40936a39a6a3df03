"""Jobs on both engines: what is due, who runs it, what becomes of a run; stepped by hand, with a clock that stands still."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dayfold import Alert, Count, Dayfold, Rollup, Table
from dayfold.clock import FixedClock
from dayfold.engines.base import Session
from dayfold.errors import Busy, Conflict, Stopped, UnknownName, UsageError
from dayfold.jobs.desk import Desk
from dayfold.jobs.jobs import jobs, register
from dayfold.jobs.scheduler import Scheduler
from dayfold.ledger import jobs as ledger_jobs
from dayfold.ledger import leases
from dayfold.ledger.ledger import Ledger
from tests.engines.ground import NOW, march
from tests.sql import is_clickhouse, load_rows, run_sql, store_config

DDL = "shop bigint, made timestamptz"
SCHEDULE = {"fold": "0 * * * *", "finalize": "5 0 * * *", "verify": "30 3 * * *", "retain": "45 4 * * *"}
#: For tests of what holds for any job.
FOLD_ONLY = {"fold": "0 * * * *", "finalize": "off", "verify": "off", "retain": "off"}


def definitions(**own: Any) -> list[type[Any]]:
    """Two rollups of one table."""
    orders = Table("orders")
    metrics = {"orders": Count(orders, at="made")}
    return [
        type("Shops", (Rollup,), {"key": "shop", "lookback": 0, **metrics}),
        type("Whole", (Rollup,), {"lookback": 0, **metrics, **own}),
    ]


def fill(url: str) -> None:
    """Two facts on each of ten days before the present one, and on it."""
    rows = [{"shop": n % 2, "made": march(2 + n // 2, 9)} for n in range(22)]
    load_rows(url, "orders", DDL, rows)


@contextmanager
def replica(url: str, clock: FixedClock, *rollups: type[Any], **settings: Any) -> Iterator[Dayfold]:
    words = {**store_config(url), "schedule": SCHEDULE, "jobs": {"heartbeat_s": 30}, "fold": {"wait_s": 30}}
    with Dayfold(list(rollups) or definitions(), {**words, **settings}, clock=clock) as app:
        app.ledger.ready()
        yield app


def settle(*schedulers: Scheduler) -> None:
    """Every scheduler looks and waits for what it began, until nothing is left to do at this moment."""
    while True:
        for one in schedulers:
            one.step()
        for one in schedulers:
            one.join()
        ledger = schedulers[0].ledger
        now = ledger.clock.now()
        with ledger.store.transaction(read_only=True) as session:
            active = ledger_jobs.active(ledger, session)
            states = ledger_jobs.states(ledger, session)
        due = [one for one in states.values() if one.is_enabled and one.due_at and one.due_at <= now]
        if not due and not [one for one in active if one.not_before is None or one.not_before <= now]:
            return


def at_once(*actions: Callable[[], object]) -> list[object]:
    """What each gives or raises, all begun at the same moment."""
    barrier = threading.Barrier(len(actions))
    found: list[object] = [None] * len(actions)

    def act(place: int, action: Callable[[], object]) -> None:
        barrier.wait()
        try:
            found[place] = action()
        except Exception as error:
            found[place] = error

    threads = [threading.Thread(target=act, args=one) for one in enumerate(actions)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return found


def runs(app: Dayfold, job: str | None = None) -> list[ledger_jobs.JobRun]:
    with app.ledger.store.transaction(read_only=True) as session:
        return ledger_jobs.listed(app.ledger, session, 100, job=job)[::-1]


def told(app: Dayfold, job: str | None = None) -> list[tuple[str, str, str, int]]:
    return [(one.job, one.cause, one.status, one.attempt) for one in runs(app, job)]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def filled(store_url: str) -> str:
    fill(store_url)
    return store_url


# -- which jobs ------------------------------------------------------------------------------------


def test_a_rollup_with_a_schedule_has_a_job_of_its_own(filled: str, clock: FixedClock) -> None:
    """And is left out of the plain fold; a zone of its own comes before the one of the settings."""
    whole = definitions(schedule="01:00", timezone="Europe/London")
    with replica(filled, clock, *whole, schedule={**SCHEDULE, "timezone": "Asia/Kathmandu"}) as app:
        found = jobs(app.catalog, app.settings)
        assert {name: (str(one.schedule), one.rollups) for name, one in found.items()} == {
            "fold": ("0 * * * * Asia/Kathmandu", ("Shops",)),
            "fold:Whole": ("01:00 Europe/London", ("Whole",)),
            "finalize": ("5 0 * * * Asia/Kathmandu", ("Shops", "Whole")),
            "verify": ("30 3 * * * Asia/Kathmandu", ("Shops", "Whole")),
            "retain": ("45 4 * * * Asia/Kathmandu", ()),
            "rebuild": ("off UTC", ("Shops", "Whole")),
            "export": ("off UTC", ()),
            "erase": ("off UTC", ("Shops", "Whole")),
        }


def test_jobs_that_were_never_seen_run_at_once(filled: str, clock: FixedClock) -> None:
    """All but `retain`, which has nothing to catch up on; then each waits for its slot."""
    with replica(filled, clock) as app:
        scheduler = Scheduler(app)
        settle(scheduler)
        assert told(app) == [
            ("fold", "schedule", "done", 1), ("finalize", "schedule", "done", 1), ("verify", "schedule", "done", 1),
        ]  # fmt: skip
        due = {one.job: one.next_run for one in Desk(app).all()}
        assert due == {
            "fold": march(12, 13), "finalize": march(13, 0, 5), "verify": march(13, 3, 30), "retain": march(13, 4, 45),
            "rebuild": None,
            "export": None,
            "erase": None,
        }  # fmt: skip
        settle(scheduler)
        assert len(runs(app)) == 3
    assert run_sql(filled, "SELECT count(*), sum(orders) FROM shops") == [(22, 22)]


def test_a_summary_names_each_rollup_with_its_run(filled: str, clock: FixedClock) -> None:
    """Days, cells and rows of each, as `dayfold fold` counts them."""
    with replica(filled, clock) as app:
        settle(Scheduler(app))
        [fold] = runs(app, "fold")
        assert fold.summary is not None
        found = [{name: one[name] for name in one if name != "seconds"} for one in fold.summary["rollups"]]
    numbers = dict(run_sql(filled, "SELECT rollup, min(id) FROM dayfold_runs WHERE job = 'fold' GROUP BY rollup"))
    assert found == [
        {"rollup": "Shops", "status": "done", "run_id": numbers["Shops"], "days": 11, "cells": 22, "rows_inserted": 22,
         "rows_updated": 0, "rows_deleted": 0},
        {"rollup": "Whole", "status": "done", "run_id": numbers["Whole"], "days": 11, "cells": 11, "rows_inserted": 11,
         "rows_updated": 0, "rows_deleted": 0},
    ]  # fmt: skip


# -- what is due -----------------------------------------------------------------------------------


def test_three_days_down_are_caught_up_by_one_run(filled: str, clock: FixedClock) -> None:
    """However many slots were missed: each missed day is folded once and verified once."""
    with replica(filled, clock) as app:
        settle(Scheduler(app))
        clock.instant = march(15, 12)
        before = len(runs(app))
        settle(Scheduler(app))
        assert told(app)[before:] == [
            ("fold", "schedule", "done", 1), ("finalize", "schedule", "done", 1), ("verify", "schedule", "done", 1),
            ("retain", "schedule", "done", 1),
        ]  # fmt: skip
        finalized = runs(app, "finalize")[-1].summary
        assert finalized is not None
        assert [(one["rollup"], one["days"], one["drifted"]) for one in finalized["verified"]] == [
            ("Shops", 3, 0),
            ("Whole", 3, 0),
        ]
        assert (finalized["open_days"], finalized["open"]) == (0, [])
        assert [one.next_run for one in Desk(app).all() if one.job == "finalize"] == [march(16, 0, 5)]


def test_two_replicas_at_the_same_second_catch_up_once(new_postgres: Callable[[], str], clock: FixedClock) -> None:
    """Down for three days, two started together: each job once, each missed day folded by one run, every row written once."""
    url = new_postgres()
    fill(url)
    run_sql(
        url,
        "INSERT INTO orders SELECT 1, make_timestamptz(2026, 3, d, 9, 0, 0, 'UTC') FROM generate_series(13, 15) AS d",
    )
    with replica(url, clock) as app:
        settle(Scheduler(app))
        [(last_run,)] = run_sql(url, "SELECT max(id) FROM dayfold_runs")
        before = len(runs(app))
    clock.instant = march(15, 12)
    with replica(url, clock) as one, replica(url, FixedClock(clock.instant + dt.timedelta(minutes=2))) as other:
        pair = [Scheduler(one), Scheduler(other)]
        for _ in range(20):
            at_once(*(each.step for each in pair))
        for each in pair:
            each.join()
        settle(*pair)
        assert sorted(told(one)[before:]) == [
            ("finalize", "schedule", "done", 1), ("fold", "schedule", "done", 1), ("retain", "schedule", "done", 1),
            ("verify", "schedule", "done", 1),
        ]  # fmt: skip
        [fold] = runs(one, "fold")[1:]
        assert fold.summary is not None
        folded = {entry["rollup"]: entry["run_id"] for entry in fold.summary["rollups"]}
    written = run_sql(
        url,
        f"SELECT rollup, sum(rows_inserted), count(*) FROM dayfold_runs WHERE id > {last_run} AND rows_inserted > 0 GROUP BY rollup",
    )
    assert sorted(written) == [("Shops", 3, 1), ("Whole", 3, 1)]
    by_run = run_sql(
        url, "SELECT DISTINCT rollup, run_id FROM dayfold_coverage WHERE day BETWEEN '2026-03-13' AND '2026-03-14'"
    )
    assert dict(by_run) == folded
    assert run_sql(
        url, "SELECT count(*) FROM dayfold_verifications WHERE day BETWEEN '2026-03-12' AND '2026-03-14'"
    ) == [(6,)]


def test_of_thirty_two_that_claim_a_slot_one_wins(filled: str, clock: FixedClock) -> None:
    """The others are refused or find nothing due; and of as many that begin the run, one does."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        Desk(app).all()
        found = at_once(*[lambda: ledger_jobs.claim_slot(app.ledger, "fold", NOW, march(12, 13))] * 32)
        numbers = [one for one in found if isinstance(one, int)]
        assert len(numbers) == 1
        assert all(one is None or isinstance(one, int | Conflict) for one in found), found
        assert told(app) == [("fold", "schedule", "queued", 1)]
        claims = [lambda: ledger_jobs.claim_run(app.ledger, numbers[0], "fold", leases.holder_name(), 30)] * 32
        begun = at_once(*claims)
        assert begun.count(True) == 1
        assert all(one in (True, False) or isinstance(one, Conflict) for one in begun), begun
        assert told(app) == [("fold", "schedule", "running", 1)]


def test_two_runs_of_one_job_never_go_on_at_once(filled: str, clock: FixedClock) -> None:
    """Two that wait, begun by sixteen threads at the same moment: one goes on, and the other waits."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        desk = Desk(app)
        numbers = [desk.trigger("fold", {"from": day, "to": day}, "anna") for day in ("2026-03-04", "2026-03-05")]
        claims = [
            lambda n=n: ledger_jobs.claim_run(app.ledger, n, "fold", leases.holder_name(), 30) for n in numbers * 8
        ]
        begun = at_once(*claims)
        assert begun.count(True) == 1
        assert sorted(status for _, _, status, _ in told(app)) == ["queued", "running"]
        [waiting] = [one.id for one in runs(app) if one.status == "queued"]
        assert ledger_jobs.claim_run(app.ledger, waiting, "fold", leases.holder_name(), 30) is False


def test_a_job_that_is_stopped_while_another_has_its_turn_is_stopped(filled: str, clock: FixedClock) -> None:
    """Whoever looked before the job was stopped, and acts after it, is refused; nothing of the stop is undone."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        Desk(app).all()

        def claim() -> None:
            with app.ledger.store.transaction() as late:
                ledger_jobs.states(app.ledger, late)
                Desk(app).stop("fold")
                ledger_jobs.take_turn(app.ledger, late, "fold")

        with pytest.raises(Conflict):
            claim()
        with app.ledger.store.transaction(read_only=True) as session:
            assert not ledger_jobs.states(app.ledger, session)["fold"].is_enabled


def test_a_heartbeat_does_not_take_back_what_the_run_was_told(
    filled: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is stopped while a heartbeat is written: that one is refused, and the next learns of it."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        number = Desk(app).trigger("fold", {}, "anna")
        assert ledger_jobs.claim_run(app.ledger, number, "fold", "me", 30)
        real = leases.backend

        def stopped_meanwhile(ledger: Ledger, session: Session) -> str:
            ledger_jobs.active(ledger, session, "fold")
            Desk(app).stop("fold")
            return real(ledger, session)

        monkeypatch.setattr(leases, "backend", stopped_meanwhile)
        with pytest.raises(Conflict):
            ledger_jobs.beat(app.ledger, number, "me", 30, None)
        monkeypatch.undo()
        assert ledger_jobs.beat(app.ledger, number, "me", 30, None)


def test_a_slot_is_claimed_once_and_not_beside_an_active_run(filled: str, clock: FixedClock) -> None:
    """Whatever a replica believed when it looked: neither while its run goes on, nor after it has ended."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        Desk(app).all()
        number = ledger_jobs.claim_slot(app.ledger, "fold", NOW, march(12, 13))
        assert number is not None
        assert ledger_jobs.claim_slot(app.ledger, "fold", march(12, 13), march(12, 14)) is None
        assert ledger_jobs.claim_run(app.ledger, number, "fold", "me", 30)
        assert ledger_jobs.claim_slot(app.ledger, "fold", march(12, 13), march(12, 14)) is None
        assert ledger_jobs.finish(app.ledger, number, "me", "done", {}, None)
        assert ledger_jobs.claim_slot(app.ledger, "fold", NOW, march(12, 13)) is None
        assert ledger_jobs.claim_slot(app.ledger, "fold", march(12, 13), march(12, 14)) is not None


def test_runs_that_share_a_rollup_wait_for_each_other(filled: str, clock: FixedClock) -> None:
    """In the order in which they were asked for; others go on beside them where the store allows it."""
    orders = Table("orders")
    apart = type("Apart", (Rollup,), {"schedule": "off", "lookback": 0, "n": Count(orders, at="made")})
    with replica(filled, clock, apart, *definitions(), schedule={**FOLD_ONLY, "fold": "off"}) as app:
        goes_on, may_end = threading.Event(), threading.Event()
        original = app.fold

        def slow(*args: Any, **words: Any) -> Any:
            goes_on.set()
            assert may_end.wait(30)
            return original(*args, **words)

        app.fold = slow  # type: ignore[method-assign]
        desk, scheduler = Desk(app), Scheduler(app)
        for name in ("fold", "finalize", "fold:Apart"):
            desk.trigger(name, {}, "anna")
        scheduler.step()
        assert goes_on.wait(30)
        scheduler.step()
        # 'finalize' works on all rollups, and what is younger than it does not overtake it on them.
        assert [(job, status) for job, _, status, _ in told(app)] == [
            ("fold", "running"), ("finalize", "queued"), ("fold:Apart", "queued"),
        ]  # fmt: skip
        may_end.set()
        settle(scheduler)
        assert [status for _, _, status, _ in told(app)] == ["done"] * 3


def test_a_job_that_is_gone_is_never_due(filled: str, clock: FixedClock) -> None:
    """A rollup that has no schedule of its own any more; should it get it again, it is due at its next slot."""
    own = definitions(schedule="01:00")
    with replica(filled, clock, *own, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        assert {one.job for one in app.status().jobs} == {"fold", "fold:Whole"}
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        clock.instant = march(12, 12, 14)
        settle(Scheduler(app))
        assert {one.job for one in app.status().jobs} == {"fold", "fold:Whole"}
        clock.instant = march(12, 12, 15)
        settle(Scheduler(app))
        assert {one.job for one in app.status().jobs} == {"fold"}
    clock.instant = march(14, 12)
    with replica(filled, clock, *own, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        assert Desk(app).one("fold:Whole").next_run == march(15, 1)
        assert told(app, "fold:Whole") == [("fold:Whole", "schedule", "done", 1)]


def test_a_job_that_only_some_replicas_have_stays_due(filled: str, clock: FixedClock) -> None:
    """One that does not know it leaves it alone while another has it, and one that has it brings it back."""
    own = definitions(schedule="01:00")
    with replica(filled, clock, *own, schedule=FOLD_ONLY) as app:
        new = Scheduler(app)
        without = {name: one for name, one in new.jobs.items() if name != "fold:Whole"}

        def due() -> dt.datetime | None:
            with app.ledger.store.transaction(read_only=True) as session:
                return ledger_jobs.states(app.ledger, session)["fold:Whole"].due_at

        settle(new)
        for minute in (10, 20, 30):
            clock.instant = march(12, 12, minute)
            register(app.ledger, without)
            assert due() == march(13, 1)
            new.step()
        clock.instant = march(12, 12, 45)
        register(app.ledger, without)
        assert due() is None
        new.step()
        assert due() == march(13, 1)


def test_a_job_that_outlasts_its_interval_runs_once_afterwards(filled: str, clock: FixedClock) -> None:
    """Slots that come while it goes on start nothing; together they are one run when it has ended."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        goes_on, may_end = threading.Event(), threading.Event()
        original = app.fold

        def slow(*args: Any, **words: Any) -> Any:
            goes_on.set()
            assert may_end.wait(30)
            return original(*args, **words)

        app.fold = slow  # type: ignore[method-assign]
        scheduler = Scheduler(app)
        clock.instant = march(12, 13)
        scheduler.step()
        assert goes_on.wait(30)
        for hour in (14, 15, 16):
            clock.instant = march(12, hour)
            scheduler.step()
        assert told(app, "fold")[1:] == [("fold", "schedule", "running", 1)]
        may_end.set()
        settle(scheduler)
        assert told(app, "fold")[1:] == [("fold", "schedule", "done", 1)] * 2
        assert Desk(app).one("fold").next_run == march(12, 17)


def test_a_clock_that_jumps_back_starts_nothing_twice(filled: str, clock: FixedClock) -> None:
    """Slots that were claimed stay claimed; the next one is the one that was next before."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        clock.instant = march(12, 13)
        settle(Scheduler(app))
        before = told(app)
        for back in (march(12, 12, 59), march(12, 11), march(5)):
            clock.instant = back
            settle(Scheduler(app))
            assert told(app) == before
        clock.instant = march(12, 14)
        settle(Scheduler(app))
        assert told(app) == [*before, ("fold", "schedule", "done", 1)]


def test_an_edited_schedule_is_due_as_it_says(filled: str, clock: FixedClock) -> None:
    """It neither waits for the slot of the old one nor runs at once."""
    with replica(filled, clock) as app:
        settle(Scheduler(app))
    with replica(filled, clock, schedule={**SCHEDULE, "fold": "*/5 * * * *", "verify": "off"}) as app:
        settle(Scheduler(app))
        found = {one.job: one.next_run for one in Desk(app).all()}
        assert (found["fold"], found["verify"]) == (march(12, 12, 5), None)
        assert len(runs(app)) == 3
    with replica(filled, clock) as app:
        assert Desk(app).one("verify").next_run == march(13, 3, 30)


# -- what becomes of a run -------------------------------------------------------------------------


def test_a_run_that_fails_is_tried_three_times(filled: str, clock: FixedClock) -> None:
    """Each time after twice the wait, which the ledger keeps; then it has failed, and the next slot is a new run."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
    run_sql(filled, "ALTER TABLE orders RENAME TO elsewhere")
    clock.instant = march(12, 13)
    waits = []
    for _ in range(3):
        # A process of its own for each attempt: a restart forgets nothing.
        with replica(filled, clock, schedule=FOLD_ONLY) as app:
            settle(Scheduler(app))
            settle(Scheduler(app))
            run = runs(app, "fold")[-1]
            waits.append((run.status, run.attempt, run.not_before and (run.not_before - clock.instant).total_seconds()))
            assert run.error is not None
            assert run.error.startswith("Shops: orders cannot be read")
            clock.instant = run.not_before or clock.instant
    assert waits == [("queued", 2, 30.0), ("queued", 3, 60.0), ("failed", 3, None)]
    run_sql(filled, "ALTER TABLE elsewhere RENAME TO orders")
    clock.instant = march(12, 14)
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        assert told(app, "fold") == [
            ("fold", "schedule", "done", 1), ("fold", "schedule", "failed", 3), ("fold", "schedule", "done", 1),
        ]  # fmt: skip
        view = Desk(app).one("fold")
        assert (view.run_count, view.success_count, view.error_count, view.last_status) == (3, 2, 1, "done")


def test_a_failing_rollup_does_not_keep_the_others_back(filled: str, clock: FixedClock) -> None:
    """The others are folded at the first attempt, and not again at the later ones."""
    load_rows(filled, "payments", DDL, [{"shop": 1, "made": march(3)}])
    failing = type("Paid", (Rollup,), {"lookback": 1, "n": Count(Table("payments"), at="made")})
    with replica(filled, clock, failing, *definitions(), schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        run_sql_apart(app, "ALTER TABLE payments RENAME TO elsewhere")
        clock.instant = march(12, 13)
        scheduler = Scheduler(app)
        settle(scheduler)
        run = runs(app, "fold")[-1]
        assert run.summary is not None
        first = {one["rollup"]: (one["status"], one["run_id"]) for one in run.summary["rollups"]}
        assert {name: status for name, (status, _) in first.items()} == {
            "Paid": "partial",
            "Shops": "done",
            "Whole": "done",
        }
        run_sql_apart(app, "ALTER TABLE elsewhere RENAME TO payments")
        assert run.not_before is not None
        clock.instant = run.not_before
        settle(scheduler)
        run = runs(app, "fold")[-1]
        assert (run.status, run.attempt, run.error) == ("done", 2, None)
        assert run.summary is not None
        second = {one["rollup"]: (one["status"], one["run_id"]) for one in run.summary["rollups"]}
        assert (second["Shops"], second["Whole"]) == (first["Shops"], first["Whole"])
        assert second["Paid"][0] == "done"


def run_sql_apart(app: Dayfold, text: str) -> None:
    """A statement past the product, in the application's own database."""
    url = app.settings.store.url.get_secret_value()
    if is_clickhouse(url) and "dayfold_" not in text:
        run_sql(url, text)
        return
    with app.databases.store.transaction() as session:
        session.execute(text)


def test_a_mistake_is_not_tried_again(filled: str, clock: FixedClock) -> None:
    """What was asked for is wrong and stays wrong."""
    with replica(filled, clock, schedule={**FOLD_ONLY, "fold": "off"}) as app:
        number = Desk(app).trigger("rebuild", {"rollup": "Shops", "from": "2026-03-03", "to": "2026-03-04"}, "anna")
        scheduler = Scheduler(app)
        settle(scheduler)
        [run] = runs(app, "rebuild")
        assert (run.id, run.status, run.attempt, run.asked_by) == (number, "failed", 1, "anna")
        assert run.error == "Shops was never folded.\n  Run: dayfold fold Shops"


def test_a_rollup_that_another_command_folds_is_waited_for(filled: str, clock: FixedClock) -> None:
    """No attempt is lost by it."""
    with replica(filled, clock, schedule=FOLD_ONLY, fold={"wait_s": 0}) as app:
        settle(Scheduler(app))
        clock.instant = march(12, 13)
        scheduler = Scheduler(app)
        with leases.lease(app.ledger, "Shops", wait_s=0), leases.lease(app.ledger, "Whole", wait_s=0):
            settle(scheduler)
            run = runs(app, "fold")[-1]
            assert (run.status, run.attempt) == ("queued", 1)
            assert run.error is not None
            assert run.error.startswith("Shops: Shops is being folded by ")
            assert run.not_before == march(12, 13) + dt.timedelta(seconds=30)
        clock.instant = run.not_before
        settle(scheduler)
        assert told(app, "fold")[-1] == ("fold", "schedule", "done", 1)


def test_a_run_whose_process_died_is_interrupted_and_run_again(filled: str, clock: FixedClock) -> None:
    """At once, by whoever sees it; a run that dies at each attempt is queued no more than three times."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        for attempt in (1, 2, 3):
            number = Desk(app).trigger("fold", {}, "anna") if attempt == 1 else runs(app, "fold")[-1].id
            assert ledger_jobs.claim_run(app.ledger, number, "fold", "elsewhere process 1", 30)
            run_sql_apart(app, f"UPDATE dayfold__job_runs SET backend = '0' WHERE id = {number}")
            assert ledger_jobs.note_interrupted(app.ledger, {"elsewhere process 1"}, 3) == []
            assert ledger_jobs.note_interrupted(app.ledger, set(), 3) == [(number, "fold")]
            assert ledger_jobs.note_interrupted(app.ledger, set(), 3) == []
        assert told(app, "fold")[1:] == [
            ("fold", "request", "interrupted", 1), ("fold", "interrupted", "interrupted", 2),
            ("fold", "interrupted", "failed", 3),
        ]  # fmt: skip
        assert runs(app, "fold")[-2].error == "Its process ended in the middle: elsewhere process 1."
        last = runs(app, "fold")[-1]
        assert last.error == "Its process ended in the middle: elsewhere process 1. That was its last attempt of 3."
        assert not ledger_jobs.finish(app.ledger, last.id, "elsewhere process 1", "done", None, None)
        Desk(app).trigger("fold", {}, "anna")
        number = runs(app, "fold")[-1].id
        assert ledger_jobs.claim_run(app.ledger, number, "fold", "elsewhere process 2", 30)
        run_sql_apart(app, f"UPDATE dayfold__job_runs SET backend = '0' WHERE id = {number}")
        settle(Scheduler(app))
        assert told(app, "fold")[-2:] == [("fold", "request", "interrupted", 1), ("fold", "interrupted", "done", 2)]


def test_a_heart_that_stops_beating_is_dead(filled: str, clock: FixedClock) -> None:
    """By the database's clock, whatever the replicas' say."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        number = Desk(app).trigger("fold", {}, "anna")
        assert ledger_jobs.claim_run(app.ledger, number, "fold", "paused", 30)
        assert ledger_jobs.note_interrupted(app.ledger, set(), 3) == []
        assert ledger_jobs.beat(app.ledger, number, "paused", 30, {"rollup": "Shops"}) is False
        run_sql_apart(
            app, f"UPDATE dayfold__job_runs SET beats_until = now() - interval '1 second' WHERE id = {number}"
        )
        assert ledger_jobs.note_interrupted(app.ledger, set(), 3) == [(number, "fold")]
        assert ledger_jobs.beat(app.ledger, number, "paused", 30, None) is True


# -- stop and start --------------------------------------------------------------------------------


def test_a_stopped_job_stays_stopped_until_it_is_started(filled: str, clock: FixedClock) -> None:
    """On every replica and after any restart; what it missed is caught up once."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        desk = Desk(app)
        waiting = desk.trigger("fold", {}, "anna")
        view = desk.stop("fold")
        assert (view.enabled, view.running, view.next_run) == (False, False, None)
        assert desk.stop("fold").enabled is False
        assert [one.status for one in runs(app, "fold") if one.id == waiting] == ["stopped"]
        with pytest.raises(Stopped) as refused:
            desk.trigger("fold", {}, "anna")
        assert str(refused.value) == "The job 'fold' is stopped.\n  Start it first: POST /v1/jobs/fold/start"
    clock.instant = march(14, 12)
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        assert [one.cause for one in runs(app, "fold")] == ["schedule", "request"]
        assert Desk(app).start("fold").enabled is True
        settle(Scheduler(app))
        assert [one.cause for one in runs(app, "fold")] == ["schedule", "request", "schedule"]


@pytest.mark.parametrize("how", ["stop the job", "end the process"])
def test_a_run_that_is_told_to_stop_ends_after_its_chunk(filled: str, clock: FixedClock, how: str) -> None:
    """What was published stays. A stopped job's run is over; a process that ends leaves its run to the next."""
    with replica(filled, clock, schedule=FOLD_ONLY, fold={"chunk_rows": 4, "wait_s": 30}) as app:
        scheduler = Scheduler(app)
        desk = Desk(app, scheduler.poke, scheduler.stop_job)
        original = app.fold

        def told_in_the_middle(*args: Any, **words: Any) -> Any:
            def progress(rollup: str, done: int, total: int) -> None:
                words["progress"](rollup, done, total)
                if how == "stop the job":
                    desk.stop("fold")
                else:
                    scheduler.ask_stop()

            return original(*args, **{**words, "progress": progress})

        app.fold = told_in_the_middle  # type: ignore[method-assign]
        scheduler.step()
        scheduler.join()
        [run] = runs(app, "fold")
        assert run.summary is not None
        assert [(one["rollup"], one["status"], one["days"]) for one in run.summary["rollups"]] == [
            ("Shops", "stopped", 2)
        ]
        assert run.status == ("stopped" if how == "stop the job" else "queued")
        app.fold = original  # type: ignore[method-assign]
        if how == "stop the job":
            desk.start("fold")
            desk.trigger("fold", {}, "anna")
    assert run_sql(filled, "SELECT status, rows_inserted FROM dayfold_runs") == [("stopped", 4)]
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        last = runs(app, "fold")[-1]
        assert (last.status, last.attempt) == ("done", 1)
        assert (last.id == run.id) is (how == "end the process")
    found = run_sql(
        filled, "SELECT status, rows_inserted FROM dayfold_runs WHERE rollup = 'Shops' AND job = 'fold' ORDER BY id"
    )
    assert found == [("stopped", 4), ("done", 18)]


def test_a_stop_in_the_ledger_reaches_the_replica_that_runs(filled: str, clock: FixedClock) -> None:
    """It learns it with its next heartbeat."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        desk = Desk(app)
        number = desk.trigger("fold", {}, "anna")
        holder = leases.holder_name()
        assert ledger_jobs.claim_run(app.ledger, number, "fold", holder, 30)
        assert ledger_jobs.beat(app.ledger, number, holder, 30, None) is False
        desk.stop("fold")
        assert ledger_jobs.beat(app.ledger, number, holder, 30, None) is True


@pytest.mark.parametrize("how", ["stopped", "stopped and started"])
def test_a_run_that_was_told_to_stop_is_not_put_back(filled: str, clock: FixedClock, how: str) -> None:
    """However it ends meanwhile, and though its job was started again since: what was stopped is over."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        desk = Desk(app)
        number = desk.trigger("fold", {}, "anna")
        assert ledger_jobs.claim_run(app.ledger, number, "fold", "here", 30)
        desk.stop("fold")
        if how == "stopped and started":
            desk.start("fold")
        assert ledger_jobs.put_back(app.ledger, number, "here", 2, None, None, "The source failed.") == "stopped"
        assert ledger_jobs.put_back(app.ledger, number, "here", 2, None, None, None) is None
        assert [(one.status, one.error) for one in runs(app, "fold") if one.id == number] == [
            ("stopped", "The source failed.")
        ]


def test_a_run_of_a_stopped_job_is_not_begun(filled: str, clock: FixedClock) -> None:
    """One that waits all the same begins when the job is started, and no earlier stop ends it."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        desk = Desk(app)
        number = desk.trigger("fold", {}, "anna")
        desk.stop("fold")
        run_sql_apart(app, f"UPDATE dayfold__job_runs SET status = 'queued', stop_asked = true WHERE id = {number}")
        assert not ledger_jobs.claim_run(app.ledger, number, "fold", "here", 30)
        desk.start("fold")
        assert ledger_jobs.claim_run(app.ledger, number, "fold", "here", 30)
        assert ledger_jobs.beat(app.ledger, number, "here", 30, None) is False


def test_a_heart_beats_on_after_an_error_that_nobody_foresaw(
    filled: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run whose heart is still would be taken for dead, and run by another replica too."""
    beats, third = [], threading.Event()
    beat = ledger_jobs.beat

    def broken(*args: Any) -> bool:
        beats.append(args)
        if len(beats) < 3:
            raise RuntimeError("out of threads")
        third.set()
        return beat(*args)

    monkeypatch.setattr(ledger_jobs, "beat", broken)
    with replica(filled, clock, schedule=FOLD_ONLY, jobs={"heartbeat_s": 0.05}) as app:
        original = app.fold

        def slow(*args: Any, **words: Any) -> Any:
            assert third.wait(20)
            return original(*args, **words)

        app.fold = slow  # type: ignore[method-assign]
        settle(Scheduler(app))
        assert told(app) == [("fold", "schedule", "done", 1)]
    found = [one.getMessage() for one in caplog.records if getattr(one, "action", "") == "heartbeat-failed"]
    assert found == ["A heartbeat met an error that nobody foresaw"] * 2


def test_a_lease_is_renewed_after_an_error_that_nobody_foresaw(
    filled: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a run computed would be refused at its end, and another would begin it anew."""
    renewals, third = [], threading.Event()

    def broken(*args: Any) -> None:
        renewals.append(args)
        if len(renewals) < 3:
            raise RuntimeError("out of threads")
        third.set()

    monkeypatch.setattr(leases, "_push_end", broken)
    with replica(filled, clock) as app:
        app.fold()
        with leases.lease(app.ledger, "Shops", wait_s=1, lease_s=0.15):
            assert third.wait(20)
    found = [one.getMessage() for one in caplog.records if getattr(one, "action", "") == "lease-failed"]
    assert found == ["Renewing the lease of Shops met an error that nobody foresaw"] * 2


def test_a_run_ends_as_the_job_that_it_was_begun_as(
    filled: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the definitions that were read again at that moment have it no more."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        scheduler = Scheduler(app)
        claim = ledger_jobs.claim_run

        def and_then_it_is_gone(*args: Any) -> bool:
            found = claim(*args)
            scheduler.jobs = {}
            return found

        monkeypatch.setattr(ledger_jobs, "claim_run", and_then_it_is_gone)
        scheduler.step()
        scheduler.join()
        assert told(app) == [("fold", "schedule", "done", 1)]


@pytest.mark.parametrize("verb", ["rebuild", "verify"])
def test_every_verb_can_be_told_to_stop(filled: str, clock: FixedClock, verb: str) -> None:
    """Between two chunks: a rebuild changes nothing, and a verification keeps what it has compared."""
    with replica(filled, clock, schedule=FOLD_ONLY, fold={"chunk_rows": 4, "wait_s": 30}) as app:
        app.fold()
        run_sql_apart(app, "INSERT INTO orders VALUES (7, TIMESTAMPTZ '2026-03-03 09:00:00+00')")
        done: list[int] = []

        def stop() -> None:
            if done:
                raise Stopped("Enough.")

        def progress(rollup: str, days: int, total: int) -> None:
            done.append(days)

        if verb == "rebuild":
            with pytest.raises(Stopped):
                app.rebuild("Shops", from_="2026-03-02", to="2026-03-12", progress=progress, stop=stop)
            ended = ("rebuild", "stopped", "Enough.")
        else:
            [result] = app.verify(progress=progress, stop=stop)
            assert (result.rollup, result.days, result.error, result.code) == ("Shops", 8, "Enough.", "stopped")
            ended = ("verify", "stopped", "Enough.")
            assert run_in(app, "SELECT count(*) FROM dayfold_verifications") == [(8,)]
        assert len(done) == 1
        assert run_in(app, "SELECT job, status, error FROM dayfold_runs ORDER BY id DESC LIMIT 1") == [ended]
        assert run_in(app, "SELECT count(*) FROM shops WHERE shop = 7") == [(0,)]
        assert [one for one in app.databases.store.tables() if "rebuild" in one] == []


# -- asking ----------------------------------------------------------------------------------------


def test_a_trigger_with_days_folds_and_folds_again(filled: str, clock: FixedClock) -> None:
    """Days that were folded are folded again, whatever their sources tell; the others are folded."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        run_sql_apart(app, "INSERT INTO orders VALUES (7, TIMESTAMPTZ '2026-03-05 09:00:00+00')")
        desk = Desk(app)
        desk.trigger("fold", {}, "anna")
        settle(Scheduler(app))
        assert run_in(app, "SELECT count(*) FROM shops WHERE shop = 7") == [(0,)]
        number = desk.trigger("fold", {"from": "2026-03-04", "to": "2026-03-20"}, "anna")
        assert desk.trigger("fold", {"from": "2026-03-04", "to": "2026-03-20"}, "anna") == number
        settle(Scheduler(app))
        run = runs(app, "fold")[-1]
        assert (run.id, run.status) == (number, "done")
        assert run.summary is not None
        assert [(one["rollup"], one["from"], one["to"], one["days"], one["cells"]) for one in run.summary["rebuilt"]] == [
            ("Shops", "2026-03-04", "2026-03-12", 9, 1), ("Whole", "2026-03-04", "2026-03-12", 9, 1),
        ]  # fmt: skip
        assert run_in(app, "SELECT count(*) FROM shops WHERE shop = 7") == [(1,)]


def run_in(app: Dayfold, text: str) -> list[tuple[Any, ...]]:
    from dayfold.plan.sql import statement

    with app.databases.store.transaction(read_only=True) as session:
        return session.rows(statement(text))


def test_verify_reports_drift_and_is_not_tried_again(filled: str, clock: FixedClock) -> None:
    """What differs differs at the next attempt too; the summary counts it and holds no value."""
    with replica(filled, clock, schedule=FOLD_ONLY) as app:
        settle(Scheduler(app))
        run_sql_apart(app, "INSERT INTO orders VALUES (7, TIMESTAMPTZ '2026-03-05 09:00:00+00')")
        desk = Desk(app)
        desk.trigger("verify", {"rollup": "Shops", "from": "2026-03-05", "to": "2026-03-05"}, "anna")
        settle(Scheduler(app))
        run = runs(app, "verify")[-1]
        assert (run.status, run.attempt, run.error) == ("failed", 1, "Cells differ from their sources: 1 of Shops.")
        desk.trigger("verify", {"rollup": "Shops", "from": "2026-03-05", "to": "2026-03-05", "heal": True}, "anna")
        settle(Scheduler(app))
        run = runs(app, "verify")[-1]
        assert run.status == "done"
        assert run.summary is not None
        assert [(one["rollup"], one["drifted"], one["healed"]) for one in run.summary["verified"]] == [("Shops", 1, 1)]


def test_finalize_reports_the_days_that_stay_open(filled: str, clock: FixedClock) -> None:
    """A day whose source could not be read is named with its reason; once it can be, the day is closed and verified."""
    with replica(filled, clock, schedule={**SCHEDULE, "fold": "off", "verify": "off"}) as app:
        settle(Scheduler(app))
        run_sql_apart(app, "ALTER TABLE orders RENAME TO elsewhere")
        clock.instant = march(13, 0, 5)
        scheduler = Scheduler(app)
        for _ in range(3):
            settle(scheduler)
            clock.instant += dt.timedelta(minutes=2)
        run = runs(app, "finalize")[-1]
        assert run.status == "failed"
        assert run.summary is not None
        assert run.summary["open_days"] == 2
        assert [(one["rollup"], one["source"], one["day"], one["state"]) for one in run.summary["open"]] == [
            ("Shops", "orders", "2026-03-12", "failed"), ("Whole", "orders", "2026-03-12", "failed"),
        ]  # fmt: skip
        run_sql_apart(app, "ALTER TABLE elsewhere RENAME TO orders")
        clock.instant = march(14, 0, 5)
        settle(scheduler)
        run = runs(app, "finalize")[-1]
        assert run.summary is not None
        assert (run.status, run.summary["open_days"]) == ("done", 0)
        assert [(one["rollup"], one["days"]) for one in run.summary["verified"]] == [("Shops", 2), ("Whole", 2)]


def test_days_that_stay_open_are_alerted_of_until_they_are_folded(filled: str, clock: FixedClock) -> None:
    """By rollup, from the run of finalize that found them until any fold has made them whole; no later run is waited for."""
    rule = type("Open", (Alert,), {"left_open": True})
    only = {**SCHEDULE, "fold": "off", "verify": "off"}
    with replica(filled, clock, *definitions(), rule, schedule=only) as app:
        alerts = app.alerts()
        assert [(one.state, one.firing) for one in alerts.look()] == [("unknown", ())]
        scheduler = Scheduler(app)
        settle(scheduler)
        assert [(one.state, one.firing) for one in alerts.look()] == [("clear", ())]
        run_sql_apart(app, "ALTER TABLE orders RENAME TO elsewhere")
        clock.instant = march(13, 0, 5)
        for _ in range(3):
            settle(scheduler)
            clock.instant += dt.timedelta(minutes=2)
        assert [(one.state, one.firing) for one in alerts.look()] == [("firing", ("Shops", "Whole"))]
        number = runs(app, "finalize")[-1].id
        [shops] = [one for one in alerts.listed()["alerts"] if one["subject"] == "Shops"]
        assert shops["message"] == f"2026-03-12 of Shops is over and still open after run {number} of finalize."
        assert shops["details"] == {"rollup": "Shops", "run_id": number, "day": "2026-03-12", "value": 1, "bound": 0}
        run_sql_apart(app, "ALTER TABLE elsewhere RENAME TO orders")
        app.fold(["Shops"])
        assert [(one.state, one.firing) for one in alerts.look()] == [("firing", ("Whole",))]
        app.fold()
        assert [(one.state, one.firing) for one in alerts.look()] == [("clear", ())]
        assert [one["closed_at"] is None for one in alerts.listed()["alerts"]] == [False, False]


def test_retain_keeps_what_explains_the_rows(filled: str, clock: FixedClock) -> None:
    """Old runs go but those that wrote what is stored, and the newest of each job."""
    with replica(filled, clock, schedule=FOLD_ONLY, retain={"runs_days": 2}) as app:
        for hour in (12, 13, 14):
            clock.instant = march(12, hour)
            settle(Scheduler(app))
        gone = {one.id for one in runs(app, "fold")}
        clock.instant = march(15, 5)
        settle(Scheduler(app))
        Desk(app).trigger("retain", {}, "anna")
        settle(Scheduler(app))
        run = runs(app, "retain")[-1]
        assert run.summary is not None
        nothing = dict.fromkeys(
            ("audit", "deliveries", "alerts", "sessions", "tries", "count_ids", "flushes", "exports"), 0
        )
        assert run.summary["deleted"] == {"runs": 4, "job_runs": 3, **nothing}
        assert not gone & {one.id for one in runs(app)}
        unexplained = "SELECT count(*) FROM dayfold__coverage AS c WHERE run_id NOT IN (SELECT id FROM dayfold__runs)"
        assert run_in(app, unexplained) == [(0,)]


def test_what_cannot_be_asked_is_refused(filled: str, clock: FixedClock) -> None:
    """An unknown job, with the nearest; a rebuild without a rollup; days of `retain`; a second run where none may be."""
    with replica(filled, clock) as app:
        desk = Desk(app)
        with pytest.raises(UnknownName) as unknown:
            desk.trigger("finalise", {}, "anna")
        assert str(unknown.value) == (
            "There is no job 'finalise'; the nearest is 'finalize'.\n  Jobs: fold, finalize, verify, retain, rebuild, export, erase"
        )
        with pytest.raises(UsageError) as rebuild:
            desk.trigger("rebuild", {}, "anna")
        assert str(rebuild.value) == "A rebuild is of one rollup and of days.\n  Ask for it with POST /v1/rebuild."
        with pytest.raises(UsageError) as retain:
            desk.trigger("retain", {"from": "2026-03-04", "to": "2026-03-04"}, "anna")
        assert str(retain.value) == "The job 'retain' has no days.\n  Trigger it with {}."
        number = desk.trigger("fold", {}, "cron", unless_active=True)
        with pytest.raises(Busy) as busy:
            desk.trigger("fold", {}, "cron", unless_active=True)
        assert str(busy.value) == f"Run {number} of the job 'fold' is active.\n  Look at it: GET /v1/runs/{number}"
