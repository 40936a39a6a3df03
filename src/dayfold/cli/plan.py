"""``dayfold plan``: what the next fold would do and cost. A door."""

from __future__ import annotations

from dayfold.cli.output import (
    DEFAULT_APP,
    AppOption,
    JsonOption,
    RollupsArgument,
    open_app,
    write_json,
)
from dayfold.names import plural


def run(rollups: RollupsArgument = None, app: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """What the next fold would do and read. Writes nothing."""
    with open_app(app) as dayfold:
        plans = dayfold.plan(rollups)
    if json:
        write_json({"plans": [plan.as_object() for plan in plans]})
        return
    for plan in plans:
        days = sum(map(len, plan.days))
        marked = f", {plural(plan.marked, 'marked cell')}" if plan.marked else ""
        print(
            f"{plan.rollup}: {plan.action}, {plural(days, 'day')}{marked}, {plural(plan.facts, 'fact')} to read, table "
            f"{plan.table}"
        )
        if plan.rows:
            took = f", about {plan.seconds:,.2f} s by earlier folds" if plan.seconds is not None else ""
            print(f"  about {plural(plan.rows, 'row')} to compute{took}")
        for edit in plan.edits:
            print(f"  {edit}")
        for source, count in plan.fetches.items():
            print(f"  {plural(count, 'day')} to ask {source} for")
        for source, reason in plan.failing.items():
            print(f"  {source} cannot be read: {reason}")
        for warning in plan.warnings:
            print(f"  {warning}")
        shown = plan.days[:8]
        if shown:
            more = f" and {len(plan.days) - 8} more ranges" if len(plan.days) > 8 else ""
            print(f"  days: {', '.join(map(str, shown))}{more}")
