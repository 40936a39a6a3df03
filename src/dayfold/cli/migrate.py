"""``dayfold migrate``: bring a store to this program's version. A door."""

from __future__ import annotations

from dayfold.cli.output import DEFAULT_APP, AppOption, JsonOption, open_app, write_json


def run(app: AppOption = DEFAULT_APP, json: JsonOption = False) -> None:
    """Apply the migrations that the store lacks, in one transaction."""
    with open_app(app) as dayfold:
        applied = dayfold.migrate()
    if json:
        write_json({"applied": applied})
        return
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("Nothing to apply: the store is of this program's version.")
