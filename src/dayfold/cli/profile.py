"""``dayfold profile``: entities of a profile, one by its key, in pages, or counted. A door."""

from __future__ import annotations

import datetime as dt
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dayfold import streams
from dayfold.cli import errand
from dayfold.cli.output import (
    DEFAULT_APP,
    AnyColumnOption,
    AppOption,
    JsonOption,
    number,
    open_app,
    show_table,
    write_json,
)
from dayfold.cli.query import FORMATS, check_form, writable, write_bytes
from dayfold.errors import UsageError

if TYPE_CHECKING:
    from dayfold.query.profile import ProfileAnswer

#: How many entities a person reads at once.
_PAGE = 100


def run(
    name: Annotated[str, typer.Argument(metavar="PROFILE", help="The profile, by class or table name.")],
    key: Annotated[
        list[str] | None,
        typer.Option("--key", "-k", metavar="K=V", help="One entity; once for each column of the key."),
    ] = None,
    where: AnyColumnOption = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort", metavar="COLUMN", help="A column; -COLUMN for the greatest first.", show_default="the key"
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="At most so many rows.", show_default="100 in a table, else all")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="PLACE", help="Go on behind a page: what it called next.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            "-c",
            metavar="A,B",
            help="Columns that are shown; with --count-by, numbers that are added up.",
            show_default="all",
        ),
    ] = None,
    count_by: Annotated[
        list[str] | None,
        typer.Option("--count-by", metavar="COLUMN", help="Count entities by its values; again for more."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="table, csv, json, or parquet.",
            show_default="the ending of the output file, else table",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to a file.", show_default="standard output"),
    ] = None,
    app: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Entities of a profile: one by its key, or all of them filtered, in order and page by page; or how many there are.

    What is not the last word, because a source failed or changes wait to be folded, is said with the reason.
    """
    suffix = output.suffix.removeprefix(".") if output else ""
    form = "json" if json else format or (suffix if suffix in FORMATS else "table")
    check_form(form, output)
    shown, groups = _names(columns), _names(count_by)
    if key:
        _check_alone(where=where, sort=sort, limit=limit, after=after, count_by=count_by)
    elif limit is None and form == "table":
        limit = _PAGE
    with open_app(app) as dayfold:
        if key:
            from dayfold.query.profile_request import key_words

            answer = dayfold.profile(name, key_words(key), columns=shown)
        else:
            answer = dayfold.profiles(
                name, where=where or [], sort=sort, limit=limit, after=after, columns=shown, count_by=groups
            )
    if key:
        _ = answer.found
    with writable(output):
        write(answer, form, errand.place(output) if output else None)


def _names(words: list[str] | None) -> list[str]:
    return [name.strip() for word in words or [] for name in word.split(",") if name.strip()]


def _check_alone(**others: object) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in others.items() if value]
    if given:
        raise UsageError(f"--key names one entity; {given[0]} is about many.")


def write(answer: ProfileAnswer, form: str, output: Path | None = None) -> None:
    """An answer in one of the forms; what has to be said with it goes to standard error where the form has no place."""
    if output is not None and form in ("table", "json"):
        with output.open("w", encoding="utf-8") as file, streams.output(file):
            write(answer, form)
        return
    if form == "json":
        write_json(answer.as_object())
        return
    if form == "table":
        _show(answer)
    else:
        from dayfold.query.writers import as_texts

        write_bytes(as_texts(answer.table) if form == "csv" else answer.table, form, output)
    for line in answer.standing.remarks():
        print(line, file=sys.stderr)
    if answer.next is not None:
        print(f"There are more: --after {answer.next}", file=sys.stderr)


def _show(answer: ProfileAnswer) -> None:
    request, rows = answer.request, answer.rows
    plain = {*request.profile.key, *request.count_by}
    if request.key is not None:
        cells = [[name, _cell(value, name in plain)] for name, value in answer.found.items()]
        show_table(["column", "value"], cells)
        return
    names = answer.table.column_names
    right = [name not in plain and any(_is_number(row[name]) for row in rows) for name in names]
    show_table(names, [[_cell(row[name], name in plain) for name in names] for row in rows], right)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _cell(value: Any, is_name: bool) -> str:
    """A value for a person; what names an entity is no amount."""
    match value:
        case dt.datetime():
            return value.isoformat(timespec="seconds").replace("+00:00", "Z")
        case list():
            return ", ".join(_cell(one, True) for one in value)
        case str():
            return value or '""'
        case int() if is_name and not isinstance(value, bool):
            return str(value)
    return number(value)
