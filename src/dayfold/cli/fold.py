"""``dayfold fold``: bring rollups up to date. A door."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli.output import (
    DEFAULT_APP,
    AppOption,
    JsonOption,
    RollupsArgument,
    open_app,
    plural,
    write_json,
)

if TYPE_CHECKING:
    from dayfold.fold.fold import FoldResult, Progress


def run(
    rollups: RollupsArgument = None,
    app: AppOption = DEFAULT_APP,
    allow_empty: Annotated[
        bool,
        typer.Option("--allow-empty", help="Publish even where a source that had facts now returns none."),
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait",
            min=0,
            metavar="SECONDS",
            help="How long to wait for another run of a rollup.",
            show_default="60",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Bring rollups up to date: compute the days that are due and write what differs."""
    with open_app(app) as dayfold, progress_shown() as progress:
        results = dayfold.fold(rollups, allow_empty=allow_empty, wait_s=wait, progress=progress)
    if json:
        write_json({"runs": [as_object(result) for result in results]})
    else:
        for result in results:
            show(result)
    if any(result.status != "done" for result in results):
        raise typer.Exit(1)


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
    written = f"+{result.rows_inserted:,} ~{result.rows_updated:,} -{result.rows_deleted:,} rows"
    print(
        f"{result.rollup}: {result.status}, {plural(days, 'day')}, {plural(result.cells, 'cell')}, {written}, "
        f"{result.seconds:.2f} s"
    )
    for warning in result.warnings:
        print(f"{result.rollup}: {warning}", file=sys.stderr)
    if result.error:
        first, *more = result.error.splitlines()
        print("\n".join([f"{result.rollup}: {first}", *more]), file=sys.stderr)


@contextmanager
def progress_shown() -> Iterator[Progress | None]:
    """A progress bar on a terminal, plain lines in a log; both on standard error, and only for work of several chunks."""
    if not sys.stderr.isatty():
        yield _plain_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} days"),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=True) as bar:

        def moved(rollup: str, done: int, total: int) -> None:
            if rollup not in tasks:
                tasks[rollup] = bar.add_task(rollup, total=total)
            bar.update(tasks[rollup], completed=done)

        yield moved


def _plain_line(rollup: str, done: int, total: int) -> None:
    if done < total:
        print(f"{rollup}: {done:,} of {total:,} days", file=sys.stderr, flush=True)
