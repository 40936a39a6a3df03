"""``dayfold rls``: row-level policies on rollups that have an owner. A door."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, show_table, write_json

app = typer.Typer(
    no_args_is_help=True,
    help="Row-level policies of PostgreSQL, so that people read their own rows of a rollup and no others.",
)
OwnedArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ROLLUP", help="Rollups by name.", show_default="all with an owner")
]
SqlOption = Annotated[bool, typer.Option("--sql", help="Print the statements for a DBA to run, and change nothing.")]


@app.command()
def install(
    rollups: OwnedArgument = None, file: AppOption = DEFAULT_APP, sql: SqlOption = False, json: JsonOption = False
) -> None:
    """Make the policies of rollups with owner="column", on their tables and on those of their sets.

    [rls] says who asks and which roles see their own rows or all of them. They get the right to read these tables, and no other.
    """
    with open_app(file) as dayfold:
        if sql:
            _show(dayfold.policies().statements(rollups or ()), as_json=json)
            return
        done = dayfold.policies().install(rollups or ())
    if json:
        write_json({"installed": done})
        return
    for name in done:
        print(f"{name}: its policies are installed")


@app.command()
def remove(
    rollups: OwnedArgument = None, file: AppOption = DEFAULT_APP, sql: SqlOption = False, json: JsonOption = False
) -> None:
    """Drop our policies, and take the right to read the tables from their roles: without policies they would see every row."""
    with open_app(file) as dayfold:
        if sql:
            _show(dayfold.policies().removal(rollups or ()), as_json=json)
            return
        done = dayfold.policies().remove(rollups or ())
    if json:
        write_json({"removed": done})
        return
    for name in done:
        print(f"{name}: its policies are gone, and its roles may not read it any more")
    if not done:
        print("No table has policies of ours.")


@app.command()
def status(file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Say of each table whether its policies are those of [rls], and what shows more than they let through; exit 1 where one is not."""
    with open_app(file) as dayfold:
        found = dayfold.policies().status()
    if json:
        write_json({"tables": [asdict(one) for one in found]})
    else:
        show_table(
            ("table", "rollup", "state", "what is wrong"),
            [(one.table, one.rollup, one.state, one.message) for one in found],
            (False, False, False, False),
        )
        for advice in dict.fromkeys(one.advice for one in found if one.advice):
            print(f"To mend it: {advice}", file=sys.stderr)
    if any(one.state != "ok" for one in found):
        raise typer.Exit(1)


def _show(found: list[tuple[str, list[str]]], *, as_json: bool) -> None:
    """Statements, each table's as one transaction."""
    if as_json:
        write_json({"tables": [{"name": name, "statements": texts} for name, texts in found]})
        return
    for name, texts in found:
        print(f"-- {name}")
        print("".join(f"{text};\n" for text in ("BEGIN", *texts, "COMMIT")))
