"""The one way that increments enter the tables of counters: rows are added, once, with the note of their batches. Ledger floor.

Invariant: a batch of a shard and epoch is applied once, in the order of its numbers; an increment with an id is added once; what the
tables cannot hold is held, whole, and never dropped.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dayfold.define.counter import DAY, MOST, CounterDef, key_text
from dayfold.define.types import DATE, INT, MAX_DIGITS, TEXT, Type, decimal
from dayfold.engines.base import Session
from dayfold.ledger.counted import (
    ADDS,
    REPEATED,
    Epoch,
    add_tally,
    epochs,
    name_of,
    note_epoch,
    same_key,
    sums_of,
    take_hold,
    values_of,
)
from dayfold.ledger.held_counts import OVERFLOW, Held, first_held, hold
from dayfold.ledger.ledger import Ledger
from dayfold.plan.dialect import POSTGRES
from dayfold.plan.shape import Column, quoted
from dayfold.plan.sql import Statement, statement

if TYPE_CHECKING:
    import pyarrow as pa

#: The column, in rows that come in, of what tells an increment from any other; NULL where it is never sent again.
ID = "id__"
#: What is added up before it is known to fit.
WIDE = decimal(MAX_DIGITS, 0)
_IN, _NEW, _OVER, _KEYS = "counted__in", "counted__new", "counted__over", "counted__keys"


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


def input_columns(counter: CounterDef, amount: Type = WIDE) -> list[Column]:
    """The columns of rows that come in: the id, the day, the key and the owner, and the totals."""
    return [
        Column(ID, TEXT),
        Column(DAY, DATE),
        *(Column(name, type_) for name, type_ in counter.types.items()),
        *(Column(name, amount) for name in counter.totals),
    ]


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
        held, again = first_held(ledger, session, counter, held)
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
        statement(f"select count(*), min({DAY}), max({DAY}), {sums_of(counter)} from {_NEW}")
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
            f"{name_of(ledger, counter.totals_table)} as t on {same_key(counter, 'g', 't')}"
        )
    return statement(text, counter=counter.name) if has_named else statement(text)


def _greatest_owner(counter: CounterDef) -> str:
    """The greatest owner of a group by its text: not every type has a greatest value."""
    name, type_ = f"n.{quoted(str(counter.owner))}", counter.types[str(counter.owner)]
    if type_ in (TEXT, INT):
        return f"max({name})"
    return f"cast(max(cast({name} as text)) as {POSTGRES.type_name(type_)})"


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
    if is_one_day:
        of_keys = f"select n.{DAY}, {key} from {_NEW} as n left join {current} as t on {same_key(counter, 't', 'n')} where {wide}"
    else:
        per_key = ", ".join(f"sum(n.{quoted(name)}) as {quoted(name)}" for name in counter.totals)
        of_keys = (
            f"select m.{DAY}, {key.replace('n.', 'm.')} from {_NEW} as m join (select n.* from (select {key}, {per_key} from {_NEW} as n "
            f"group by {key}) as n left join {current} as t on {same_key(counter, 't', 'n')} where {wide}) as n "
            f"on {same_key(counter, 'm', 'n')}"
        )
    of_days = (
        f"select n.{DAY}, {key} from {_NEW} as n left join {counted} as t on t.{DAY} = n.{DAY} and {same_key(counter, 't', 'n')} "
        f"where {wide}"
    )
    # Where nothing is taken from, a day passes 64 bits only where its key does.
    session.stage(_OVER, statement(f"{of_keys} union {of_days}" if any(counter.totals.values()) else of_keys))
    listed = f"exists (select 1 from {_OVER} as o where o.{DAY} = n.{DAY} and {same_key(counter, 'o', 'n')})"
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
            mine = key_text([_plain(one) for one in values[:width]])
            rows.append(Held(OVERFLOW, "a total would not fit into 64 bits", day, mine, owner, amounts))
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
    same = f"t.{DAY} = n.{DAY} and {same_key(counter, 't', 'n')}"
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
                f"insert into {target} ({', '.join(map(quoted, columns))}, updated_at) select {values_of(counter, columns)}, "
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
        f"{current} as t on {same_key(counter, 't', 'n')} where t.{owner} is null and not n.{owner} is null group by "
        f"{', '.join(f'n.{quoted(name)}' for name in counter.key)})"
    )
    if not session.rows(statement(f"select 1 from {current} where {owner} is null limit 1")):
        return
    if session.rows(statement(f"select 1 from {named} as n limit 1")):
        session.execute(
            statement(
                f"update {target} as t set {owner} = n.{owner} from {named} as n where {same_key(counter, 't', 'n')} and t.{owner} is null"
            )
        )


def _added(name: str) -> str:
    """A total with what is added to it."""
    return f"{quoted(name)} = cast(coalesce(t.{quoted(name)}, 0) + n.{quoted(name)} as bigint)"


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
            f"{same_key(counter, 't', 'n')} and not n.is_new",
            now=now,
        )
    )
    columns = [*counter.types, *counter.totals, "first_day", "last_day"]
    session.execute(
        statement(
            f"insert into {target} ({', '.join(map(quoted, columns))}, created_at, updated_at) select {values_of(counter, columns)}, "
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
            latest = f"l.{DAY} = s.last_day and {same_key(counter, 'l', 's')}"
            source = f"(select s.*, l.{owner} from {source} as s join {_NEW} as l on {latest})"
    return statement(
        f"select n.*, t.{quoted(counter.key[0])} is null as is_new from {source} as n left join "
        f"{name_of(ledger, counter.totals_table)} as t on {same_key(counter, 't', 'n')}"
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
