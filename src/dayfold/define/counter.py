"""Counters: totals that are added to while requests are answered, and that become rows of days. Definitions floor, pure.

A counter is a rollup over a table of ours, the *counted* one, to which every batch of increments is added in one transaction. So its
days are folded, queried, explained and verified as those of any rollup.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sqlglot import exp

from dayfold.define.expr import ExpressionError, parse
from dayfold.define.metric import Metric, Sum
from dayfold.define.rollup import ATTRIBUTES, Rollup, RollupDef
from dayfold.define.rollup import definition as rollup_definition
from dayfold.define.source import Moment, Own, Place, Table
from dayfold.define.types import BOOL, DATE, DECLARED, INT, TEXT, UUID, Type
from dayfold.errors import Problem
from dayfold.names import TABLE_LETTERS, is_plain, listing, snake_case, suggestion

#: The largest amount that a total holds, and its opposite the smallest.
MOST = 2**63 - 1
#: The column of the counted table that names the day.
DAY = "day"
#: What a table of counted amounts begins with.
COUNTED = "dayfold_counted_"
#: What the columns of a key may hold.
_KEY_TYPES = {words: type_ for words, type_ in DECLARED.items() if type_ in (TEXT, INT, UUID, BOOL)}


class Total(Sum):
    """A number of a counter: 64 bits, added to with `add`, and summed over days and keys.

    Args:
        negative: Whether it may be taken from: amounts below zero are refused otherwise.

    >>> Total(negative=True).negative
    True
    """

    kind = "sum"
    OPTIONS = ("negative", "extra")

    def __init__(self, *, negative: bool = False, extra: bool = False, **unknown: Any) -> None:
        Metric.__init__(self, unknown)
        self.negative = negative is True
        self.extra = extra is True
        self.where_text = self.where = self.scale = self.expr_text = self.expr = None
        self.moment = Moment(DAY)
        for name, given in (("negative", negative), ("extra", extra)):
            if given not in (True, False):
                self.problem("bad-value", f"{name} is True or False, got {given!r}.")

    def of(self, source: Table) -> Total:
        """The same total of a counter's own table."""
        one = copy.copy(self)
        one.source, one.problems = source, list(self.problems)
        one.expr_text, one.expr = self.name, parse(f'"{self.name}"')
        return one


class Counted(Own):
    """The table of ours that a counter's batches are added to: one row for a key and a day."""

    is_at_home = True


class Counter(Rollup):
    """Totals per key and day, added to while requests are answered. Write a subclass with `Total` fields.

    Beside the attributes of a `Rollup`:

    Attributes:
        table: The table of the days. Default: the counter's name and ``_daily``.
        totals_table: The table of the current totals, a row for each key. Default: the counter's name, snake case of the class.
        owner: A column that says whose a key is, beside the key or in it: for row-level policies and scopes.
        types: Types of key columns and of the owner that are not text: ``"bigint"``, ``"uuid"`` or ``"boolean"``.
        identities: Equations between totals that every increment has to meet, such as ``"total = good + bad"``.

    >>> class ApiKeyUsage(Counter):
    ...     key = "api_key_id"
    ...     owner = "user_id"
    ...     total_requests = Total()
    >>> found, problems = definition(ApiKeyUsage)
    >>> found.name, found.rollup.table, found.columns, problems
    ('api_key_usage', 'api_key_usage_daily', ('api_key_id', 'user_id'), [])
    """

    totals_table: ClassVar[str]
    types: ClassVar[Mapping[str, str]] = {}
    identities: ClassVar[Sequence[str] | str] = ()

    _attributes = (
        *(one for one in ATTRIBUTES if one not in ("grain", "lookback")),
        "totals_table",
        "types",
        "identities",
    )
    _kind = "Counter"
    _counted: ClassVar[Counted]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        totals = {
            name: value
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, Total)
        }
        columns = {**_types(cls), DAY: DATE, **dict.fromkeys(totals, INT)}
        cls._counted = Counted(COUNTED + snake_case(cls.__name__), columns)
        cls._counted.place = cls._place
        for name, total in totals.items():
            setattr(cls, name, total.of(cls._counted))

    @classmethod
    def _key(cls) -> object:
        """The key, and the owner where it is none of it."""
        key = (cls.key,) if isinstance(cls.key, str) else cls.key
        if not isinstance(cls.owner, str) or not isinstance(key, list | tuple) or cls.owner in key:
            return cls.key
        return (*key, cls.owner)

    @classmethod
    def _table(cls) -> str:
        return str(getattr(cls, "table", f"{snake_case(cls.__name__)}_daily"))


def _types(cls: type[Counter]) -> dict[str, Type]:
    """The columns of a counter's key and owner, text where nothing else is said."""
    columns = cls._key()
    names = (columns,) if isinstance(columns, str) else columns
    if not isinstance(names, list | tuple):
        return {}
    types: object = cls.types
    said = types if isinstance(types, Mapping) else {}
    return {str(name): _KEY_TYPES.get(str(said.get(name, "text")), TEXT) for name in names}


@dataclass(frozen=True)
class Identity:
    """An equation between totals: the sum of each total times its factor is zero.

    >>> Identity.read("a = b + c").factors
    {'a': 1, 'b': -1, 'c': -1}
    """

    text: str
    factors: Mapping[str, int]

    @classmethod
    def read(cls, text: str) -> Identity:
        """The equation of a text. Raises ExpressionError where it is none, or not a sum of totals and whole multiples of them."""
        tree = parse(text)
        if not isinstance(tree, exp.EQ):
            raise ExpressionError(
                f"an identity is an equation of totals, got {text!r}.", 'Such as: "total = good + bad".'
            )
        factors: dict[str, int] = {}
        _collect(tree.left, 1, factors)
        _collect(tree.right, -1, factors)
        return cls(text, factors)

    def holds(self, amounts: Mapping[str, int]) -> bool:
        """Whether amounts meet it; what is not named is zero.

        >>> Identity.read("a = b + c").holds({"a": 2, "b": 1}), Identity.read("a = b").holds({})
        (False, True)
        """
        return sum(factor * amounts.get(name, 0) for name, factor in self.factors.items()) == 0


def _collect(tree: exp.Expr, sign: int, factors: dict[str, int]) -> None:
    """The factors of each total in a sum."""
    if isinstance(tree, exp.Paren):
        _collect(tree.this, sign, factors)
    elif isinstance(tree, exp.Add | exp.Sub):
        _collect(tree.left, sign, factors)
        _collect(tree.right, sign if isinstance(tree, exp.Add) else -sign, factors)
    elif isinstance(tree, exp.Neg):
        _collect(tree.this, -sign, factors)
    elif isinstance(tree, exp.Mul) and isinstance(tree.left, exp.Literal) and tree.left.is_int:
        _collect(tree.right, sign * int(tree.left.this), factors)
    elif isinstance(tree, exp.Column):
        factors[tree.name] = factors.get(tree.name, 0) + sign
    else:
        raise ExpressionError(
            f"an identity adds up totals and whole multiples of them, got {tree.sql()}.",
            'Such as: "total = good + bad".',
        )


@dataclass(frozen=True)
class CounterDef:
    """A counter's definition.

    Attributes:
        name: What it is called at every door but Python: snake case of the class.
        key: Its key columns, without an owner that is none of them.
        types: Of the key columns and the owner, in the order of the tables.
        totals: Its totals in order, each with whether it may be taken from.
        totals_table: Of the current totals.
        rollup: Its days.
    """

    name: str
    place: Place
    key: tuple[str, ...]
    owner: str | None
    types: Mapping[str, Type]
    totals: Mapping[str, bool]
    identities: tuple[Identity, ...]
    totals_table: str
    counted: Counted
    rollup: RollupDef

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that say whose an amount is: the key, and then an owner that is none of it."""
        return self.rollup.key

    @property
    def has_owner(self) -> bool:
        """Whether there is an owner beside the key."""
        return self.owner is not None and self.owner not in self.key

    def amiss(self, amounts: Mapping[str, int]) -> str | None:
        """What is wrong with some amounts, in words that name no value; None where nothing is."""
        for name, amount in amounts.items():
            if name not in self.totals:
                return (
                    f"{self.name} has no total '{name}'{suggestion(name, self.totals)}; it has {listing(self.totals)}."
                )
            if not -MOST <= amount <= MOST:
                return f"the amount of {name} does not fit into 64 bits."
            if amount < 0 and not self.totals[name]:
                return f"the amount of {name} is below zero, and it is no Total(negative=True)."
        for one in self.identities:
            if not one.holds(amounts):
                return f"the amounts do not meet the identity {one.text}."
        return None


def definition(cls: type[Counter]) -> tuple[CounterDef, list[Problem]]:
    """A counter's definition and everything that is wrong with it so far."""
    rollup, problems = rollup_definition(cls)
    name = snake_case(cls.__name__)
    key = rollup.key[:-1] if rollup.owner is not None and rollup.owner not in _words(cls.key) else rollup.key
    totals = {one: metric for one, metric in rollup.metrics.items() if isinstance(metric, Total)}
    found = CounterDef(
        name, cls._place, key, rollup.owner, _types(cls), {one: metric.negative for one, metric in totals.items()},
        (), str(getattr(cls, "totals_table", name)), cls._counted, rollup,
    )  # fmt: skip
    identities, more = _identities(cls, totals)
    problems = [*_said_otherwise(problems, cls), *more, *_checked(cls, found)]
    return CounterDef(**{**vars(found), "identities": identities}), problems


def _words(given: object) -> tuple[object, ...]:
    return (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list | tuple) else ()


def _said_otherwise(problems: list[Problem], cls: type[Counter]) -> list[Problem]:
    """Mistakes that a counter makes otherwise than a rollup, in its own words."""

    def told(one: Problem) -> Problem:
        if one.code == "no-metrics":
            return Problem(one.code, one.place, one.subject, "a Counter needs at least one Total().")
        if one.code == "unknown-column" and one.message.startswith("owner is"):
            return Problem(one.code, one.place, one.subject, f"owner is the name of a column, got {cls.owner!r}.")
        return one

    return [told(one) for one in problems]


def _checked(cls: type[Counter], found: CounterDef) -> list[Problem]:
    """What is wrong with what only a counter has."""
    problems: list[Problem] = []

    def problem(code: str, message: str, hint: str = "") -> None:
        problems.append(Problem(code, str(cls._place), cls.__name__, message, hint))

    table = found.totals_table
    if not is_plain(table) or len(table) > TABLE_LETTERS or table.lower().startswith("dayfold_"):
        problem("bad-name", f"totals_table is a plain name of at most {TABLE_LETTERS} letters, got {table!r}.")
    elif table.lower() == found.rollup.table.lower():
        problem("duplicate-name", f"the totals and the days of a counter cannot share the table '{table}'.")
    if len(found.counted.label) > TABLE_LETTERS:
        problem(
            "bad-name",
            f"the counter's name '{found.name}' is too long by {len(found.counted.label) - TABLE_LETTERS} letters.",
        )
    if not found.key:
        problem("no-key", "a Counter needs a key: whom its totals are about.", 'Such as: key = "api_key_id"')
    for name, metric in found.rollup.measured.items():
        if not isinstance(metric, Total):
            problem(
                "bad-metric",
                f"'{name}' is a {metric.kind}; a Counter has Total() fields, and a Ratio or Formula over them.",
            )
    types: object = cls.types
    if not isinstance(types, Mapping):
        problem("bad-value", f"types maps columns to types, got {types!r}.")
        return problems
    for name, words in types.items():
        if name not in found.columns:
            problem(
                "unknown-column", f"types names '{name}', which is no key column{suggestion(str(name), found.columns)}.",
                f"Key columns: {listing(found.columns)}",
            )  # fmt: skip
        elif words not in _KEY_TYPES:
            problem("bad-value", f"the key column '{name}' has no type {words!r}.", f"Types: {listing(_KEY_TYPES)}")
    return problems


def _identities(cls: type[Counter], totals: Mapping[str, Total]) -> tuple[tuple[Identity, ...], list[Problem]]:
    """The identities of a counter, each mistake kept."""
    found: list[Identity] = []
    problems: list[Problem] = []
    for text in _words(cls.identities):
        try:
            one = Identity.read(str(text))
        except ExpressionError as error:
            problems.append(Problem("bad-expression", str(cls._place), cls.__name__, str(error), error.hint))
            continue
        found.append(one)
        problems += [
            Problem(
                "unknown-metric", str(cls._place), cls.__name__,
                f"the identity {one.text} names '{name}', which is no Total{suggestion(name, totals)}.",
                f"Totals: {listing(totals)}",
            )
            for name in one.factors
            if name not in totals
        ]  # fmt: skip
    return tuple(found), problems


class BadKey(ValueError):
    """A value of a key that is none of its column's type; the text names no value."""


def canonical(name: str, type_: Type, value: object) -> str | int | bool:
    """The one value that stands for a key's: two that are written otherwise and mean the same are one key.

    Raises:
        BadKey: where it is none of that type.

    >>> canonical("id", UUID, "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}")
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
    """
    if type_ == TEXT and isinstance(value, str):
        if "\0" in value or not _is_unicode(value):
            raise BadKey(f"'{name}' holds a NUL, or half of a character.")
        return value
    if type_ == INT and isinstance(value, int) and not isinstance(value, bool) and -MOST <= value <= MOST:
        return value
    if type_ == BOOL and isinstance(value, bool):
        return value
    if type_ == UUID and isinstance(value, str | uuid.UUID):
        try:
            return str(uuid.UUID(str(value)))
        except ValueError:
            pass
    raise BadKey(f"'{name}' is {type_}, and what was given is none.")


def key_text(values: Sequence[object]) -> str:
    """The values of a key as they are written everywhere: what decides its shard, and what a held row is known by.

    >>> key_text(("k1", 7))
    '["k1",7]'
    """
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Counters:
    """The counters of an application, by name."""

    by_name: Mapping[str, CounterDef] = field(default_factory=dict)

    def find(self, name: object) -> CounterDef | None:
        """A counter by its class, its name, or the name of its class or table."""
        if isinstance(name, type):
            name = name.__name__
        return next(
            (
                one
                for one in self.by_name.values()
                if name in (one.name, one.rollup.name, one.rollup.table, one.totals_table)
            ),
            None,
        )
