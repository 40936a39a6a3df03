"""``dayfold retain``: what is past its time is shown, and deleted where that is said. A door."""

from __future__ import annotations

from typing import Annotated

import typer

from dayfold.cli.output import (
    DEFAULT_APP,
    AppOption,
    JsonOption,
    WaitOption,
    noted,
    number,
    open_app,
    show_table,
    write_json,
)
from dayfold.names import listing, plural


def run(
    app: AppOption = DEFAULT_APP,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it. Without this, it is only shown.")] = False,
    wait: WaitOption = None,
    json: JsonOption = False,
) -> None:
    """Show what is past the time that [retain] gives it, and delete it with --yes. Rollups are never touched."""
    with open_app(app) as dayfold, noted(dayfold, "retain" if yes else None, "what is past its time"):
        found = dayfold.retain(yes=yes, wait_s=wait)
    if json:
        write_json(found.as_object())
        return
    show_table(
        ("what", "deleted" if yes else "to delete", "first", "last"),
        [(one.what, number(one.count), str(one.first or "–"), str(one.last or "–")) for one in found.things],
        (False, True, False, False),
    )
    if found.sealed:
        days = listing(f"{name} {plural(count, 'day')}" for name, count in found.sealed.items())
        print(f"{'Sealed' if yes else 'To be sealed'}: {days}")
    for one in found.kept:
        print(f"Kept: {one.days} ({plural(one.events, 'event')}): {one.reason}")
    if not yes:
        is_any = any(one.count for one in found.things)
        print("Nothing was deleted. Delete it: dayfold retain --yes" if is_any else "Nothing is past its time.")
