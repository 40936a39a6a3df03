"""What the ledger knows of writes to a store that has no transactions: numbers, publications, tables of versions. Engines floor.

A write is numbered before its first version is inserted (the intent), and published by the commit of the transaction that it belongs to.
Readers show what was published in the snapshot that they read at home; views of other programs go by a copy of that, which each
publication renews.

Invariant: a number that was given out is either published, or no reader ever shows a version with it.

Weakness: a process that lost its connection to PostgreSQL, was taken for dead, and goes on inserting for `KEEP_S` after its versions were
removed, leaves versions that are shown.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from dayfold.engines.base import Session, Store
from dayfold.engines.clickhouse import ClickHouse, ClickHouseSession
from dayfold.errors import Conflict, StoreError
from dayfold.plan.shape import Column, quoted
from dayfold.plan.sql import Statement, statement, table
from dayfold.plan.triggers import FEEDS
from dayfold.plan.versions import SEEN, STEPS, VERSIONS_PREFIX, WRITE, Seen, made_by

if TYPE_CHECKING:
    import pyarrow as pa

#: The tables at home by which the two databases are kept together: see docs/reference/ledger.md.
WRITES, PUBLISHED, HEAD, TABLES = "dayfold__writes", "dayfold__published", "dayfold__head", "dayfold__tables"
HORIZONS, COMPACTED = "dayfold__horizons", "dayfold__compacted"
OWN = (WRITES, PUBLISHED, HEAD, TABLES, FEEDS, HORIZONS, COMPACTED)
_MAKE = (
    f"CREATE TABLE {HEAD} (id BIGINT PRIMARY KEY, last BIGINT NOT NULL, told BIGINT NOT NULL)",
    f"CREATE TABLE {HORIZONS} (last BIGINT NOT NULL, noted_at TIMESTAMPTZ NOT NULL)",
    f"CREATE TABLE {COMPACTED} (id BIGINT PRIMARY KEY, last BIGINT NOT NULL)",
    f"CREATE TABLE {WRITES} (id BIGINT PRIMARY KEY, holder BIGINT NOT NULL, seen BIGINT NOT NULL, begun_at TIMESTAMPTZ NOT NULL, "
    "removed_at TIMESTAMPTZ)",
    f"CREATE TABLE {PUBLISHED} (id BIGINT PRIMARY KEY)",
    f"CREATE TABLE {TABLES} (name TEXT PRIMARY KEY, versions TEXT NOT NULL, columns TEXT NOT NULL, identity TEXT NOT NULL, "
    "month TEXT, is_log BOOLEAN NOT NULL, revised BOOLEAN NOT NULL, changed BIGINT NOT NULL)",
    f"CREATE TABLE {FEEDS} (name TEXT NOT NULL, table_name TEXT NOT NULL, event TEXT NOT NULL, tag TEXT NOT NULL, version BIGINT NOT NULL, "
    "cells TEXT NOT NULL, reason TEXT NOT NULL)",
    f"INSERT INTO {COMPACTED} (id, last) VALUES (1, 0)",
    f"INSERT INTO {HEAD} (id, last, told) VALUES (1, 0, 0)",
)
#: So many numbers stand in one statement.
_AT_ONCE = 1000
#: Who holds the intent of a write that the ledger had lost.
_NOBODY = 0
#: The writes of each DuckDB file that go on in this process, whoever of it has it open, and who may begin one.
_HERE: dict[str, tuple[set[int], threading.Lock]] = {}
#: What a comment of a table or view that only serves versions begins with.
OURS = "Made by Dayfold"
#: How long versions that were replaced, and intents whose versions were removed, are kept for whoever still works by them.
KEEP_S = 600
_TRIES, _PAUSE_S = 20, 0.05
#: How many of the rows that views go by are kept, and how often the others go.
_SEEN_KEPT, _SEEN_EVERY = 100, 500


class _SetBack(Exception):
    """The ledger gives out a number that this process has met before."""


class Writes:
    """The writes of one store, as its ledger has them."""

    def __init__(self, home: Store, rows: ClickHouse, family: str) -> None:
        self.home = home
        self.rows = rows
        self.family = family
        #: Those of this process that go on. PostgreSQL knows by itself whether somebody does.
        fresh: tuple[set[int], threading.Lock] = (set(), threading.Lock())
        beside = home.journal
        self._live, self._lock = _HERE.setdefault(str(beside.resolve()), fresh) if beside else fresh
        self._first = threading.Lock()
        #: Since when the server of the ledger is up.
        self._up = ""
        self._made = False
        self._tidied = False
        #: The greatest number that this process has met.
        self._met = 0

    def sql(self, text: str, **values: Any) -> Statement:
        """A statement of these tables, in the spelling that the engines at home share."""
        one = statement(text, **values)
        tree = one.built().tree.copy()
        for node in list(tree.find_all(exp.Table)):
            if node.name in OWN and not node.db:
                node.set("db", exp.to_identifier(self.home.schema, quoted=True))
        return Statement(tree, one.values)

    def is_made(self, home: Session) -> bool:
        """Whether anything was ever kept in the store."""
        if not self._made:
            self._made = bool(self.home.stored_columns(home, [HEAD]))
        return self._made

    def make(self, home: Session) -> None:
        """The tables are there."""
        if not self.home.stored_columns(home, [HEAD]):
            self.home.make_schema(home)
            for text in _MAKE:
                home.execute(self.sql(text))
        self._made = True

    # -- one write -------------------------------------------------------------------------------

    def begin(self, home: Session, settled: int) -> int:
        """The number of a new write of a transaction, known at home before anything is written under it.

        ``settled``: up to which write all are published in the snapshot that the transaction reads by.
        """
        with self._first:
            if not self._tidied:
                self.adopt()
                self._tidied = True
                with contextlib.suppress(Conflict):
                    self.tidy()
        holder = secrets.randbits(62) or 1
        if self.home.dialect.name == "postgres":
            # Held until the transaction has ended, however it ends: whoever gets it knows that nobody works under the number.
            held = "select cast(pg_advisory_xact_lock(:holder) as text), cast(pg_postmaster_start_time() as text)"
            [(_, up)] = home.rows(statement(held, "postgres", holder=holder))
            if self._up not in ("", up):
                # Another server, which may lack what the one before had.
                self.adopt()
            self._up = up
        for turn in range(_TRIES):
            try:
                return self._begun(holder, settled)
            except _SetBack:
                self.adopt()
            except Conflict:
                if turn == _TRIES - 1:
                    raise
                time.sleep(_PAUSE_S * (turn + 1))
        raise Conflict("The ledger gives out numbers that were given out before.", hint="Run it again.")

    def _begun(self, holder: int, settled: int) -> int:
        number = 0
        with self._lock:
            try:
                with self.home.transaction() as home:
                    self.make(home)
                    home.execute(self.sql(f"update {HEAD} set last = last + 1 where id = 1"))
                    number, _ = self._head(home)
                    if number <= self._met:
                        raise _SetBack
                    # Known here before anybody can see it there.
                    self._live.add(number)
                    intent = f"insert into {WRITES} (id, holder, seen, begun_at) values (:id, :holder, :seen, now())"
                    home.execute(self.sql(intent, id=number, holder=holder, seen=settled))
            except BaseException:
                self._live.discard(number)
                raise
        self._met = max(self._met, number)
        return number

    def publish(self, home: Session, number: int) -> None:
        """The write is published if the transaction commits."""
        home.execute(self.sql(f"insert into {PUBLISHED} (id) values (:id)", id=number))

    def ended(self, number: int) -> None:
        """The transaction of a write is over, whatever became of it."""
        self._live.discard(number)

    # -- what is seen ----------------------------------------------------------------------------

    def seen(self, home: Session, own: int = 0) -> Seen:
        """What a transaction at home shows."""
        [(last,)] = home.rows(self.sql(f"select last from {HEAD} where id = 1"))
        self._met = max(self._met, int(last))
        query = f"select w.id from {WRITES} as w left join {PUBLISHED} as p on p.id = w.id where p.id is null"
        return Seen(int(last), tuple(sorted(int(number) for (number,) in home.rows(self.sql(query)))), own)

    def tell(self, *, covers: bool) -> None:
        """What views of other programs go by is what is published now; ``covers``: and what is covered."""
        for turn in range(_TRIES):
            try:
                # In this order: who begins a write takes the lock within a transaction, and may wait for none with it.
                with self.home.transaction() as home, self._lock:
                    self._settle(home)
                    home.execute(self.sql(f"update {HEAD} set told = told + 1 where id = 1"))
                    [(told,)] = home.rows(self.sql(f"select told from {HEAD} where id = 1"))
                    seen = self.seen(home)
                    covered = self._covered(home) if covers else None
                break
            except Conflict:
                if turn == _TRIES - 1:
                    raise
                time.sleep(_PAUSE_S * (turn + 1))
        place = self._place(SEEN)
        with self.rows.transaction() as raw:
            raw.command(
                f"CREATE TABLE IF NOT EXISTS {place} (told UInt64, last UInt64, pending Array(UInt64)) ENGINE = {self.family} "
                f"ORDER BY told COMMENT '{OURS}: which writes are published'"
            )
            if covered is not None:
                raw.load("dayfold_covered__", covered[0], covered[1])
                raw.command(
                    f"CREATE OR REPLACE TABLE {self._place('dayfold_coverage')} ENGINE = {self.family} ORDER BY tuple() "
                    f"COMMENT '{OURS}: which days are covered' AS SELECT * FROM {quoted('dayfold_covered__')}"
                )
            raw.command(f"INSERT INTO {place} SELECT $1, $2, $3", [int(told), seen.last, list(seen.pending)])
            if told % _SEEN_EVERY == 0:
                raw.command(f"DELETE FROM {place} WHERE told < $1", [int(told) - _SEEN_KEPT])

    def _covered(self, home: Session) -> tuple[Sequence[Column], pa.Table] | None:
        """The coverage that the long view is read beside."""
        if not self.home.stored_columns(home, ["dayfold_coverage"]):
            return None
        tree = exp.select("*").from_(table("dayfold_coverage", self.home.schema))
        columns = [Column(name, type_) for name, type_ in home.columns_of(Statement(tree)).items()]
        return columns, home.arrow(Statement(tree.copy()), columns)

    # -- what is left behind ---------------------------------------------------------------------

    def adopt(self) -> None:
        """Versions of writes that the ledger does not know any more, as after a restore, are those of abandoned writes.

        Their numbers would be given out again, and what was inserted under them before would be shown.
        """
        for turn in range(_TRIES):
            try:
                with self.home.transaction(read_only=True) as home:
                    if not self.is_made(home):
                        return
                    last, told = self._head(home)
                # First the rows, then the ledger: a number is known there before anything is written under it.
                found, shown = self._stands(last)
                if found or shown > told:
                    with self.home.transaction() as home:
                        self._know(home, found, shown)
                return
            except StoreError:
                # Somebody else has written to the ledger meanwhile, or dropped a table.
                if turn == _TRIES - 1:
                    raise
                time.sleep(_PAUSE_S * (turn + 1))

    def _head(self, home: Session) -> tuple[int, int]:
        """The last write, and how often other programs were told."""
        [(last, told)] = home.rows(self.sql(f"select last, told from {HEAD} where id = 1"))
        return int(last), int(told)

    def _stands(self, after: int) -> tuple[list[int], int]:
        """The writes after this one that rows or tables are of, and how often views were told what is published."""
        with self.rows.transaction(read_only=True) as raw:
            query = "SELECT name FROM system.tables WHERE database = $1 AND (startsWith(name, $2) OR name = $3)"
            names = {name for (name,) in raw.query(query, [self.rows.schema, VERSIONS_PREFIX, SEEN])}
            versions = names - {SEEN}
            found = {self._met, *map(made_by, versions)}
            parts = [
                f"SELECT intDiv({quoted(WRITE)}, {STEPS}) AS n FROM {self._place(name)} WHERE {quoted(WRITE)} >= {(after + 1) * STEPS}"
                for name in sorted(versions)
            ]
            if parts:
                found |= {int(n) for (n,) in raw.query(f"SELECT DISTINCT n FROM ({' UNION ALL '.join(parts)})")}
            told = raw.query(f"SELECT max(told) FROM {self._place(SEEN)}")[0][0] if SEEN in names else 0
        return sorted(number for number in found if number > after), int(told or 0)

    def _know(self, home: Session, numbers: Sequence[int], shown: int) -> None:
        """Those of some numbers that the ledger has not given out are intents of nobody, and are not given out again."""
        last, told = self._head(home)
        lost = [number for number in numbers if number > last]
        text = f"update {HEAD} set last = :last, told = :told where id = 1"
        home.execute(self.sql(text, last=max([last, *lost]), told=max(told, shown)))
        # Numbers, and nothing of anybody's: a backup that is a day old lacks many.
        for some in (lost[first : first + _AT_ONCE] for first in range(0, len(lost), _AT_ONCE)):
            rows = ", ".join(f"({number}, {_NOBODY}, {last}, now())" for number in some)
            home.execute(self.sql(f"insert into {WRITES} (id, holder, seen, begun_at) values {rows}"))

    def tidy(self) -> None:
        """What abandoned writes left is gone, and what is published need not be listed to be known.

        To be called at any time, by any number of processes: what it does twice does no harm.
        """
        with self.home.transaction() as home:
            if not self.is_made(home):
                return
            self._settle(home)
            query = f"select id, holder, removed_at <= now() - {KEEP_S} * interval '1 second' from {WRITES}"
            open_ = [(int(number), int(holder), over) for number, holder, over in home.rows(self.sql(query))]
            abandoned = [one for one in open_ if self._is_abandoned(home, one[0], one[1])]
            if not abandoned:
                return
            with self.rows.transaction() as raw:
                self._remove(home, raw, [number for number, *_ in abandoned])
            # Kept for a while, and removed once more: whoever was taken for dead may have gone on for a moment.
            for numbers, text in (
                ([one[0] for one in abandoned if one[2]], f"delete from {WRITES} where"),
                (
                    [one[0] for one in abandoned if not one[2]],
                    f"update {WRITES} set removed_at = now() where removed_at is null and",
                ),
            ):
                for some in (numbers[first : first + _AT_ONCE] for first in range(0, len(numbers), _AT_ONCE)):
                    home.execute(self.sql(f"{text} id in ({', '.join(map(str, some))})"))

    def _settle(self, home: Session) -> None:
        """What is published is so without being listed."""
        home.execute(self.sql(f"delete from {WRITES} where id in (select id from {PUBLISHED})"))
        home.execute(self.sql(f"delete from {PUBLISHED} where not id in (select id from {WRITES})"))

    def _is_abandoned(self, home: Session, number: int, holder: int) -> bool:
        """Whether nobody works at a write any more, and it was not published."""
        if number in self._live:
            return False
        if holder == _NOBODY:
            return True
        if self.home.dialect.name == "postgres":
            query = "select pg_try_advisory_xact_lock(:holder)"
            if not home.rows(statement(query, "postgres", holder=holder))[0][0]:
                return False
        # It is over. Whether it was published says a snapshot that is younger than its end: this transaction's may be older.
        with self.home.transaction(read_only=True) as now:
            known = bool(now.rows(self.sql(f"select 1 from {WRITES} where id = :id", id=number)))
            return known and not now.rows(self.sql(f"select 1 from {PUBLISHED} where id = :id", id=number))

    def _remove(self, home: Session, raw: ClickHouseSession, numbers: Sequence[int]) -> None:
        """No version of these writes stands in any table, and no table that one of them made."""
        known = {name for (name,) in home.rows(self.sql(f"select versions from {TABLES}"))}
        query = "SELECT name FROM system.tables WHERE database = $1 AND startsWith(name, $2)"
        for (name,) in raw.query(query, [self.rows.schema, VERSIONS_PREFIX]):
            if name not in known:
                if made_by(name) in numbers:
                    raw.command(f"DROP TABLE IF EXISTS {self._place(name)} SYNC")
                continue
            mine = f"intDiv({quoted(WRITE)}, {STEPS}) IN ({', '.join(map(str, numbers))})"
            low = f"{quoted(WRITE)} >= {min(numbers) * STEPS} AND {mine}"
            if raw.query(f"SELECT 1 FROM {self._place(name)} WHERE {low} LIMIT 1"):
                raw.command(f"ALTER TABLE {self._place(name)} DELETE WHERE {low}")

    def _place(self, name: str) -> str:
        return f"{quoted(self.rows.schema)}.{quoted(name)}"
