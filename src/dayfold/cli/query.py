"""``dayfold query``: metrics over a range of days. A door."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dayfold import streams
from dayfold.cli import errand
from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, WhereOption, number, open_app, show_table, write_json
from dayfold.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from dayfold.query.answer import Answer

#: More rows than a person reads.
TABLE_ROWS = 10_000
FORMATS = ("table", "csv", "json", "parquet")


def run(
    rollup: Annotated[str, typer.Argument(metavar="ROLLUP", help="The rollup, by class or table name.")],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="A metric; again for more, or a,b.", show_default="all"),
    ] = None,
    from_: Annotated[
        str,
        typer.Option("--from", metavar="DAY", help="First day: YYYY-MM-DD, today, yesterday or -7d (UTC)."),
    ] = "-29d",
    to: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day, included.")] = "today",
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="KEY", help="A key column to group by; again for more."),
    ] = None,
    where: WhereOption = None,
    grain: Annotated[str, typer.Option("--grain", help="hour, day, week, month, quarter, year, or total.")] = "day",
    tz: Annotated[
        str | None,
        typer.Option(
            "--tz",
            metavar="ZONE",
            help="Days of this zone, of a rollup of a finer grain.",
            show_default="UTC",
        ),
    ] = None,
    compare: Annotated[
        str | None, typer.Option("--compare", metavar="previous|year", help="Beside an earlier range.")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="NAME", help="A metric, key or day; -NAME for the greatest first."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="At most so many rows.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Add up covered days where others are missing.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Compute stale, open and unfolded days from the sources now.")
    ] = False,
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
    """Metrics over a range of days, first and last included.

    Covered days without a row are zero; days that were not folded are null, with the reason, unless --live computes them.
    """
    suffix = output.suffix.removeprefix(".") if output else ""
    form = "json" if json else format or (suffix if suffix in FORMATS else "table")
    check_form(form, output)
    metrics = [name for word in metric or [] for name in word.split(",") if name]
    keys = [name for word in by or [] for name in word.split(",") if name]
    with open_app(app) as dayfold:
        answer = dayfold.query(
            rollup, metrics, from_=from_, to=to, by=keys, where=where or [], grain=grain, tz=tz, compare=compare, sort=sort,
            limit=limit, allow_missing=allow_missing, live=live,
        )  # fmt: skip
    with writable(output):
        write(answer, form, errand.place(output) if output else None)


def check_form(form: str, output: Path | None) -> None:
    """Refuse a form that there is not, or that is not for a terminal. Raises UsageError."""
    if form not in FORMATS:
        raise UsageError(f"format is one of {', '.join(FORMATS)}, got '{form}'.")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal.", hint="Name a file: --output FILE")


@contextmanager
def writable(output: Path | None) -> Iterator[None]:
    """A context in which a file is written. Raises UsageError where it cannot be."""
    try:
        yield
    except FileNotFoundError:
        raise UsageError(f"{output} cannot be written: there is no such folder.") from None
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageError(f"{output} cannot be written: {(error.strerror or '').lower()}.") from None


def write(answer: Answer, form: str, output: Path | None = None) -> None:
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
        write_bytes(_with_offsets(answer.flat()) if form == "csv" else answer.flat(), form, output)
    for line in answer.remarks():
        print(line, file=sys.stderr)


def write_csv(table: pa.Table) -> None:
    """A table as CSV on standard output, without a text that a spreadsheet would run."""
    from dayfold.query.writers import as_texts

    write_bytes(as_texts(table), "csv", None)


def _with_offsets(table: pa.Table) -> pa.Table:
    """Hours as text: Arrow's CSV writes every moment in UTC."""
    import pyarrow as pa

    for place, one in enumerate(table.schema):
        if pa.types.is_timestamp(one.type):
            moments = table.column(place).to_pylist()
            table = table.set_column(place, one.name, [[at.isoformat() if at else None for at in moments]])
    return table


def write_bytes(table: pa.Table, form: str, output: Path | None) -> None:
    """A table as CSV or Parquet."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    if form == "csv":
        from pyarrow import csv

        csv.write_csv(table, sink, csv.WriteOptions(quoting_style="needed"))
    else:
        from pyarrow import parquet

        parquet.write_table(table, sink)
    content = sink.getvalue().to_pybytes()
    if output is not None:
        output.write_bytes(content)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()


def _show(answer: Answer) -> None:
    table = answer.flat()
    if table.num_rows > TABLE_ROWS:
        raise UsageError(
            f"The answer has {table.num_rows:,} rows; a table for the eye shows at most {TABLE_ROWS:,}.",
            hint="Ask for fewer with --limit, --where or a coarser --grain, or take them all with --format csv.",
        )
    rows: list[dict[str, Any]] = table.to_pylist()
    names = table.column_names
    keys = {"day", "hour", "compared_day", "compared_hour", *answer.request.by}
    cells = [[cell(row[name], name in keys) for name in names] for row in rows]
    show_table(names, cells, [name not in keys for name in names])


def cell(value: object, is_key: bool) -> str:
    """A value of an answer for a person; those of keys are no amounts.

    >>> cell(2026, False), cell(2026, True), cell(None, True), cell("", True)
    ('2,026', '2026', '–', '""')
    """
    if not is_key or value is None or isinstance(value, bool):
        return number(value)
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="minutes")
    return str(value) or '""'
