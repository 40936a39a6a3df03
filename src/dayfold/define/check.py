"""Sanity checks as they are written: a query that must return nothing, or a comparison of two values. Definitions floor, pure.

Invariant: a query that passes `readable` is one ``select`` that changes nothing. It is the database's own SQL, and runs as it was written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from dayfold.define.source import Place, Table, caller
from dayfold.errors import Problem
from dayfold.names import is_plain, listing, suggestion

ERROR, WARNING = "error", "warning"
SEVERITIES = (ERROR, WARNING)
#: How the two values of a comparison may be compared.
COMPARISONS = ("=", "<=", ">=", "<", ">", "!=")
#: The words of a comparison alone.
_OF_COMPARISON = ("left", "right", "left_database", "right_database", "compare", "tolerance", "tolerance_percent")
#: What a class may say.
ATTRIBUTES = ("query", *_OF_COMPARISON, "of", "severity", "database", "seconds")
#: The longest that a check may be allowed.
MOST_SECONDS = 3600
_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Create, exp.Drop, exp.Command, exp.Lock)
_QUERY_EXAMPLE = 'Such as: query = "select id from customer group by id having count(*) > 1"'
_SIDE_EXAMPLE = 'Such as: left = "select sum(amount_cents) from payment"'


class Check:
    """What must hold of stored rows. Write a subclass with a query that must return nothing, or with two that give equal values.

    Attributes:
        query: A ``select``, in the database's own SQL, of the rows that must not be there.
        left: A ``select`` of one row of one value, compared with that of ``right``.
        right: The other ``select`` of one value.
        compare: ``"="``, ``"<="``, ``">="``, ``"<"``, ``">"`` or ``"!="``: what left has to be to right. NULL equals NULL, and nothing
            else. Default: ``"="``.
        tolerance: How far apart two numbers may be beside that. Default: 0.
        tolerance_percent: The same as a share of right's number.
        of: A rollup, or a list of them: the check runs after folds that published one of these, and where `verify` is asked of one.
            Default: after every fold.
        severity: ``"error"``: what runs it has failed then; or ``"warning"``. Default: ``"error"``.
        database: A ``[databases.NAME]`` that is asked. Default: the store.
        left_database: That of ``left`` alone; ``right_database``: that of ``right``.
        seconds: How long it may take. Default: 60.

    >>> class NoEmptyKeys(Check):
    ...     query = "select 1 from shop_daily where shop_id is null"
    >>> definition(NoEmptyKeys)[0].sides["query"].sql
    'select 1 from shop_daily where shop_id is null'
    """

    query: ClassVar[str]
    left: ClassVar[str]
    right: ClassVar[str]
    compare: ClassVar[str]
    tolerance: ClassVar[int | float | Decimal]
    tolerance_percent: ClassVar[int | float | Decimal]
    of: ClassVar[type | list[type] | tuple[type, ...]]
    severity: ClassVar[str]
    database: ClassVar[str | None]
    left_database: ClassVar[str | None]
    right_database: ClassVar[str | None]
    seconds: ClassVar[int | float]

    _place: ClassVar[Place]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._place = caller()


@dataclass(frozen=True)
class CheckDef:
    """A check as it was written, its words checked as far as they can be without a database.

    Attributes:
        sides: The queries: ``query`` alone, or ``left`` and ``right``, each with the database that it is asked of.
        of: The definitions that it is of, by class name; none: of all.
    """

    name: str
    place: Place
    description: str
    sides: Mapping[str, Table]
    of: tuple[str, ...] = ()
    severity: str = ERROR
    compare: str = "="
    tolerance: Decimal = Decimal(0)
    tolerance_percent: Decimal = Decimal(0)
    seconds: float = 60.0

    @property
    def is_comparison(self) -> bool:
        """Whether two values are compared."""
        return "query" not in self.sides

    def as_words(self) -> dict[str, object]:
        """What decides its verdict, in JSON's own kinds."""
        return {
            "sides": {name: [one.database, one.sql] for name, one in self.sides.items()},
            "compare": [self.compare, str(self.tolerance), str(self.tolerance_percent)],
            "severity": self.severity,
            "of": sorted(self.of),
        }

    def mistakes(self, side: str, dialect: str) -> list[Problem]:
        """What is wrong with one of its queries in the words of its database."""
        try:
            readable(self.sides[side].sql or "", dialect, one_value=side != "query")
        except ValueError as error:
            return [Problem("bad-query", str(self.place), f"{self.name}.{side}", str(error), _example(side))]
        return []


def _example(side: str) -> str:
    return _QUERY_EXAMPLE if side == "query" else _SIDE_EXAMPLE


@lru_cache(maxsize=256)
def readable(text: str, dialect: str, *, one_value: bool = False) -> None:
    """A query is one that reads only, and where ``one_value`` is asked for gives one column.

    Raises:
        ValueError: with what is wrong.

    >>> readable("delete from orders", "postgres")
    Traceback (most recent call last):
    ...
    ValueError: expected one select that changes nothing.
    """
    try:
        trees = [one for one in sqlglot.parse(text, read=dialect) if one is not None]
    except (SqlglotError, RecursionError):
        raise ValueError(f"the query cannot be read as SQL of {dialect}.") from None
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query) or isinstance(tree, exp.Values) or any(tree.find_all(*_WRITES)):
        raise ValueError("expected one select that changes nothing.")
    if any(tree.find_all(exp.Placeholder, exp.Parameter)):
        raise ValueError("the query has a parameter, and nothing to put there.")
    columns = tree.selects
    if one_value and (len(columns) != 1 or columns[0].is_star):
        given = "*" if any(one.is_star for one in columns) else f"{len(columns)} columns"
        raise ValueError(f"the query gives {given}, expected the one column that holds the value.")


def definition(cls: type[Check]) -> tuple[CheckDef, list[Problem]]:
    """A check's definition and everything that is wrong with it so far."""
    return _Reader(cls).read()


@dataclass(slots=True)
class _Reader:
    """Reads one class and collects its mistakes."""

    cls: type[Check]
    words: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, code: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(code, str(self.cls._place), self.cls.__name__, message, hint))

    def read(self) -> tuple[CheckDef, list[Problem]]:
        for base in reversed(self.cls.__mro__):
            if base not in (Check, object):
                self.words |= {
                    name: value for name, value in vars(base).items() if not name.startswith("_") and not name.isupper()
                }
        if not is_plain(self.cls.__name__):
            self.problem("bad-name", f"a check's name has letters, digits and '_', got {self.cls.__name__!r}.")
        for name in self.words:
            if name not in ATTRIBUTES:
                self.problem(
                    "unknown-attribute", f"a Check has no attribute '{name}'{suggestion(name, ATTRIBUTES)}.",
                    f"Attributes: {listing(ATTRIBUTES)}; constants of your own are written in capitals.",
                )  # fmt: skip
        found = CheckDef(
            self.cls.__name__, self.cls._place, " ".join((self.cls.__doc__ or "").split()), self._sides(), self._of(),
            self._one_of("severity", SEVERITIES), self._one_of("compare", COMPARISONS),
            self._amount("tolerance"), self._amount("tolerance_percent"), self._seconds(),
        )  # fmt: skip
        return found, self.problems

    def _sides(self) -> dict[str, Table]:
        """The queries, with the databases that they are asked of."""
        given = [name for name in ("query", "left", "right") if name in self.words]
        if given not in (["query"], ["left", "right"]):
            got = f"got {listing(given)}" if given else "got none of them"
            self.problem("bad-check", f"a Check says query, or left and right, {got}.", _QUERY_EXAMPLE)
        if given == ["query"]:
            for name in _OF_COMPARISON:
                if name in self.words:
                    self.problem("bad-check", f"{name} does not go with query.")
        elif "tolerance" in self.words and "tolerance_percent" in self.words:
            self.problem("bad-check", "a comparison has a tolerance or a tolerance_percent, got both.")
        default = self._text("database")
        found: dict[str, Table] = {}
        for name in given:
            text = self._text(name)
            # None said of a side is the store, also where database says otherwise.
            database = self._text(f"{name}_database") if f"{name}_database" in self.words else default
            if text is not None:
                found[name] = Table(sql=text, database=database)
        return found

    def _text(self, name: str) -> str | None:
        value = self.words.get(name)
        is_query = name in ("query", "left", "right")
        if isinstance(value, str) and value.strip():
            return value
        if value is not None or is_query:
            self.problem("bad-value", f"{name} is a text, got {value!r}.", _example(name) if is_query else "")
        return None

    def _of(self) -> tuple[str, ...]:
        given = self.words.get("of", ())
        found = given if isinstance(given, list | tuple) else [given]
        if ("of" in self.words and not found) or not all(isinstance(one, type) for one in found):
            self.problem("bad-value", f"of is a rollup's class or a list of them, got {given!r}.")
            return ()
        return tuple(dict.fromkeys(one.__name__ for one in found))

    def _one_of(self, name: str, known: tuple[str, ...]) -> str:
        value = self.words.get(name, known[0])
        if value not in known:
            self.problem("bad-value", f"{name} is one of {listing(known)}, got {value!r}.")
            return known[0]
        return str(value)

    def _amount(self, name: str) -> Decimal:
        value = self.words.get(name, 0)
        if not _is_number(value) or value < 0:
            self.problem("bad-value", f"{name} is a number from 0 on, got {value!r}.")
            return Decimal(0)
        return Decimal(str(value))

    def _seconds(self) -> float:
        value = self.words.get("seconds", 60)
        if not _is_number(value) or not 0 < value <= MOST_SECONDS:
            self.problem("bad-value", f"seconds is a number above 0 and up to {MOST_SECONDS}, got {value!r}.")
            return 60.0
        return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool) and isfinite(value)


def misplaced(check: CheckDef, known: Collection[str]) -> list[Problem]:
    """The definitions that a check is said to be of, and that are none of the application's."""
    return [
        Problem(
            "unknown-rollup", str(check.place), check.name,
            f"it is of {name}, which is none of these definitions{suggestion(name, known)}.",
            f"Definitions: {listing(known)}",
        )
        for name in check.of if name not in known
    ]  # fmt: skip
