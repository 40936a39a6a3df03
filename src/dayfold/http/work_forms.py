"""What the routes of jobs take and give, as models that describe themselves. HTTP door."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dayfold.jobs.desk import JobView
from dayfold.ledger.jobs import JobRun
from dayfold.ledger.runs import RunRecord

#: The largest number that a run could have.
MOST_NUMBER = 2**63 - 1
RunStatus = Literal["queued", "running", "done", "partial", "failed", "stopped", "interrupted"]
_DAY = "A date: `YYYY-MM-DD`, `today`, `yesterday` or `-7d` (UTC)."
First = Annotated[
    str | None, Field(alias="from", max_length=20, description=f"First day. {_DAY}", examples=["2026-03-01"])
]
Last = Annotated[
    str | None, Field(alias="to", max_length=20, description=f"Last day, included. {_DAY}", examples=["2026-03-07"])
]


class _Asked(BaseModel):
    """A body that somebody sends."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class DaysAsked(_Asked):
    """The days that a job is triggered for: `{date}`, `{from, to}`, or `{}` for what is due."""

    date: str | None = Field(default=None, max_length=20, description=f"One day. {_DAY}", examples=["2026-03-01"])
    first: First = None
    last: Last = None

    @model_validator(mode="after")
    def _one_of_them(self) -> DaysAsked:
        if self.date is not None:
            if self.first is not None or self.last is not None:
                raise ValueError("give 'date', or 'from' and 'to'")
            self.first = self.last = self.date
        return self


class RebuildAsked(_Asked):
    """A rebuild: of which rollup, which days and which keys; a profile has no days, and is refreshed whole."""

    rollup: str = Field(max_length=200, description="Its class or table name.", examples=["ShopDaily"])
    first: First = None
    last: Last = None
    where: list[Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]] = Field(
        default=[],
        max_length=1000,
        description="Only these keys: `k=v`, `k!=v`, or `k=` for NULL.",
        examples=[["shop_id=42"]],
    )
    dry_run: bool = Field(default=False, description="Count what would change, and change nothing.")
    allow_empty: bool = Field(default=False, description="Publish even where a source has nothing on any of the days.")


class VerifyAsked(_Asked):
    """A verification: without days, of as many of the least recently verified ones as there is time for."""

    rollup: str | None = Field(
        default=None, max_length=200, description="Its class or table name. Default: all.", examples=["ShopDaily"]
    )
    first: First = None
    last: Last = None
    sample: int | None = Field(default=None, ge=1, le=100_000, description="So many days at random instead.")
    heal: bool = Field(default=False, description="Fold the cells that differ, and compare them again.")


class Queued(BaseModel):
    """Work that was taken on."""

    run_id: int = Field(description="The run's number.", examples=[4711])
    href: str = Field(description="Where the run is.", examples=["/v1/runs/4711"])


class CronDone(Queued):
    """A run that was waited for and has ended."""

    status: RunStatus = Field(description="How it ended.", examples=["done"])
    summary: dict[str, Any] | None = Field(description="What it did.")
    error: str | None = Field(description="What went wrong.")


class JobForm(BaseModel):
    """How a job stands. Counts and the last run are of the runs that are kept."""

    job: str = Field(examples=["fold"])
    description: str
    schedule: str = Field(description="A cron expression, a time of day, or `off`.", examples=["*/5 * * * *"])
    timezone: str = Field(description="The zone of the schedule.", examples=["UTC"])
    enabled: bool = Field(description="Whether it runs when it is due; false: it was stopped.")
    running: bool = Field(description="Whether a run of it goes on.")
    run_id: int | None = Field(description="The run that goes on, or waits.")
    run_count: int = Field(description="Runs that ended.")
    success_count: int = Field(description="Runs that were done.")
    error_count: int = Field(description="Runs that failed or were interrupted.")
    last_run: dt.datetime | None = Field(description="When its newest run began.")
    last_status: RunStatus | None
    last_duration_s: float | None
    last_error: str | None
    next_run: dt.datetime | None = Field(description="When it is due; null where it is stopped or has no schedule.")


class JobsForm(BaseModel):
    """All jobs."""

    jobs: list[JobForm]


class JobsStatus(BaseModel):
    """All jobs added up."""

    runs_jobs_here: bool = Field(description="Whether the process that answers runs jobs, or only answers.")
    enabled: int = Field(description="How many jobs run when they are due.")
    stopped: list[str] = Field(description="Jobs that were stopped.")
    running: list[str] = Field(description="Jobs of which a run goes on.")
    run_count: int
    success_count: int
    error_count: int
    last_job: str | None = Field(description="The job whose run began last.")
    last_run: dt.datetime | None
    last_status: RunStatus | None
    last_duration_s: float | None
    next_job: str | None = Field(description="The job that is due next.")
    next_run: dt.datetime | None


class RunForm(BaseModel):
    """One run: of a job, or what was done to one rollup."""

    id: int
    of: Literal["job", "rollup"] = Field(description="A run of a job, or of one rollup.")
    job: str
    rollup: str | None = Field(description="Null for a run of a job.")
    status: RunStatus
    cause: str | None = Field(description="Of a job's run: `schedule`, `request`, or `interrupted`.")
    attempt: int | None = Field(description="Of a job's run: which attempt this is, from 1.")
    asked_by: str | None = Field(description="Of a job's run: who asked for it.")
    started_at: dt.datetime | None
    seconds: float | None = Field(description="How long it took, a job's run its last attempt; null while it goes on.")
    cells: int | None = Field(description="Of a rollup's run.")
    rows_inserted: int | None
    rows_updated: int | None
    rows_deleted: int | None
    error: str | None


class RunWhole(RunForm):
    """One run with all that is known of it."""

    asked_at: dt.datetime | None
    not_before: dt.datetime | None = Field(description="When the next attempt is, where it waits for one.")
    finished_at: dt.datetime | None
    request: dict[str, Any] | None = Field(description="What was asked for.")
    progress: dict[str, Any] | None = Field(description="How far it is: `rollup`, `days_done`, `days`.")
    summary: dict[str, Any] | None = Field(
        description="What it did: each rollup with counts and the number of its run."
    )
    children: list[RunForm] = Field(description="What it did to each rollup.")


class RunsForm(BaseModel):
    """Runs, the newest first."""

    runs: list[RunForm]


def job_form(one: JobView) -> JobForm:
    """A job for an answer."""
    return JobForm(**asdict(one))


def run_form(one: JobRun | RunRecord) -> RunForm:
    """A run for a list."""
    return RunForm(**_common(one))


def run_whole(one: JobRun | RunRecord, children: list[RunRecord]) -> RunWhole:
    """A run with all that is known of it."""
    more: dict[str, Any] = dict.fromkeys(("asked_at", "not_before", "finished_at", "request", "progress", "summary"))
    if isinstance(one, JobRun):
        more = {name: getattr(one, name) for name in more}
    return RunWhole(**_common(one), **more, children=[run_form(child) for child in children])


def _common(one: JobRun | RunRecord) -> dict[str, Any]:
    names = ("id", "job", "status", "started_at", "seconds", "error")
    found = {name: getattr(one, name) for name in names}
    of_job = ("cause", "attempt", "asked_by")
    of_rollup = ("rollup", "cells", "rows_inserted", "rows_updated", "rows_deleted")
    is_job = isinstance(one, JobRun)
    for name in (*of_job, *of_rollup):
        found[name] = getattr(one, name) if (name in of_job) is is_job else None
    return {**found, "of": "job" if is_job else "rollup"}
