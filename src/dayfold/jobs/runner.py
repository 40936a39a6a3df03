"""One attempt of one run: what is done, told and written down about it. Jobs floor.

Invariant: what becomes of a run is written only while it is ours; one that was taken for dead meanwhile belongs to somebody else.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dayfold.errors import DayfoldError, Stopped
from dayfold.jobs.jobs import FINALIZE, FOLD, REBUILD, Job
from dayfold.jobs.report import report
from dayfold.jobs.work import Outcome, Task, Verbs, do
from dayfold.ledger import jobs as ledger_jobs
from dayfold.ledger import runs
from dayfold.ledger.jobs import JobRun
from dayfold.settings import JobsSettings

#: Jobs that publish what definitions say.
FOLDING = (FOLD, FINALIZE, REBUILD)
#: How soon people who look at a run see how far it is; it says so only where it came further.
PROGRESS_S = 1.0
_log = logging.getLogger("dayfold.jobs")


@dataclass(slots=True)
class JobStopCheck:
    """The `StopCheck` of a run of a job, with the three reasons for which such a run is told to stop.

    Attributes:
        job: Somebody stopped the job; the run is over.
        process: The process ends; another one goes on with the run.
        redefined: The definitions were read again; the run goes on with the new ones.
    """

    job: threading.Event = field(default_factory=threading.Event)
    process: threading.Event = field(default_factory=threading.Event)
    redefined: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        """Raise Stopped where one of them is set; called between chunks."""
        if self.job.is_set():
            raise Stopped("The job was stopped.", hint="What was published stays; the next run goes on from there.")
        if self.process.is_set():
            raise Stopped("The process was told to end.", hint="The run goes on as soon as a process runs jobs again.")
        if self.redefined.is_set():
            raise Stopped("The definitions were read again.", hint="The run goes on with the new ones.")


class Runner:
    """Runs attempts for one process."""

    def __init__(self, verbs: Verbs, settings: JobsSettings) -> None:
        self.verbs = verbs
        self.ledger = verbs.ledger
        self.settings = settings

    def run(
        self, job: Job, run: JobRun, holder: str, stop: JobStopCheck, wrong: DayfoldError | None = None
    ) -> str | None:
        """Do one attempt of a claimed run; the status it has then, or None where it was not ours any more.

        ``wrong``: what is wrong with the definitions as they were edited; nothing is folded by those that they replace.
        """
        began = time.perf_counter()
        told: dict[str, Any] = {}

        def progress(rollup: str, done: int, total: int) -> None:
            told.update(rollup=rollup, days_done=done, days=total)

        task = Task(self.verbs, job, run.request, run.summary, progress, stop)
        with self._beating(run.id, holder, stop, told):
            outcome = self._do(task) if wrong is None or job.kind not in FOLDING else _refused(run, wrong)
        status = self._settle(run, holder, outcome, stop)
        self._tell(job, run, outcome, status, time.perf_counter() - began)
        return status

    def _do(self, task: Task) -> Outcome:
        try:
            return do(task)
        except Exception as error:
            # Its text may hold values of rows; the log has its kind and the place.
            report(error, "job-error")
            _log.exception("The job %s met an error that nobody foresaw", task.job.name, extra={"action": "job-error"})
            text = f"Dayfold met an error that it did not foresee: {type(error).__name__}. The server's log says where."
            return Outcome(errors=[("error", text)])

    @contextmanager
    def _beating(self, number: int, holder: str, stop: JobStopCheck, told: dict[str, Any]) -> Iterator[None]:
        """The ledger knows inside the block that the run goes on, and how far it is; the run learns that it shall stop."""
        over = threading.Event()

        def beat() -> None:
            shown: dict[str, Any] = {}
            due = time.monotonic() + self.settings.heartbeat_s
            while not over.wait(min(self.settings.heartbeat_s, PROGRESS_S)):
                if told == shown and time.monotonic() < due:
                    continue
                shown, due = dict(told), time.monotonic() + self.settings.heartbeat_s
                try:
                    if ledger_jobs.beat(self.ledger, number, holder, self.settings.heartbeat_s, shown or None):
                        stop.job.set()
                except DayfoldError as error:
                    _log.warning("A heartbeat was not written: %s", error.message, extra={"action": "heartbeat-failed"})
                except Exception:
                    # Without the thread the run is taken for dead, and another replica runs it too.
                    _log.exception("A heartbeat met an error that nobody foresaw", extra={"action": "heartbeat-failed"})

        beater = threading.Thread(target=beat, name=f"heartbeat of run {number}", daemon=True)
        beater.start()
        try:
            yield
        finally:
            over.set()
            beater.join()

    def _settle(self, run: JobRun, holder: str, outcome: Outcome, stop: JobStopCheck) -> str | None:
        """Write down how the attempt ended, and whether there is another one."""
        ledger, error, summary = self.ledger, outcome.error, outcome.summary
        now = ledger.clock.now()

        def ended(status: str) -> str | None:
            ours = ledger.retried(lambda: ledger_jobs.finish(ledger, run.id, holder, status, summary, error))
            return status if ours else None

        def again(attempt: int, until: dt.datetime | None) -> str | None:
            back = lambda: ledger_jobs.put_back(ledger, run.id, holder, attempt, until, summary, error)  # noqa: E731
            return ledger.retried(back)

        if not outcome.errors:
            return ended(runs.DONE)
        if outcome.is_stopped:
            return ended(runs.STOPPED) if stop.job.is_set() else again(run.attempt, None)
        if outcome.is_busy:
            # Another run does what this one would: it waits, and no attempt is lost.
            return again(run.attempt, now + self._backoff(1))
        if outcome.is_final or run.attempt >= self.settings.attempts:
            return ended(runs.FAILED)
        return again(run.attempt + 1, now + self._backoff(run.attempt))

    def _backoff(self, attempt: int) -> dt.timedelta:
        """How long to wait after an attempt: twice as long after each, up to a limit."""
        return dt.timedelta(seconds=min(self.settings.backoff_s * 2 ** (attempt - 1), self.settings.backoff_most_s))

    def _tell(self, job: Job, run: JobRun, outcome: Outcome, status: str | None, seconds: float) -> None:
        """Log what was done to each rollup, and how the attempt ended."""
        for what, words in (("fold", "rollups"), ("rebuild", "rebuilt"), ("verify", "verified")):
            for one in outcome.summary.get(words, ()):
                rows = sum(one.get(name, 0) for name in ("rows_inserted", "rows_updated", "rows_deleted"))
                fields = {name: one.get(name) for name in ("rollup", "days", "cells", "seconds")}
                _log.info(
                    "%s: %s of %s days, %s cells", one["rollup"], what, one["days"], one["cells"],
                    extra={"action": what, "run": one.get("run_id"), "rows": rows, **fields},
                )  # fmt: skip
        calm = not outcome.errors or outcome.is_stopped or outcome.is_busy
        level = logging.INFO if calm else logging.ERROR if status == runs.FAILED else logging.WARNING
        shown = {None: "was taken over", ledger_jobs.QUEUED: "waits for another attempt"}.get(status, f"is {status}")
        _log.log(
            level, "Run %s of the job %s %s%s", run.id, job.name, shown, f": {outcome.error}" if outcome.error else "",
            extra={
                "action": "job", "job": job.name, "run": run.id, "attempt": run.attempt, "status": status,
                "seconds": round(seconds, 4),
            },
        )  # fmt: skip


def _refused(run: JobRun, wrong: DayfoldError) -> Outcome:
    """An attempt that did nothing; what earlier ones did stays noted."""
    text = f"The definitions were edited and cannot be read again, so nothing was folded.\n{wrong}"
    return Outcome(dict(run.summary or {}), [(wrong.code, text)])
