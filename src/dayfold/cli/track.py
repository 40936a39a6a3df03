"""``dayfold track``: the triggers that tell what changed in a table. A door."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, show_table, write_json

app = typer.Typer(
    no_args_is_help=True, help="Triggers that tell what changed in a table, so that folds cost what changed."
)
TablesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="TABLE", help="Tables by name.", show_default="all that ask for triggers")
]
_DUCKDB = (
    "has triggers from now on: DuckDB then refuses INSERT … ON CONFLICT DO UPDATE and MERGE into it, and CREATE OR REPLACE "
    "TABLE drops them."
)


@app.command()
def install(
    tables: TablesArgument = None,
    file: AppOption = DEFAULT_APP,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the statements for a DBA to run, and change nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make the triggers of tables with changes="trigger", from the definitions of all rollups over them.

    In PostgreSQL this needs TRIGGER on the tables, and CREATE on the database for a schema of ours beside them. The
    application's own users need no right. In DuckDB a table with triggers refuses upserts and MERGE.
    """
    with open_app(file) as dayfold:
        if sql:
            found = dayfold.installer().statements(tables or ())
            if json:
                write_json({"tables": [{"table": one.name, "statements": texts} for _, one, texts in found]})
                return
            for database, one, texts in found:
                print(f"-- {one.name}, in {database.address}")
                print("".join(f"{text};\n" for text in texts))
            return
        done = dayfold.track_install(tables or ())
        duckdb = dayfold.databases.store.dialect.name == "duckdb"
    if json:
        write_json({"installed": done})
        return
    for name in done:
        print(f"{name}: its triggers are installed")
        if duckdb:
            print(f"{name} {_DUCKDB}", file=sys.stderr)


@app.command()
def remove(tables: TablesArgument = None, file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Drop our triggers, their functions and, where nothing uses it any more, the schema of ours.

    What changes from then on is folded by lookback.
    """
    with open_app(file) as dayfold:
        done = dayfold.track_remove(tables or ())
    if json:
        write_json({"removed": done})
        return
    for name in done:
        print(f"{name}: its triggers are gone")
    if not done:
        print("No table has triggers of ours.")


@app.command()
def status(file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Say of each table whether its triggers are there and fit the definitions; exit 1 where one's do not."""
    with open_app(file) as dayfold:
        found = dayfold.track_status()
    if json:
        write_json({"tables": [_as_object(one) for one in found]})
    elif found:
        show_table(
            ("table", "database", "triggers", "feeds", "waiting"),
            [
                (one.table, one.database, one.message or one.state, ", ".join(one.rollups), f"{one.waiting:,}")
                for one in found
            ],
            (False, False, False, False, True),
        )
    else:
        print('No definition asks for triggers; say changes="trigger" in a Table.')
    if any(one.state != "ok" for one in found):
        print("Make them fit: dayfold track install", file=sys.stderr)
        raise typer.Exit(1)


def _as_object(one: object) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(one)  # type: ignore[call-overload,no-any-return]  # a dataclass of the fold floor
