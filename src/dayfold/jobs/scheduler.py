"""Runs what is due, in threads of this process, beside any number of other processes that do the same. Jobs floor.

What is due is decided from the ledger alone, so a restart forgets nothing and two replicas never run the same thing twice: a slot
becomes a queued run in one transaction, and a queued run is begun in another, each of which one replica wins.

Invariant: the scheduler keeps nothing of its own but the runs that go on in this process.
Weakness: that two runs of different jobs do not work on one rollup at once is seen to as far as the last look at the ledger
tells; where both begin at the same moment, the rollup's lease makes one wait.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dayfold.errors import Conflict, DayfoldError
from dayfold.jobs.jobs import SEEN_EVERY, Job, jobs, register
from dayfold.jobs.runner import JobStopCheck, Runner
from dayfold.jobs.work import Verbs
from dayfold.ledger import jobs as ledger_jobs
from dayfold.ledger import leases
from dayfold.ledger.jobs import QUEUED, JobRun
from dayfold.ledger.runs import RUNNING

#: How soon to look again where another replica acted on the same job.
_CONFLICT_PAUSE_S = 0.2
_log = logging.getLogger("dayfold.jobs")


@dataclass(frozen=True, slots=True)
class _Going:
    """A run that goes on in this process."""

    run: JobRun
    holder: str
    stop: JobStopCheck
    thread: threading.Thread


class Scheduler:
    """Runs the jobs of one application.

    Args:
        verbs: The application; its store's ledger is ready.
        ended: Called after each run of this process.
        refresh: Called before a run begins: definitions that were edited are read again, which calls `redefine`; gives what is
            wrong with them where they cannot be, and then nothing is folded with the old ones.
    """

    def __init__(
        self,
        verbs: Verbs,
        ended: Callable[[], object] = lambda: None,
        refresh: Callable[[], DayfoldError | None] = lambda: None,
    ) -> None:
        self.verbs = verbs
        self.ledger = verbs.ledger
        self.settings = verbs.settings.jobs
        self.jobs: dict[str, Job] = jobs(verbs.catalog, verbs.settings)
        self.ended = ended
        self.refresh = refresh
        self.runner = Runner(verbs, self.settings)
        # One process writes a DuckDB file, and two of its transactions may refuse each other.
        self.threads = 1 if self.ledger.store.dialect.name == "duckdb" else self.settings.threads
        self._going: dict[int, _Going] = {}
        self._lock = threading.Lock()
        self._poked = threading.Event()
        self._closing = threading.Event()
        #: When the ledger was last told of the jobs; None where they are others since.
        self._registered_at: dt.datetime | None = None
        self._loop_thread: threading.Thread | None = None

    def redefine(self, verbs: Verbs) -> None:
        """From now on runs go by these definitions; those that go on end their chunk, and go on with them afterwards."""
        with self._lock:
            self.jobs = jobs(verbs.catalog, verbs.settings)
            self.verbs = verbs
            self.runner = Runner(verbs, self.settings)
            self._registered_at = None
            for one in self._going.values():
                one.stop.redefined.set()
        self.poke()

    # -- the loop --------------------------------------------------------------------------------

    def start(self) -> None:
        """Look for work in the background, until `close`."""
        self._loop_thread = threading.Thread(target=self._loop, name="dayfold jobs", daemon=True)
        self._loop_thread.start()

    def _loop(self) -> None:
        while not self._closing.is_set():
            try:
                wait_s = self.step()
            except DayfoldError as error:
                _log.error(
                    "The ledger could not be asked for what is due: %s", error.message, extra={"action": "jobs-failed"}
                )
                wait_s = self.settings.poll_s
            except Exception:
                _log.exception("Looking for work met an error that nobody foresaw", extra={"action": "jobs-failed"})
                wait_s = self.settings.poll_s
            self._poked.wait(wait_s)
            self._poked.clear()

    def poke(self) -> None:
        """Look for work now rather than when the next is due."""
        self._poked.set()

    def ask_stop(self) -> None:
        """Begin nothing any more, and tell the runs of this process to end after their chunk; returns at once."""
        self._closing.set()
        self._poked.set()
        # No lock: a signal's handler may come while its own thread holds it.
        for one in list(self._going.values()):
            one.stop.process.set()

    def close(self) -> None:
        """Stop; runs have ``[jobs] grace_s`` to end their chunk and wait then for a process that goes on with them."""
        self.ask_stop()
        until = time.monotonic() + self.settings.grace_s
        if self._loop_thread is not None:
            self._loop_thread.join(self.settings.grace_s)
        # What the loop began at the last moment has to hear of it too.
        self.ask_stop()
        for one in list(self._going.values()):
            one.thread.join(max(until - time.monotonic(), 0))
            if one.thread.is_alive():
                _log.warning(
                    "Run %s did not end its chunk in time; the next process undoes the chunk and goes on", one.run.id,
                    extra={"action": "job-left", "job": one.run.job, "run": one.run.id},
                )  # fmt: skip

    def join(self) -> None:
        """Wait for the runs that go on in this process now."""
        for one in list(self._going.values()):
            one.thread.join()

    def stop_job(self, job: str) -> None:
        """Runs of a job in this process end after their chunk; those of other replicas learn it from the ledger."""
        for one in list(self._going.values()):
            if one.run.job == job:
                one.stop.job.set()

    # -- one look --------------------------------------------------------------------------------

    def step(self) -> float:
        """Note the dead, queue what is due, begin what waits; how many seconds the next look may wait."""
        self._register()
        try:
            self._note_interrupted()
            self._queue_due()
            return self._begin_waiting()
        except Conflict:
            return _CONFLICT_PAUSE_S

    def _register(self) -> None:
        """The ledger knows the jobs of this process, and hears now and then that there is one which has them."""
        now = self.ledger.clock.now()
        if self._registered_at is None or abs(now - self._registered_at) >= SEEN_EVERY:
            found = self.jobs
            register(self.ledger, found)
            with self._lock:
                self._registered_at = now if self.jobs is found else None

    def _note_interrupted(self) -> None:
        mine = {one.holder for one in list(self._going.values())}
        for number, job in ledger_jobs.note_interrupted(self.ledger, mine, self.settings.attempts):
            _log.warning(
                "Run %s of the job %s was interrupted: its process died", number, job,
                extra={"action": "interrupted", "job": job, "run": number},
            )  # fmt: skip

    def _queue_due(self) -> None:
        """Every job whose slot has come, and that no run is active of, has one that waits."""
        now = self.ledger.clock.now()
        with self.ledger.store.transaction(read_only=True) as session:
            states = ledger_jobs.states(self.ledger, session)
            active = {one.job for one in ledger_jobs.active(self.ledger, session)}
        for job in self.jobs.values():
            state = states.get(job.name)
            is_due = state is not None and state.is_enabled and state.due_at is not None and state.due_at <= now
            if is_due and job.name not in active:
                ledger_jobs.claim_slot(self.ledger, job.name, now, job.schedule.after(now))

    def _begin_waiting(self) -> float:
        """Begin runs, the oldest first, as far as there are threads and no two work on one rollup."""
        now = self.ledger.clock.now()
        with self.ledger.store.transaction(read_only=True) as session:
            states = ledger_jobs.states(self.ledger, session)
            active = ledger_jobs.active(self.ledger, session)
        busy = {name for one in active if one.status == RUNNING for name in self._touched(one)}
        running = {one.job for one in active if one.status == RUNNING}
        wrong, known = None, None
        for one in active:
            ready = one.status == QUEUED and (one.not_before is None or one.not_before <= now)
            if not ready or one.job not in self.jobs:
                continue
            touched = self._touched(one)
            if one.job not in running and not busy & touched and len(self._going) < self.threads:
                if known is None:
                    known = self.runner
                    wrong = self.refresh()
                    if self.runner is not known:
                        # There may be other jobs now, of other rollups.
                        return 0
                self._begin(one, wrong)
            # What waits is not overtaken by younger runs of its job or rollups.
            running.add(one.job)
            busy |= touched
        moments = [
            one.due_at for one in states.values() if one.is_enabled and one.job in self.jobs and one.job not in running
        ]
        moments += [one.not_before for one in active if one.status == QUEUED]
        waits = [(moment - now).total_seconds() for moment in moments if moment is not None and moment > now]
        return max(min([self.settings.poll_s, *waits]), 0)

    def _touched(self, run: JobRun) -> frozenset[str]:
        job = self.jobs.get(run.job)
        return job.touches(run.request) if job else frozenset()

    def _begin(self, run: JobRun, wrong: DayfoldError | None) -> None:
        """Begin a run in a thread of its own, unless another replica was quicker."""
        holder = leases.holder_name()
        with self._lock:
            job = self.jobs.get(run.job)
            if job is None or self._closing.is_set():
                return
            if not ledger_jobs.claim_run(self.ledger, run.id, run.job, holder, self.settings.heartbeat_s):
                return
            stop = JobStopCheck()
            do = functools.partial(self.runner.run, job, run, holder, stop, wrong)
            thread = threading.Thread(target=self._run, args=(do, run), name=f"run {run.id}", daemon=True)
            self._going[run.id] = _Going(run, holder, stop, thread)
            thread.start()

    def _run(self, do: Callable[[], object], run: JobRun) -> None:
        try:
            do()
        except DayfoldError as error:
            _log.error(
                "How run %s ended could not be written down: %s", run.id, error.message,
                extra={"action": "jobs-failed", "job": run.job, "run": run.id},
            )  # fmt: skip
        finally:
            with self._lock:
                self._going.pop(run.id, None)
            self.poke()
            self.ended()
