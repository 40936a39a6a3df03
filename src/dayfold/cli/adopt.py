"""``dayfold adopt``: take over a daily table that was kept before. A door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, WaitOption, open_app, write_json
from dayfold.names import plural

if TYPE_CHECKING:
    from dayfold.fold.adopt import AdoptResult


def run(
    rollup: Annotated[str, typer.Argument(metavar="ROLLUP", help="The rollup, by class or table name.")],
    from_table: Annotated[
        str, typer.Option("--from-table", metavar="TABLE", help="The table to take over; it is only read.")
    ],
    app: AppOption = DEFAULT_APP,
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="NAME", help="Where the table lives.", show_default="the store"),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="OURS=THEIRS", help="What the table calls a column of ours; again for more."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="DAY",
            help="The last day to take over.",
            show_default="the day before all sources have rows",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare and count; change nothing.")] = False,
    accept_differences: Annotated[
        bool,
        typer.Option(
            "--accept-differences", help="Take the rows though the table differs from the source where both have a day."
        ),
    ] = False,
    wait: WaitOption = None,
    json: JsonOption = False,
) -> None:
    """Take over an existing daily table whose source rows are gone, as sealed days of a rollup.

    Days that the source still has are compared with it, and are left to the fold.
    """
    from dayfold.fold.adopt import legacy_columns

    columns = legacy_columns(column or ())
    with open_app(app) as dayfold:
        result = dayfold.adopt(
            rollup, from_table, database=database, columns=columns, to=to, dry_run=dry_run,
            accept_differences=accept_differences, wait_s=wait,
        )  # fmt: skip
    if json:
        write_json(as_object(result))
    else:
        show(result, dry_run=dry_run)


def as_object(result: AdoptResult) -> dict[str, object]:
    """A result for JSON."""
    sealed = {"from": result.sealed.first, "to": result.sealed.last} if result.sealed else None
    differing = [{"day": day, "cells": cells} for day, cells in sorted(result.differing.items())]
    return {
        "rollup": result.rollup, "table": result.table, "sealed": sealed, "rows": result.rows, "compared": result.compared,
        "differing": differing, "run_id": result.run_id, "seconds": result.seconds,
    }  # fmt: skip


def show(result: AdoptResult, *, dry_run: bool) -> None:
    """A result for a person."""
    differing = sum(result.differing.values())
    print(f"{result.rollup}: {plural(result.compared, 'cell')} compared with the source, {differing:,} of them differ")
    for day, cells in sorted(result.differing.items())[:10]:
        print(f"  {day}: {plural(cells, 'cell')}")
    if result.sealed is None:
        print(f"{result.rollup}: nothing to take over, the source has every day of {result.table}")
        return
    does = "would be sealed" if dry_run else "are sealed"
    print(
        f"{result.rollup}: {plural(result.rows, 'row')} of {result.table} from {result.sealed.first} to {result.sealed.last} {does}"
    )
