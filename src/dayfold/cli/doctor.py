"""``dayfold doctor``: looks for what would keep folds from working. A door."""

from __future__ import annotations

from dataclasses import asdict

import typer

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, write_json


def run(app: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Check connections, permissions, clocks, definitions, and indexes on moments."""
    with open_app(app) as dayfold:
        findings = dayfold.doctor()
    if json:
        write_json({"findings": [asdict(one) for one in findings]})
    else:
        for one in findings:
            print(f"{one.level:8} {one.subject}: {one.message}")
            for line in one.advice.splitlines():
                print(f"         {line}")
    if any(one.level == "problem" for one in findings):
        raise typer.Exit(1)
