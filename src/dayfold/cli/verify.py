"""``dayfold verify``: compare stored cells with their sources. A door."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dayfold.cli import checks as verdicts
from dayfold.cli.fold import progress_shown
from dayfold.cli.output import (
    DEFAULT_APP,
    AppOption,
    JsonOption,
    RollupsArgument,
    WaitOption,
    noted,
    number,
    open_app,
    write_json,
)
from dayfold.days import LIFE
from dayfold.errors import UsageError
from dayfold.names import plural

if TYPE_CHECKING:
    from dayfold.fold.drifts import Drift
    from dayfold.fold.verify import VerifyResult

#: Drifts that a person is shown of each rollup.
_SHOWN = 20


def run(
    rollups: RollupsArgument = None,
    app: AppOption = DEFAULT_APP,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY", help="First day: YYYY-MM-DD, today, yesterday or -7d (UTC)."),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day, included.")] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="Verify so many days at random.")
    ] = None,
    heal: Annotated[bool, typer.Option("--heal", help="Fold the cells that differ, and compare them again.")] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            min=0,
            metavar="SECONDS",
            help="Begin no further days after so many seconds.",
            show_default="60, and no limit where days are given",
        ),
    ] = None,
    wait: WaitOption = None,
    checks_only: Annotated[
        bool, typer.Option("--checks-only", help="Run the checks of the definitions, and compare nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Compare stored cells with their sources, the least recently verified days first, and run the checks. Exit status 1 on drift."""
    from dayfold.fold.checks import has_failed

    if checks_only and (heal or any(word is not None for word in (from_, to, sample, budget, wait))):
        raise UsageError(
            "--checks-only compares nothing, so that --from, --to, --sample, --heal, --budget and --wait mean nothing."
        )
    target = ", ".join(rollups) if rollups else "all rollups"
    with open_app(app) as dayfold, progress_shown() as progress, noted(dayfold, "heal" if heal else None, target):
        results = [] if checks_only else dayfold.verify(
            rollups, from_=from_, to=to, sample=sample, heal=heal, budget_s=budget, wait_s=wait, progress=progress
        )  # fmt: skip
        found = dayfold.check(rollups, after=results)
    if json:
        write_json(
            {
                "verifications": [as_object(result) for result in results],
                "checks": [verdicts.as_object(one) for one in found],
            }
        )
    else:
        for result in results:
            show(result)
        verdicts.show(found)
    if not all(result.is_proved for result in results) or has_failed(found):
        raise typer.Exit(1)


def as_object(result: VerifyResult) -> dict[str, object]:
    """A result for JSON, with every drift that it holds."""
    found: dict[str, object] = {
        "rollup": result.rollup, "run_id": result.run_id, "days": result.days, "cells": result.cells,
        "drifted": result.drifted, "healed": result.healed, "left_out": result.left_out, "seconds": result.seconds,
        "drifts": [_drift(one) for one in result.drifts], "notes": result.notes,
    }  # fmt: skip
    if result.error:
        found["error"] = result.error
    return found


def _drift(one: Drift) -> dict[str, object]:
    found: dict[str, object] = {
        "reason": one.reason, "day": one.day, "key": one.key, "metric": one.metric, "stored": one.stored,
        "actual": one.actual, "healed": one.healed,
    }  # fmt: skip
    return found | {name: value for name in ("bucket", "part", "note") if (value := getattr(one, name))}


def show(result: VerifyResult) -> None:
    """A result for a person; what went wrong goes to standard error."""
    cell = "entity" if result.is_lifelong else "cell"
    days = "" if result.is_lifelong else f"{plural(result.days, 'day')}, "
    drift = f"{plural(result.drifted, cell)} drifted" if result.drifted else "no drift"
    healed = f", {result.healed:,} healed" if result.healed else ""
    print(f"{result.rollup}: {days}{plural(result.cells, cell)} compared, {drift}{healed}, {result.seconds:.2f} s")
    if result.left_out:
        print(f"  left out: {', '.join(f'{reason} {count:,}' for reason, count in result.left_out.items())}")
    for note in result.notes:
        print(f"  {note}")
    for one in result.drifts[:_SHOWN]:
        print(f"  {line(one)}")
    if len(result.drifts) > _SHOWN:
        print(f"  and {len(result.drifts) - _SHOWN:,} more; --json shows them")
    if result.error:
        first, *more = result.error.splitlines()
        print("\n".join([f"{result.rollup}: {first}", *more]), file=sys.stderr)


def line(one: Drift) -> str:
    """One drift in one line."""
    place = [one.bucket or (str(one.day) if one.day not in (None, LIFE) else "")]
    place += [f"{name}={'NULL' if value is None else value}" for name, value in one.key.items()]
    if one.metric is not None:
        metric = f"{one.metric} ({one.part})" if one.part else one.metric
        place.append(f"{metric}: stored {number(one.stored)}, actual {number(one.actual)}")
    words = " ".join(word for word in place if word)
    healed = "; healed" if one.healed else ""
    note = f": {one.note}" if one.note else ""
    return f"{words} [{one.reason}{note}{healed}]".strip()
