"""Rows of counters that are held back: nothing of them is lost until they are applied, or erased. Ledger floor."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dayfold.define.counter import MOST, CounterDef
from dayfold.engines.base import Session
from dayfold.ledger.counted import (
    ADDS,
    ERASED,
    add_tally,
)
from dayfold.ledger.ledger import Ledger
from dayfold.plan.sql import column

#: Why a row is held.
OVERFLOW, REJECTED, UNKNOWN, IDENTITY, NEGATIVE = "overflow", "rejected", "unknown", "identity", "negative"
REASONS = (OVERFLOW, REJECTED, UNKNOWN, IDENTITY, NEGATIVE)


@dataclass(frozen=True, slots=True)
class Held:
    """A row that is not applied, and why: ``reason`` and ``detail`` name no value.

    ``named``: the id of the increment that it is, where it is one with an id.
    """

    reason: str
    detail: str
    day: str
    key: str
    owner: str | None
    amounts: Mapping[str, int]
    id: str = ""
    held_at: str = ""
    named: str = ""


def hold(ledger: Ledger, session: Session, counter: CounterDef, rows: Sequence[Held]) -> None:
    """These rows are in quarantine."""
    now = ledger.clock.now()
    for one in rows:
        session.execute(
            ledger.sql(
                "insert into dayfold__held_counts (id, counter, reason, detail, day, key, owner, amounts, held_at) values "
                "(:id, :counter, :reason, :detail, :day, :key, :owner, :amounts, :now::timestamptz)",
                id=secrets.token_hex(12), counter=counter.name, reason=one.reason, detail=one.detail, day=one.day, key=_storable(one.key),
                owner=one.owner if one.owner is None else _storable(one.owner), amounts=json.dumps(dict(one.amounts)), now=now,
            )
        )  # fmt: skip
        if one.named:
            # It came once: who sends it again adds nothing, whatever becomes of it here.
            session.execute(
                ledger.sql(
                    "insert into dayfold__count_ids (counter, id, noted_at) values (:counter, :id, :now::timestamptz) "
                    "on conflict (counter, id) do nothing",
                    counter=counter.name, id=_storable(one.named), now=now,
                )
            )  # fmt: skip


def first_held(
    ledger: Ledger, session: Session, counter: CounterDef, rows: Sequence[Held]
) -> tuple[list[Held], dict[str, int]]:
    """Rows to hold, without those whose id is known or came twice; and what is in these."""
    names = list({_storable(one.named) for one in rows if one.named})
    query = "select id from dayfold__count_ids where counter = :counter and id = any(:ids::text[])"
    found = session.rows(ledger.sql(query, counter=counter.name, ids=names)) if names else []
    known = {id_ for (id_,) in found}
    first: list[Held] = []
    again: dict[str, int] = {}
    for one in rows:
        if one.named and _storable(one.named) in known:
            for name, amount in {**one.amounts, ADDS: 1}.items():
                again[name] = again.get(name, 0) + amount
        else:
            first.append(one)
            known.add(_storable(one.named))
    return first, again


def _storable(text: str) -> str:
    """A text as a database takes it."""
    return text.replace("\0", "\ufffd")


def held_rows(ledger: Ledger, session: Session, counter: str, limit: int | None = None, after: str = "") -> list[Held]:
    """The rows of a counter that are held, by their ids, after one."""
    query = ledger.sql(
        "select reason, detail, day, key, owner, amounts, id, _moment from dayfold__held_counts where "
        "counter = :counter and id > :after order by id limit :limit::bigint",
        counter=counter, after=after, limit=limit if limit is not None else MOST,
        _moment=ledger.home.dialect.piece("iso_moment", _x=column("held_at")),
    )  # fmt: skip
    return [
        Held(reason, detail, day, key, owner, json.loads(amounts), id_, held_at)
        for reason, detail, day, key, owner, amounts, id_, held_at in session.rows(query)
    ]


def release(ledger: Ledger, session: Session, ids: Sequence[str]) -> int:
    """These rows are not held any more; how many were."""
    gone = ledger.sql("delete from dayfold__held_counts where id = any(:ids::text[])", ids=list(ids))
    return session.execute(gone) if ids else 0


def drop_held(ledger: Ledger, session: Session, name: str) -> int:
    """Held rows in whose key or owner a text of JSON stands are gone, and counted as erased; how many."""
    text = "from dayfold__held_counts where strpos(key, :name::text) > 0 or owner = :name::text"
    for counter, amounts in session.rows(ledger.sql(f"select counter, amounts {text}", name=name)):
        add_tally(ledger, session, counter, ERASED, json.loads(amounts))
    return session.execute(ledger.sql(f"delete {text}", name=name))
