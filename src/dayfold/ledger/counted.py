"""Counted amounts: the tables of counters, and what is known of the batches that entered them. Ledger floor.

A counter has two tables: the *counted* one, a row for each key and day, from which its days are folded, and the one of its current
totals, a row for each key. A batch is added to both in one transaction, with the note that it was.

Increments enter by `dayfold.ledger.counting` alone.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dayfold.define.counter import DAY, CounterDef
from dayfold.define.types import DATE, INT, TIMESTAMPTZ
from dayfold.engines.base import Session, at_home, normal_type
from dayfold.errors import StoreAltered
from dayfold.ledger import versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.shape import Column, declared, quoted
from dayfold.plan.sql import column, statement

#: The name, among tallies, of how many increments there were: that of no total.
ADDS = "*"
#: What tallies are kept of, by name, beside those of epochs.
REPEATED, ERASED, IMPORTED, LOST = "repeated", "erased", "imported", "lost"


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is known of one life of a shard's data.

    Attributes:
        number: Of the last batch that was applied; ``accepted``: the tallies when it was sealed.
        seen: The greatest tallies that a client was told, where one told them after the epoch had ended.
        vanished: It ended without a last batch: the live store lost what it held.
    """

    shard: int
    epoch: str
    number: int = 0
    accepted: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)
    ended: bool = False
    vanished: bool = False

    @property
    def lost(self) -> dict[str, int]:
        """What clients were told of and no batch had, at least; only of an epoch that has ended."""
        if not self.ended or self.seen.get(ADDS, 0) <= self.accepted.get(ADDS, 0):
            return {}
        found = {name: amount - self.accepted.get(name, 0) for name, amount in self.seen.items()}
        return {name: amount for name, amount in found.items() if amount}


# -- tables ------------------------------------------------------------------------------------------


def _columns(counter: CounterDef) -> tuple[list[Column], list[Column]]:
    """The columns of the counted table, and of that of the totals."""
    named = [Column(name, type_) for name, type_ in counter.types.items()]
    totals = [Column(name, INT) for name in counter.totals]
    moved = Column("updated_at", TIMESTAMPTZ)
    counted = [*named, Column(DAY, DATE), *totals, moved]
    current = [
        *named,
        Column("first_day", DATE),
        Column("last_day", DATE),
        *totals,
        Column("created_at", TIMESTAMPTZ),
        moved,
    ]
    return counted, current


def name_of(ledger: Ledger, table: str) -> str:
    """A table of the store as text, in its schema."""
    return f"{quoted(ledger.home.schema)}.{quoted(table)}"


def fence_of(counter: CounterDef) -> str:
    """What whoever writes a counter's tables takes hold of."""
    return f"counter {counter.name}"


def take_hold(ledger: Ledger, session: Session, counter: CounterDef) -> None:
    """Whoever else writes the counter's tables waits until this transaction ends, or is told of a conflict."""
    versions.pass_fence(ledger, session, fence_of(counter))


def exists(ledger: Ledger, counter: CounterDef) -> bool:
    """Whether the counter has its tables; once there, they stay."""
    return ledger.keeps(counter.counted.label)


def ensure(ledger: Ledger, counter: CounterDef) -> None:
    """The counter's tables are there, with a column for each total; one that is not declared any more stays.

    Raises:
        StoreAltered: where a column has another type than is declared, or the key is another one.
    """

    def is_there() -> bool:
        with ledger.store.transaction(read_only=True) as session:
            return not any(missing for _, missing in _missing(ledger, session, counter))

    ledger.make_once(is_there, lambda: _make(ledger, counter))


def _missing(ledger: Ledger, session: Session, counter: CounterDef) -> list[tuple[str, list[Column]]]:
    """The tables, each with the columns that it does not have yet."""
    names = (counter.counted.label, counter.totals_table)
    stored = ledger.home.stored_columns(at_home(session), names)
    found = []
    for name, columns in zip(names, _columns(counter), strict=True):
        have = stored.get(name, {})
        wrong = [
            f"{one.name} ({have[one.name]})"
            for one in columns
            if one.name in have and have[one.name] != normal_type(ledger.home.dialect, one.type)
        ]
        missing = [one for one in columns if one.name not in have]
        if have and (rekeyed := [one.name for one in missing if one.name in counter.types]):
            wrong += [f"{one} (missing)" for one in rekeyed]
        if wrong:
            raise StoreAltered(
                f"The table {name} has other columns than the counter {counter.name} declares: {', '.join(wrong)}.",
                hint="A counter keeps its key, owner and types for life: declare them as they are, or name a new counter.",
            )
        found.append((name, missing))
    return found


def _make(ledger: Ledger, counter: CounterDef) -> None:
    dialect = ledger.home.dialect
    key = ", ".join(map(quoted, counter.key))
    with ledger.store.transaction() as session:
        for place, (label, missing) in enumerate(_missing(ledger, session, counter)):
            name = name_of(ledger, label)
            if len(missing) == len(_columns(counter)[place]):
                # Room beside each row: one that is added to is written there, and no index is.
                # Room beside each row: one that is added to is written there, and its indexes are not.
                room = " WITH (fillfactor = 40)" if dialect.name == "postgres" else ""
                session.execute(f"CREATE TABLE {name} ({', '.join(declared(dialect, one) for one in missing)}){room}")
                # In DuckDB, where one process writes at a time, a key would only make each flush twice as long.
                if dialect.name == "postgres":
                    identity = f"{key}, {quoted(DAY)}" if place == 0 else key
                    session.execute(f"CREATE UNIQUE INDEX {quoted(f'{label}_key')} ON {name} ({identity})")
                    session.execute(
                        f"CREATE INDEX {quoted(f'{label}_day')} ON {name} ({quoted(DAY if place == 0 else 'last_day')})"
                    )
                    if counter.has_owner:
                        session.execute(
                            f"CREATE INDEX {quoted(f'{label}_owner')} ON {name} ({quoted(str(counter.owner))})"
                        )
            else:
                for one in missing:
                    session.execute(f"ALTER TABLE {name} ADD COLUMN {declared(dialect, one)} DEFAULT 0")
        versions.add_fence(ledger, session, fence_of(counter))


# -- what is known -----------------------------------------------------------------------------------


def epochs(ledger: Ledger, session: Session, counter: str) -> dict[tuple[int, str], Epoch]:
    """What is known of the epochs of a counter's shards, the oldest first."""
    query = ledger.sql(
        "select shard, epoch, number, accepted, seen, ended, vanished from dayfold__live where counter = :counter "
        "order by noted_at, shard, epoch",
        counter=counter,
    )
    return {
        (int(shard), epoch): Epoch(
            int(shard), epoch, int(number), json.loads(accepted), json.loads(seen), ended, vanished
        )
        for shard, epoch, number, accepted, seen, ended, vanished in session.rows(query)
    }  # fmt: skip


def note_epoch(ledger: Ledger, session: Session, counter: str, one: Epoch) -> None:
    """What is known of an epoch is this."""
    session.execute(
        ledger.sql(
            "insert into dayfold__live as l (counter, shard, epoch, number, accepted, seen, ended, vanished, noted_at) values "
            "(:counter, :shard, :epoch, :number, :accepted, :seen, :ended, :vanished, :now::timestamptz) "
            "on conflict (counter, shard, epoch) do update set number = excluded.number, accepted = excluded.accepted, "
            "seen = excluded.seen, ended = excluded.ended, vanished = excluded.vanished",
            counter=counter, shard=one.shard, epoch=one.epoch, number=one.number, accepted=json.dumps(dict(one.accepted)),
            seen=json.dumps(dict(one.seen)), ended=one.ended, vanished=one.vanished, now=ledger.clock.now(),
        )
    )  # fmt: skip


def tallies(ledger: Ledger, session: Session, counter: str) -> dict[str, dict[str, int]]:
    """What was repeated, erased and imported of a counter."""
    query = ledger.sql("select what, amounts from dayfold__tallies where counter = :counter", counter=counter)
    return {what: json.loads(amounts) for what, amounts in session.rows(query)}


def add_tally(ledger: Ledger, session: Session, counter: str, what: str, amounts: Mapping[str, int]) -> None:
    """So much more was repeated, erased or imported. Whoever calls it holds the counter's fence."""
    if not any(amounts.values()):
        return
    known = tallies(ledger, session, counter)
    before = known.get(what, {})
    text = json.dumps({name: before.get(name, 0) + amounts.get(name, 0) for name in {**before, **amounts}})
    change = (
        "update dayfold__tallies set amounts = :amounts where counter = :counter and what = :what"
        if what in known
        else "insert into dayfold__tallies (counter, what, amounts) values (:counter, :what, :amounts)"
    )
    session.execute(ledger.sql(change, counter=counter, what=what, amounts=text))


def merge_adders(ledger: Ledger, session: Session, before: dt.datetime) -> int:
    """What processes that ended long ago have added is summed up in one row of each counter; how many rows went."""
    query = "select counter, client, amounts from dayfold__adders where seen_at < :before::timestamptz and client <> ''"
    rows = session.rows(ledger.sql(query, before=before))
    merged: dict[str, dict[str, int]] = {}
    for counter, _, amounts in rows:
        whole = merged.setdefault(counter, {})
        for name, amount in json.loads(amounts).items():
            whole[name] = whole.get(name, 0) + amount
    for counter, whole in merged.items():
        known = session.rows(
            ledger.sql("select amounts from dayfold__adders where counter = :counter and client = ''", counter=counter)
        )
        for name, amount in (json.loads(known[0][0]) if known else {}).items():
            whole[name] = whole.get(name, 0) + amount
        gone = (
            "delete from dayfold__adders where counter = :counter and (client = '' or seen_at < :before::timestamptz)"
        )
        session.execute(ledger.sql(gone, counter=counter, before=before))
        session.execute(
            ledger.sql(
                "insert into dayfold__adders (counter, client, calls, amounts, seen_at) values (:counter, '', 0, :amounts, "
                ":before::timestamptz)",
                counter=counter, amounts=json.dumps(whole), before=before,
            )
        )  # fmt: skip
    return len(rows)


def past(
    ledger: Ledger, session: Session, ids: dt.datetime, flushes: dt.datetime
) -> dict[str, tuple[int, dt.date | None, dt.date | None]]:
    """How many ids and notes of batches are older than a moment each, with the days of the first and the last of them."""
    found = {}
    for what, name, moment, before in (
        ("count_ids", "dayfold__count_ids", "noted_at", ids), ("flushes", "dayfold__flushes", "applied_at", flushes)
    ):  # fmt: skip
        day = f"cast({{}}({moment}) at time zone 'UTC' as date)"
        rest = " and left(id, 7) <> 'import '" if what == "count_ids" else ""
        query = f"select count(*), {day.format('min')}, {day.format('max')} from {name} where {moment} < :before::timestamptz{rest}"
        [(count, first, last)] = session.rows(ledger.sql(query, before=before))
        found[what] = (int(count), first, last)
    return found


def sums(
    ledger: Ledger, session: Session, counter: CounterDef, table: str, where: str = "true", **values: Any
) -> dict[str, int]:
    """The sum of each total over rows of a table of the counter's, those among them that are not declared any more."""
    [stored] = ledger.home.stored_columns(at_home(session), [table]).values()
    whole = normal_type(ledger.home.dialect, INT)
    names = [name for name, type_ in stored.items() if type_ == whole and name not in counter.types]
    items = ", ".join(f"cast(coalesce(sum({quoted(name)}), 0) as text)" for name in names)
    [row] = session.rows(statement(f"select {items} from {name_of(ledger, table)} where {where}", **values))
    return {name: int(value) for name, value in zip(names, row, strict=True)}


def standing(ledger: Ledger, session: Session, counter: CounterDef) -> tuple[int, dict[str, int], str | None]:
    """How many keys have a total, how many rows are held by reason, and when something was applied last."""
    [(keys,)] = session.rows(statement(f"select count(*) from {name_of(ledger, counter.totals_table)}"))
    query = "select reason, count(*) from dayfold__held_counts where counter = :counter group by reason"
    held = {reason: int(count) for reason, count in session.rows(ledger.sql(query, counter=counter.name))}
    moment = ledger.home.dialect.piece("iso_moment", _x=column("applied_at"))
    latest = "select max(_moment) from dayfold__flushes where counter = :counter"
    [(last,)] = session.rows(ledger.sql(latest, counter=counter.name, _moment=moment))
    return int(keys), held, last


def greatest(
    ledger: Ledger, session: Session, counter: CounterDef, keys: int
) -> list[tuple[tuple[object, ...], dict[str, int]]]:
    """The keys with most of the first total: their columns, the owner after the key, and each total."""
    columns = ", ".join(map(quoted, counter.columns))
    totals = ", ".join(map(quoted, counter.totals))
    order = ", ".join(str(place + 1) for place in range(len(counter.columns)))
    query = (
        f"select {columns}, {totals} from {name_of(ledger, counter.totals_table)} "
        f"order by {len(counter.columns) + 1} desc, {order} limit {keys:d}"
    )
    width = len(counter.columns)
    return [
        (tuple(row[:width]), {name: int(value) for name, value in zip(counter.totals, row[width:], strict=True)})
        for row in session.rows(statement(query))
    ]


def sums_of(counter: CounterDef, alias: str = "") -> str:
    """The sum of each total as text: it may pass 64 bits."""
    return ", ".join(f"cast(sum({alias}{quoted(name)}) as text)" for name in counter.totals)


def same_key(counter: CounterDef, one: str, other: str) -> str:
    """True where the rows of two names have the same key, which is never NULL."""
    return " and ".join(f"{one}.{quoted(name)} = {other}.{quoted(name)}" for name in counter.key)


def values_of(counter: CounterDef, columns: Sequence[str]) -> str:
    """These columns of new rows, which the name ``n`` has, as the tables hold them."""
    return ", ".join(
        f"cast(n.{quoted(name)} as bigint)" if name in counter.totals else f"n.{quoted(name)}" for name in columns
    )


def forget_ids(ledger: Ledger, session: Session, before: dt.datetime) -> int:
    """Ids that were noted before a moment are forgotten, but for those of imports; how many."""
    return session.execute(
        ledger.sql(
            "delete from dayfold__count_ids where noted_at < :before::timestamptz and left(id, 7) <> 'import '",
            before=before,
        )
    )


def forget_flushes(ledger: Ledger, session: Session, before: dt.datetime) -> int:
    """Notes of batches that were applied before a moment are gone; how many. That they were applied stays known."""
    return session.execute(
        ledger.sql("delete from dayfold__flushes where applied_at < :before::timestamptz", before=before)
    )
