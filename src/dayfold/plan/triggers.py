"""The triggers that log which cells a statement changed: what each of them selects, and their statements. Plan floor, pure.

A trigger sees the old and the new rows of one statement, and logs the distinct cells of those that differ. For a query over
several tables it selects the query's rows that the changed rows lead to, once as the tables are now and once as they
were before the statement.

Weakness: rows that reach a table past its triggers are not seen: a restore with triggers off, logical replication,
statements sent to a partition that was attached after the triggers were installed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from dayfold.define.source import Read
from dayfold.define.types import Kind, Type
from dayfold.names import fitted
from dayfold.plan.bind import Scan
from dayfold.plan.cells import changed
from dayfold.plan.dialect import Dialect
from dayfold.plan.follow import levels_tag
from dayfold.plan.reads import Untraceable, is_table, parsed
from dayfold.plan.shape import Column, quoted
from dayfold.plan.sql import Statement, alias, both, column, derived, identifier, sql, table

NEW_ROWS, OLD_ROWS = "dayfold_new_rows", "dayfold_old_rows"
EVENTS = ("insert", "update", "delete", "truncate")
#: Where a store that has no triggers keeps what its own tables feed.
FEEDS = "dayfold__feeds"
#: Moves when the statements of triggers change, so that those of an earlier program are known to be older.
FORMAT = 1
#: What every trigger of ours is called first.
PREFIX = "dayfold_"
#: Columns, each with the tree that gives it.
Parts = Sequence[tuple[Column, exp.Expr]]
_UNCOMPARABLE = (Kind.JSON, Kind.OTHER)


@dataclass(frozen=True, slots=True)
class Feed:
    """What a table's changes mean for one scan of a rollup.

    Attributes:
        fingerprint: That of the rollup's definition.
        columns: The described columns of the scan's source.
        read: For a query: how the table leads to its rows.
        store: Tells the store that folds it from any other over the same tables.
        tag: What the log calls the rollup.
        identity: The table's primary key, for a query; empty where it has none.
        loses: For a query: whether rows of this table go with those of another that it reads (ON DELETE CASCADE).
    """

    rollup: str
    version: int
    fingerprint: str
    store: str
    tag: str
    scan: Scan
    columns: Mapping[str, Type]
    read: Read | None = None
    identity: tuple[str, ...] = ()
    loses: bool = False

    @property
    def words(self) -> list[object]:
        """What decides its triggers: equal words give equal statements."""
        link = sorted(self.read.on.items()) if self.read is not None else None
        more = [self.scan.moment.raw_kind, link, list(self.identity), self.loses]
        return [FORMAT, self.store, self.version, self.fingerprint, *more]

    def logs(self, event: str) -> list[tuple[str, exp.Select | exp.Union]]:
        """What one kind of statement logs, and under which tag: changed cells, and the entities whose levels changed."""
        found = [(self.tag, self.cells(event))]
        if self.scan.levels is not None:
            found.append((self.tags[1], self._changed(event, self.scan.levels.per)))
        return found

    @property
    def tags(self) -> list[str]:
        """What the log calls the rollup: where cells changed, and where levels did."""
        return [self.tag] if self.scan.levels is None else [self.tag, levels_tag(self.tag, self.scan)]

    def cells(self, event: str) -> exp.Select | exp.Union:
        """The cells that one kind of statement changed: ``key`` and ``day``."""
        return self._changed(event, self.scan.keys)

    def _changed(self, event: str, keys: Parts) -> exp.Select | exp.Union:
        if self.read is not None:
            return self._through(self.read, event, keys)
        return self._of_rows(self._rows(event), keys)

    def _of_rows(self, rows: exp.Expr, keys: Parts) -> exp.Select:
        scan = self.scan
        common = [] if scan.common_filter is None else [scan.common_filter]
        return changed(scan.dialect, keys, scan.moment.day, rows, common)

    def _rows(self, event: str) -> exp.Expr:
        """The rows that a statement added, and those that it took away; a row that it left as it was is neither."""
        if event == "insert":
            return table(NEW_ROWS)
        if event == "delete":
            return table(OLD_ROWS)
        names = self._used()
        columns = [column(name) for name in names]
        sides = [
            exp.select(*columns, alias(exp.Literal.number(weight), "side__")).from_(table(one))
            for one, weight in ((OLD_ROWS, 1), (NEW_ROWS, -1))
        ]
        both_sides = derived(exp.union(*sides, distinct=False), "sides")
        if any(self.columns[name].kind in _UNCOMPARABLE for name in names):
            return both_sides
        # One pass over both sides: a row that is there before and after adds up to nothing.
        rows = exp.select(*columns).from_(both_sides).group_by(*columns).having(sql("sum(side__) <> 0"))
        return derived(rows, "r")

    def _used(self) -> list[str]:
        """The columns that decide which cell a row is in and what it counts for."""
        used = self.scan.reads
        return [name for name in self.columns if name in used]

    # -- queries over several tables -------------------------------------------------------------

    def _through(self, read: Read, event: str, keys: Parts) -> exp.Select | exp.Union:
        """The cells, or entities, of the query's rows that changed rows of one of its tables lead to, before and after."""
        assert self.scan.source.sql is not None
        sides = [self._led(read, event, self.scan.relation, keys)]
        before = as_before(
            self.scan.source.sql, read, self._links(read, event), event, self.scan.dialect, self.identity
        )
        sides.append(self._led(read, event, before, keys))
        return exp.union(*sides, distinct=True)

    def orphaned(self) -> exp.Expr:
        """True where deleted rows lead to no row of the query, even as it was before: what they led to went first.

        A cascade deletes rows of several tables, and each trigger sees all of them gone; which cells they were is not known.
        """
        assert self.read is not None
        assert self.scan.source.sql is not None
        links = self._links(self.read, "delete")
        before = as_before(self.scan.source.sql, self.read, links, "delete", self.scan.dialect, self.identity)
        led = exp.select(alias(exp.Literal.number(1), "one")).from_(before)
        same = both(
            sql("_a = _b", _a=column(theirs, "s"), _b=column(mine, "o")) for mine, theirs in self.read.on.items()
        )
        rows = exp.select(alias(exp.Literal.number(1), "one")).from_(exp.alias_(table(OLD_ROWS), "o", table=True))
        return exp.Exists(this=rows.where(exp.Not(this=exp.Exists(this=led.where(same)))))

    def _led(self, read: Read, event: str, relation: exp.Expr, keys: Parts) -> exp.Select:
        scan = self.scan
        theirs = [column(name) for name in read.on.values()]
        conditions = [among(scan.dialect, theirs, self._links(read, event))]
        if scan.common_filter is not None:
            conditions.append(scan.common_filter)
        return changed(scan.dialect, keys, scan.moment.day, relation.copy(), conditions)

    def _links(self, read: Read, event: str) -> exp.Expr:
        """The values by which the changed rows lead to rows of the query."""
        names = {"insert": (NEW_ROWS,), "delete": (OLD_ROWS,), "update": (OLD_ROWS, NEW_ROWS)}[event]
        sides = [exp.select(*(column(name) for name in read.on)).from_(table(one)) for one in names]
        return sides[0] if len(sides) == 1 else exp.union(*sides, distinct=True)


def among(dialect: Dialect, columns: Sequence[exp.Expr], rows: exp.Expr) -> exp.Expr:
    """True where columns have the values of one of some rows.

    PostgreSQL pushes a comparison with an array into a grouped query, and one with a query it does not.
    """
    if len(columns) == 1 and dialect.name == "postgres":
        return sql("_x = any(array(select * from _rows))", _x=columns[0], _rows=derived(rows, "links"))
    left = columns[0] if len(columns) == 1 else exp.Tuple(expressions=list(columns))
    return exp.In(this=left, query=exp.Subquery(this=rows.copy()))


def as_before(
    text: str, read: Read, links: exp.Expr, event: str, dialect: Dialect, identity: Sequence[str]
) -> exp.Subquery:
    """A query as it would have been before the statement: the table's changed rows replaced by the old ones.

    Raises:
        Untraceable: when the query cannot be read, or does not name the table.
    """
    tree = parsed(text, dialect)
    found = [node for node in tree.find_all(exp.Table) if is_table(node, read.table)]
    if not found:
        raise Untraceable(f"the query does not read '{read.table}'.")
    for node in found:
        name = node.alias or node.name
        bare = table(node.name, node.db or None)
        earlier = _earlier(bare, read, links, event, dialect, identity)
        node.replace(exp.Subquery(this=earlier, alias=exp.TableAlias(this=exp.to_identifier(name))))
    return exp.Subquery(this=tree, alias=exp.TableAlias(this=exp.to_identifier("s", quoted=True)))


def _earlier(
    bare: exp.Table, read: Read, links: exp.Expr, event: str, dialect: Dialect, identity: Sequence[str]
) -> exp.Expr:
    """The rows of a table that the links lead to, as they were before the statement."""
    here = exp.alias_(bare, "b", table=True)
    kept = exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("b"))).from_(here)
    kept = kept.where(among(dialect, [column(name, "b") for name in read.on], links))
    old = exp.select("*").from_(table(OLD_ROWS))
    if event == "delete":
        return exp.union(kept, old, distinct=False)
    if identity:
        same = both(sql("_a = _b", _a=column(name, "n"), _b=column(name, "b")) for name in identity)
        fresh = exp.select(alias(exp.Literal.number(1), "one")).from_(exp.alias_(table(NEW_ROWS), "n", table=True))
        kept = kept.where(exp.Not(this=exp.Exists(this=fresh.where(same))))
        return kept if event == "insert" else exp.union(kept, old, distinct=False)
    if dialect.name == "duckdb":
        rest: exp.Expr = exp.except_(kept, exp.select("*").from_(table(NEW_ROWS)), distinct=False)
    else:
        # Without a key rows are told apart by all they hold; as text, because not every type can be compared.
        whole = sql("cast(_t as text)", _t=exp.Column(this=exp.to_identifier("b")))
        texts = sql("select cast(n as text) from _n as n", _n=table(NEW_ROWS))
        rest = kept.where(exp.Not(this=exp.In(this=whole, query=exp.Subquery(this=texts))))
    if event == "insert":
        return rest
    return exp.union(exp.select("*").from_(derived(rest, "kept")), old, distinct=False)


# -- statements ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Log:
    """Where marks are written: a table and the sequence of its ids."""

    table: exp.Table
    sequence: str


@dataclass(frozen=True, slots=True)
class Tracked:
    """One table of a database and all that is fed from it."""

    name: str
    dialect: Dialect
    feeds: tuple[Feed, ...]
    log: Log

    @property
    def rollups(self) -> dict[str, str]:
        """The rollups that are fed, each with a digest of what it is fed with."""
        found: dict[str, list[object]] = {}
        for feed in self.feeds:
            found.setdefault(feed.rollup, [self.log.sequence]).append(feed.words)
        return {rollup: hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16] for rollup, words in found.items()}

    @property
    def digest(self) -> str:
        """A text that is the same for equal triggers only."""
        return hashlib.sha256(json.dumps(self.rollups, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def function(self) -> str:
        """What the trigger function is called."""
        return fitted(f"{PREFIX}log_{self.name.replace('.', '_')}", 63)

    def trigger(self, event: str) -> str:
        """What the trigger of an event is called."""
        return f"{PREFIX}{event}"

    def every(self, reason: str) -> list[str]:
        """Statements that mark every cell of all that is fed."""
        found = dict.fromkeys((feed.tag, feed.version) for feed in self.feeds)
        return [self._insert(tag, version, None, reason) for tag, version in found]

    def inserts(self, event: str) -> list[str]:
        """A statement for each feed that logs the cells which an event changed."""
        found = [
            self._insert(tag, feed.version, cells, event) for feed in self.feeds for tag, cells in feed.logs(event)
        ]
        for feed in self.feeds:
            if event == "delete" and feed.loses:
                gone = self._insert(feed.tag, feed.version, None, event)
                found.append(f"IF {_text(feed.orphaned(), self.dialect)} THEN {gone}; END IF")
        return found

    def _insert(self, rollup: str, version: int, cells: exp.Expr | None, reason: str) -> str:
        why = reason_of(self.name, reason)
        return _text(log_rows(self.log, self.dialect, rollup, version, cells, why), self.dialect)


def reason_of(name: str, event: str) -> str:
    """Why a trigger of a table marks a cell."""
    return f"{name}: {event}"


def log_rows(log: Log, dialect: Dialect, rollup: str, version: int, cells: exp.Expr | None, reason: str) -> exp.Expr:
    """The statement that writes marks for cells, or one for all of them."""
    select = sql(
        "select nextval(_sequence), _rollup, _version, _key, _day, _now, _reason",
        dialect.name,
        _sequence=exp.Literal.string(log.sequence),
        _rollup=exp.Literal.string(rollup),
        _version=exp.Literal.number(version),
        _key=column("key", "c") if cells is not None else dialect.sql("cast(null as text)"),
        _day=column("day", "c") if cells is not None else dialect.sql("cast(null as date)"),
        _now=dialect.piece("clock"),
        _reason=exp.Literal.string(reason),
    )
    if cells is not None:
        select = select.from_(derived(cells, "c"))  # type: ignore[attr-defined]
    names = ("id", "rollup", "version", "key", "day", "marked_at", "reason")
    target = exp.Schema(this=log.table.copy(), expressions=[exp.to_identifier(one, quoted=True) for one in names])
    return exp.Insert(this=target, expression=select)


def _text(tree: exp.Expr, dialect: Dialect) -> str:
    return Statement(tree).render(dialect.name)[0]


def reference(name: str) -> str:
    """A table's name as text, quoted."""
    return ".".join(quoted(part) for part in name.split("."))


_SETTINGS = "SET \"TimeZone\" = 'UTC' SET \"DateStyle\" = 'ISO, YMD' SET extra_float_digits = '1'"


def postgres_function(
    tracked: Tracked, schema: str, search_path: Sequence[str], stamps: Mapping[str, str]
) -> list[str]:
    """The statements that make the trigger function of a table, and say what it feeds.

    ``stamps``: for each rollup, what tells this feeding from an earlier one that was interrupted.

    A mistake in an expression must not break the application's own statement: every cell is marked instead. Where the
    log itself is gone, the change is lost to it and the statement still succeeds; folds find the log missing.
    """
    lines = ["BEGIN"]
    for number, event in enumerate(EVENTS):
        lines.append(f"  {'IF' if number == 0 else 'ELSIF'} TG_OP = '{event.upper()}' THEN")
        statements = tracked.every("truncate") if event == "truncate" else tracked.inserts(event)
        fallback = tracked.every(f"{event} that could not be read")
        lines += [
            "    BEGIN",
            *(f"      {one};" for one in statements),
            "    EXCEPTION",
            "      WHEN undefined_table OR invalid_schema_name OR insufficient_privilege THEN",
            "        RAISE WARNING 'dayfold: what this statement changed could not be logged';",
            "      WHEN OTHERS THEN",
            *(f"        {one};" for one in fallback),
            "    END;",
        ]  # fmt: skip
    lines += ["  END IF;", "  RETURN NULL;", "END"]
    path = ", ".join([*(quoted(one) for one in search_path), "pg_temp"])
    name = f"{quoted(schema)}.{quoted(tracked.function)}"
    body = "\n".join(lines)
    mark = f"$dayfold_{tracked.digest}$"
    fed = {rollup: [mark, stamps[rollup]] for rollup, mark in tracked.rollups.items()}
    comment = exp.Literal.string(json.dumps(fed, sort_keys=True)).sql("postgres")
    return [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path = {path} {_SETTINGS} AS {mark}\n{body}\n{mark}",
        f"COMMENT ON FUNCTION {name}() IS {comment}",
        f"REVOKE ALL ON FUNCTION {name}() FROM PUBLIC",
    ]


def postgres_triggers(tracked: Tracked, schema: str, relation: str) -> list[str]:
    """The statements that make the triggers of one table or partition; ``relation`` is its quoted name."""
    function = f"{quoted(schema)}.{quoted(tracked.function)}"
    tables = {
        "insert": f" REFERENCING NEW TABLE AS {NEW_ROWS}",
        "update": f" REFERENCING OLD TABLE AS {OLD_ROWS} NEW TABLE AS {NEW_ROWS}",
        "delete": f" REFERENCING OLD TABLE AS {OLD_ROWS}",
        "truncate": "",
    }
    return [
        f"CREATE OR REPLACE TRIGGER {quoted(tracked.trigger(event))} AFTER {event.upper()} ON {relation}{seen} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        for event, seen in tables.items()
    ]


def duckdb_triggers(tracked: Tracked, stamp: str) -> list[str]:
    """The statements that make a table's triggers for one rollup; one for each event, all feeds together.

    TRUNCATE is a delete of every row there. The names hold what the triggers are fed with and when they were made.
    """
    found = []
    for event in EVENTS[:3]:
        selects = [
            log_rows(tracked.log, tracked.dialect, tag, one.version, cells, reason_of(tracked.name, event))
            for one in tracked.feeds
            for tag, cells in one.logs(event)
        ]
        whole = selects[0]
        for other in selects[1:]:
            whole.set("expression", exp.union(whole.expression, other.expression, distinct=False))
        seen = {
            "insert": f"NEW TABLE AS {NEW_ROWS}",
            "update": f"OLD TABLE AS {OLD_ROWS} NEW TABLE AS {NEW_ROWS}",
            "delete": f"OLD TABLE AS {OLD_ROWS}",
        }[event]
        found.append(
            f"CREATE TRIGGER {quoted(duckdb_name(tracked, event) + stamp)} AFTER {event.upper()} ON "
            f"{reference(tracked.name)} REFERENCING {seen} FOR EACH STATEMENT {_text(whole, tracked.dialect)}"
        )
    return found


def duckdb_name(tracked: Tracked, event: str) -> str:
    """What the name of a trigger for one rollup begins with; its stamp follows."""
    [(rollup, digest)] = tracked.rollups.items()
    return f"{PREFIX}{event}_{rollup}_{digest}_"


def feeds(tracked: Tracked, stamp: str, schema: str, dialect: str) -> list[str]:
    """The statements that note what a table of a store without triggers feeds, for one rollup, where its ledger is.

    The store runs the queries itself, with each of its writes. The names are those that triggers would have.
    """
    found = []
    table_name = tracked.name.rpartition(".")[2]
    for event in EVENTS[:3]:
        name = duckdb_name(tracked, event) + stamp
        for one in tracked.feeds:
            for tag, cells in one.logs(event):
                values = [
                    name,
                    table_name,
                    event,
                    tag,
                    one.version,
                    _text(cells, tracked.dialect),
                    reason_of(tracked.name, event),
                ]
                tree = exp.insert(
                    exp.select(*(exp.convert(value) for value in values)),
                    table(FEEDS, schema),
                    columns=[
                        identifier(word)
                        for word in ("name", "table_name", "event", "tag", "version", "cells", "reason")
                    ],
                )
                found.append(tree.sql(dialect, identify=True))
    return found
