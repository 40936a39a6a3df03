"""Sources and their moments: where facts come from and when they count. Definitions floor, pure."""

from __future__ import annotations

import hashlib
import sys
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dayfold.errors import Problem
from dayfold.names import listing, suggestion

#: How a moment in a number or a text column is written.
UNITS = ("s", "ms", "iso")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a definitions file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


def caller() -> Place:
    """The line outside this package that is being run."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "dayfold":
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


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


class Table:
    """A table or view of a database, or the result of a query in that database's own SQL.

    Args:
        name: The table, ``schema.table`` where it is not in the default schema.
        sql: A ``select`` instead of a name. It is the engine's own SQL and not portable.
        database: A ``[databases.NAME]`` of ``dayfold.toml``. Default: the store itself.
        columns: Names that definitions use, each for the table's own column or an expression over its columns.

    >>> Table("payments", columns={"customer_id": "square_customer_id"})
    Table('payments')
    """

    OPTIONS = ("name", "sql", "database", "columns")

    def __init__(
        self,
        name: str | None = None,
        *,
        sql: str | None = None,
        database: str | None = None,
        columns: Mapping[str, str] | None = None,
        **unknown: Any,
    ) -> None:
        self.place = caller()
        self.problems = unknown_options("Table", self.place, unknown, self.OPTIONS)
        self.name = self._text("name", name)
        self.sql = self._text("sql", sql)
        self.database = self._text("database", database)
        self.columns = self._columns(columns)
        if (name is None) == (sql is None):
            self._problem("table-source", "a Table is either a name or sql=…, expected exactly one of them.")
        if self.name is not None and not 1 <= len(self.name.split(".")) <= 2:
            self._problem("table-source", f"a Table's name is 'table' or 'schema.table', got {self.name!r}.")

    def _problem(self, code: str, message: str) -> None:
        self.problems.append(Problem(code, str(self.place), "Table", message))

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
        return (self.database, self.name, self.sql, tuple(sorted(self.columns.items())))

    def as_words(self) -> list[Any]:
        """The identity in JSON's own kinds, so that it is equal after being written and read."""
        return [self.database, self.name, self.sql, [list(pair) for pair in sorted(self.columns.items())]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


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
