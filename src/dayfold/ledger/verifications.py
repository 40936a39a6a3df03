"""Verifications: when each day of a rollup was last compared with its source, and what was found. Ledger floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from dayfold.days import Days
from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import column


@dataclass(frozen=True, slots=True)
class Verification:
    """The last comparison of one day.

    Attributes:
        cells: How many cells were compared; ``drifted``: how many of them differed.
        at: When, ISO text in UTC; ``run_id``: in which run.
    """

    day: dt.date
    at: str
    run_id: int
    cells: int
    drifted: int


def record(
    ledger: Ledger,
    session: Session,
    rollup: str,
    version: int,
    run_id: int,
    found: Sequence[tuple[dt.date, int, int]],
) -> None:
    """Days were compared just now: each with its cells and how many of them drifted."""
    days, cells, drifted = (list(part) for part in zip(*found, strict=True)) if found else ([], [], [])
    session.execute(
        ledger.sql(
            "insert into dayfold__verifications (rollup, version, day, verified_at, run_id, cells, drifted) "
            "select :rollup::text, :version::bigint, unnest(:days::date[]), :now::timestamptz, :run::bigint, "
            "unnest(:cells::bigint[]), unnest(:drifted::bigint[]) on conflict (rollup, version, day) do "
            "update set verified_at = excluded.verified_at, run_id = excluded.run_id, cells = excluded.cells, "
            "drifted = excluded.drifted",
            rollup=rollup, version=version, days=days, now=ledger.clock.now(), run=run_id, cells=cells, drifted=drifted,
        )
    )  # fmt: skip


def order(ledger: Ledger, session: Session, rollup: str, version: int) -> dict[dt.date, int]:
    """The days that were ever verified, each with its place: the least recently verified is the first."""
    query = ledger.sql(
        "select day from dayfold__verifications where rollup = :rollup and version = :version "
        "order by verified_at, run_id, day",
        rollup=rollup, version=version,
    )  # fmt: skip
    return {day: place for place, (day,) in enumerate(session.rows(query))}


def of_days(ledger: Ledger, session: Session, rollup: str, version: int, days: Days) -> dict[dt.date, Verification]:
    """The last verification of each of these days that ever had one."""
    query = ledger.sql(
        "select day, _at, run_id, cells, drifted from dayfold__verifications where rollup = :rollup and "
        "version = :version and day >= :first::date and day <= :last::date order by day",
        rollup=rollup, version=version, first=days.first, last=days.last,
        _at=ledger.home.dialect.piece("iso_moment", _x=column("verified_at")),
    )  # fmt: skip
    return {row[0]: Verification(*row) for row in session.rows(query)}
