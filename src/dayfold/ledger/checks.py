"""Verdicts of checks: the last hundred of each, with what they were about. Ledger floor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import column

PASSED, FAILED, ERROR = "passed", "failed", "error"
VERDICTS = (PASSED, FAILED, ERROR)
#: Verdicts of one check that are kept.
MOST_KEPT = 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found.

    Attributes:
        verdict: ``passed``, ``failed``, or ``error`` where it could not run.
        reason: Why it did not pass, one sentence without a value of a row.
        offending: How many rows a query returned that must return none; null for a comparison.
        left: The number on the left of a comparison; null where it is no number. ``right``: that on the right.
        run_id: The fold or verification that it came after.
    """

    name: str
    severity: str
    verdict: str
    reason: str | None = None
    offending: int | None = None
    left: Decimal | None = None
    right: Decimal | None = None
    seconds: float = 0.0
    checked_at: str | None = None
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class Last:
    """A check's last verdict, and what it was about.

    Attributes:
        digest: Of the check's words.
        seen: The revision of each definition that the check is of, as it was before the check ran.
    """

    verdict: Verdict
    digest: str
    seen: Mapping[str, int]


def record(ledger: Ledger, session: Session, found: Verdict, digest: str, seen: Mapping[str, int]) -> None:
    """A check's newest verdict is this one; its oldest ones go. Raises Conflict where another run records one at once."""
    [(turn,)] = session.rows(
        ledger.sql("select coalesce(max(turn), 0) + 1 from dayfold__checks where name = :name", name=found.name)
    )
    session.execute(
        ledger.sql(
            "insert into dayfold__checks (name, turn, severity, verdict, reason, offending, left_value, right_value, checked_at, "
            "took_ms, run_id, digest, seen) values (:name, :turn, :severity, :verdict, :reason, :offending::bigint, :left, :right, "
            ":now::timestamptz, :took, :run::bigint, :digest, :seen)",
            name=found.name, turn=int(turn), severity=found.severity, verdict=found.verdict, reason=found.reason,
            offending=found.offending, left=_text(found.left), right=_text(found.right), now=ledger.clock.now(),
            took=round(found.seconds * 1000), run=found.run_id, digest=digest, seen=json.dumps(dict(sorted(seen.items()))),
        )
    )  # fmt: skip
    session.execute(
        ledger.sql(
            "delete from dayfold__checks where name = :name and turn <= :oldest",
            name=found.name,
            oldest=int(turn) - MOST_KEPT,
        )
    )


def last(ledger: Ledger, session: Session) -> dict[str, Last]:
    """The last verdict of each check that ever ran, by name."""
    query = ledger.sql(
        "select c.name, c.severity, c.verdict, c.reason, c.offending, c.left_value, c.right_value, c.took_ms, _at, c.run_id, c.digest, "
        "c.seen from dayfold__checks as c join (select name, max(turn) as turn from dayfold__checks group by name) as l "
        "on l.name = c.name and l.turn = c.turn order by c.name",
        _at=ledger.home.dialect.piece("iso_moment", _x=column("checked_at", "c")),
    )  # fmt: skip
    found = {}
    for name, severity, verdict, reason, offending, left, right, took_ms, at, run_id, digest, seen in session.rows(
        query
    ):
        one = Verdict(
            name, severity, verdict, reason, offending, _number(left), _number(right), took_ms / 1000, at, run_id
        )
        found[name] = Last(one, digest, json.loads(seen))
    return found


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
