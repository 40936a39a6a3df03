"""Observations of cumulative levels as SQL: the parts that increases are computed, and followed, with. Plan floor, pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from dayfold.plan.bind import Levels, Scan
from dayfold.plan.cells import CELL_DAY
from dayfold.plan.lookup import bare
from dayfold.plan.sql import alias, both, column, either, sql

#: Which level of the scan, the level, the one before it, and whether it is none.
NUMBER, LEVEL, BEFORE, BAD_LEVEL = "n__", "level__", "before__", "bad__"
OBSERVED, AT = "facts__", "at__"
#: Entities, or cells, that a statement is about.
PAIRS = "p"


def levels_of(scan: Scan) -> Levels:
    """The levels of a scan of increases."""
    assert scan.levels is not None, "the scan is one of increases"
    return scan.levels


def numbered_names(letter: str, count: int) -> list[str]:
    """The names of so many columns."""
    return [f"{letter}{n}__" for n in range(count)]


class Observed:
    """The parts of statements over one scan's observations.

    Attributes:
        entity: The columns that say whose level it is; ``keys``: those of the rollup's key, both as they are called here.
        several: Whether the scan has several levels, so that each observation has the number of its own.
    """

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.levels = levels_of(scan)
        self.per = [tree for _, tree in self.levels.per]
        self.entity = numbered_names("e", len(self.per))
        self.keys = numbered_names("k", len(scan.keys))
        self.several = len(self.levels.each) > 1

    @property
    def places(self) -> list[exp.Expr]:
        """What tells the levels of entities apart."""
        return [column(name) for name in ([NUMBER] if self.several else []) + self.entity]

    def level(self, number: exp.Expr) -> exp.Expr:
        """The level that a number names, null in a fact that does not observe it."""
        return self._chosen([one.tree for one in self.levels.each], number)

    def observed(self, number: exp.Expr) -> exp.Expr:
        """True for facts that observe the level that a number names, or hold what is none."""
        guard = self._chosen([one.guard for one in self.levels.each], number)
        return sql("(not (_x) is null or _g)", _x=self.level(number), _g=guard)

    def _chosen(self, trees: Sequence[exp.Expr], number: exp.Expr) -> exp.Expr:
        if len(trees) == 1:
            return trees[0].copy()
        whole = exp.Case()
        for n, tree in enumerate(trees):
            whole = whole.when(sql("_n = _m", _n=number, _m=exp.Literal.number(n)), tree)
        return whole

    def numbered(self, select: exp.Select) -> exp.Select:
        """The select once for each level, under a number."""
        if not self.several:
            return select
        each = exp.values([(n,) for n in range(len(self.levels.each))], alias="levels__", columns=[NUMBER])
        return select.join(each, join_type="cross", copy=False)

    def observations(self, *, raw: bool = False) -> exp.Select:
        """A select of observations, from nowhere yet. ``raw``: with the entity's columns as an index has them, too."""
        number = column(NUMBER)
        items: list[exp.Expr] = [number] if self.several else []
        items += [alias(tree.copy(), name) for tree, name in zip(self.per, self.entity, strict=True)]
        if raw:
            items += [alias(bare(tree).copy(), f"r{n}__") for n, tree in enumerate(self.per)]
        items += [alias(tree.copy(), name) for (_, tree), name in zip(self.scan.keys, self.keys, strict=True)]
        guard = self._chosen([one.guard for one in self.levels.each], number)
        items += [
            alias(self.scan.moment.day.copy(), CELL_DAY),
            alias(self.scan.moment.instant.copy(), AT),
            alias(self.level(number), LEVEL),
            alias(sql("case when _g then 1 else 0 end", _g=guard), BAD_LEVEL),
        ]
        return exp.select(*items).where(self.observed(number))

    def same_entity(self, others: Sequence[exp.Expr]) -> exp.Expr:
        """True where a fact is of an entity, NULLs being equal."""
        equal = self.scan.dialect
        return both(equal.piece("equal", _x=tree, _y=one) for tree, one in zip(self.per, others, strict=True))

    def looked_up(self, others: Sequence[exp.Expr], build: Callable[[exp.Select, exp.Expr], exp.Select]) -> exp.Expr:
        """Facts of an entity that stands outside, by an index; one with a NULL in it by a part of its own."""
        trees = [bare(tree) for tree in self.per]
        pairs = list(zip(trees, others, strict=True))
        plain = both(sql("_a = _b", _a=tree, _b=one) for tree, one in pairs)
        has_null = exp.Paren(this=either(sql("_b is null", _b=one) for one in others))
        safe = both([has_null, *(sql("_a is not distinct from _b", _a=tree, _b=one) for tree, one in pairs)])
        found = [build(exp.select().from_(self.scan.relation.copy()), test) for test in (plain, safe)]
        sides = [exp.select("*").from_(nested(one, f"side{n}"), copy=False) for n, one in enumerate(found)]
        return exp.union(*sides, distinct=False, copy=False)


def nested(query: exp.Expr, name: str) -> exp.Subquery:
    """A query as something to select from, itself and no copy: copying large trees would be most of the cost."""
    return exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)))


def of_columns(relation: str, letter: str, count: int) -> list[exp.Expr]:
    """The columns of a relation."""
    return [column(name, relation) for name in numbered_names(letter, count)]


def lateral(query: exp.Expr, name: str) -> exp.Lateral:
    """A query that sees what stands before it in the same FROM."""
    inner = exp.Subquery(this=query)
    return exp.Lateral(this=inner, alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)))


def window(what: exp.Expr, partition: Sequence[exp.Expr], order: Sequence[exp.Expr] = ()) -> exp.Window:
    """A window function over equal values, in an order."""
    over = exp.Order(expressions=[one.copy() for one in order]) if order else None
    return exp.Window(this=what, partition_by=[one.copy() for one in partition], order=over)
