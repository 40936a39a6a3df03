"""``dayfold erase``: nothing of a person stays. A door."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Annotated

import typer

from dayfold.cli import errand
from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, WaitOption, noted, open_app, write_json


def run(
    actor: Annotated[
        list[str] | None, typer.Option("--actor", metavar="ID", help="The person's id, as events have it in actor_id.")
    ] = None,
    anonymous: Annotated[
        list[str] | None,
        typer.Option("--anonymous", metavar="ID", help="The id of a browser of theirs, beside those that are known."),
    ] = None,
    app: AppOption = DEFAULT_APP,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be found, and change nothing.")] = False,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="FILE", help="Write the certificate there, as JSON.")
    ] = None,
    wait: WaitOption = None,
    json: JsonOption = False,
) -> None:
    """Erase a person: raw events, quarantine, sets, and the space that they took; affected cells are folded again."""
    with open_app(app) as dayfold, _written(certificate) as stream:
        with noted(dayfold, None if dry_run else "erase", "a person"):
            made = dayfold.erase(actor or (), anonymous or (), dry_run=dry_run, wait_s=wait)
        if json:
            write_json(made.as_object())
        else:
            print(made.text(), end="")
        if stream is not None:
            from dayfold.http.formats import encoded

            stream.write(encoded(made.as_object()) + b"\n")
    if any(one["error"] for one in made.refolded):
        raise typer.Exit(1)


def _written(certificate: Path | None) -> AbstractContextManager[IO[bytes] | None]:
    """The file of the certificate, begun before anything is erased: one that cannot be written would be told of too late."""
    if certificate is None:
        return nullcontext()
    from dayfold.jobs.shelf import written

    return written(errand.place(certificate))
