"""Verdicts of checks as commands show them. A door."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dayfold.cli.output import number

if TYPE_CHECKING:
    from dayfold.ledger.checks import Verdict


def as_object(one: Verdict) -> dict[str, object]:
    """A verdict for JSON."""
    return {
        "check": one.name, "severity": one.severity, "verdict": one.verdict, "reason": one.reason, "offending": one.offending,
        "left": one.left, "right": one.right, "seconds": one.seconds, "checked_at": one.checked_at, "run_id": one.run_id,
    }  # fmt: skip


def show(found: Iterable[Verdict], *, only_failed: bool = False) -> None:
    """Verdicts for a person; those that did not pass go to standard error."""
    for one in found:
        if one.verdict == "passed":
            if not only_failed:
                print(f"{one.name}: passed, {one.seconds:.2f} s")
            continue
        print(f"{one.name}: {line(one)}", file=sys.stderr)


def line(one: Verdict) -> str:
    """How a check ended, in one line."""
    word = "could not run" if one.verdict == "error" else one.verdict
    sides = ""
    if one.left is not None or one.right is not None:
        sides = f" left {number(one.left)}, right {number(one.right)}."
    return f"{word} ({one.severity}): {one.reason}{sides}"
