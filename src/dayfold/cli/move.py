"""``dayfold move``: the whole store goes to another place, and is the same there. A door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli.fold import progress_shown
from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, show_table, write_json
from dayfold.names import plural

if TYPE_CHECKING:
    from dayfold.fold.move import MoveResult

#: Portions are small where tables are; no log wants a line for each.
_LINE_S = 5


def run(
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="URL",
            envvar="DAYFOLD_MOVE_TO",
            help="An empty place: duckdb:///FILE, postgresql://USER@HOST/DATABASE or clickhouse://USER@HOST/DATABASE.",
        ),
    ] = None,
    app: AppOption = DEFAULT_APP,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="NAME",
            help="The schema that tables are made in there.",
            show_default="the connection's own",
        ),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            "--ledger",
            metavar="URL",
            envvar="DAYFOLD_MOVE_LEDGER",
            help="An empty place for the ledger, in PostgreSQL or a DuckDB file, where the store goes to ClickHouse.",
        ),
    ] = None,
    ledger_schema: Annotated[
        str | None,
        typer.Option(
            "--ledger-schema",
            metavar="NAME",
            help="The schema that the ledger's tables are made in there.",
            show_default="the connection's own",
        ),
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option(
            "--sources",
            metavar="NAME",
            help="What definitions will call the old store, [databases.NAME], as the database of sources that stand in it.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be moved, and change nothing.")] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Give up a move that is not done: the store is written to again.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Move the whole store to another place and compare every cell there. Run again, it goes on where it was interrupted."""
    # A server that serves the store would go on writing to it.
    with open_app(app, here=True) as dayfold, progress_shown("rows", _LINE_S) as progress:
        result = dayfold.move(
            to, schema=schema, ledger=ledger, ledger_schema=ledger_schema, sources=sources, dry_run=dry_run, abandon=abandon,
            progress=progress,
        )  # fmt: skip
    if json:
        write_json(as_object(result))
    else:
        show(result)


def as_object(result: MoveResult) -> dict[str, object]:
    """A result for JSON."""
    return {
        "from": result.source, "to": result.target, "status": result.status, "resumed": result.resumed, "rows": result.rows,
        "tables": [{"table": name, "rows": rows} for name, rows in result.tables.items()], "notes": result.notes,
        "seconds": result.seconds,
    }  # fmt: skip


def show(result: MoveResult) -> None:
    """A result for a person."""
    if result.status == "planned":
        show_table(("table", "rows"), [(name, f"{rows:,}") for name, rows in result.tables.items()], (False, True))
    print(_sentence(result))
    for note in result.notes:
        print(f"- {note}")


def _sentence(result: MoveResult) -> str:
    amount = f"{plural(len(result.tables), 'table')}, {plural(result.rows, 'row')}"
    match result.status:
        case "planned":
            how = "would go on being moved" if result.resumed else "would be moved"
            return f"{result.source} {how} to {result.target}: {amount}."
        case "abandoned":
            return f"{result.source} stays, and is written to again."
        case "moved before":
            return f"{result.source} was moved to {result.target} already."
    return f"{result.source} is moved to {result.target}: {amount}, every cell compared, {result.seconds:.1f} s"
