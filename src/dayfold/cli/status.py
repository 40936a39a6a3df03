"""``dayfold status``: how every rollup stands. A door."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, show_table, size, write_json
from dayfold.names import plural


def run(
    runs: Annotated[int, typer.Option("--runs", min=0, help="How many of the last runs to show.")] = 10,
    app: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Coverage, staleness, rows and bytes of each rollup, and the last runs."""
    with open_app(app) as dayfold:
        found = dayfold.status(runs)
    if json:
        write_json(found.as_object())
        return
    print(f"Store: {found.store}")
    if found.owner is not None:
        print(f"Served by process {found.owner.process} at {found.owner.url}")
    print()
    headings = ("rollup", "table", "state", "from", "to", "days", "rows", "size")
    rows = [
        (
            one.rollup, one.table, one.state, str(one.first_day or "–"), str(one.last_day or "–"),
            ", ".join(f"{count:,} {state}" for state, count in sorted(one.days.items())) or "–", f"{one.rows:,}", size(one.size_bytes),
        )
        for one in found.rollups
    ]  # fmt: skip
    show_table(headings, rows, [False] * 6 + [True, True])
    for one in found.rollups:
        for source in one.failing:
            print(f"{one.rollup}: {source} failed at its last fold")
        if one.stale:
            print(f"{one.rollup}: {plural(one.stale, 'change')} told since, to be folded")
    if found.checks:
        print()
        show_table(
            ("check", "severity", "verdict", "last run (UTC)", "seconds"),
            [
                (
                    one.check, one.severity, one.verdict or "never run", one.checked_at or "–",
                    "–" if one.seconds is None else f"{one.seconds:.2f}",
                )
                for one in found.checks
            ],
            [False] * 4 + [True],
        )  # fmt: skip
        for check in found.checks:
            if check.reason:
                print(f"{check.check}: {check.reason}")
    if found.jobs:
        print()
        show_table(
            ("job", "next run (UTC)", "last run (UTC)", "status", "seconds"),
            [
                (
                    one.job, _moment(one.next_run) if one.enabled else "stopped", _moment(one.last_run), one.last_status or "–",
                    "–" if one.last_duration_s is None else f"{one.last_duration_s:.2f}",
                )
                for one in found.jobs
            ],
            [False] * 4 + [True],
        )  # fmt: skip
        for job in found.jobs:
            if job.last_error:
                print(f"{job.job}: {job.last_error}")
    if found.runs:
        print()
        show_table(
            ("run", "job", "rollup", "status", "started (UTC)", "seconds", "cells", "+", "~", "-"),
            [
                (
                    str(r.id), r.job, r.rollup, r.status, r.started_at, "–" if r.seconds is None else f"{r.seconds:.2f}", f"{r.cells:,}",
                    f"{r.rows_inserted:,}", f"{r.rows_updated:,}", f"{r.rows_deleted:,}",
                )
                for r in found.runs
            ],
            [True, False, False, False, False, True, True, True, True, True],
        )  # fmt: skip
        for r in found.runs:
            if r.error:
                print(f"run {r.id}: {r.error}")


def _moment(moment: dt.datetime | None) -> str:
    return "–" if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
