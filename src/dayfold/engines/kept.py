"""The tables of a store that keeps rows as versions: known at home, made, changed and dropped in a transaction. Engines floor.

ClickHouse's own statements for tables are done at once and for good. So a table is a row at home, which says where its versions are;
making one is a new table of versions and that row, dropping one takes the row away, and a table that gets other columns is a new table of
versions under the old name. What nobody reads any more goes later (`dayfold.engines.compacting`).

Invariant: a transaction that does not commit changes no table that anybody reads.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.define.types import DATE, INT, TEXT, Kind, Type
from dayfold.engines.writes import OURS, TABLES, Writes
from dayfold.errors import Conflict
from dayfold.names import fitted
from dayfold.plan.dialect import CLICKHOUSE
from dayfold.plan.shape import Column, quoted
from dayfold.plan.sql import Statement, column, derived, statement, table
from dayfold.plan.triggers import FEEDS, NEW_ROWS, OLD_ROWS
from dayfold.plan.versions import (
    GONE,
    REVISES,
    ROW,
    SEEN,
    STEPS,
    VERSIONS_PREFIX,
    WRITE,
    Kept,
    Reader,
    declaration,
    newest_of,
)  # fmt: skip

if TYPE_CHECKING:
    from dayfold.engines.base import Session

#: Cells that a write changed, and what each of them is for, on their way home.
_TOLD, _FED = "dayfold_told__", "dayfold_fed__"


def known_tables(writes: Writes, home: Session) -> dict[str, Kept]:
    """The tables of a store, by name, as a transaction at home sees them."""
    query = f"select name, versions, columns, identity, month, is_log, revised from {TABLES}"
    found = {}
    for name, versions, columns, identity, month, is_log, revised in home.rows(writes.sql(query)):
        words = json.loads(columns)
        listed = tuple(Column(one, Type(Kind(kind), precision, scale)) for one, kind, precision, scale, _ in words)
        required = frozenset(one for one, *_, is_required in words if is_required)
        found[name] = Kept(
            name, versions, listed, tuple(json.loads(identity)), month, required, bool(is_log), bool(revised)
        )
    return found


def _words(kept: Kept) -> str:
    return json.dumps(
        [
            [one.name, one.type.kind, one.type.precision, one.type.scale, one.name in kept.required]
            for one in kept.columns
        ]
    )


def planned(
    name: str, write: int, columns: Sequence[Column], *,
    identity: Sequence[str], required: Collection[str], day: str | None, is_log: bool,
) -> Kept:  # fmt: skip
    """A table as it would be made by a write."""
    is_log = is_log or not identity
    needed = {*required, *((*identity, day) if is_log else ())}
    return Kept(
        name, f"{VERSIONS_PREFIX}{write}__{fitted(name, 150)}", tuple(columns), tuple(identity) or (ROW,), day,
        frozenset(one.name for one in columns if one.name in needed), is_log,
    )  # fmt: skip


def making(kept: Kept, schema: str, family: str, *, durable: bool) -> str:
    """The statement that makes a table's table of versions; ``durable``: what was inserted outlives a power cut."""
    types = {
        one.name: CLICKHOUSE.type_name(one.type) if one.name in kept.required else CLICKHOUSE.nullable(one.type)
        for one in kept.columns
    }
    # Facts are read by their time; rows of a rollup by their key, or by all keys of the months that are read.
    order = [kept.month, *kept.identity] if kept.is_log and kept.month else [*kept.identity, WRITE]
    settings = ["allow_nullable_key = 1"]
    if durable and family == "MergeTree":
        settings += ["fsync_after_insert = 1", "fsync_part_directory = 1"]
    return declaration(kept, types, schema, family, order, ", ".join(settings))


def note(writes: Writes, home: Session, kept: Kept) -> None:
    """The table is known. Raises Conflict where another transaction has made one of its name."""
    query = (
        f"insert into {TABLES} (name, versions, columns, identity, month, is_log, revised, changed) values (:name, :versions, "
        ":columns, :identity, :month, :is_log, false, 0)"
    )
    home.execute(
        writes.sql(
            query, name=kept.name, versions=kept.versions, columns=_words(kept), identity=json.dumps(list(kept.identity)),
            month=kept.month, is_log=kept.is_log,
        )
    )  # fmt: skip


def note_columns(writes: Writes, home: Session, kept: Kept) -> None:
    """The table has other columns."""
    query = f"update {TABLES} set columns = :columns, changed = changed + 1 where name = :name"
    home.execute(writes.sql(query, columns=_words(kept), name=kept.name))


def forget(writes: Writes, home: Session, name: str) -> None:
    """There is no table of this name."""
    home.execute(writes.sql(f"delete from {TABLES} where name = :name", name=name))


def hold(writes: Writes, home: Session, kept: Kept) -> None:
    """Rows of a table are about to change: of two transactions that do so the second meets a conflict, and is tried again."""
    query = f"update {TABLES} set changed = changed + 1, revised = true where name = :name"
    home.execute(writes.sql(query, name=kept.name))


def agree(writes: Writes, home: Session, kept: Kept) -> None:
    """The table that rows were added to still has its name, until this transaction has ended. Raises Conflict."""
    if writes.home.dialect.name == "postgres":
        query = f"select versions from {TABLES} where name = :name for share"
    else:
        # DuckDB knows no lock but writing.
        query = f"update {TABLES} set changed = changed where name = :name returning versions"
    if home.rows(writes.sql(query, name=kept.name)) != [(kept.versions,)]:
        raise Conflict(f"The table {kept.name} was written anew meanwhile.", hint="Run it again; nothing was changed.")


def note_unrevised(writes: Writes, home: Session, kept: Kept) -> None:
    """No row of a table has more than one version any more."""
    query = f"update {TABLES} set revised = false, changed = changed + 1 where name = :name and versions = :versions"
    home.execute(writes.sql(query, name=kept.name, versions=kept.versions))


def view(kept: Kept, schema: str) -> str:
    """The statement that makes a view of what is published of a table, for other programs.

    What is published, ClickHouse is told after each publication (`Writes.tell`). The scalar is taken before any row is read.
    """
    write, place = quoted(WRITE), f"{quoted(schema)}.{quoted(kept.name)}"
    newest = f"(SELECT argMax((last, pending), told) FROM {quoted(schema)}.{quoted(SEEN)})"
    shown = f"{write} < (tupleElement({newest}, 1) + 1) * {STEPS} AND NOT has(tupleElement({newest}, 2), intDiv({write}, {STEPS}))"
    versions = exp.select().from_(table(kept.versions, schema)).where(column("shown__"))
    text, _ = Statement(newest_of(kept, versions, [column(one) for one in kept.names])).render("clickhouse")
    return f"CREATE OR REPLACE VIEW {place} AS {text.replace(quoted('shown__'), shown)} COMMENT '{OURS}: the published rows'"


# -- what is fed from a table ----------------------------------------------------------------------


class Feeds:
    """Marks the cells that a write to a table changes, for whoever is fed from it: what triggers do elsewhere."""

    def __init__(self, writes: Writes, home: Session) -> None:
        self.writes = writes
        self.home = home
        self._known: dict[str, list[tuple[str, str, int, str, str]]] = {}

    def of(self, name: str, event: str) -> list[tuple[str, int, str, str]]:
        """What is fed: the tag and version of its marks, the query for its cells, and the reason."""
        if name not in self._known:
            query = f"select event, tag, version, cells, reason from {FEEDS} where table_name = :name"
            self._known[name] = [
                (one, tag, int(version), cells, reason)
                for one, tag, version, cells, reason in self.home.rows(self.writes.sql(query, name=name))
            ]
        return [(tag, version, cells, reason) for one, tag, version, cells, reason in self._known[name] if one == event]

    def cells(self, kept: Kept, event: str, number: int, before: Reader) -> str | None:
        """The query for the cells that one version number changed, each with the place of what it is for; None where nothing is fed.

        ``before``: reads the table as it was before that.
        """
        feeds = self.of(kept.name, event)
        if not feeds:
            return None
        place = f"{quoted(before.schema)}.{quoted(kept.versions)}"
        mine = f"SELECT {', '.join(map(quoted, kept.names))} FROM {place} WHERE {quoted(WRITE)} = {number}"
        sides = {OLD_ROWS: mine} if event == "delete" else {NEW_ROWS: f"{mine} AND NOT {quoted(GONE)}"}
        if event == "update":
            [row] = kept.identity
            written = exp.select(column(row)).from_(table(kept.versions, before.schema))
            written = written.where(exp.EQ(this=column(WRITE), expression=exp.Literal.number(number)))
            old = exp.select("*").from_(derived(before.rows(kept), "before__"))
            old = old.where(exp.In(this=column(row), query=exp.Subquery(this=written)))
            sides[OLD_ROWS], _ = Statement(old).render("clickhouse")
        parts = [
            f"SELECT {n} AS {quoted('feed__')}, CAST({quoted('key')} AS Nullable(String)) AS {quoted('key')}, "
            f"CAST({quoted('day')} AS Nullable(Date32)) AS {quoted('day')} FROM ({cells})"
            for n, (_, _, cells, _) in enumerate(feeds)
        ]
        named = ", ".join(f"{quoted(name)} AS ({text})" for name, text in sides.items())
        return f"WITH {named} {' UNION ALL '.join(parts)}"

    #: What that query gives.
    columns = (Column("feed__", INT), Column("key", TEXT), Column("day", DATE))

    def mark(self, name: str, event: str, cells: object) -> None:
        """Cells that were found are marked, where the ledger is."""
        import pyarrow as pa

        assert isinstance(cells, pa.Table)
        if not cells.num_rows:
            return
        feeds = self.of(name, event)
        fed = (Column("feed__", INT), Column("tag", TEXT), Column("version", INT), Column("reason", TEXT))
        places = pa.table(
            {
                "feed__": pa.array(range(len(feeds)), pa.int64()),
                "tag": pa.array([tag for tag, *_ in feeds], pa.string()),
                "version": pa.array([version for _, version, *_ in feeds], pa.int64()),
                "reason": pa.array([reason for *_, reason in feeds], pa.string()),
            }
        )
        self.home.load(_TOLD, self.columns, cells)
        self.home.load(_FED, fed, places)
        schema = self.writes.home.schema
        self.home.execute(
            statement(
                "insert into _marks (id, rollup, version, key, day, marked_at, reason) select nextval(_sequence), f.tag, f.version, "
                "t.key, t.day, now(), f.reason from _told as t join _fed as f on f.feed__ = t.feed__",
                _marks=table("dayfold__marks", schema), _sequence=exp.Literal.string(f'"{schema}"."dayfold__mark_ids"'),
                _told=table(_TOLD), _fed=table(_FED),
            )
        )  # fmt: skip


def inserted(kept: Kept, schema: str, text: str, number: int) -> str:
    """The statement that adds all rows of a query, in ClickHouse's words and the order of the table's columns."""
    names = ", ".join(quoted(one) for one in (*kept.all_names, WRITE, GONE, REVISES))
    return (
        f"INSERT INTO {quoted(schema)}.{quoted(kept.versions)} ({names}) SELECT *, {number}, false, false FROM ({text})"
    )
