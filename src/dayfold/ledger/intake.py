"""What was taken in: how many events had which outcome on which day, and how far a journal was taken. Ledger floor."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping
from typing import Any

from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger

#: What may become of an event, in the order in which it is told.
OUTCOMES = ("accepted", "repeated", "conflict", "quarantined", "refused", "limited", "ignored", "lost")
#: Days for which the salt of a day is kept after it: what comes late is still of that visitor.
_SALT_DAYS = 2


def count(ledger: Ledger, session: Session, writer: str, day: dt.date, outcomes: Mapping[str, int]) -> None:
    """So many more events of a day had these outcomes; ``writer``: the process that counts, which has rows of its own."""
    for outcome in OUTCOMES:
        if outcomes.get(outcome):
            session.execute(
                ledger.sql(
                    "insert into dayfold__intake as i (day, outcome, writer, events) values (:day::date, :outcome, :writer, "
                    ":events::bigint) on conflict (day, outcome, writer) do update set events = i.events + excluded.events",
                    day=day, writer=writer, outcome=outcome, events=outcomes[outcome],
                )
            )  # fmt: skip


def counted(ledger: Ledger, session: Session, since: dt.date) -> list[tuple[dt.date, str, int]]:
    """Day, outcome and events, from a day on."""
    query = ledger.sql(
        "select day, outcome, sum(events)::bigint from dayfold__intake where day >= :since::date group by day, outcome "
        "order by day, outcome",
        since=since,
    )
    return [tuple(row) for row in session.rows(query)]


def position(ledger: Ledger, session: Session, journal: str) -> int:
    """The last record of a journal that the store has taken; 0 where it has none."""
    found: list[tuple[Any, ...]] = session.rows(
        ledger.sql("select position from dayfold__journals where name = :name", name=journal)
    )
    return int(found[0][0]) if found else 0


def move(ledger: Ledger, session: Session, journal: str, to: int) -> None:
    """The records of a journal up to this one are in the store, once the transaction commits."""
    session.execute(
        ledger.sql(
            "insert into dayfold__journals (name, position) values (:name, :position::bigint) "
            "on conflict (name) do update set position = excluded.position",
            name=journal, position=to,
        )
    )  # fmt: skip


def salt(ledger: Ledger, day: dt.date) -> str:
    """The salt of a day, the same for every process; that of days long past is gone."""

    def make() -> None:
        with ledger.store.transaction() as session:
            oldest = day - dt.timedelta(days=_SALT_DAYS)
            session.execute(ledger.sql("delete from dayfold__salts where day < :oldest::date", oldest=oldest))
            session.execute(
                ledger.sql(
                    "insert into dayfold__salts (day, salt) values (:day::date, :salt)",
                    day=day, salt=secrets.token_hex(16),
                )
            )  # fmt: skip

    ledger.make_once(lambda: bool(_salt(ledger, day)), make)
    found = _salt(ledger, day)
    assert found is not None
    return found


def _salt(ledger: Ledger, day: dt.date) -> str | None:
    with ledger.store.transaction(read_only=True) as session:
        found = session.rows(ledger.sql("select salt from dayfold__salts where day = :day::date", day=day))
    return str(found[0][0]) if found else None
