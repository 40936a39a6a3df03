"""``dayfold fold``: bring rollups up to date. A door."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli import checks as verdicts
from dayfold.cli.output import (
    DEFAULT_APP,
    AppOption,
    JsonOption,
    RollupsArgument,
    WaitOption,
    open_app,
    rows_written,
    write_json,
)
from dayfold.errors import UsageError
from dayfold.names import plural

if TYPE_CHECKING:
    from dayfold.app import Dayfold
    from dayfold.fold.fold import FoldResult, Progress
    from dayfold.fold.prune import Orphan


def run(
    rollups: RollupsArgument = None,
    app: AppOption = DEFAULT_APP,
    allow_empty: Annotated[
        bool,
        typer.Option("--allow-empty", help="Publish even where a source that had facts now returns none."),
    ] = False,
    wait: WaitOption = None,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Drop the named rollups that were removed from the definitions."),
    ] = False,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Bring a store of an earlier version to this program's first.")
    ] = False,
    no_checks: Annotated[bool, typer.Option("--no-checks", help="Leave out the checks of what is folded.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring rollups up to date: compute the days and cells that are due, write what differs, and run their checks."""
    from dayfold.fold.checks import has_failed

    with open_app(app) as dayfold, progress_shown(unit_of(dayfold)) as progress:
        if migrate:
            dayfold.migrate()
        pruned, rollups = _prune(dayfold, rollups, wait) if prune else ([], rollups)
        results = (
            []
            if prune and not rollups
            else dayfold.fold(rollups, allow_empty=allow_empty, wait_s=wait, progress=progress)
        )
        checked = [] if no_checks else dayfold.check_folded(results)
    if json:
        found: dict[str, object] = {"runs": [as_object(result) for result in results]}
        found["checks"] = [verdicts.as_object(one) for one in checked]
        if prune:
            found["pruned"] = [{"rollup": one.rollup, "table": one.table} for one in pruned]
        write_json(found)
    else:
        for one in pruned:
            print(f"{one.rollup}: its table {one.table} is dropped")
        for result in results:
            show(result)
        verdicts.show(checked, only_failed=True)
    if any(result.status != "done" for result in results) or has_failed(checked):
        raise typer.Exit(1)


def _prune(dayfold: Dayfold, names: list[str] | None, wait: float | None) -> tuple[list[Orphan], list[str]]:
    """Drop the named rollups that are in no definition; the names that are left to fold."""
    removed = {one.rollup: one for one in dayfold.orphans()}
    if not names:
        if not removed:
            raise UsageError("No rollup was removed from the definitions; there is nothing to prune.")
        lines = [
            f"{one.rollup}: the table {one.table}, {plural(one.rows, 'row')}"
            + (f"; {', '.join(one.dependents)} depend on it" if one.dependents else "")
            for one in removed.values()
        ]
        raise UsageError(
            "Removed rollups are pruned by name, and stay readable until then:\n  " + "\n  ".join(lines),
            hint=f"Drop one: dayfold fold {next(iter(removed))} --prune",
        )
    mine = [name for name in names if name in removed or name not in dayfold.catalog.rollups]
    return dayfold.prune(mine, wait_s=wait), [name for name in names if name not in mine]


def as_object(result: FoldResult) -> dict[str, object]:
    """A result for JSON."""
    found: dict[str, object] = {
        "rollup": result.rollup, "status": result.status, "run_id": result.run_id, "cells": result.cells,
        "rows_inserted": result.rows_inserted, "rows_updated": result.rows_updated, "rows_deleted": result.rows_deleted,
        "seconds": result.seconds, "warnings": result.warnings,
    }  # fmt: skip
    if result.error:
        found["error"] = result.error
    return found


def show(result: FoldResult) -> None:
    """A result for a person; what went wrong goes to standard error."""
    days = sum(map(len, result.days))
    cells = f"{plural(days, 'day')}, {plural(result.cells, 'cell')}"
    done = plural(result.cells, "entity") if result.is_lifelong else cells
    print(f"{result.rollup}: {result.status}, {done}, {rows_written(result)}, {result.seconds:.2f} s")
    for warning in result.warnings:
        print(f"{result.rollup}: {warning}", file=sys.stderr)
    if result.error:
        first, *more = result.error.splitlines()
        print("\n".join([f"{result.rollup}: {first}", *more]), file=sys.stderr)


def unit_of(dayfold: Dayfold) -> Callable[[str], str]:
    """What the work on a rollup or source is counted in: of a profile, whose entities are computed part by part, parts."""

    def unit(name: str) -> str:
        known = dayfold.catalog.rollups.get(name)
        return "parts" if known is not None and known.is_profile else "days"

    return unit


@contextmanager
def progress_shown(unit: str | Callable[[str], str] = "days", every_s: float = 0) -> Iterator[Progress | None]:
    """A progress bar on a terminal, plain lines in a log; both on standard error, and only for work of several chunks.

    ``unit``: what the work is counted in, or that of what is called so; ``every_s``: how far apart lines are at least, where chunks
    are small.
    """
    unit_named = unit if callable(unit) else lambda _: unit
    if not sys.stderr.isatty():
        yield _plain_lines(unit_named, every_s)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} {task.fields[unit]}"),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=True) as bar:

        def moved(rollup: str, done: int, total: int) -> None:
            if rollup not in tasks:
                tasks[rollup] = bar.add_task(rollup, total=total, unit=unit_named(rollup))
            bar.update(tasks[rollup], completed=done)

        yield moved


def _plain_lines(unit_named: Callable[[str], str], every_s: float) -> Progress:
    last = time.monotonic()

    def moved(rollup: str, done: int, total: int) -> None:
        nonlocal last
        if done < total and (now := time.monotonic()) >= last + every_s:
            last = now
            print(f"{rollup}: {done:,} of {total:,} {unit_named(rollup)}", file=sys.stderr, flush=True)

    return moved
