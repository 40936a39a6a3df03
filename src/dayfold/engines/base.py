"""What Dayfold asks of a database, in domain words, and what engines that speak SQL share. Engines floor.

A *store* opens and closes, describes sources, ensures tables, computes cells, reads rows and replaces rows;
a *session* is one transaction of it. `replace` is the only way rows of a rollup change.

Invariant: everything inside one `transaction` is seen by other readers whole, or not at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dayfold.define.source import Table
from dayfold.define.types import Type
from dayfold.errors import StoreAltered
from dayfold.plan.bind import Scan
from dayfold.plan.dialect import Dialect
from dayfold.plan.publish import CHANGES, DELETED, INSERTED, UPDATED, Publication, change_counts
from dayfold.plan.shape import INDEX_SUFFIX, Column, Shape, quoted
from dayfold.plan.sql import Statement, sql

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Changed:
    """How many rows a publication wrote."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        """Rows written in all."""
        return self.inserted + self.updated + self.deleted

    def __add__(self, other: Changed) -> Changed:
        return Changed(self.inserted + other.inserted, self.updated + other.updated, self.deleted + other.deleted)


class Session(Protocol):
    """One transaction. Ends with its ``with`` block: committed, or rolled back when that raises."""

    def execute(self, statement: Statement | str) -> int:
        """Run a statement; the rows it affected, where the engine says."""
        ...

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        """The result of a small query."""
        ...

    def columns_of(self, statement: Statement) -> dict[str, Type]:
        """The columns that a query gives, in their order."""
        ...

    def arrow(self, statement: Statement, columns: Sequence[Column], *, few: bool = False) -> pa.Table:
        """The result of a query, its columns of the named types; ``few``: of a few thousand rows at most, sooner and at once."""
        ...

    def stage(self, name: str, statement: Statement) -> None:
        """Make a temporary table, gone with the session, from a query."""
        ...

    def load(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """Make a temporary table, gone with the session, from rows of another database."""
        ...

    def make(
        self, name: str, columns: Sequence[Column], *,
        identity: Sequence[str] = (), required: Collection[str] = (), day: str | None = None, is_log: bool = False,
    ) -> None:  # fmt: skip
        """Make a table of ours, without indexes.

        ``identity``: the columns that tell its rows apart; ``required``: those that are never NULL; ``day``: that of the day of a row;
        ``is_log``: whether rows hardly ever change once they are there.
        """
        ...

    def add_columns(self, name: str, columns: Sequence[Column]) -> None:
        """A table of ours has these columns too, NULL in the rows that it has."""
        ...

    def append(self, name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        """Add rows to a table of ours, each column as its type; nothing is staged. Raises Conflict where a key is taken."""
        ...

    def within(self, source: Table) -> Any:
        """A context in which a source's own SQL finds its tables."""
        ...

    def at_home(self) -> Any:
        """A context in which a name without a schema is first that of a table in the schema of ours."""
        ...

    def analyze(self, name: str) -> None:
        """Tell the planner about a temporary table, where it does not count the rows itself."""
        ...

    def plan_joins(self, *, nested: bool) -> None:
        """Whether the planner may join by nested loops from now on."""
        ...

    def limit(self, seconds: float) -> Any:
        """A context whose statements together take no longer than this. Raises TookTooLong."""
        ...


class Watch(Protocol):
    """Sees a publication's rows before they change and after."""

    def before(self, publication: Publication) -> None:
        """The change set is staged, nothing of it applied."""
        ...

    def after(self, publication: Publication, *, all_new: bool) -> None:
        """The rows are written; ``all_new``: every row of the scope is, and there is no change set."""
        ...


class Watches:
    """Several watches of one publication, each told in turn."""

    def __init__(self, *watches: Watch) -> None:
        self.watches = watches

    def before(self, publication: Publication) -> None:
        """Tell each."""
        for one in self.watches:
            one.before(publication)

    def after(self, publication: Publication, *, all_new: bool) -> None:
        """Tell each."""
        for one in self.watches:
            one.after(publication, all_new=all_new)


class Source(Protocol):
    """A database that is read."""

    dialect: Dialect
    schema: str

    @property
    def address(self) -> str:
        """Where it is, without any secret."""
        ...

    def open(self) -> None:
        """Connect; again is harmless. Raises ConnectionFailed, FileLocked, MissingDriver."""
        ...

    def close(self) -> None:
        """Disconnect; again is harmless."""
        ...

    def transaction(self, *, read_only: bool = False) -> Any:
        """A context that yields a `Session` over one snapshot."""
        ...

    def peek(self, statement: Statement) -> list[tuple[Any, ...]]:
        """The result of one small query in a snapshot of its own, sooner than through a `transaction`.

        Moments must be selected as text or numbers.
        """
        ...

    def trim(self) -> None:
        """Give back the memory that only keeps what was read, where this process holds any."""
        ...

    def describe(self, source: Table) -> dict[str, Type]:
        """A source's columns in order. Raises SourceFailed where it cannot be read."""
        ...

    def tables(self, database: str | None = None) -> list[str]:
        """The names of tables and views that a definition could name."""
        ...

    def reaches(self, database: str) -> bool:
        """Whether a named database is read inside this one's own transactions."""
        ...

    def qualify(self, source: Table) -> Table:
        """The source as this store's SQL names it."""
        ...

    def leads(self, session: Session, source: Table, keys: Sequence[str], moment: str | None = None) -> bool:
        """Whether an index of a table leads from its key columns to their rows, or to ranges of a moment among these."""
        ...


class Store(Source, Protocol):
    """A database that rows are kept in, and read from."""

    @property
    def home(self) -> Store:
        """Where the ledger stands: here, unless the store is in two databases."""
        ...

    @property
    def journal(self) -> Path | None:
        """The folder in which a journal of what this store has not taken yet may stand; None where only the store keeps anything."""
        ...

    @property
    def commits(self) -> int | None:
        """How many transactions were committed, where only this process can commit any; None: others may, or one is under way.

        What was read after a number was seen holds for as long as it is seen again.
        """
        ...

    def rewrite(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """What was deleted from tables of ours stands in no file any more: what was rewritten, and what may still hold it.

        Raises Busy where others work with them for too long; nothing is lost then, and it may be tried again.
        """
        ...

    def make_schema(self, session: Session) -> None:
        """Make the schema for tables of ours, unless it is there."""
        ...

    def check_writable(self) -> None:
        """Find out whether tables can be made here, leaving nothing behind. Raises StoreError where they cannot."""
        ...

    def stored_columns(self, session: Session, names: Sequence[str]) -> Mapping[str, dict[str, str]]:
        """The columns and types of those tables that exist, in the engine's spelling, for comparison."""
        ...

    def refit(self, session: Session, shape: Shape, found: Mapping[str, str], *, rekeyed: bool) -> None:
        """Give a table that is there the columns of a new shape; ``rekeyed``: its rows are identified otherwise now."""
        ...

    def stored_indexes(self, session: Session, table: str) -> dict[str, str]:
        """The indexes of a table by name, with their definitions in the engine's spelling."""
        ...

    def remarks(self, session: Session) -> dict[str, str]:
        """The views of our schema that have a comment, with it."""
        ...

    def views_on(self, session: Session, names: Sequence[str]) -> list[str]:
        """The views that read one of these tables of ours; the long view is ours too, and none of them."""
        ...

    def sizes(self, session: Session, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Rows and bytes of tables, estimates where exact ones would cost a scan."""
        ...

    def freeze(self, session: Session, names: Sequence[str], why: str | None) -> None:
        """From the end of this transaction on, whoever writes to one of these tables is refused, by StoreMoved, and told why.

        Every transaction that has written to one of them has ended then. None: they are written to again.
        """
        ...


def compute(store: Store, session: Session, scan: Scan, statement: Statement, into: str) -> None:
    """Compute a scan inside the store: a temporary table, no row travels."""
    with session.within(scan.source):
        session.stage(into, statement)


class _Undo(Exception):
    """Ends a transaction that only tried something."""


@contextmanager
def undone(store: Store) -> Iterator[Session]:
    """A transaction whose writing is undone at its end."""
    with suppress(_Undo), store.transaction() as session:
        yield session
        raise _Undo


def try_making(store: Store) -> None:
    """Make a table and undo it. Raises StoreError where the engine refuses."""
    with undone(store) as session:
        store.make_schema(session)
        session.execute(f"CREATE TABLE {quoted(store.schema)}.{quoted('dayfold_doctor__')} (a BIGINT)")


def ensure(store: Store, session: Session, shape: Shape) -> bool:
    """Make a table, without its indexes, unless it is there. True where it was made.

    Raises:
        StoreAltered: when a table of that name has other columns.
    """
    found = store.stored_columns(session, [shape.name]).get(shape.name)
    if found is None:
        make_shape(session, shape)
        return True
    check_columns(store, shape, found)
    return False


def at_home(session: Session) -> Session:
    """The session of the database that the ledger stands in: itself, but in a store of two databases."""
    found: Session = getattr(session, "home", session)
    return found


def make_shape(session: Session, shape: Shape) -> None:
    """Make a table, without its indexes."""
    day = None if shape.is_lifelong else shape.day_column
    identity = [one.name for one in shape.identity]
    session.make(shape.name, shape.columns, identity=identity, required=shape.required, day=day)


def match_indexes(store: Store, session: Session, shape: Shape) -> None:
    """Make the indexes that a table lacks, drop those of ours that its definition does not name."""
    found = store.stored_indexes(session, shape.name)
    wanted = shape.create_indexes(store.dialect)
    for name in found:
        if name not in wanted and name.endswith(INDEX_SUFFIX):
            session.execute(f"DROP INDEX {quoted(store.schema)}.{quoted(name)}")
    for name, text in wanted.items():
        if name not in found:
            session.execute(text)


def holds_rows(session: Session, shape: Shape) -> bool:
    """Whether a table has a row."""
    return bool(session.rows(Statement(sql("select 1 from _t limit 1", _t=shape.table))))


def check_columns(store: Store, shape: Shape, found: Mapping[str, str]) -> None:
    """Raise StoreAltered with the difference where a table's columns are not the expected ones."""
    expected = {one.name: normal_type(store.dialect, one.type) for one in shape.columns}
    if found == expected:
        return
    differences = [f"the column '{name}' is missing" for name in expected if name not in found]
    differences += [f"the column '{name}' is not one of ours" for name in found if name not in expected]
    differences += [
        f"the column '{name}' is {found[name]}, expected {kind}"
        for name, kind in expected.items()
        if name in found and found[name] != kind
    ]
    raise StoreAltered(
        f"The table {shape.name} is not as Dayfold makes it: "
        f"{'; '.join(differences) or 'its columns are in another order'}.",
        hint="Undo the change by hand, or drop the table: the next fold builds it anew from the whole history.",
    )


def normal_type(dialect: Dialect, type_: Type) -> str:
    """A type as the engine's catalogue prints it."""
    name = dialect.type_name(type_)
    if dialect.name == "clickhouse":
        return name
    if dialect.name == "duckdb":
        return {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}.get(
            name, name.replace("NUMERIC(", "DECIMAL(").replace(", ", ",")
        )
    return {"timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone"}.get(
        name, name.replace("NUMERIC(", "numeric(").replace(", ", ",")
    )


def replace(
    store: Store,
    session: Session,
    publication: Publication,
    now: dt.datetime,
    run_id: int,
    *,
    indexed: bool = False,
    watch: Watch | None = None,
) -> Changed:
    """Make the stored rows of a scope equal to the staged ones, writing only what differs.

    Idempotent: a second call writes nothing. Afterwards the table has the indexes of its definition, and none of ours
    that it does not name; ``indexed``: it has them already.

    An empty table is indexed after its rows are loaded, which costs half as much. One with rows is indexed before they
    change: DuckDB makes no index over rows that its own transaction has changed.
    """
    of_cells = publication.cells is not None
    if not indexed:
        if not of_cells and not holds_rows(session, publication.shape):
            inserted = session.execute(publication.insert(now, run_id, from_changes=False))
            match_indexes(store, session, publication.shape)
            return _all_new(publication, inserted, watch)
        match_indexes(store, session, publication.shape)
    if not of_cells and not session.rows(publication.any_stored()):
        return _all_new(publication, session.execute(publication.insert(now, run_id, from_changes=False)), watch)
    session.stage(CHANGES, publication.changes())
    if of_cells:
        # Few rows: without being told so, PostgreSQL expects many, and reads the whole table for them.
        session.analyze(CHANGES)
    counts = dict(session.rows(change_counts()))
    if watch and counts:
        watch.before(publication)
    if counts.get(DELETED):
        session.execute(publication.delete())
    if counts.get(UPDATED):
        _update(session, publication, now, run_id, counts[UPDATED])
    if counts.get(INSERTED):
        session.execute(publication.insert(now, run_id, from_changes=True))
    if watch and counts:
        watch.after(publication, all_new=False)
    return Changed(counts.get(INSERTED, 0), counts.get(UPDATED, 0), counts.get(DELETED, 0))


#: From so many changed rows on DuckDB is told which columns differ.
_MANY_UPDATES = 5_000


def _update(session: Session, publication: Publication, now: dt.datetime, run_id: int, rows: int) -> None:
    """Changed rows get their new values.

    DuckDB writes every column that it is told to set, and moves a row of which an indexed one is among these: of many rows only
    what differs is set, and indexed columns only in the rows where they differ. 500,000 rows of which a few columns out of 66
    changed took 99 s in one statement, on a busy machine, and three seconds of a processor so.
    """
    if rows < _MANY_UPDATES or publication.dialect.name != "duckdb":
        session.execute(publication.update(now, run_id))
        return
    [flags] = session.rows(publication.differing())
    names = [one.name for one, differs in zip(publication.written, flags, strict=True) if differs]
    indexed = {name for entry in publication.shape.plain_indexes.values() for name in entry}
    session.execute(publication.update_of(now, run_id, {*names} - indexed, stamped=True))
    if moved := {*names} & indexed:
        # Last: rows that move have another place afterwards.
        session.execute(publication.update_of(now, run_id, moved, stamped=False))


def _all_new(publication: Publication, inserted: int, watch: Watch | None) -> Changed:
    if watch and inserted:
        watch.after(publication, all_new=True)
    return Changed(inserted=inserted)
