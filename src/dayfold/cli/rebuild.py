"""``dayfold rebuild``: fold days that exist again. A door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli.fold import progress_shown
from dayfold.cli.output import (
    DEFAULT_APP,
    AppOption,
    JsonOption,
    WaitOption,
    WhereOption,
    noted,
    open_app,
    rows_written,
    show_table,
    write_json,
)
from dayfold.names import plural

if TYPE_CHECKING:
    from dayfold.fold.rebuild import Move, RebuildResult


def run(
    rollup: Annotated[str, typer.Argument(metavar="ROLLUP", help="The rollup, by class or table name.")],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="DAY", help="First day: YYYY-MM-DD, today, yesterday or -7d (UTC). A profile has none."
        ),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day, included.")] = None,
    app: AppOption = DEFAULT_APP,
    where: WhereOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many cells would change, and the largest moves; change nothing.")
    ] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Publish even where a source has nothing on any of the days.")
    ] = False,
    wait: WaitOption = None,
    json: JsonOption = False,
) -> None:
    """Fold days that exist again, or a whole profile: built aside, and switched in one transaction. Sealed days are refused."""
    with open_app(app) as dayfold, progress_shown() as progress, noted(dayfold, None if dry_run else "rebuild", rollup):
        result = dayfold.rebuild(
            rollup, from_=from_, to=to, where=where or (), dry_run=dry_run, allow_empty=allow_empty, wait_s=wait,
            progress=progress,
        )  # fmt: skip
    if json:
        write_json(as_object(result))
    else:
        show(result)


def as_object(result: RebuildResult) -> dict[str, object]:
    """A result for JSON."""
    found: dict[str, object] = {
        "rollup": result.rollup, "dry_run": result.dry_run, "run_id": result.run_id, "days": result.days,
        "cells": result.cells, "rows_inserted": result.rows_inserted, "rows_updated": result.rows_updated,
        "rows_deleted": result.rows_deleted, "seconds": result.seconds,
    }  # fmt: skip
    if result.dry_run:
        found["moves"] = [_move(one) for one in result.moves]
    return found


def _move(one: Move) -> dict[str, object]:
    return {"key": one.key, "day": one.day, "metric": one.metric, "stored": one.stored, "rebuilt": one.rebuilt}


def show(result: RebuildResult) -> None:
    """A result for a person."""
    does = "would change" if result.dry_run else "changed"
    days = f"{plural(result.days, 'day')}, " if result.days else ""
    scope = f"{days}{plural(result.cells, 'entity' if result.is_lifelong else 'cell')} {does}"
    print(f"{result.rollup}: {scope}, {rows_written(result)}, {result.seconds:.2f} s")
    if result.moves:
        keys = list(result.moves[0].key)
        show_table(
            (*(["day"] if result.days else []), *keys, "metric", "stored", "rebuilt"),
            [
                (
                    *([str(one.day)] if result.days else []), *(_text(value) for value in one.key.values()), one.metric,
                    _text(one.stored), _text(one.rebuilt),
                )
                for one in result.moves
            ],
            (*[False] * (len(keys) + 1 + bool(result.days)), True, True),
        )  # fmt: skip


def _text(value: object) -> str:
    return "–" if value is None else str(value)
