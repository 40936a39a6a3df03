"""``dayfold cohort``: who came back, by the period of their start. A door."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, WhereOption, open_app, show_table, write_json
from dayfold.cli.query import cell, write_csv
from dayfold.errors import UsageError

if TYPE_CHECKING:
    from dayfold.query.cohorts import CohortAnswer

FORMATS = ("table", "csv", "json")
FromOption = Annotated[
    str, typer.Option("--from", metavar="DAY", help="First day: YYYY-MM-DD, today, yesterday or -7d (UTC).")
]
ToOption = Annotated[str, typer.Option("--to", metavar="DAY", help="Last day, included.")]
ByOption = Annotated[
    list[str] | None,
    typer.Option("--by", metavar="COLUMN", help="A column of the profile to split by; again for more."),
]
FormatOption = Annotated[str, typer.Option("--format", "-f", metavar="FORMAT", help="table, csv, or json.")]


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The cohort, by its class.")],
    from_: FromOption,
    to: ToOption = "today",
    grain: Annotated[str, typer.Option("--grain", help="Of cohorts and ages: day, week, or month.")] = "month",
    unbounded: Annotated[
        bool, typer.Option("--unbounded", help="Count whoever was active at an age or later.")
    ] = False,
    by: ByOption = None,
    where: WhereOption = None,
    periods: Annotated[
        int | None, typer.Option("--periods", metavar="N", help="At most so many ages.", show_default="all")
    ] = None,
    format: FormatOption = "table",
    app: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Retention and lifetime value: for each period of starts and each age how many were active, and their values.

    The range is of starts, first and last day included. Ages that have not begun are not there; days that were not folded make an
    age null, with the reason.
    """
    form = the_format(format, json=json)
    with open_app(app) as dayfold:
        answer = dayfold.cohort(
            name,
            from_=from_,
            to=to,
            grain=grain,
            unbounded=unbounded,
            by=listed(by),
            where=where or [],
            periods=periods,
        )
    _write(answer, form)


def the_format(format: str, *, json: bool) -> str:
    """The asked form. Raises UsageError."""
    if format not in FORMATS:
        raise UsageError(f"format is one of {', '.join(FORMATS)}, got '{format}'.")
    return "json" if json else format


def listed(names: list[str] | None) -> list[str]:
    """Names that were given one by one, or with commas between them."""
    return [name for word in names or [] for name in word.split(",") if name]


def _write(answer: CohortAnswer, form: str) -> None:
    if form == "json":
        write_json(answer.as_object())
        return
    if form == "csv":
        write_csv(answer.table)
    else:
        names = [name for name in answer.table.column_names if name != "partial"]
        keys = {"cohort", "period", *answer.request.by}
        rows = [[_shown(row, name, keys) for name in names] for row in answer.rows]
        show_table(names, rows, [name not in keys for name in names])
    for line in answer.remarks():
        print(line, file=sys.stderr)


def _shown(row: dict[str, object], name: str, keys: set[str]) -> str:
    """A value for a person; a period that is not over has a mark."""
    text = rate(row[name]) if name == "rate" else cell(row[name], name in keys)
    return f"{text} …" if name == "period" and row["partial"] else text


def rate(value: object) -> str:
    """A share for a person.

    >>> rate(0.25), rate(None)
    ('25.0 %', '–')
    """
    return f"{value:.1%}".replace("%", " %") if isinstance(value, float) else "–"
