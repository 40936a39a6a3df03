"""What is wrong with the tables of counters and how it is put right, and how they let a person go. Ledger floor."""

from __future__ import annotations

from collections.abc import Mapping

from dayfold.define.counter import DAY, CounterDef
from dayfold.engines.base import Session
from dayfold.ledger.counted import (
    ERASED,
    LOST,
    add_tally,
    epochs,
    exists,
    name_of,
    same_key,
    sums,
    take_hold,
    tallies,
    values_of,
)
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.persons import Person
from dayfold.plan.shape import quoted
from dayfold.plan.sql import statement, table

#: Key columns that name a person whatever the counter's owner is called.
NAMING = ("actor_id", "anonymous_id")


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
    same = same_key(counter, "t", "n")
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
                f"insert into {current} ({', '.join(map(quoted, columns))}, created_at, updated_at) select {values_of(counter, columns)}, "
                f":now::timestamptz, :now::timestamptz from {source} as n where not exists (select 1 from {current} as t where {same})",
                now=now,
            )
        )
    return int(unlike)


def on_sealed_days(ledger: Ledger, session: Session, counter: CounterDef) -> int:
    """How many keys were counted on days that are sealed, and so stand in the current totals and in no row of a day."""
    query = ledger.sql(
        "select count(*) from _t as t where t.day in (select c.day from dayfold__coverage as c join dayfold__rollups as r on "
        "r.rollup = c.rollup and r.version = c.version where c.rollup = :rollup and c.state = 'sealed')",
        rollup=counter.rollup.name, _t=table(counter.counted.label, ledger.home.schema),
    )  # fmt: skip
    return int(session.rows(query)[0][0])


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
