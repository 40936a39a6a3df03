"""``dayfold plan``: what the next fold would do and cost. A door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dayfold.cli.output import (
    DEFAULT_APP,
    AppOption,
    JsonOption,
    RollupsArgument,
    open_app,
    write_json,
)
from dayfold.names import plural

if TYPE_CHECKING:
    from dayfold.fold.plan import RollupPlan


def run(rollups: RollupsArgument = None, app: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """What the next fold would do and read. Writes nothing."""
    with open_app(app) as dayfold:
        plans = dayfold.plan(rollups)
    if json:
        write_json({"plans": [plan.as_object() for plan in plans]})
        return
    for plan in plans:
        print(f"{plan.rollup}: {plan.action}, {_scope(plan)}, {plural(plan.facts, 'fact')} to read, table {plan.table}")
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
        shown = [] if plan.is_lifelong else plan.days[:8]
        if shown:
            more = f" and {len(plan.days) - 8} more ranges" if len(plan.days) > 8 else ""
            print(f"  days: {', '.join(map(str, shown))}{more}")


def _scope(plan: RollupPlan) -> str:
    """What would be computed."""
    if plan.is_lifelong:
        return "all entities" if plan.days else plural(plan.marked, "entity")
    marked = f", {plural(plan.marked, 'marked cell')}" if plan.marked else ""
    return f"{plural(sum(map(len, plan.days)), 'day')}{marked}"
