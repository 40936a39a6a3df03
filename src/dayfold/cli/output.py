"""What commands share: where definitions are found, JSON, tables and words for a terminal. A door."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from dayfold.cli import errand

if TYPE_CHECKING:
    from dayfold.app import Dayfold


class Written(Protocol):
    """What says how many rows it wrote."""

    rows_inserted: int
    rows_updated: int
    rows_deleted: int


AppOption = Annotated[
    Path,
    typer.Option(
        "--app",
        "-a",
        envvar="DAYFOLD_APP",
        metavar="FILE",
        help="The definitions.",
        show_default="metrics.py",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
RollupsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ROLLUP", help="Rollups by name.", show_default="all")
]
WaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait", min=0, metavar="SECONDS", help="How long to wait for another run of a rollup.", show_default="60"
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="K=V", help="k=v, k!=v, or k= for NULL. The same key twice: any of the values."),
]
AnyColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="K=V",
        help="Of any column k=v, k!=v, k= for NULL, or k>v, k>=v, k<v, k<=v of numbers, days and moments, which may be today or "
        "-30d. The same column equal to several values: any of them.",
    ),
]
DEFAULT_APP = Path("metrics.py")


def open_app(path: Path, *, here: bool = False) -> Dayfold:
    """The application of a definitions file, with the ``dayfold.toml`` beside it.

    Where a server owns its DuckDB file, the command is run there, and ends here; ``here``: it cannot be.
    """
    from dayfold.app import Dayfold

    if (served := errand.app()) is not None:
        return served
    app = Dayfold(path, clock=errand.clock())
    if not here:
        from dayfold.cli import forward

        forward.unless_ours(app, path)
    return app


@contextmanager
def noted(dayfold: Dayfold, action: str | None, target: str) -> Iterator[None]:
    """What is done in this context stands in the audit table, with how it ended; nothing does where it has no action."""
    if action is None:
        yield
        return
    with dayfold.accounts.noted(action, target):
        yield


def write_json(value: object) -> None:
    """One JSON document on standard output; integers and decimals with all their digits."""
    import msgspec

    from dayfold.http.formats import encoded

    sys.stdout.write(msgspec.json.format(encoded(value), indent=2).decode() + "\n")
    sys.stdout.flush()


def show_table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool] | None = None) -> None:
    """A table on standard output, as wide as it needs to be; a line break in a value does not break its row."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if right and right[place] else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text("↵".join(cell.splitlines())) for cell in row))
    # As wide as the rows: a terminal wraps a long line, where Rich would cut its numbers.
    console = Console(highlight=False, width=10_000, _environ=errand.environ())
    with console.capture() as shown:
        console.print(table)
    sys.stdout.write(shown.get())


def number(value: object) -> str:
    """A value for a person: thousands apart, floats to 4 digits, null as a dash.

    >>> number(1234567), number(0.123456), number(None)
    ('1,234,567', '0.1235', '–')
    """
    match value:
        case None:
            return "–"
        case bool():
            return str(value).lower()
        case int() | Decimal():
            return f"{value:,}"
        case float():
            return f"{value:,.4f}"
    return str(value)


def size(count: int) -> str:
    """Bytes for a person.

    >>> size(1_500_000)
    '1.5 MB'
    """
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def sparkline(values: Sequence[object]) -> str:
    """Values as a line of blocks, the least and the greatest at its ends; a gap is a space.

    >>> sparkline([0, 5, None, 10])
    '▁▅ █'
    """
    known = [float(str(value)) for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    blocks = "▁▂▃▄▅▆▇█"
    span = (high - low) or 1.0
    return "".join(" " if value is None else blocks[round((float(str(value)) - low) / span * 7)] for value in values)


def rows_written(result: Written) -> str:
    """How many rows were inserted, updated and deleted."""
    return f"+{result.rows_inserted:,} ~{result.rows_updated:,} -{result.rows_deleted:,} rows"
