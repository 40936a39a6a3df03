"""``dayfold user``: the people who sign in with a browser. A door.

Invariant: a password is never an argument, where other users of the machine would see it.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, show_table, write_json
from dayfold.cli.token import AccessOption, RollupOption, RowsOption, sees

app = typer.Typer(no_args_is_help=True, help="People who sign in with a browser and a password.")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name to sign in with.")]


@app.command()
def add(
    name: NameArgument,
    kind: Annotated[
        str,
        typer.Option("--kind", metavar="KIND", help="admin: everything; read: numbers; jobs: see and steer jobs."),
    ] = "admin",
    rollup: RollupOption = None,
    rows: RowsOption = None,
    access: AccessOption = None,
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Let a person sign in. The password is asked for, or read as the first line of standard input."""
    with open_app(file) as dayfold:
        dayfold.accounts.add_user(name, _password(), kind, rollups=rollup or (), rows=rows or (), accesses=access or ())
    if json:
        write_json({"added": name})
    else:
        print(f"{name} may sign in.")


@app.command(name="list")
def list_(file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """List all users, by name."""
    with open_app(file) as dayfold:
        found = dayfold.accounts.users()
    if json:
        users = [
            {
                "name": one.name, "kind": one.kind, **one.scope.as_object(), "created_at": one.created_at,
                "changed_at": one.changed_at,
            }
            for one in found
        ]  # fmt: skip
        write_json({"users": users})
    elif found:
        show_table(
            ("name", "kind", "sees", "created", "password since"),
            [(one.name, one.kind, sees(one.scope), one.created_at, one.changed_at) for one in found],
        )
    else:
        print("There is no user.")


@app.command()
def password(name: NameArgument, file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Give a user another password, asked for or read from standard input. They sign in anew everywhere."""
    with open_app(file) as dayfold:
        dayfold.accounts.set_password(name, _password())
    if json:
        write_json({"changed": name})
    else:
        print(f"{name} has another password, and is signed out everywhere.")


@app.command()
def remove(name: NameArgument, file: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Let a person sign in no more; their sessions end at once."""
    with open_app(file) as dayfold:
        dayfold.accounts.remove_user(name)
    if json:
        write_json({"removed": name})
    else:
        print(f"{name} may sign in no more.")


def _password() -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
