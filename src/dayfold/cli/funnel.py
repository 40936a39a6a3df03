"""``dayfold funnel``: how many went from step to step, beside how often each step was taken. A door."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli.cohort import ByOption, FormatOption, FromOption, ToOption, listed, rate, the_format
from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, WhereOption, open_app, show_table, write_json
from dayfold.cli.query import cell, write_csv

if TYPE_CHECKING:
    from dayfold.query.funnels import FunnelAnswer


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The funnel, by its class.")],
    from_: FromOption,
    to: ToOption = "today",
    by: ByOption = None,
    where: WhereOption = None,
    format: FormatOption = "table",
    app: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """How many of those who took the first step went on, in order and in time; and how often each step was taken in these days.

    The two are different counts, and each says what it is.
    """
    form = the_format(format, json=json)
    with open_app(app) as dayfold:
        answer = dayfold.funnel(name, from_=from_, to=to, by=listed(by), where=where or [])
    if form == "json":
        write_json(answer.as_object())
    elif form == "csv":
        write_csv(answer.table)
    else:
        _show(answer)
    if form != "json":
        for line in answer.remarks_of_profile:
            print(line, file=sys.stderr)


def _show(answer: FunnelAnswer) -> None:
    from dayfold.query.funnels import LABELS

    keys = {"moment", *answer.request.by}
    for what, label in LABELS.items():
        print(f"{what}: {label}")
        left_out = ("counts",) if what == "cohort" else ("counts", "open")
        names = [name for name in answer.table.column_names if name not in left_out]
        rows = [[_shown(row, name, keys) for name in names] for row in answer.of(what)]
        show_table(names, rows, [name not in keys for name in names])


def _shown(row: dict[str, object], name: str, keys: set[str]) -> str:
    return rate(row[name]) if name.startswith("rate_") else cell(row[name], name in keys)
