"""``dayfold export``: events, rollups, profiles and what is known of one actor, as files. A door."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import typer

from dayfold.cli import errand
from dayfold.cli.fold import progress_shown
from dayfold.cli.output import (
    DEFAULT_APP,
    AnyColumnOption,
    AppOption,
    JsonOption,
    WhereOption,
    noted,
    open_app,
    write_json,
)
from dayfold.errors import UsageError
from dayfold.names import listing, plural, suggestion

if TYPE_CHECKING:
    from dayfold.query.exports import Exported

app = typer.Typer(no_args_is_help=True, help="Events, rollups, profiles and what is known of one actor, as files.")
FORMS = ("csv", "jsonl", "parquet")
#: What holds no raw event, so that no export of it stands in the audit table.
_FOLDED = ("rollup", "profile")
#: How far apart lines about the progress are in a log; each day is a step.
_LINE_S = 5.0
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DAY",
        help="First day: YYYY-MM-DD, today, yesterday or -7d (UTC).",
        show_default="the first there is",
    ),
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="DAY", help="Last day, included.", show_default="the last there is")
]
FormOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="csv, jsonl, or parquet.",
        show_default="the ending of the file, else csv",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FILE", help="The file, which is there when it is whole.", show_default="standard output"
    ),
]
PersonalOption = Annotated[
    bool, typer.Option("--personal", help="With personal data: who somebody is, and what they wrote.")
]


@app.command()
def events(
    entity_type: Annotated[
        str | None,
        typer.Option(
            "--entity-type", metavar="TYPE", help="What they are about: a column of an entity, or its name without _id."
        ),
    ] = None,
    entity_id: Annotated[
        str | None, typer.Option("--entity-id", metavar="ID", help="Which one; with --entity-type.")
    ] = None,
    event_type: Annotated[str | None, typer.Option("--event-type", metavar="TYPE", help="Their type.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", metavar="ID", help="The actor_id.")] = None,
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="The session_id.")] = None,
    from_: FromOption = None,
    to: ToOption = None,
    format: FormOption = None,
    out: OutOption = None,
    personal: PersonalOption = False,
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Export raw events, the oldest first."""
    _export(
        file, out, format, json, what="events", personal=personal, from_=from_, to=to, entity_type=entity_type,
        entity_id=entity_id, event_type=event_type, actor=actor, session=session,
    )  # fmt: skip


@app.command()
def rollup(
    name: Annotated[str, typer.Argument(metavar="ROLLUP", help="The rollup, by class or table name.")],
    where: WhereOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    format: FormOption = None,
    out: OutOption = None,
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Export the rows of a rollup, a row for each key of each day."""
    _export(file, out, format, json, what="rollup", name=name, where=where or (), from_=from_, to=to)


@app.command()
def profile(
    name: Annotated[str, typer.Argument(metavar="PROFILE", help="The profile, by class or table name.")],
    where: AnyColumnOption = None,
    format: FormOption = None,
    out: OutOption = None,
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Export the entities of a profile, in the order of their keys."""
    _export(file, out, format, json, what="profile", name=name, where=where or ())


@app.command()
def actor(
    id: Annotated[str, typer.Argument(metavar="ID", help="The actor_id.")],
    from_: FromOption = None,
    to: ToOption = None,
    format: FormOption = None,
    out: OutOption = None,
    personal: PersonalOption = False,
    file: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Export what is known of one actor: their events, those of their browsers, and those that are held back."""
    _export(file, out, format, json, what="actor", name=id, personal=personal, from_=from_, to=to)


def _export(file: Path, out: Path | None, format: str | None, json: bool, **asked: Any) -> None:
    form = format or _form_of(out)
    if form not in FORMS:
        raise UsageError(f"There is no format '{form}'{suggestion(form, FORMS)}.", hint=f"Known: {listing(FORMS)}")
    if out is None and json:
        raise UsageError("--json says what was written, and needs a file.", hint="Name one: --out FILE")
    if out is None and form == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal.", hint="Name a file: --out FILE")
    what = asked["name"] if asked["what"] in _FOLDED else asked["what"]
    target = errand.place(out) if out else cast(IO[bytes], _Output())
    action = "export" if asked["what"] not in _FOLDED else None
    with (
        open_app(file) as dayfold,
        noted(dayfold, action, f"{what} {form}"),
        progress_shown("entities" if asked["what"] == "profile" else "days", every_s=_LINE_S) as progress,
    ):
        found = dayfold.export(**asked, form=form, out=target, progress=progress)
    sys.stdout.flush()
    _say(found, what, out, json)


def _form_of(out: Path | None) -> str:
    """What the ending of a file says; another one would belie what is written."""
    suffix = out.suffix.removeprefix(".").lower() if out else ""
    if suffix and suffix not in FORMS:
        raise UsageError(
            f"'{out}' does not end like a format that is known{suggestion(suffix, FORMS)}.",
            hint=f"Say which one to write: --format {'|'.join(FORMS)}",
        )
    return suffix or "csv"


class _Output(io.RawIOBase):
    """Standard output for bytes, which knows how many it was given; a pipe does not."""

    def __init__(self) -> None:
        self.count = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.count

    def write(self, data: Any) -> int:
        content = bytes(data)
        sys.stdout.buffer.write(content)
        self.count += len(content)
        return len(content)

    def flush(self) -> None:
        sys.stdout.flush()


def _say(found: Exported, what: str, out: Path | None, json: bool) -> None:
    if json:
        write_json({"what": what, "file": str(out), "rows": found.rows, **found.remarks()})
        return
    print(f"{what}: {plural(found.rows, 'row')}{f' in {out}' if out else ''}", file=sys.stderr)
    if found.missing_days:
        print(f"{plural(found.missing_days, 'day')} lack a number; `dayfold query` says why.", file=sys.stderr)
    if found.estimated:
        print(f"Not exact on every day: {listing(found.estimated)}.", file=sys.stderr)
