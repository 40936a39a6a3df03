"""Cursors: how far a source's changes have been read, for sources that stamp their rows. Ledger floor.

A stamp is taken before its transaction commits, so a row may appear behind a stamp that was read already. The cursor passes
a moment only when every transaction that was open then is over.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import column


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one source was read for one rollup. Moments are ISO texts in UTC.

    Attributes:
        position: Every change with an earlier stamp has been marked; None where that is not known of any.
        reached: When the source was looked at; ``waiting``: the transactions that were open then and may still be.
    """

    position: str | None
    reached: str
    waiting: tuple[str, ...]


def cursor(ledger: Ledger, session: Session, rollup: str, version: int, source: str) -> Cursor | None:
    """A source's cursor, or None where it was never read."""
    dialect = ledger.home.dialect
    query = ledger.sql(
        "select _position, _reached, waiting from dayfold__cursors where rollup = :rollup and version = :version and "
        "source = :source",
        rollup=rollup, version=version, source=source,
        _position=dialect.piece("iso_micros", _x=column("position")),
        _reached=dialect.piece("iso_micros", _x=column("reached")),
    )  # fmt: skip
    found = session.rows(query)
    return Cursor(found[0][0], found[0][1], tuple(json.loads(found[0][2]))) if found else None


def move(ledger: Ledger, session: Session, rollup: str, version: int, source: str, to: Cursor) -> None:
    """The source has been read so far."""
    session.execute(
        ledger.sql(
            "insert into dayfold__cursors (rollup, version, source, position, reached, waiting) values (:rollup, :version, "
            ":source, :position::timestamptz, :reached::timestamptz, :waiting) on conflict (rollup, version, source) "
            "do update set position = excluded.position, reached = excluded.reached, waiting = excluded.waiting",
            rollup=rollup, version=version, source=source, position=to.position, reached=to.reached,
            waiting=json.dumps(to.waiting),
        )
    )  # fmt: skip


def still_open(waiting: Collection[str], now_open: Collection[str]) -> tuple[str, ...]:
    """Those of the awaited transactions that are not over.

    >>> still_open(["3/7", "4/1"], ["4/1", "5/2"])
    ('4/1',)
    """
    return tuple(one for one in waiting if one in set(now_open))


def stamp(ledger: Ledger, session: Session, rollup: str, version: int, source: str) -> str | None:
    """The mark of the triggers that have told this source's changes since it was first covered, or None."""
    query = ledger.sql(
        "select stamp from dayfold__tracked where rollup = :rollup and version = :version and source = :source",
        rollup=rollup, version=version, source=source,
    )  # fmt: skip
    found = session.rows(query)
    return found[0][0] if found else None


def keep_stamp(ledger: Ledger, session: Session, rollup: str, version: int, source: str, value: str | None) -> None:
    """From now on these triggers tell the source's changes; None: nothing does."""
    known = {"rollup": rollup, "version": version, "source": source}
    if value is None:
        gone = "delete from dayfold__tracked where rollup = :rollup and version = :version and source = :source"
        session.execute(ledger.sql(gone, **known))
        return
    session.execute(
        ledger.sql(
            "insert into dayfold__tracked (rollup, version, source, stamp) values (:rollup, :version, :source, :stamp) "
            "on conflict (rollup, version, source) do update set stamp = excluded.stamp",
            stamp=value, **known,
        )
    )  # fmt: skip
