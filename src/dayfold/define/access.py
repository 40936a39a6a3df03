"""Access by relation as it is written: a query for each key column says which of its values somebody may see. Definitions floor, pure.

Invariant: a query that passes `asked` reads only, gives one column, and names each of its parameters; what it is asked with is
bound, never pasted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from dayfold.define.source import Place, caller
from dayfold.errors import Problem
from dayfold.names import RESERVED, is_plain, listing, suggestion

#: What a class says besides its queries.
ATTRIBUTES = ("database",)
_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Create, exp.Drop, exp.Command)


class Access:
    """What somebody may see. Write a subclass with a query for each key column that it limits.

    A query is one ``select`` of one column, in the database's own SQL, with ``:names`` for what differs from one to another.

    Attributes:
        database: A ``[databases.NAME]`` that the queries are for. Default: the store.

    >>> class Brand(Access):
    ...     ip_asset_id = "select ip_asset_id from license where brand_id = :brand_id and status = 'active'"
    >>> definition(Brand)[0].parameters("postgres")
    ('brand_id',)
    """

    database: ClassVar[str | None] = None

    _place: ClassVar[Place]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._place = caller()


@dataclass(frozen=True, slots=True)
class Asked:
    """A query ready for a database: ``$1``, ``$2`` … stand for the parameters of these names, in order."""

    text: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class AccessDef:
    """An access as it was written, checked as far as it can be without its database.

    Attributes:
        queries: For each key column the query for the values that may be seen.
    """

    name: str
    place: Place
    description: str
    database: str | None
    queries: Mapping[str, str]

    def asked(self, dialect: str) -> dict[str, Asked]:
        """The queries in the words of their database, by key column. Raises ValueError for one that is none."""
        return {column: asked(text, dialect) for column, text in self.queries.items()}

    def parameters(self, dialect: str) -> tuple[str, ...]:
        """What somebody has to be given to be admitted: the names in all queries, sorted. Raises ValueError."""
        return tuple(sorted({name for one in self.asked(dialect).values() for name in one.names}))

    def mistakes(self, dialect: str) -> list[Problem]:
        """What is wrong with the queries in the words of their database."""
        found = []
        for column, text in self.queries.items():
            try:
                asked(text, dialect)
            except ValueError as error:
                code, message, hint = error.args
                found.append(Problem(code, str(self.place), f"{self.name}.{column}", message, hint))
        return found


_EXAMPLE = "Such as: select asset_id from license where brand_id = :brand_id"


def _problem(code: str, message: str, hint: str) -> ValueError:
    return ValueError(code, message, hint)


@lru_cache(maxsize=256)
def asked(text: str, dialect: str) -> Asked:
    """A query with its ``:names`` as numbered places.

    Raises:
        ValueError: with a code, what is wrong, and a hint.

    >>> asked("select id from license where brand = :brand", "duckdb")
    Asked(text='SELECT id FROM license WHERE brand = $1', names=('brand',))
    """
    try:
        trees = sqlglot.parse(text, read=dialect)
    except (SqlglotError, RecursionError):
        raise _problem("bad-query", f"the query cannot be read as SQL of {dialect}.", _EXAMPLE) from None
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query) or isinstance(tree, exp.Values) or any(tree.find_all(*_WRITES)):
        raise _problem("bad-query", "expected one select that changes nothing.", _EXAMPLE)
    columns = tree.selects
    if len(columns) != 1 or columns[0].is_star:
        said = "*" if any(one.is_star for one in columns) else f"{len(columns)} columns"
        raise _problem("bad-query", f"the query gives {said}, expected the one column that holds the values.", _EXAMPLE)
    names: list[str] = []
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = node.name
        if not isinstance(node, exp.Placeholder) or not is_plain(name):
            raise _problem("bad-query", "a parameter of the query has no name.", "Write it as :name.")
        if name not in names:
            names.append(name)
        node.replace(exp.Parameter(this=exp.Literal.number(names.index(name) + 1)))
    if not names:
        raise _problem(
            "no-parameters",
            "the query has no parameter, so that everybody would see the same.",
            f"Name one. {_EXAMPLE}",
        )
    if dialect == "clickhouse":
        # It has no numbers of values; the session names them.
        for node in list(tree.find_all(exp.Parameter)):
            node.replace(exp.Var(this=f"${node.name}"))
    return Asked(tree.sql(dialect=dialect, comments=False, normalize_functions=False), tuple(names))


def definition(cls: type[Access]) -> tuple[AccessDef, list[Problem]]:
    """An access's definition and everything that is wrong with it so far."""
    problems: list[Problem] = []

    def problem(code: str, message: str, hint: str = "", column: str = "") -> None:
        subject = f"{cls.__name__}.{column}" if column else cls.__name__
        problems.append(Problem(code, str(cls._place), subject, message, hint))

    given: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if base not in (Access, object):
            given |= vars(base)
    queries: dict[str, str] = {}
    for name, value in given.items():
        if name.startswith("_") or name.isupper() or name in ATTRIBUTES:
            continue
        if isinstance(value, str):
            queries[name] = value
        elif not callable(value) and not isinstance(value, classmethod | staticmethod | property):
            problem("bad-value", f"the query of a key column is a text, got {value!r}.", _EXAMPLE, name)
    database: object = cls.database
    if database is not None and not isinstance(database, str):
        problem("bad-value", f"database is a text, got {database!r}.")
        database = None
    if not queries and not problems:
        problem("no-queries", "an Access needs a query for at least one key column.", f"Such as: asset_id = {_QUOTED}")
    description = " ".join((cls.__doc__ or "").split())
    return AccessDef(cls.__name__, cls._place, description, database, queries), problems


_QUOTED = '"select asset_id from license where brand_id = :brand_id"'


def misplaced(access: AccessDef, keys: Collection[str]) -> list[Problem]:
    """The queries of an access for columns that are no key column of any rollup: nothing could be seen by them."""
    found = []
    for column in access.queries:
        subject = f"{access.name}.{column}"
        if column.lower() in RESERVED or "__" in column:
            message = f"'{column}' is a name that Dayfold uses itself, so that it is no key column."
            found.append(Problem("reserved-name", str(access.place), subject, message))
        elif column not in keys:
            message = f"no rollup has a key column '{column}'{suggestion(column, keys)}."
            found.append(
                Problem("unknown-column", str(access.place), subject, message, f"Key columns: {listing(sorted(keys))}")
            )
    return found
