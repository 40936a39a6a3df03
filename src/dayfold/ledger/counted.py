"""Counted amounts: the tables of counters, and the one way that batches of increments enter them. Ledger floor.

A counter has two tables: the *counted* one, a row for each key and day, from which its days are folded, and the one of its current
totals, a row for each key. A batch is added to both in one transaction, with the note that it was.

Invariant: a batch of a shard and epoch is applied once, in the order of its numbers; an increment with an id is added once; what the
database does not take is held, whole, and never dropped.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dayfold.define.counter import DAY, MOST, CounterDef
from dayfold.define.types import DATE, INT, MAX_DIGITS, TEXT, TIMESTAMPTZ, Type, decimal
from dayfold.engines.base import Session, normal_type
from dayfold.errors import StoreAltered
from dayfold.ledger import versions
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.persons import Person
from dayfold.plan.dialect import POSTGRES
from dayfold.plan.shape import Column, declared, quoted
from dayfold.plan.sql import Statement, column, statement

if TYPE_CHECKING:
    import pyarrow as pa

#: The column, in rows that come in, of what tells an increment from any other; NULL where it is never sent again.
ID = "id__"
#: The name, among tallies, of how many increments there were: that of no total.
ADDS = "*"
#: What is added up before it is known to fit.
WIDE = decimal(MAX_DIGITS, 0)
_IN, _NEW, _OVER, _KEYS = "counted__in", "counted__new", "counted__over", "counted__keys"
#: What tallies are kept of, by name, beside those of epochs.
REPEATED, ERASED, IMPORTED, LOST = "repeated", "erased", "imported", "lost"
#: Key columns that name a person whatever the counter's owner is called.
NAMING = ("actor_id", "anonymous_id")
#: Why a row is held.
OVERFLOW, REJECTED, UNKNOWN, IDENTITY, NEGATIVE = "overflow", "rejected", "unknown", "identity", "negative"
REASONS = (OVERFLOW, REJECTED, UNKNOWN, IDENTITY, NEGATIVE)


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


@dataclass(slots=True)
class Applied:
    """What one application did.

    Attributes:
        rows: Keys and days that were added to; ``amounts``: what was, of each total.
        repeated: Increments whose id was known, and their amounts.
        held: Rows that are in quarantine now.
    """

    rows: int = 0
    first: dt.date | None = None
    last: dt.date | None = None
    amounts: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)
    held: int = 0


# -- tables ------------------------------------------------------------------------------------------


def input_columns(counter: CounterDef, amount: Type = WIDE) -> list[Column]:
    """The columns of rows that come in: the id, the day, the key and the owner, and the totals."""
    return [
        Column(ID, TEXT),
        Column(DAY, DATE),
        *(Column(name, type_) for name, type_ in counter.types.items()),
        *(Column(name, amount) for name in counter.totals),
    ]


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
    return f"{quoted(ledger.store.schema)}.{quoted(table)}"


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
    stored = ledger.store.stored_columns(session, names)
    found = []
    for name, columns in zip(names, _columns(counter), strict=True):
        have = stored.get(name, {})
        wrong = [
            f"{one.name} ({have[one.name]})"
            for one in columns
            if one.name in have and have[one.name] != normal_type(ledger.store.dialect, one.type)
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
    dialect = ledger.store.dialect
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


def accept_loss(
    ledger: Ledger,
    session: Session,
    counter: CounterDef,
    missing: Mapping[str, int],
    lost: Mapping[str, int],
    vanished: int,
) -> bool:
    """What is missing is lost, and known to be; what vanished is not told again.

    False where that is not what was looked at: ``lost``, of what was lost before that, and ``vanished``, how many shards.
    """
    take_hold(ledger, session, counter)
    noted = tallies(ledger, session, counter.name).get(LOST, {})
    gone = sum(one.vanished for one in epochs(ledger, session, counter.name).values())
    if gone != vanished or any(noted.get(name, 0) != amount for name, amount in lost.items()):
        return False
    add_tally(ledger, session, counter.name, LOST, missing)
    told = "update dayfold__live set vanished = false where counter = :counter and vanished"
    session.execute(ledger.sql(told, counter=counter.name))
    return True


def unlike_totals(ledger: Ledger, session: Session, counter: CounterDef, *, heal: bool) -> int:
    """How many keys have other current totals than the sums of their days; with ``heal`` they have them now."""
    days, current = name_of(ledger, counter.counted.label), name_of(ledger, counter.totals_table)
    if heal:
        take_hold(ledger, session, counter)
    key = ", ".join(f"n.{quoted(name)}" for name in counter.key)
    items = ", ".join(f"sum(n.{quoted(name)}) as {quoted(name)}" for name in counter.totals)
    summed = f"(select {key}, {items} from {days} as n group by {key})"
    same = _same_key(counter, "t", "n")
    first = quoted(counter.key[0])
    unequal = [f"coalesce(t.{quoted(name)}, 0) <> coalesce(n.{quoted(name)}, 0)" for name in counter.totals]
    differs = " or ".join([f"t.{first} is null", f"n.{first} is null", *unequal])
    [(unlike,)] = session.rows(
        statement(f"select count(*) from {summed} as n full join {current} as t on {same} where {differs}")
    )
    if unlike and heal:
        now = ledger.clock.now()
        changes = ", ".join(f"{quoted(name)} = cast(n.{quoted(name)} as bigint)" for name in counter.totals)
        session.execute(
            statement(
                f"update {current} as t set {changes}, updated_at = :now::timestamptz from {summed} as n where {same}",
                now=now,
            )
        )
        session.execute(
            statement(f"delete from {current} as t where not exists (select 1 from {days} as n where {same})")
        )
        owner = quoted(str(counter.owner))
        more = f", max(n.{owner}) as {owner}" if counter.has_owner else ""
        columns = [*counter.types, *counter.totals, "first_day", "last_day"]
        source = f"(select {key}{more}, {items}, min(n.{DAY}) as first_day, max(n.{DAY}) as last_day from {days} as n group by {key})"
        session.execute(
            statement(
                f"insert into {current} ({', '.join(map(quoted, columns))}, created_at, updated_at) select {_values(counter, columns)}, "
                f":now::timestamptz, :now::timestamptz from {source} as n where not exists (select 1 from {current} as t where {same})",
                now=now,
            )
        )
    return int(unlike)


def breaking(ledger: Ledger, session: Session, counter: CounterDef) -> dict[str, int]:
    """For each identity that rows of the counted table do not meet, how many do not."""
    found = {}
    for one in counter.identities:
        terms = " + ".join(f"{factor} * coalesce({quoted(name)}, 0)" for name, factor in one.factors.items())
        # Wide: a sum of two totals may pass 64 bits.
        terms = f"cast(0 as numeric(38, 0)) + {terms}"
        [(rows,)] = session.rows(
            statement(f"select count(*) from {name_of(ledger, counter.counted.label)} where {terms} <> 0")
        )
        if rows:
            found[one.text] = int(rows)
    return found


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
        ("count ids", "dayfold__count_ids", "noted_at", ids), ("flushes", "dayfold__flushes", "applied_at", flushes)
    ):  # fmt: skip
        day = f"cast({{}}({moment}) at time zone 'UTC' as date)"
        rest = " and left(id, 7) <> 'import '" if what == "count ids" else ""
        query = f"select count(*), {day.format('min')}, {day.format('max')} from {name} where {moment} < :before::timestamptz{rest}"
        [(count, first, last)] = session.rows(ledger.sql(query, before=before))
        found[what] = (int(count), first, last)
    return found


def sums(
    ledger: Ledger, session: Session, counter: CounterDef, table: str, where: str = "true", **values: Any
) -> dict[str, int]:
    """The sum of each total over rows of a table of the counter's, those among them that are not declared any more."""
    [stored] = ledger.store.stored_columns(session, [table]).values()
    whole = normal_type(ledger.store.dialect, INT)
    names = [name for name, type_ in stored.items() if type_ == whole and name not in counter.types]
    items = ", ".join(f"cast(coalesce(sum({quoted(name)}), 0) as text)" for name in names)
    [row] = session.rows(statement(f"select {items} from {name_of(ledger, table)} where {where}", **values))
    return {name: int(value) for name, value in zip(names, row, strict=True)}


def standing(ledger: Ledger, session: Session, counter: CounterDef) -> tuple[int, dict[str, int], str | None]:
    """How many keys have a total, how many rows are held by reason, and when something was applied last."""
    [(keys,)] = session.rows(statement(f"select count(*) from {name_of(ledger, counter.totals_table)}"))
    query = "select reason, count(*) from dayfold__held_counts where counter = :counter group by reason"
    held = {reason: int(count) for reason, count in session.rows(ledger.sql(query, counter=counter.name))}
    moment = ledger.store.dialect.piece("iso_moment", _x=column("applied_at"))
    latest = "select max(_moment) from dayfold__flushes where counter = :counter"
    [(last,)] = session.rows(ledger.sql(latest, counter=counter.name, _moment=moment))
    return int(keys), held, last


# -- applying ----------------------------------------------------------------------------------------


def apply(
    ledger: Ledger,
    counter: CounterDef,
    rows: pa.Table,
    fresh: Callable[[Mapping[tuple[int, str], Epoch]], Sequence[Epoch] | None],
    held: Sequence[Held] = (),
    also: Callable[[Session], None] | None = None,
    batches: Sequence[tuple[int, str, int]] = (),
    holder: str = "",
) -> Applied | None:
    """Rows are added to the counter's tables and its batches noted, in one transaction; None where they were applied before.

    Args:
        ledger: Of the store.
        counter: Whose tables `ensure` has made.
        rows: The columns of `input_columns`.
        fresh: Given what is known of epochs, what is known of them afterwards; None: these batches were applied meanwhile.
        held: Rows that are put into quarantine.
        also: Called in the same transaction.
        batches: Shard, epoch and number of what is applied, for the record.
        holder: Who applies.

    Raises:
        Conflict: where it has to be tried again; RowsRefused, SourceFailed: where the database does not take a row.
    """
    with ledger.store.transaction() as session:
        take_hold(ledger, session, counter)
        known = epochs(ledger, session, counter.name)
        noted = fresh(known)
        if noted is None:
            return None
        found = add(ledger, session, counter, rows)
        for one in noted:
            if known.get((one.shard, one.epoch)) != one:
                note_epoch(ledger, session, counter.name, one)
        held, again = _first_held(ledger, session, counter, held)
        hold(ledger, session, counter, held)
        found.held += len(held)
        for name, amount in again.items():
            found.repeated[name] = found.repeated.get(name, 0) + amount
        add_tally(ledger, session, counter.name, REPEATED, found.repeated)
        if also is not None:
            also(session)
        if found.rows or found.held or found.repeated:
            _note_flush(ledger, session, counter, found, batches, holder)
    return found


def add(ledger: Ledger, session: Session, counter: CounterDef, rows: pa.Table) -> Applied:
    """Rows are added to the tables of a counter, each increment with an id once; those that would overflow are held."""
    found = Applied()
    if not rows.num_rows:
        return found
    has_named = rows[ID].null_count < rows.num_rows
    rows, amount = _narrowed(counter, rows)
    session.load(_IN, input_columns(counter, amount), rows)
    session.stage(_NEW, _gathered(ledger, counter, has_named=has_named))
    session.analyze(_NEW)
    is_one_day = len(rows[DAY].unique()) == 1
    found.held = _hold_overflows(ledger, session, counter, is_one_day=is_one_day)
    [(count, first, last, *amounts)] = session.rows(
        statement(f"select count(*), min({DAY}), max({DAY}), {_sums(counter)} from {_NEW}")
    )
    found.rows, found.first, found.last = int(count), first, last
    found.amounts = {name: int(value or 0) for name, value in zip(counter.totals, amounts, strict=True)}
    if has_named:
        found.repeated = _repeated(ledger, session, counter)
        _remember_ids(ledger, session, counter)
    _add_to_counted(ledger, session, counter, found.rows)
    _add_to_totals(ledger, session, counter, is_one_day=is_one_day)
    return found


def _narrowed(counter: CounterDef, rows: pa.Table) -> tuple[pa.Table, Type]:
    """The rows with 64 bits for each amount, where these are enough: databases add up such numbers in half of the time."""
    import pyarrow as pa

    narrow = rows
    try:
        for name in counter.totals:
            narrow = narrow.set_column(narrow.schema.get_field_index(name), name, narrow[name].cast(pa.int64()))
    except pa.ArrowInvalid:
        return rows, WIDE
    return narrow, INT


def _sums(counter: CounterDef, alias: str = "") -> str:
    return ", ".join(f"cast(sum({alias}{quoted(name)}) as text)" for name in counter.totals)


def _first_of_id(ledger: Ledger, counter: CounterDef) -> str:
    """The rows that come in, those with an id only where it is new and the first of them."""
    columns = ", ".join(quoted(one.name) for one in input_columns(counter))
    order = ", ".join(quoted(name) for name in (DAY, *counter.key))
    return (
        f"(select n.* from (select {columns}, row_number() over (partition by {ID} order by {order}) as turn__ from {_IN}) as n "
        f"where n.{ID} is null or (n.turn__ = 1 and not exists (select 1 from {name_of(ledger, 'dayfold__count_ids')} as i "
        f"where i.counter = :counter and i.id = n.{ID})))"
    )


def _gathered(ledger: Ledger, counter: CounterDef, *, has_named: bool) -> Statement:
    """One row for each key and day that is added to, with the owner that is said or known."""
    key = ", ".join(f"n.{quoted(name)}" for name in counter.key)
    name = quoted(str(counter.owner))
    if has_named:
        totals = ", ".join(
            f"cast(coalesce(sum(n.{quoted(one)}), 0) as numeric(38, 0)) as {quoted(one)}" for one in counter.totals
        )
        owner = f", {_greatest_owner(counter)} as {name}" if counter.has_owner else ""
        source = _first_of_id(ledger, counter)
        text = f"select n.{DAY} as {DAY}, {key}{owner}, {totals} from {source} as n group by n.{DAY}, {key}"
    else:
        # Rows without an id come once for a key and a day.
        totals = ", ".join(f"coalesce(n.{quoted(one)}, 0) as {quoted(one)}" for one in counter.totals)
        text = f"select n.{DAY} as {DAY}, {key}{f', n.{name}' if counter.has_owner else ''}, {totals} from {_IN} as n"
    if counter.has_owner:
        by_key = key.replace("n.", "g.")
        latest = f"first_value(g.{name}) over (partition by {by_key} order by case when g.{name} is null then 1 else 0 end, g.{DAY} desc)"
        rest = ", ".join(f"g.{quoted(one)}" for one in (DAY, *counter.key, *counter.totals))
        text = (
            f"select {rest}, coalesce(g.{name}, {latest}, t.{name}) as {name} "
            f"from ({text}) as g left join "
            f"{name_of(ledger, counter.totals_table)} as t on {_same_key(counter, 'g', 't')}"
        )
    return statement(text, counter=counter.name) if has_named else statement(text)


def _greatest_owner(counter: CounterDef) -> str:
    """The greatest owner of a group by its text: not every type has a greatest value."""
    name, type_ = f"n.{quoted(str(counter.owner))}", counter.types[str(counter.owner)]
    if type_ in (TEXT, INT):
        return f"max({name})"
    return f"cast(max(cast({name} as text)) as {POSTGRES.type_name(type_)})"


def _same_key(counter: CounterDef, one: str, other: str) -> str:
    return " and ".join(f"{one}.{quoted(name)} = {other}.{quoted(name)}" for name in counter.key)


def _hold_overflows(ledger: Ledger, session: Session, counter: CounterDef, *, is_one_day: bool) -> int:
    """Rows that one of the tables could not hold are in quarantine, and not added; how many."""
    counted, current = name_of(ledger, counter.counted.label), name_of(ledger, counter.totals_table)
    key = ", ".join(f"n.{quoted(name)}" for name in counter.key)

    def passes(name: str) -> str:
        """True where a total and what is added to it pass 64 bits, in arithmetic that does not."""
        added, there = f"n.{quoted(name)}", f"coalesce(t.{quoted(name)}, 0)"
        above = f"{there} > {MOST} - greatest({added}, 0)"
        return f"({above} or {there} < -{MOST} - least({added}, 0))" if counter.totals[name] else above

    wide = " or ".join(map(passes, counter.totals))
    per_key = ", ".join(f"sum(n.{quoted(name)}) as {quoted(name)}" for name in counter.totals)
    of_keys = (
        f"select m.{DAY}, {key.replace('n.', 'm.')} from {_NEW} as m join (select n.* from (select {key}, {per_key} from {_NEW} as n "
        f"group by {key}) as n left join {current} as t on {_same_key(counter, 't', 'n')} where {wide}) as n "
        f"on {_same_key(counter, 'm', 'n')}"
    )
    if is_one_day:
        of_keys = f"select n.{DAY}, {key} from {_NEW} as n left join {current} as t on {_same_key(counter, 't', 'n')} where {wide}"
    of_days = (
        f"select n.{DAY}, {key} from {_NEW} as n left join {counted} as t on t.{DAY} = n.{DAY} and {_same_key(counter, 't', 'n')} "
        f"where {wide}"
    )
    # Where nothing is taken from, a day passes 64 bits only where its key does.
    session.stage(_OVER, statement(f"{of_keys} union {of_days}" if any(counter.totals.values()) else of_keys))
    listed = f"exists (select 1 from {_OVER} as o where o.{DAY} = n.{DAY} and {_same_key(counter, 'o', 'n')})"
    columns = [*counter.key, *([str(counter.owner)] if counter.has_owner else []), *counter.totals]
    items = ", ".join(
        f"cast(n.{quoted(name)} as text)" if name in counter.totals else f"n.{quoted(name)}" for name in columns
    )
    found = session.rows(statement(f"select cast(n.{DAY} as text), {items} from {_NEW} as n where {listed}"))
    if found:
        width = len(counter.key)
        rows = []
        for day, *values in found:
            owner = (
                json.dumps(_plain(values[width]), ensure_ascii=False)
                if counter.has_owner and values[width] is not None
                else None
            )
            amounts = dict(zip(counter.totals, map(int, values[len(columns) - len(counter.totals) :]), strict=True))
            key_text = json.dumps([_plain(one) for one in values[:width]], separators=(",", ":"), ensure_ascii=False)
            rows.append(Held(OVERFLOW, "a total would not fit into 64 bits", day, key_text, owner, amounts))
        hold(ledger, session, counter, rows)
        session.execute(statement(f"delete from {_NEW} as n where {listed}"))
    return len(found)


def _plain(value: Any) -> Any:
    """A value of a key as JSON has it."""
    return value if isinstance(value, str | int | bool) else str(value)


def _repeated(ledger: Ledger, session: Session, counter: CounterDef) -> dict[str, int]:
    """How many increments came again, and their amounts."""
    source = _first_of_id(ledger, counter)
    items = ", ".join(f"cast(coalesce(sum({quoted(name)}), 0) as text)" for name in counter.totals)
    [(came, *all_of)] = session.rows(statement(f"select count({ID}), {items} from {_IN}"))
    [(new, *added)] = session.rows(statement(f"select count({ID}), {items} from {source} as n", counter=counter.name))
    found = {ADDS: int(came) - int(new)}
    found |= {
        name: int(one) - int(other) for name, one, other in zip(counter.totals, all_of, added, strict=True)
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _remember_ids(ledger: Ledger, session: Session, counter: CounterDef) -> None:
    source = _first_of_id(ledger, counter)
    session.execute(
        statement(
            f"insert into {name_of(ledger, 'dayfold__count_ids')} (counter, id, noted_at) select :counter, n.{ID}, "
            f":now::timestamptz from {source} as n where not n.{ID} is null",
            counter=counter.name, now=ledger.clock.now(),
        )
    )  # fmt: skip


def _add_to_counted(ledger: Ledger, session: Session, counter: CounterDef, rows: int) -> None:
    target = name_of(ledger, counter.counted.label)
    same = f"t.{DAY} = n.{DAY} and {_same_key(counter, 't', 'n')}"
    changes = [_added(name) for name in counter.totals]
    if counter.has_owner:
        changes.append(
            f"{quoted(str(counter.owner))} = coalesce(n.{quoted(str(counter.owner))}, t.{quoted(str(counter.owner))})"
        )
    now = ledger.clock.now()
    known = session.execute(
        statement(
            f"update {target} as t set {', '.join(changes)}, updated_at = :now::timestamptz from {_NEW} as n where {same}",
            now=now,
        )
    )
    if known < rows:
        columns = [DAY, *counter.types, *counter.totals]
        session.execute(
            statement(
                f"insert into {target} ({', '.join(map(quoted, columns))}, updated_at) select {_values(counter, columns)}, "
                f":now::timestamptz from {_NEW} as n where not exists (select 1 from {target} as t where {same})",
                now=now,
            )
        )
    if counter.has_owner:
        _own_earlier_days(ledger, session, counter)


def _own_earlier_days(ledger: Ledger, session: Session, counter: CounterDef) -> None:
    """Days that were counted before anybody said whose a key is belong to the first owner that is said."""
    owner = quoted(str(counter.owner))
    current, target = name_of(ledger, counter.totals_table), name_of(ledger, counter.counted.label)
    named = (
        f"(select {', '.join(f'n.{quoted(name)}' for name in counter.key)}, {_greatest_owner(counter)} as {owner} from {_NEW} as n join "
        f"{current} as t on {_same_key(counter, 't', 'n')} where t.{owner} is null and not n.{owner} is null group by "
        f"{', '.join(f'n.{quoted(name)}' for name in counter.key)})"
    )
    if not session.rows(statement(f"select 1 from {current} where {owner} is null limit 1")):
        return
    if session.rows(statement(f"select 1 from {named} as n limit 1")):
        session.execute(
            statement(
                f"update {target} as t set {owner} = n.{owner} from {named} as n where {_same_key(counter, 't', 'n')} and t.{owner} is null"
            )
        )


def _added(name: str) -> str:
    """A total with what is added to it."""
    return f"{quoted(name)} = cast(coalesce(t.{quoted(name)}, 0) + n.{quoted(name)} as bigint)"


def _values(counter: CounterDef, columns: Sequence[str]) -> str:
    return ", ".join(
        f"cast(n.{quoted(name)} as bigint)" if name in counter.totals else f"n.{quoted(name)}" for name in columns
    )


def _add_to_totals(ledger: Ledger, session: Session, counter: CounterDef, *, is_one_day: bool) -> None:
    """The current totals have what was added; ``is_one_day``: it is all of one day, so that each key is there once."""
    target = name_of(ledger, counter.totals_table)
    owner = quoted(str(counter.owner))
    session.stage(_KEYS, _of_keys(ledger, counter, is_one_day=is_one_day))
    session.analyze(_KEYS)
    changes = [_added(name) for name in counter.totals]
    changes += ["first_day = least(t.first_day, n.first_day)", "last_day = greatest(t.last_day, n.last_day)"]
    changes += [f"{owner} = coalesce(n.{owner}, t.{owner})"] if counter.has_owner else []
    now = ledger.clock.now()
    session.execute(
        statement(
            f"update {target} as t set {', '.join(changes)}, updated_at = :now::timestamptz from {_KEYS} as n where "
            f"{_same_key(counter, 't', 'n')} and not n.is_new",
            now=now,
        )
    )
    columns = [*counter.types, *counter.totals, "first_day", "last_day"]
    session.execute(
        statement(
            f"insert into {target} ({', '.join(map(quoted, columns))}, created_at, updated_at) select {_values(counter, columns)}, "
            f":now::timestamptz, :now::timestamptz from {_KEYS} as n where n.is_new",
            now=now,
        )
    )


def _of_keys(ledger: Ledger, counter: CounterDef, *, is_one_day: bool) -> Statement:
    """One row for each key that is added to, with the days of it, the owner of the latest, and whether the key is new."""
    key = ", ".join(f"n.{quoted(name)}" for name in counter.key)
    owner = quoted(str(counter.owner))
    if is_one_day:
        source = f"(select n.*, n.{DAY} as first_day, n.{DAY} as last_day from {_NEW} as n)"
    else:
        items = [f"sum(n.{quoted(name)}) as {quoted(name)}" for name in counter.totals]
        items += [f"min(n.{DAY}) as first_day", f"max(n.{DAY}) as last_day"]
        source = f"(select {key}, {', '.join(items)} from {_NEW} as n group by {key})"
        if counter.has_owner:
            latest = f"l.{DAY} = s.last_day and {_same_key(counter, 'l', 's')}"
            source = f"(select s.*, l.{owner} from {source} as s join {_NEW} as l on {latest})"
    return statement(
        f"select n.*, t.{quoted(counter.key[0])} is null as is_new from {source} as n left join "
        f"{name_of(ledger, counter.totals_table)} as t on {_same_key(counter, 't', 'n')}"
    )


def _note_flush(
    ledger: Ledger,
    session: Session,
    counter: CounterDef,
    found: Applied,
    batches: Sequence[tuple[int, str, int]],
    holder: str,
) -> None:
    session.execute(
        ledger.sql(
            "insert into dayfold__flushes (id, counter, applied_at, holder, batches, row_count, first_day, last_day, amounts, "
            "repeated, held) "
            "values (:id, :counter, :now::timestamptz, :holder, :batches, :rows, :first::date, :last::date, :amounts, :repeated, :held)",
            id=secrets.token_hex(8), counter=counter.name, now=ledger.clock.now(), holder=holder,
            batches=json.dumps([list(one) for one in batches]), rows=found.rows, first=found.first, last=found.last,
            amounts=json.dumps(found.amounts), repeated=json.dumps(found.repeated), held=found.held,
        )
    )  # fmt: skip


# -- quarantine --------------------------------------------------------------------------------------


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


def _first_held(
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
        _moment=ledger.store.dialect.piece("iso_moment", _x=column("held_at")),
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


def erase(ledger: Ledger, session: Session, counter: CounterDef, person: Person) -> int:
    """No row of the counter's tables names a person; how many did. Triggers mark the cells.

    A key that was theirs is nobody's from now on, and keeps its history. Rows whose key is the person, by the owner's column or by that
    of an actor or a browser, are gone, and counted as erased.
    """
    if not exists(ledger, counter):
        return 0
    take_hold(ledger, session, counter)
    target, current = name_of(ledger, counter.counted.label), name_of(ledger, counter.totals_table)
    naming = [one for one in counter.key if one in (*NAMING, counter.owner)]
    names = list(person.names)
    touched = 0
    for one in naming:
        theirs = f"cast({quoted(one)} as text) = any(:names::text[])"
        gone = sums(ledger, session, counter, counter.counted.label, theirs, names=names)
        add_tally(ledger, session, counter.name, ERASED, gone)
        for name in (target, current):
            touched += session.execute(statement(f"delete from {name} where {theirs}", names=names))
    if counter.has_owner:
        owner = quoted(str(counter.owner))
        theirs = f"cast({owner} as text) = any(:names::text[])"
        for name in (target, current):
            touched += session.execute(statement(f"update {name} set {owner} = null where {theirs}", names=names))
    return touched


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
