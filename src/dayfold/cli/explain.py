"""``dayfold explain``: where one number comes from. A door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, number, open_app, show_table, write_json
from dayfold.names import plural

if TYPE_CHECKING:
    from dayfold.query.evidence import Evidence
    from dayfold.query.explanation import Explanation


def run(
    rollup: Annotated[str, typer.Argument(metavar="ROLLUP", help="The rollup, by class or table name.")],
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="The metric.")],
    day: Annotated[
        str | None,
        typer.Option("--day", metavar="DAY", help="YYYY-MM-DD, today, yesterday or -7d (UTC). A profile has none."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="K=V", help="One for each key column: k=v, or k= for NULL."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most so many source rows.")] = 20,
    offset: Annotated[int, typer.Option("--offset", help="Leave out so many source rows before them.")] = 0,
    app: AppOption = DEFAULT_APP,
    json: JsonOption = False,
) -> None:
    """Where one number comes from: its SQL, the source rows behind it, the run that wrote it, and why.

    Source rows are printed as they are.
    """
    with open_app(app) as dayfold:
        found = dayfold.explain(rollup, metric, day=day, where=where or [], limit=limit, offset=offset)
    if json:
        write_json(found.as_object())
        return
    for line in lines(found):
        print(line)
    for one in found.evidence:
        _show(one)


def lines(found: Explanation) -> list[str]:
    """What is said of a cell, but for its SQL and its facts."""
    key = ", ".join(f"{name}={'NULL' if value is None else value}" for name, value in found.key.items())
    words = [f"{found.rollup}.{found.metric}", *([str(found.day)] if found.day else []), *([key] if key else [])]
    shown = [f"{', '.join(words)}: {_value(found.value)}"]
    if not found.exact:
        shown[0] += " (an estimate)"
    shown += [f"  {name}: {_value(value)}" for name, value in found.parts.items()]
    shown += found.why
    if found.stale:
        shown.append(f"stored: {_value(found.value)}")
    if found.computed:
        shown.append(f"now: {_value(found.present)}")
        shown += [f"  {name}: {_value(value)}" for name, value in found.present_parts.items()]
    elif found.unknown:
        shown.append(f"now: not known, {found.unknown}")
    shown += [f"changed: {one.marked_at}: {one.reason}" for one in found.marks]
    for state in found.states:
        reason = f", {state.reason}" if state.reason else ""
        shown.append(f"coverage: {state.source}: {state.state or 'none'}{reason}")
    shown.append(f"definition: version {found.version}, fingerprint {found.fingerprint}")
    for row in found.rows:
        slot = f" {row.slot}," if found.day else ""
        shown.append(f"row: {found.table},{slot} last changed {row.updated_at} by run {row.run_id}")
    shown += [f"run {one.id}: {one.reason}, started {one.started_at}, {one.status}" for one in found.runs]
    return shown + _proofs(found)


def _proofs(found: Explanation) -> list[str]:
    shown = []
    if (check := found.verification) is not None:
        cells = f"{plural(check.cells, 'cell')} of the day" if found.day else plural(check.cells, "entity")
        shown.append(f"verified: {check.verified_at} by run {check.run_id}, {cells}, {check.drifted:,} drifted")
    else:
        shown.append("verified: never")
    if (receipt := found.receipt) is not None:
        # A day that is not sealed has a digest of the engine's own, which tells a person nothing.
        digest = f", {receipt.digest}" if found.sealed and receipt.digest else ""
        rows = plural(receipt.rows, "row") + (" of the day" if found.day else "")
        shown.append(f"receipt: {receipt.at}, {rows} from {receipt.origin}, run {receipt.run_id}{digest}")
    return shown


def _show(one: Evidence) -> None:
    """The SQL of a part and a page of its facts."""
    print(f"\n{one.metric}, computed from {one.source}:\n{one.sql}")
    for place, value in enumerate(one.parameters, start=1):
        print(f"  ${place} = {value}")
    if not one.read:
        print(f"source rows: not read, {one.reason}")
        return
    if not one.rows:
        print(f"source rows: none of {one.total:,} from {one.offset + 1:,} on" if one.total else "source rows: none")
        return
    print(f"source rows: {one.offset + 1:,} to {one.offset + len(one.rows):,} of {one.total:,}")
    show_table(one.columns, [[_cell(row[name]) for name in one.columns] for row in one.rows])


def _value(value: Any) -> str:
    return "null" if value is None else number(value)


def _cell(value: Any) -> str:
    return "–" if value is None else str(value)
