"""Which tables a move takes with it, and how each is made elsewhere: all that Dayfold made, and nothing of anybody else's. Fold floor.

Left behind are leases, which belong to processes, and what a rebuild had put aside, which the next one would drop.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dayfold.days import LIFELONG
from dayfold.define.counter import DAY as COUNTED_DAY
from dayfold.define.counter import CounterDef
from dayfold.define.events import COLUMNS, TABLE
from dayfold.define.fingerprint import digest
from dayfold.define.function import DAY as FETCHED_DAY
from dayfold.define.source import Table
from dayfold.define.types import Kind
from dayfold.engines.base import Session, Store, at_home, check_columns, ensure, match_indexes
from dayfold.errors import StoreAltered
from dayfold.fold import fetch, reshape
from dayfold.ledger import counted, events, fetches, versions
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.migrations import TABLES
from dayfold.plan.bind import BoundRollup, identity
from dayfold.plan.portions import Portions
from dayfold.plan.shape import SETS_SUFFIX, Column, Shape

#: Tables of the ledger that do not travel: the first says what the ledger is, the others what happens to it now.
STAYING = ("dayfold__store", "dayfold__leases", "dayfold__moves")
_STAMPS = ("created_at", "updated_at", "run_id")
_BUCKET = "bucket"


@dataclass(frozen=True, slots=True)
class Moved:
    """A table that travels.

    Attributes:
        order: The columns that portions go by.
        is_identified: Whether no two rows are equal in these.
        day: The column that says of which day a row is, where one does.
        make: Makes it in another store, without a row; again is harmless.
        finish: Gives it the indexes that cost less once its rows are there, where there are such.
        is_at_home: Whether it stands where the ledger does, in a store of two databases.
    """

    name: str
    columns: tuple[Column, ...]
    order: tuple[Column, ...]
    day: str | None = None
    make: Callable[[Ledger], object] = lambda ledger: None
    finish: Callable[[Ledger, Session], object] | None = None
    is_identified: bool = True
    is_at_home: bool = False

    def store(self, ledger: Ledger) -> Store:
        """The database of a store that it stands in."""
        return ledger.home if self.is_at_home else ledger.store

    def session(self, session: Session) -> Session:
        """The part of a transaction that is there."""
        return at_home(session) if self.is_at_home else session

    def portions(self, ledger: Ledger) -> Portions:
        """The table as one of the two stores has it."""
        store = self.store(ledger)
        place = Shape(self.name, store.schema, (), "day", "day", ()).table
        return Portions(store.dialect, place, self.columns, self.order)


def moved_tables(
    ledger: Ledger, session: Session, rollups: Iterable[BoundRollup], counters: Iterable[CounterDef]
) -> list[Moved]:
    """The tables of a store that travel, those of the ledger first.

    Raises:
        StoreAltered: where one is not as Dayfold makes it.
    """
    return [
        *_of_ledger(ledger, session),
        *_of_rollups(ledger, session, rollups),
        *_fetched(ledger, session),
        *_events(ledger, session),
        *_counted(ledger, session, counters),
    ]


def _columns(ledger: Ledger, session: Session, name: str, *, is_at_home: bool = False) -> tuple[Column, ...]:
    """The columns of a table as it is stored; none where there is no such table."""
    store, mine = (ledger.home, at_home(session)) if is_at_home else (ledger.store, session)
    if not store.stored_columns(mine, [name]):
        return ()
    found = store.describe(Table(f"{store.schema}.{name}"))
    strange = [one for one, type_ in found.items() if type_.kind is Kind.OTHER]
    if strange:
        raise StoreAltered(
            f"The table {name} has columns of types that Dayfold does not make: {', '.join(strange)}.",
            hint="Undo the change by hand.",
        )
    return tuple(Column(one, type_) for one, type_ in found.items())


def _of_ledger(ledger: Ledger, session: Session) -> list[Moved]:
    found = []
    for name in TABLES:
        if name not in STAYING:
            columns = _columns(ledger, session, name, is_at_home=True)
            day = "day" if any(one.name == "day" and one.type.kind is Kind.DATE for one in columns) else None
            found.append(Moved(name, columns, columns, day, is_at_home=True))
    return found


# -- rollups -----------------------------------------------------------------------------------------


def _of_rollups(ledger: Ledger, session: Session, rollups: Iterable[BoundRollup]) -> list[Moved]:
    """Tables and sets of every rollup that the ledger knows, of removed ones and of definitions that are being built too."""
    defined = {one.name: one for one in rollups}
    texts = "select rollup, definition, building_definition from dayfold__rollups order by rollup"
    found = []
    for rollup, definition, building in session.rows(ledger.sql(texts)):
        known = defined.get(rollup)
        for text, is_built in ((definition, False), (building, True)):
            if text is not None:
                words = json.loads(text)
                mine = known if known is not None and digest(identity(known)) == digest(words) else None
                found += _of_version(ledger, session, words, mine, is_built=is_built)
    return found


def _of_version(
    ledger: Ledger, session: Session, words: Mapping[str, Any], bound: BoundRollup | None, *, is_built: bool
) -> list[Moved]:
    shapes = []
    for name in (str(words["table"]), f"{words['table']}{SETS_SUFFIX}"):
        place = reshape.build_name(name) if is_built else name
        stored = ledger.store.stored_columns(session, [place]).get(place)
        if stored is None:
            continue
        known = (bound.shape, bound.sets_shape) if bound else ()
        mine = next((one for one in known if one is not None and one.name == name), None)
        shape = (mine or _reread(ledger, session, place, words)).named(place)
        check_columns(ledger.store, shape, stored)
        shapes.append(shape)
    return [_shaped(one) for one in shapes]


def _reread(ledger: Ledger, session: Session, name: str, words: Mapping[str, Any]) -> Shape:
    """The shape of a table whose definition is known by the ledger alone."""
    columns = {one.name: one for one in _columns(ledger, session, name)}
    key = tuple(columns.pop(one) for one in words["key"])
    is_lifelong = words["grain"] == LIFELONG
    day = str(words["day_column"])
    slot = day if is_lifelong or words["grain"] == "day" else _BUCKET
    stamped = all(one in columns for one in _STAMPS)
    rest = tuple(one for one in columns.values() if one.name not in (day, slot, *(_STAMPS if stamped else ())))
    return Shape(name, ledger.store.schema, key, day, slot, rest, stamped, is_lifelong=is_lifelong)


def _shaped(shape: Shape) -> Moved:
    """A table that is made by its shape, and indexed when it is full."""

    def make(there: Ledger) -> None:
        with there.store.transaction() as session:
            ensure(there.store, session, replace(shape, schema=there.store.schema))

    def index(there: Ledger, session: Session) -> None:
        match_indexes(there.store, session, replace(shape, schema=there.store.schema))

    slots = () if shape.is_lifelong else (shape.identity[-1],)
    order = (*slots, *shape.key)
    day = None if shape.is_lifelong else shape.slot
    return Moved(shape.name, shape.columns, order, day, make, index)


# -- what sources left in the store --------------------------------------------------------------------


def _fetched(ledger: Ledger, session: Session) -> list[Moved]:
    """The rows that functions answered, a day of them at a time: what they are besides may not be told apart."""
    found = []
    for name in fetches.sources(ledger, session):
        columns = _columns(ledger, session, name)
        if columns:
            values = tuple(one for one in columns if one.name != FETCHED_DAY)
            shape = Shape(name, ledger.store.schema, (), FETCHED_DAY, FETCHED_DAY, values, stamped=False)
            one = replace(_shaped(shape), make=functools.partial(_make_fetched, shape), is_identified=False)
            found.append(replace(one, finish=functools.partial(_index_fetched, shape)))
    return found


def _make_fetched(shape: Shape, there: Ledger) -> None:
    with there.store.transaction() as session:
        if not there.store.stored_columns(session, [shape.name]):
            fetch.make_empty(session, replace(shape, schema=there.store.schema))


def _index_fetched(shape: Shape, there: Ledger, session: Session) -> None:
    fetch.index_table(there.store, session, replace(shape, schema=there.store.schema))


def _events(ledger: Ledger, session: Session) -> list[Moved]:
    columns = _columns(ledger, session, TABLE)
    if not columns:
        return []
    entities = {one.name: one.type for one in columns if one.name not in COLUMNS}
    by_name = {one.name: one for one in columns}
    return [
        Moved(
            TABLE, columns, (by_name["occurred_at"], by_name["id"]), "occurred_at",
            lambda there: events.ensure(there, entities),
        )
    ]  # fmt: skip


def _counted(ledger: Ledger, session: Session, counters: Iterable[CounterDef]) -> list[Moved]:
    found = []
    for counter in counters:
        for name in (counter.counted.label, counter.totals_table):
            columns = _columns(ledger, session, name, is_at_home=True)
            if columns:
                by_name = {one.name: one for one in columns}
                days = [by_name[COUNTED_DAY]] if COUNTED_DAY in by_name else []
                order = (*days, *(by_name[one] for one in counter.key))
                day = COUNTED_DAY if days else None
                make = functools.partial(_make_counted, counter)
                found.append(Moved(name, columns, order, day, make, is_at_home=True))
    return found


def _make_counted(counter: CounterDef, there: Ledger) -> None:
    counted.ensure(there, counter)


def left_counters(ledger: Ledger, session: Session, counters: Iterable[CounterDef]) -> list[str]:
    """Counters that the store has and no definition names: nobody knows their tables."""
    known = {counted.fence_of(one) for one in counters}
    begin = "counter "
    query = "select rollup from dayfold__fences where left(rollup, length(:begin)) = :begin order by rollup"
    found = session.rows(ledger.sql(query, begin=begin))
    return [name.removeprefix(begin) for (name,) in found if name not in known]


def versions_of(ledger: Ledger, session: Session, rollups: Iterable[BoundRollup]) -> list[tuple[BoundRollup, int]]:
    """The rollups whose definition is the one that their rows were folded with, with its version."""
    known = versions.versions(ledger, session)
    return [
        (one, known[one.name].number)
        for one in rollups
        if one.name in known and known[one.name].fingerprint == digest(identity(one))
    ]
