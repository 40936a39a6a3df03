"""The ``dayfold`` command: its commands, and how errors end it. A door.

Exit status: 0 done, 1 something failed or drifted, 2 wrong usage or definitions.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from dayfold.cli import (
    adopt,
    alerts,
    cohort,
    counters,
    demo,
    doctor,
    erase,
    events,
    explain,
    export,
    fold,
    funnel,
    init,
    migrate,
    move,
    plan,
    profile,
    query,
    rebuild,
    retain,
    rls,
    serve,
    status,
    token,
    track,
    user,
    verify,
)
from dayfold.cli.errand import environ
from dayfold.cli.forward import Answered
from dayfold.cli.output import write_json
from dayfold.errors import DayfoldError, DefinitionError

#: The status of a command that Ctrl-C ended; Typer turns KeyboardInterrupt into it.
INTERRUPTED = 130

app = typer.Typer(
    name="dayfold",
    help="Folds tables into daily metric tables that are exact.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    init,
    demo,
    plan,
    fold,
    rebuild,
    verify,
    query,
    cohort,
    funnel,
    profile,
    explain,
    status,
    doctor,
    serve,
    migrate,
    adopt,
    move,
    erase,
    retain,
):
    app.command(name=command.__name__.rpartition(".")[2])(command.run)
app.add_typer(track.app, name="track")
app.add_typer(token.app, name="token")
app.add_typer(user.app, name="user")
app.add_typer(rls.app, name="rls")
app.add_typer(alerts.app, name="alerts")
app.add_typer(events.app, name="events")
app.add_typer(counters.app, name="counters")
app.add_typer(export.app, name="export")


def _version(asked: bool) -> None:
    if asked:
        from dayfold import __version__

        typer.echo(f"dayfold {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Folds tables into daily metric tables that are exact."""


def main() -> None:
    """Run the command line and exit with its status."""
    _open_outputs()
    try:
        status = outcome(sys.argv[1:])
    except BrokenPipeError:
        _let_reader_go()
    sys.exit(status)


def outcome(words: Sequence[str]) -> int:
    """Run one command to its end; its exit status. What went wrong is said on standard error.

    Raises:
        BrokenPipeError: when the reader of its output has seen enough.
    """
    try:
        app(args=list(words), prog_name="dayfold")
    except Answered as end:
        return end.status
    except DayfoldError as error:
        _report(error, words)
        return error.exit_status
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            # Typer meets a reader's end before we do, and calls it a failure.
            raise end.__context__ from None
        if end.code == INTERRUPTED:
            print("Interrupted. What was published stays; the next run continues.", file=sys.stderr)
        return int(end.code or 0)
    except BrokenPipeError:
        raise
    except OSError as error:
        # A file or a stream of ours: what the system says of it, and its name, hold no row.
        where = f"{error.filename}: " if error.filename else ""
        print(f"{where}{error.strerror or type(error).__name__}.", file=sys.stderr)
    except Exception as error:
        if environ().get("DAYFOLD_DEBUG"):
            traceback.print_exc()
            return 1
        # The text of an unforeseen error may hold values of rows, so it is shown only on request.
        print(f"Dayfold met an error that it did not foresee: {type(error).__name__}.", file=sys.stderr)
        print("  Set DAYFOLD_DEBUG=1 to see where, and please report it.", file=sys.stderr)
    return 1


def _let_reader_go() -> NoReturn:
    """End well: the reader of standard output has what it wanted, as with `| head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(0)


def _open_outputs() -> None:
    """Both outputs can be written to: a closed one swallows what it is given, an old locale's becomes UTF-8."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() in (
            "ascii",
            "us-ascii",
            "ansi_x3.4-1968",
        ):
            stream.reconfigure(encoding="utf-8")


def _report(error: DayfoldError, words: Sequence[str]) -> None:
    """An error in words and, for a program that asked for JSON, as an object."""
    print(str(error), file=sys.stderr)
    if "--json" not in words:
        return
    found: dict[str, object] = {"code": error.code, "message": error.message, "hint": error.hint}
    if isinstance(error, DefinitionError):
        found["problems"] = [
            {"code": p.code, "place": p.place, "subject": p.subject, "message": p.message, "hint": p.hint}
            for p in error.problems
        ]
    write_json({"error": found})


if __name__ == "__main__":
    main()
