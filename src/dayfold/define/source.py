"""Sources and their moments: where facts come from and when they count. Definitions floor, pure."""

from __future__ import annotations

import hashlib
import sys
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dayfold.define.types import Type
from dayfold.errors import Problem
from dayfold.names import listing, suggestion

#: How a moment in a number or a text column is written.
UNITS = ("s", "ms", "iso")
#: The module of the definitions that ship with this package.
READY = "dayfold.ready"
#: ``changes`` of a source whose triggers tell what changed.
TRIGGER = "trigger"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a definitions file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


def caller() -> Place:
    """The line outside this package that is being run; the definitions that ship with it are as anybody's."""
    frame = sys._getframe(1)
    while frame.f_back and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "dayfold" and module != READY


def unknown_options(kind: str, place: Place, given: Mapping[str, Any], known: tuple[str, ...]) -> list[Problem]:
    """A problem for each keyword that a definition does not have."""
    return [
        Problem(
            "unknown-option",
            str(place),
            kind,
            f"{kind} has no option '{name}'{suggestion(name, known)}.",
            f"Options: {listing(known)}",
        )
        for name in given
    ]


@dataclass(frozen=True, slots=True)
class Read:
    """A table that a query reads, and how a change of its rows leads to rows of the query.

    Attributes:
        table: The table's name, ``schema.table`` where it is not in the default schema.
        on: Columns of the table, each with the column of the query that has the same value. A change of a row
            is then a change of the query's rows with these values, as they were before it and as they are after.

    >>> Read("testimonial_request_event", on={"request_id": "request_id"}).table
    'testimonial_request_event'
    """

    table: str
    on: Mapping[str, str]

    def complaint(self) -> str | None:
        """What is wrong with it, or None."""
        table: object = self.table
        on: object = self.on
        if not isinstance(table, str) or not 1 <= len(table.split(".")) <= 2:
            return f"a Read's table is 'table' or 'schema.table', got {table!r}."
        if (
            not isinstance(on, Mapping)
            or not on
            or not all(isinstance(word, str) for pair in on.items() for word in pair)
        ):
            return f"a Read's on maps columns of the table to columns of the query, both texts, got {on!r}."
        return None


class Table:
    """A table or view of a database, or the result of a query in that database's own SQL.

    Args:
        name: The table, ``schema.table`` where it is not in the default schema.
        sql: A ``select`` instead of a name. It is the engine's own SQL and not portable.
        database: A ``[databases.NAME]`` of ``dayfold.toml``. Default: the store itself.
        columns: Names that definitions use, each for the table's own column or an expression over its columns.
        changes: How the source tells what changed: ``"trigger"``, or the name of a column that moves forward with
            every change, such as ``updated_at``. Default: it cannot, and a lookback is folded again each run.
        reads: For ``sql`` with ``changes="trigger"``: the tables that it reads, each a `Read`, or a name where the
            query's joins say how the table leads to its rows.

    >>> Table("payments", columns={"customer_id": "square_customer_id"})
    Table('payments')
    """

    OPTIONS = ("name", "sql", "database", "columns", "changes", "reads")

    def __init__(
        self,
        name: str | None = None,
        *,
        sql: str | None = None,
        database: str | None = None,
        columns: Mapping[str, str] | None = None,
        changes: str | None = None,
        reads: Sequence[str | Read] = (),
        **unknown: Any,
    ) -> None:
        self.place = caller()
        self.problems = unknown_options("Table", self.place, unknown, self.OPTIONS)
        self.name = self._text("name", name)
        self.sql = self._text("sql", sql)
        self.database = self._text("database", database)
        self.naming = self._columns(columns)
        self.changes = self._text("changes", changes)
        self.reads = self._reads(reads)
        if (name is None) == (sql is None):
            self._problem("table-source", "a Table is either a name or sql=…, expected exactly one of them.")
        if self.name is not None and not 1 <= len(self.name.split(".")) <= 2:
            self._problem("table-source", f"a Table's name is 'table' or 'schema.table', got {self.name!r}.")

    @property
    def _subject(self) -> str:
        """What its mistakes are told of."""
        return "Table"

    def _problem(self, code: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(code, str(self.place), self._subject, message, hint))

    def _text(self, what: str, value: object) -> str | None:
        if value is None or isinstance(value, str):
            return value
        self._problem("bad-value", f"{what} is a text, got {value!r}.")
        return str(value)

    def _columns(self, columns: object) -> dict[str, str]:
        if columns is None:
            return {}
        if isinstance(columns, Mapping) and all(isinstance(word, str) for pair in columns.items() for word in pair):
            return dict(columns)
        self._problem("bad-value", f"columns maps names to columns or expressions, both texts, got {columns!r}.")
        return {}

    def _reads(self, reads: object) -> tuple[str | Read, ...]:
        """The tables that a query reads; each mistake is kept."""
        if not isinstance(reads, list | tuple):
            self._problem("bad-value", f"reads is a list of tables, each a name or a Read, got {reads!r}.")
            return ()
        found: list[str | Read] = []
        for one in reads:
            complaint = one.complaint() if isinstance(one, Read) else None
            if complaint or not isinstance(one, str | Read):
                self._problem("bad-value", complaint or f"reads holds names and Reads, got {one!r}.")
            else:
                found.append(one)
        if found and self.sql is None:
            self._problem("table-source", "reads belongs to sql=…; a table named by itself reads itself.")
        if self.sql is not None and self.changes == TRIGGER and not found:
            self._problem(
                "table-source",
                'changes="trigger" on a query needs reads=[…], the tables that it reads.',
            )
        return tuple(found)

    @property
    def is_tracked(self) -> bool:
        """Whether triggers tell what changed."""
        return self.changes == TRIGGER

    @property
    def cursor(self) -> str | None:
        """The column that moves forward with every change, where there is one."""
        return self.changes if self.changes not in (None, TRIGGER) else None

    @property
    def reports_changes(self) -> bool:
        """Whether the source tells what changed, so that no lookback is needed."""
        return self.changes is not None

    def __repr__(self) -> str:
        return f"Table({self.label!r})"

    @property
    def label(self) -> str:
        """What the source is called in the ledger: a query by its text, so that moving its line changes nothing."""
        local = self.name
        if local is None:
            local = f"sql {hashlib.sha256((self.sql or '').encode()).hexdigest()[:8]}"
        return f"{self.database}.{local}" if self.database else local

    @property
    def title(self) -> str:
        """What the source is called in messages: a query with the line it stands on."""
        return self.label if self.name is not None else f"{self.label} ({self.place})"

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes two tables the same source."""
        words = [repr(one) for one in self.reads]
        return (self.database, self.name, self.sql, tuple(sorted(self.naming.items())), self.changes, *words)

    def as_words(self) -> list[Any]:
        """What decides its rows, in JSON's own kinds: equal after being written and read. How it tells changes does not."""
        return [self.database, self.name, self.sql, [list(pair) for pair in sorted(self.naming.items())]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


def label_of(words: Sequence[Any]) -> str | None:
    """What a source is called in the ledger, by its words; None where these do not say it.

    >>> label_of(Table("orders", database="app").as_words())
    'app.orders'
    """
    database, name, text, _, *kind = words
    return Table(name, sql=text, database=database).label if kind in ([], ["rollup"]) else None


class Own(Table):
    """A table of the store that Dayfold makes and writes itself, in its own schema.

    Attributes:
        described: Its columns, whether it is there yet or not. The project's own columns of events are not among them.
        forgiving: Whether a cast of a value that does not fit gives NULL instead of failing the source.
    """

    forgiving = False
    #: Whether it is changed row by row, so that it stands where the ledger does.
    is_at_home = False

    def __init__(self, name: str, described: Mapping[str, Type], columns: Mapping[str, str] | None = None) -> None:
        super().__init__(name, columns=columns, changes=TRIGGER)
        self.described = dict(described)


class Folded(Table):
    """Another rollup as a source: its stored rows, with ``week``, ``month``, ``quarter`` and ``year`` of their day.

    Its rows tell what changed with the publication that changes them.
    """

    def __init__(
        self, rollup: type, table: str, columns: Mapping[str, str] | None = None, *, is_lifelong: bool = False
    ) -> None:
        super().__init__(table, columns=columns)
        self.rollup = rollup
        #: Whether it is a profile: its rows are entities, and none of a day.
        self.is_lifelong = is_lifelong

    @property
    def is_standing(self) -> bool:
        """Whether its rows are those of a profile on the present day, and of no other."""
        return False

    @property
    def reports_changes(self) -> bool:
        """Every publication does."""
        return True

    def as_words(self) -> list[Any]:
        """The identity, told from that of a plain table of the same name."""
        return [*super().as_words(), "rollup"]

    @property
    def identity(self) -> tuple[Any, ...]:
        """A rollup is the same source as itself only."""
        return (*super().identity, self.rollup)


@dataclass(frozen=True, slots=True)
class Moment:
    """A column that says when a fact counts.

    Attributes:
        column: ``timestamptz``, ``timestamp``, ``date``, ISO text, or a number of seconds or milliseconds.
        tz: The zone in which a ``timestamp`` (or text without an offset) was written. Default: UTC.
            A local time that a clock change repeats is the later of its two instants; one that it skips is
            read with the offset before the change.
        unit: ``"s"`` or ``"ms"`` since 1970-01-01 UTC for a number, ``"iso"`` for text.

    >>> Moment("InvoiceDate", tz="Europe/London").tz
    'Europe/London'
    """

    column: str
    tz: str | None = None
    unit: str | None = None

    def complaint(self) -> str | None:
        """What is wrong with it, or None."""
        column: object = self.column
        if not isinstance(column, str):
            return f"a moment's column is a text, got {column!r}."
        if self.unit is not None and self.unit not in UNITS:
            return f"a moment's unit is one of {listing(UNITS)}; got {self.unit!r}{suggestion(str(self.unit), UNITS)}."
        if self.tz is not None and self.tz not in zoneinfo.available_timezones():
            known = zoneinfo.available_timezones()
            return f"there is no time zone {self.tz!r}{suggestion(str(self.tz), known)}."
        if self.tz is not None and self.unit in ("s", "ms"):
            return "a number of seconds or milliseconds counts from 1970-01-01 UTC and has no tz."
        return None
