"""Definitions brought together with the columns of their sources. Plan floor, pure.

A bound rollup knows its tables, its scans (one for each source and moment) and the SQL of every part.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from dayfold.days import STORED_GRAINS
from dayfold.define.events import EventLog
from dayfold.define.expr import ExpressionError, parse, reads_clock
from dayfold.define.fingerprint import identity as define_identity
from dayfold.define.function import FunctionSource
from dayfold.define.lasting import Collect, Exists, First, Last, Mode
from dayfold.define.metric import Avg, Count, Distinct, Gauge, Increase, Measured, Metric, Min, Sum, reads_properties
from dayfold.define.profile import is_time_driven
from dayfold.define.rollup import RollupDef, siblings
from dayfold.define.size import DAY, Size
from dayfold.define.source import Folded, Moment, Table
from dayfold.define.types import BOOL, DATE, FLOAT, HASHES, INT, JSON, MAX_DIGITS, TEXT, Kind, Type, decimal
from dayfold.errors import Problem
from dayfold.names import listing
from dayfold.plan.dialect import Dialect
from dayfold.plan.expressions import Compiler, Typed
from dayfold.plan.moments import BoundMoment, bind_moment, lifelong
from dayfold.plan.shape import SETS_SUFFIX, Column, Made, Shape
from dayfold.plan.sql import alias, both, column, either, sql, table

#: What a value of a profile may be.
_KEPT_KINDS = (
    Kind.TEXT, Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.BOOL, Kind.UUID, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ,
)  # fmt: skip
_KEY_KINDS = (Kind.TEXT, Kind.INT, Kind.UUID, Kind.BOOL, Kind.DATE)
_DISTINCT_KINDS = _KEY_KINDS
_ORDERED_KINDS = (Kind.INT, Kind.DECIMAL, Kind.FLOAT, Kind.TEXT, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)


@dataclass(frozen=True, slots=True)
class DescribedSource:
    """A source as its database shows it: its columns in order, and that database's dialect."""

    columns: Mapping[str, Type]
    dialect: Dialect


@dataclass(frozen=True, slots=True)
class Part:
    """One stored column of a metric and the aggregate that computes it in a scan, or apart from the others of a whole scan."""

    column: Column
    aggregate: exp.Expr
    apart: Apart | None = None


@dataclass(frozen=True, slots=True)
class Apart:
    """How a stored column of a profile is computed in a pass of its own, where that is quicker than beside the others.

    Attributes:
        given: True for the facts that count.
        value: What is counted first: how often each value is there is ``n__`` of ``value__`` then; None: facts are taken as they are.
        aggregate: Over those.
    """

    given: exp.Expr
    value: exp.Expr | None
    aggregate: exp.Expr


@dataclass(frozen=True, slots=True)
class DistinctPart:
    """A set of values: its text, the facts that count, and the columns for its size and its hashes.

    ``united``: the facts hold sets already, which are united instead of hashed; ``text`` is null where there is none.
    """

    count: Column
    hashes: Column
    text: exp.Expr
    where: exp.Expr | None
    united: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """A cumulative level: null in facts that observe nothing. ``guard`` is true where it is none."""

    name: str
    tree: exp.Expr
    guard: exp.Expr


@dataclass(frozen=True, slots=True)
class Levels:
    """What increases are computed from: the columns that say whose level it is, and the levels, all of one type."""

    per: tuple[tuple[Column, exp.Expr], ...]
    each: tuple[Level, ...] = ()


@dataclass(slots=True)
class Scan:
    """All metrics of one source at one moment: computed together, in one pass over its facts."""

    source: Table
    dialect: Dialect
    relation: exp.Expr
    keys: list[tuple[Column, exp.Expr]]
    moment: BoundMoment
    parts: list[Part] = field(default_factory=list)
    sets: list[DistinctPart] = field(default_factory=list)
    filters: list[exp.Expr | None] = field(default_factory=list)
    #: What a fact must meet to count for each metric, with what moves with the day.
    counting: list[exp.Expr | None] = field(default_factory=list)
    guards: list[exp.Expr] = field(default_factory=list)
    detectors: list[exp.Expr] = field(default_factory=list)
    presence: list[exp.Expr] = field(default_factory=list)
    cursor: BoundMoment | None = None
    #: Of a profile: true for facts whose key names no entity.
    nobody: exp.Expr | None = None
    #: Of a scan of increases, which holds nothing else.
    levels: Levels | None = None
    #: Tells this scan from any other of the process, also from one that was bound anew.
    token: object = field(default_factory=object, init=False)

    @property
    def label(self) -> str:
        """The source's name in messages and the ledger."""
        return self.source.label

    @property
    def common_filter(self) -> exp.Expr | None:
        """What a fact must meet to count for any metric; None where every fact counts for one."""
        if any(one is None for one in self.filters):
            return None
        return exp.or_(*dict.fromkeys(one for one in self.filters if one is not None))

    @property
    def reads(self) -> set[str]:
        """The columns of the source that decide which cell a row is in and what it counts for."""
        trees = [tree for _, tree in self.keys]
        trees += [tree for _, tree in self.levels.per] if self.levels is not None else []
        trees += [self.moment.day, self.moment.instant]
        trees += [part.aggregate for part in self.parts]
        trees += [tree for one in self.sets for tree in (one.text, one.where) if tree is not None]
        trees += [tree for tree in self.filters if tree is not None]
        return {one.name for tree in trees for one in tree.find_all(exp.Column)}

    @property
    def value_columns(self) -> list[Column]:
        """The stored columns that this scan fills, set sizes last."""
        return [part.column for part in self.parts] + [one.count for one in self.sets]


@dataclass(frozen=True, slots=True)
class BoundRollup:
    """A rollup with its tables and scans."""

    definition: RollupDef
    shape: Shape
    sets_shape: Shape | None
    scans: tuple[Scan, ...]
    #: The day that `now()` was when it was bound, where something in it uses that.
    as_of: dt.date | None = None
    #: The day that it was bound on, where its statements name it: they are bound anew on each day.
    bound_on: dt.date | None = None
    _words: dict[str, object] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The rollup's name."""
        return self.definition.name

    @property
    def is_lifelong(self) -> bool:
        """Whether it is a profile: its rows are entities over their whole life."""
        return self.shape.is_lifelong

    @property
    def functions(self) -> list[FunctionSource]:
        """Its sources that are functions."""
        return [one for one in self.definition.sources if isinstance(one, FunctionSource)]


def identity(rollup: BoundRollup) -> dict[str, object]:
    """Everything that decides stored rows: the definition, and the types that its sources give its columns."""
    if not rollup._words:
        # Remembered: trees are written as text for it, and a fold asks many times.
        types = {one.name: str(one.type) for one in (*rollup.shape.key, *rollup.shape.body)}
        rollup._words.update({**define_identity(rollup.definition), "types": types})
    return rollup._words


def bind(
    rollup: RollupDef, described: Mapping[Table, DescribedSource], schema: str, store: Dialect, today: dt.date
) -> tuple[BoundRollup | None, list[Problem]]:
    """A rollup bound to its sources, or what keeps it from being bound. ``today``: what `now()` is for a profile."""
    return _Binder(rollup, described, schema, store, today).bind()


class _Binder:
    def __init__(
        self,
        rollup: RollupDef,
        described: Mapping[Table, DescribedSource],
        schema: str,
        store: Dialect,
        today: dt.date,
    ) -> None:
        self.rollup = rollup
        self.store = store
        self.today = today
        self.now = today if rollup.is_profile else None
        self.made: list[Made] = []
        self.described = described
        self.schema = schema
        self.problems: list[Problem] = []
        self.compilers: dict[Table, Compiler] = {}
        self.key_types: dict[str, tuple[Type, str]] = {}
        self.scans: dict[tuple[object, ...], Scan] = {}

    def bind(self) -> tuple[BoundRollup | None, list[Problem]]:
        for source in self.rollup.sources:
            if source in self.described:
                self.compilers[source] = self._compiler(source)
        skipped = not self.rollup.measured
        for name, metric in self.rollup.measured.items():
            misplaced = isinstance(metric, Gauge | Increase) if self.rollup.is_profile else metric.moment is None
            if metric.source not in self.compilers or metric.problems or misplaced:
                skipped = True
                continue
            try:
                scan = self._scan(metric)
                self._add(scan, name, metric)
            except ExpressionError as error:
                self._problem(str(error), error.hint, name, metric)
        if not (self.problems or skipped):
            if self.rollup.is_profile:
                self._make_computed()
            else:
                self._check_computed()
        if self.problems or skipped:
            # What was skipped has a mistake that is reported where it was found.
            return None, list(dict.fromkeys(self.problems))
        return self._bound(), []

    def _check_computed(self) -> None:
        """Ratios and formulas fit the types of what they are computed from, which is read as they are queried."""
        types = {one.name: one.type for scan in self.scans.values() for one in scan.value_columns}
        scope = {name: _computed_from(name, types.get(name, FLOAT)) for name in self.rollup.measured}
        dialect = next(iter(self.scans.values())).dialect
        for name, metric in self.rollup.computed.items():
            if metric.expr is None or not scope.keys() >= set(siblings(metric)):
                continue
            try:
                done = Compiler(scope, dialect, self.rollup.name).compile(metric.expr)
            except ExpressionError as error:
                self._problem(str(error), error.hint, name, metric)
            else:
                scope[name] = _computed_from(name, done.type)

    def _make_computed(self) -> None:
        """Ratios, formulas and cases of a profile are columns of its table, made of others of the row."""
        columns = [one for scan in self.scans.values() for one in scan.value_columns]
        columns += [Column(name, type_) for name, (type_, _) in self.key_types.items()]

        def amiss(name: str, metric: Metric, error: ExpressionError) -> None:
            self._problem(str(error), error.hint, name, metric)

        self.made = made_columns(self.rollup, columns, self.store, self.now, amiss)

    def _problem(self, message: str, hint: str, name: str, metric: Metric) -> None:
        code = "unknown-column" if "has no column" in message else "bad-expression"
        self.problems.append(Problem(code, str(metric.place), f"{self.rollup.name}.{name}", message, hint))

    def _compiler(self, source: Table) -> Compiler:
        described = self.described[source]
        scope = {name: Typed(column(name), type_) for name, type_ in described.columns.items()}
        compiler = Compiler(scope, described.dialect, source.label, now=self.now)
        mapped: dict[str, Typed] = {}
        for name, text in source.naming.items():
            try:
                mapped[name] = scope[text] if text in scope else compiler.compile(parse(text))
            except ExpressionError as error:
                self.problems.append(
                    Problem(
                        "unknown-column",
                        str(source.place),
                        f"{source!r} columns['{name}']",
                        str(error),
                        error.hint,
                    )
                )
        scope |= mapped
        return compiler

    def _scan(self, metric: Measured) -> Scan:
        if self.rollup.is_profile:
            return self._whole_scan(metric)
        assert metric.moment is not None
        compiler = self.compilers[metric.source]
        place = (metric.source, metric.moment, *self._apart(compiler, metric))
        if place not in self.scans:
            keys = self._keys(compiler, metric)
            try:
                moment = bind_moment(metric.moment, compiler)
            except ExpressionError as error:
                raise ExpressionError(str(error), _fallback(metric, error)) from None
            if moment.is_date and self.rollup.grain != "day":
                raise ExpressionError(
                    f"'{metric.moment.column}' is a date, which has no time of day; the grain {self.rollup.grain} needs one.",
                    'Use a timestamp, or grain = "day".',
                )
            scan = Scan(metric.source, compiler.dialect, relation(metric.source), keys, moment)
            scan.cursor = self._cursor(metric.source, compiler)
            scan.levels = self._levels(compiler, metric)
            self.scans[place] = scan
        return self.scans[place]

    def _whole_scan(self, metric: Measured) -> Scan:
        """The one scan of a source for all metrics of a profile: facts of all times, those of nobody left out."""
        place = (metric.source,)
        if place not in self.scans:
            compiler = self.compilers[metric.source]
            keys = self._keys(compiler, metric)
            scan = Scan(metric.source, compiler.dialect, relation(metric.source), keys, lifelong(compiler.dialect))
            scan.cursor = self._cursor(metric.source, compiler)
            scan.nobody = either(sql("_k is null", _k=compiler.compile(column(one.name)).tree) for one, _ in keys)
            self.scans[place] = scan
        return self.scans[place]

    def _apart(self, compiler: Compiler, metric: Measured) -> tuple[object, ...]:
        """What has to be equal for two increases to be computed in one pass; nothing for other metrics."""
        if not isinstance(metric, Increase) or metric.expr is None:
            return ()
        return (metric.per, metric.scale, compiler.compile(metric.expr).type)

    def _levels(self, compiler: Compiler, metric: Measured) -> Levels | None:
        """The entities that an increase compares with themselves."""
        if not isinstance(metric, Increase):
            return None
        if self.rollup.grain != "day":
            raise ExpressionError(
                f"Increase is the growth of a day; the grain {self.rollup.grain} cuts days into parts.",
                'Use grain = "day", or a Gauge of the level.',
            )
        per = []
        for name in metric.per:
            try:
                type_ = compiler.compile(column(name)).type
            except ExpressionError as error:
                raise ExpressionError(f"per: {error}", error.hint) from None
            if type_.kind not in _KEY_KINDS:
                raise ExpressionError(
                    f"per: '{name}' is {type_}; whose level it is, is said by {listing(_KEY_KINDS)}.",
                    "Cast it in columns={…}.",
                )
            per.append((Column(name, type_), self._key_tree(name, compiler)))
        return Levels(tuple(per))

    def _cursor(self, source: Table, compiler: Compiler) -> BoundMoment | None:
        """The column by which a source tells what changed."""
        if source.cursor is None:
            return None
        try:
            return bind_moment(Moment(source.cursor), compiler)
        except ExpressionError as error:
            raise ExpressionError(f"changes={source.cursor!r}: {error}", error.hint) from None

    def _keys(self, compiler: Compiler, metric: Measured) -> list[tuple[Column, exp.Expr]]:
        """The key columns of a source; each mistake is kept, so that one does not hide another."""
        keys = []
        for name in self.rollup.key:
            try:
                keys.append((self._key_column(name, compiler, metric), self._key_tree(name, compiler)))
            except ExpressionError as error:
                self._problem(str(error), error.hint, metric.name, metric)
        return keys

    def _key_tree(self, name: str, compiler: Compiler) -> exp.Expr:
        typed = compiler.compile(column(name))
        if typed.type.kind is Kind.INT:
            return compiler.dialect.cast(typed.tree, INT)
        # Grouping text by bytes gives the same groups in less time, and the order of the store's own columns.
        return compiler.dialect.piece("bytewise", _x=typed.tree) if typed.type.kind is Kind.TEXT else typed.tree

    def _key_column(self, name: str, compiler: Compiler, metric: Measured) -> Column:
        try:
            type_ = compiler.compile(column(name)).type
        except ExpressionError as error:
            raise ExpressionError(
                f"the key column '{name}': {error}",
                (error.hint + "\n" if error.hint else "") + _declaration(metric, name),
            ) from None
        if type_.kind not in _KEY_KINDS:
            raise ExpressionError(
                f"the key column '{name}' is {type_}; a key is {listing(_KEY_KINDS)}.",
                "Cast it in columns={…}.",
            )
        known, where = self.key_types.setdefault(name, (type_, metric.source.label))
        if known.kind != type_.kind:
            raise ExpressionError(
                f"the key column '{name}' is {known} in {where} and {type_} in {metric.source.label}.",
                "Cast one of them in columns={…}.",
            )
        return Column(name, type_)

    def _add(self, scan: Scan, name: str, metric: Measured) -> None:
        """The parts of one metric, added to its scan."""
        compiler = self.compilers[metric.source]
        where = compiler.condition(metric.where) if metric.where is not None else None
        value = compiler.compile(metric.expr) if metric.expr is not None else None
        if value is not None and where is not None and metric.expr is not None and reads_properties(metric.expr):
            # Anybody may put anything into an event: what does not count must not be cast either, and DuckDB computes an
            # aggregate's value before its filter.
            value = Typed(sql("case when _w then _x end", _w=where.copy(), _x=value.tree), value.type)
        builder = next(_PARTS[kind] for kind in type(metric).__mro__ if kind in _PARTS)
        builder(self, scan, name, metric, value, where)
        # What counts tomorrow is not filtered out by what counts today.
        moves = self.now is not None and metric.where is not None and reads_clock(metric.where)
        scan.filters.append(None if moves else where)
        scan.counting.append(where)

    def _count(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        aggregate = _filtered(sql("count(*)"), where)
        scan.parts.append(Part(Column(name, INT, zero=True, source=scan.label), aggregate))
        scan.presence.append(sql("_x > 0", _x=column(name)))

    def _sum(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        exact = self._exact(scan, metric, value, where)
        scan.parts.append(
            Part(
                Column(name, _sum_type(exact.type), zero=True, source=scan.label),
                self._summed(scan, exact, where),
            )
        )
        scan.presence.append(sql("not _x is null", _x=column(name)))

    def _avg(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        exact = self._exact(scan, metric, value, where)
        if self.rollup.is_profile:
            self._mean(scan, name, exact, where)
            return
        total, count = f"{name}__sum", f"{name}__count"
        scan.parts.append(
            Part(
                Column(total, _sum_type(exact.type), zero=True, source=scan.label),
                self._summed(scan, exact, where),
            )
        )
        scan.parts.append(
            Part(
                Column(count, INT, zero=True, source=scan.label),
                _filtered(sql("count(_x)", _x=exact.tree), where),
            )
        )
        scan.presence.append(sql("_x > 0", _x=column(count)))

    def _mean(self, scan: Scan, name: str, value: Typed, where: exp.Expr | None) -> None:
        """The mean of a whole life, which is not added up with others: sum over count, in double precision."""
        total = self._summed(scan, value, where)
        count = _filtered(sql("count(_x)", _x=value.tree), where)
        if value.type.kind is Kind.DECIMAL:
            total = scan.dialect.piece("exact_decimal", _x=total)
        mean = scan.dialect.piece("divide", _x=total, _y=count)
        scan.parts.append(Part(Column(name, FLOAT, source=scan.label), mean))
        scan.presence.append(sql("not _x is null", _x=column(name)))

    def _exists(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        there = sql("_c > 0", _c=_filtered(sql("count(*)"), where))
        scan.parts.append(Part(Column(name, BOOL, zero=True, source=scan.label), there))
        scan.presence.append(column(name))

    def _mode(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        assert value is not None
        typed = self._value(scan, metric, value, where)
        given = _given(typed, where)
        counted = scan.dialect.piece("commonest", _x=column("value__"), _n=column("n__"))
        apart = Apart(given, typed.tree, scan.dialect.cast(counted, typed.type))
        self._one_of(scan, name, typed, scan.dialect.piece("mode", _x=typed.tree, _w=given), apart)

    def _first(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        assert isinstance(metric, First)
        assert value is not None
        typed = self._value(scan, metric, value, where)
        order = self._order(scan, metric)
        given = both([_given(typed, where), sql("not _at is null", _at=order[0])])
        what = "last_of" if isinstance(metric, Last) else "first_of"
        self._one_of(
            scan, name, typed, ordered(scan.dialect, what, typed.tree, [*order, _sortable(scan.dialect, typed)], given)
        )

    def _collect(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        assert isinstance(metric, Collect)
        assert value is not None
        typed = self._value(scan, metric, value, where)
        order = self._order(scan, metric)
        given = both([_given(typed, where), sql("not _at is null", _at=order[0])])
        text = json_text(scan.dialect, typed)
        what = "newest_of" if metric.newest else "oldest_of"
        most = exp.Literal.number(metric.most)
        lists = [
            scan.dialect.piece(
                "json_list",
                _x=ordered(scan.dialect, what, text, [*order, _sortable(scan.dialect, typed)], facts),
                _n=most,
            )
            for facts in (given, exp.true())
        ]
        apart = Apart(given, None, scan.dialect.cast(lists[1], JSON))
        self._one_of(scan, name, Typed(typed.tree, JSON), lists[0], apart)

    def _value(self, scan: Scan, metric: Measured, value: Typed, where: exp.Expr | None) -> Typed:
        """A value that is kept as it is, of a kind that every engine orders and writes alike."""
        if value.type.kind not in _KEPT_KINDS or (value.type.kind is Kind.DECIMAL and value.type.scale is None):
            raise ExpressionError(
                f"{type(metric).__name__} needs one of {listing(_KEPT_KINDS)}, a decimal with its scale; "
                f"the expression is {value.type}.",
                "Cast it, such as amount::numeric(18,2).",
            )
        guarded = self._guarded(scan, value, where)
        if value.type.kind is Kind.INT:
            return Typed(scan.dialect.cast(guarded.tree, INT), INT)
        tree = scan.dialect.piece("bytewise", _x=guarded.tree) if value.type.kind is Kind.TEXT else guarded.tree
        return Typed(tree, value.type)

    def _order(self, scan: Scan, metric: First) -> list[exp.Expr]:
        """What facts are ordered by: their moment, and what decides among those of one moment."""
        assert metric.moment is not None
        compiler = self.compilers[metric.source]
        try:
            found = [bind_moment(metric.moment, compiler).instant]
        except ExpressionError as error:
            raise ExpressionError(str(error), error.hint) from None
        if metric.ties is not None:
            ties = compiler.compile(metric.ties)
            if ties.type.kind not in _KEPT_KINDS:
                raise ExpressionError(
                    f"ties: facts are ordered by {listing(_KEPT_KINDS)}; the expression is {ties.type}."
                )
            is_text = ties.type.kind is Kind.TEXT
            found.append(scan.dialect.piece("bytewise", _x=ties.tree) if is_text else ties.tree)
        return found

    def _one_of(self, scan: Scan, name: str, typed: Typed, aggregate: exp.Expr, apart: Apart | None = None) -> None:
        """A metric that is one value, null where there is none."""
        stored = scan.dialect.cast(aggregate, typed.type)
        scan.parts.append(Part(Column(name, typed.type, source=scan.label), stored, apart))
        scan.presence.append(sql("not _x is null", _x=column(name)))

    def _summed(self, scan: Scan, value: Typed, where: exp.Expr | None) -> exp.Expr:
        return scan.dialect.cast(_filtered(scan.dialect.total(value.tree, value.type), where), _sum_type(value.type))

    def _exact(self, scan: Scan, metric: Measured, value: Typed | None, where: exp.Expr | None) -> Typed:
        """A number that adds up the same in any order; floats and scaleless decimals rounded to ``scale``."""
        assert value is not None
        if value.type.kind is Kind.NULL or not value.type.is_number:
            raise ExpressionError(f"{type(metric).__name__} needs a number; the expression is {value.type}.")
        inexact = value.type.kind is Kind.FLOAT or (value.type.kind is Kind.DECIMAL and value.type.scale is None)
        if inexact and metric.scale is None:
            raise ExpressionError(
                f"the expression is {'a float' if value.type.kind is Kind.FLOAT else 'a decimal without a scale'}, "
                "whose sum would not be the same from run to run.",
                f"Say how many digits count after the point: {type(metric).__name__}(…, scale=6), or cast it with ::numeric(18,2).",
            )
        guarded = self._guarded(scan, value, where)
        if metric.scale is None:
            return guarded
        compiler = self.compilers[metric.source]
        assert metric.expr is not None
        return compiler.cast_to(guarded, decimal(MAX_DIGITS, metric.scale), metric.expr)

    def _guarded(self, scan: Scan, value: Typed, where: exp.Expr | None) -> Typed:
        """A number, the scan noticing where it is NaN or infinite; a float is null there, so that it can be cast.

        A decimal of PostgreSQL may be NaN too. It is looked for in the group's greatest value, which NaN then is:
        a test of every row takes longer than adding it up.
        """
        is_float = value.type.kind is Kind.FLOAT
        if not is_float and not (value.type.kind is Kind.DECIMAL and scan.dialect.name == "postgres"):
            return value
        finite = scan.dialect.piece("finite", _x=value.tree)
        guard = both([sql("not (_f)", _f=finite), *([where] if where is not None else [])])
        scan.guards.append(guard)
        if not is_float:
            greatest = _filtered(sql("max(_x)", _x=value.tree), where)
            scan.detectors.append(sql("coalesce(_m = 'NaN', false)", _m=greatest))
            return value
        scan.detectors.append(sql("count(*) filter (where _g) > 0", _g=guard))
        return Typed(sql("case when _f then _x end", _f=finite, _x=value.tree), value.type)

    def _extreme(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        assert value is not None
        if value.type.kind not in _ORDERED_KINDS or (value.type.kind is Kind.DECIMAL and value.type.scale is None):
            raise ExpressionError(
                f"{type(metric).__name__} needs one of {listing(_ORDERED_KINDS)}, a decimal with its scale; "
                f"the expression is {value.type}.",
                "Cast it, such as amount::numeric(18,2).",
            )
        guarded = self._guarded(scan, value, where)
        tree = scan.dialect.piece("bytewise", _x=guarded.tree) if value.type.kind is Kind.TEXT else guarded.tree
        aggregate = _filtered(sql(f"{metric.kind}(_x)", _x=tree), where)
        if value.type.kind is Kind.INT:
            aggregate = scan.dialect.cast(aggregate, INT)
        scan.parts.append(Part(Column(name, value.type, source=scan.label), aggregate))
        scan.presence.append(sql("not _x is null", _x=column(name)))

    def _distinct(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        assert value is not None
        if (
            isinstance(metric.source, Folded)
            and metric.expr_text
            and value.type.kind is Kind.INT
            and self._is_set(metric)
        ):
            self._united(scan, name, metric.expr_text, where)
            return
        if value.type.kind not in _DISTINCT_KINDS:
            raise ExpressionError(
                f"Distinct values are {listing(_DISTINCT_KINDS)}; the expression is {value.type}.",
                "Cast it to one of these, so that one value has one text.",
            )
        text = value.tree if value.type.kind is Kind.TEXT else scan.dialect.text(value.tree, value.type)
        if self.rollup.is_profile:
            bare = scan.dialect.piece("bytewise", _x=value.tree) if value.type.kind is Kind.TEXT else value.tree
            given = _given(Typed(bare, value.type), where)
            how_many = scan.dialect.cast(scan.dialect.piece("different", _x=bare, _w=given), INT)
            apart = Apart(given, bare, sql("count(*)"))
            scan.parts.append(Part(Column(name, INT, zero=True, source=scan.label), how_many, apart))
            scan.presence.append(sql("_x > 0", _x=column(name)))
            return
        count, hashes = (
            Column(name, INT, zero=True, source=scan.label),
            Column(name, HASHES, source=scan.label),
        )
        scan.sets.append(DistinctPart(count, hashes, text, where))

    def _is_set(self, metric: Measured) -> bool:
        """Whether the expression names a Distinct of the rollup that is the source."""
        return f"{metric.expr_text}__hashes" in self.described[metric.source].columns

    def _united(self, scan: Scan, name: str, lower: str, where: exp.Expr | None) -> None:
        """The union of another rollup's sets, which is known only where every one of them is complete."""
        hashes = column(f"{lower}__hashes")
        scan.sets.append(
            DistinctPart(
                Column(name, INT, zero=True, source=scan.label),
                Column(name, HASHES, source=scan.label),
                hashes,
                where,
                united=True,
            )
        )
        held = sql("coalesce(_s, 0)", _s=scan.dialect.piece("set_size", _x=hashes))
        guard = both([sql("_n > _h", _n=column(lower), _h=held), *([where] if where is not None else [])])
        scan.guards.append(guard)
        scan.detectors.append(sql("count(*) filter (where _g) > 0", _g=guard))

    def _gauge(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        assert isinstance(metric, Gauge)
        assert value is not None
        if metric.scale is None and metric.over_keys not in ("sum", "avg"):
            if not value.type.is_number or (value.type.kind is Kind.DECIMAL and value.type.scale is None):
                raise ExpressionError(
                    f"Gauge needs a number, a decimal with its scale; the expression is {value.type}.",
                    "Say scale=… or cast it.",
                )
            exact = self._guarded(scan, value, where)
        else:
            exact = self._exact(scan, metric, value, where)
        tree = exact.tree if where is None else sql("case when _w then _x end", _w=where, _x=exact.tree)
        aggregate = scan.dialect.piece("last_value", _x=tree, _at=scan.moment.instant)
        type_ = exact.type
        scan.parts.append(Part(Column(name, type_, source=scan.label), scan.dialect.cast(aggregate, type_)))
        scan.presence.append(sql("not _x is null", _x=column(name)))

    def _size(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        scan.parts.append(Part(Column(name, INT, source=scan.label), _filtered(sql("count(*)"), where)))
        scan.presence.append(sql("_x > 0", _x=column(name)))

    def _increase(self, scan: Scan, name: str, metric: Measured, value: Typed | None, where: exp.Expr | None) -> None:
        """A level that only grows; what is below zero or no number fails the source, as it has no growth."""
        assert scan.levels is not None
        known = len(scan.guards)
        exact = self._exact(scan, metric, value, where)
        scan.guards.append(both([sql("_x < 0", _x=exact.tree), *([where] if where is not None else [])]))
        guard = sql("coalesce(_g, false)", _g=either(scan.guards[known:]))
        counts = both([exp.Not(this=exp.Paren(this=guard)), *([where] if where is not None else [])])
        tree = sql("case when _c then _x end", _c=counts, _x=exact.tree)
        scan.levels = replace(scan.levels, each=(*scan.levels.each, Level(name, tree, guard)))
        stored = Column(name, _sum_type(exact.type), zero=True, source=scan.label)
        scan.parts.append(Part(stored, scan.dialect.total(tree, exact.type)))
        scan.presence.append(sql("not _x is null", _x=column(name)))

    def _bound(self) -> BoundRollup:
        rollup = self.rollup
        scans = tuple(self.scans.values())
        key = tuple(Column(name, self.key_types[name][0]) for name in rollup.key)
        by_name = {one.name: one for scan in scans for one in scan.value_columns}
        order = [one for name in rollup.measured for one in stored_columns(rollup, name)]
        values = tuple(by_name[name] for name in order)
        made = tuple(self.made)
        names = tuple(one for name in rollup.metrics for one in stored_columns(rollup, name))
        shape = Shape(
            rollup.table, self.schema, key, rollup.day_column, rollup.slot, values, True, rollup.index, rollup.extras,
            made, names if made else (), rollup.is_profile,
        )  # fmt: skip
        sets = tuple(one.hashes for scan in scans for one in scan.sets)
        name = rollup.table + SETS_SUFFIX
        sets_shape = (
            Shape(name, self.schema, key, rollup.day_column, rollup.slot, sets, stamped=False) if sets else None
        )
        as_of = self.now if rollup.is_profile and is_time_driven(rollup) else None
        bound_on = as_of or (self.today if rollup.is_standing else None)
        return BoundRollup(rollup, shape, sets_shape, scans, as_of, bound_on)


def _declaration(metric: Measured, name: str) -> str:
    """Where a key column that the source has not is to be said."""
    if isinstance(metric.source, EventLog):
        return f'Declare it: events.columns({name}="text").'
    return f'If the table calls it otherwise: Table("{metric.source.label}", columns={{"{name}": "its_name"}}).'


def _fallback(metric: Measured, error: ExpressionError) -> str:
    """What to write while a table does not keep the moment that is asked for, and what that costs in truth."""
    is_log = isinstance(metric.source, EventLog)
    if "has no column" not in str(error) or metric.source.name is None or metric.moment is None or is_log:
        return error.hint
    kind, missing = type(metric).__name__, metric.moment.column
    return (
        f'{error.hint}\nIf the table does not keep it: {kind}(…, at="updated_at", where="…") with what its rows look like '
        f"afterwards. A fact then counts on the day of its last change, and moves with every later one.\n"
        f"`dayfold doctor` prints the statement that adds {missing}."
    )


def _computed_from(name: str, type_: Type) -> Typed:
    """A sibling as formulas see it: a number in double precision, anything else as it is."""
    return Typed(column(name), FLOAT if type_.is_number or type_.kind is Kind.NULL else type_)


def stored_columns(rollup: RollupDef, name: str) -> list[str]:
    """The columns of the rollup's table that a metric is kept in; none where it is computed when it is read."""
    metric = rollup.metrics[name]
    if rollup.is_profile:
        return [name]
    if isinstance(metric, Avg):
        return [f"{name}__sum", f"{name}__count"]
    return [name] if isinstance(metric, Measured) else []


def made_columns(
    profile: RollupDef,
    columns: Iterable[Column],
    dialect: Dialect,
    now: dt.date | None,
    amiss: Callable[[str, Metric, ExpressionError], None] | None = None,
) -> list[Made]:
    """What makes the columns of a profile that are computed from other ``columns`` of a row.

    ``amiss``: told of what cannot be compiled; without it that is raised.
    """
    scope = {one.name: _made_from(one.name, one.type, dialect) for one in columns}
    found = []
    for name, metric in profile.computed.items():
        if metric.expr is None or not scope.keys() >= set(siblings(metric)):
            continue
        try:
            done = Compiler(scope, dialect, profile.name, now=now).compile(metric.expr)
            type_ = _storable(done.type)
        except ExpressionError as error:
            if amiss is None:
                raise
            amiss(name, metric, error)
        else:
            found.append(Made(Column(name, type_), done.tree))
            scope[name] = _made_from(name, type_, dialect)
    return found


def _made_from(name: str, type_: Type, dialect: Dialect) -> Typed:
    """A column of a row as what is made of it sees it: whole numbers as they are, other numbers in double precision."""
    if type_.kind is Kind.DECIMAL:
        exact = dialect.piece("exact_decimal", _x=column(name))
        return Typed(dialect.cast(exact, FLOAT), FLOAT)
    return Typed(column(name), type_)


def _storable(type_: Type) -> Type:
    """The type of a column that is made of others."""
    if type_.kind is Kind.DECIMAL:
        return FLOAT
    if type_.kind is Kind.NULL:
        return TEXT
    if type_.kind not in _KEPT_KINDS:
        raise ExpressionError(f"the expression is {type_}, expected one of {listing(_KEPT_KINDS)}.", "Cast it.")
    return type_


def _given(typed: Typed, where: exp.Expr | None) -> exp.Expr:
    """True for facts that have a value and count."""
    return both([sql("not _x is null", _x=typed.tree), *([where] if where is not None else [])])


def _sortable(dialect: Dialect, typed: Typed) -> exp.Expr:
    """A value as facts are ordered by it: identifiers by their texts, on every engine."""
    return dialect.piece("uuid_order", _x=typed.tree) if typed.type.kind is Kind.UUID else typed.tree


def ordered(dialect: Dialect, what: str, value: exp.Expr, order: list[exp.Expr], given: exp.Expr) -> exp.Expr:
    """An aggregate that depends on the order of facts."""
    downwards = what in ("last_of", "newest_of")
    tree = dialect.piece(what, _x=value, _row=order, _w=given, _n=exp.Literal.number(len(order)))
    for node in tree.find_all(exp.Order):
        # NULL is the greatest, as it is within a row.
        by = [exp.Ordered(this=one.copy(), desc=downwards, nulls_first=downwards) for one in order]
        node.set("expressions", by)
    return tree


def json_text(dialect: Dialect, value: Typed) -> exp.Expr:
    """A value as JSON writes it: numbers with all their digits, booleans, and everything else as a string."""
    text = dialect.text(value.tree, value.type)
    if value.type.kind in (Kind.INT, Kind.DECIMAL, Kind.BOOL):
        return text
    if value.type.kind is Kind.FLOAT:
        return dialect.piece("float_text", _x=value.tree)
    if value.type.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
        text = dialect.piece("iso_micros", _x=value.tree)
    return dialect.piece("json_string", _x=text)


def relation(source: Table) -> exp.Expr:
    """A source as something to select from, before its database is known."""
    if source.sql is not None:
        return exp.Subquery(
            this=exp.Var(this=f"{source.sql.strip().rstrip(';')}\n"),
            alias=exp.TableAlias(this=exp.to_identifier("s", quoted=True)),
        )
    assert source.name is not None
    parts = source.name.split(".")
    return table(parts[-1], *reversed(parts[:-1]))


#: What a rollup's rows offer as moments beside their day, where none of their columns is called so.
PERIODS = ("week", "month", "quarter", "year")


def folded_columns(lower: BoundRollup, source: Folded) -> dict[str, Type]:
    """The columns that a rollup has as a source of another."""
    found = {one.name: one.type for one in (*lower.shape.identity, *lower.shape.body)}
    if lower.is_lifelong:
        return found | ({DAY: DATE} if source.is_standing else {})
    found.setdefault(lower.shape.day_column, DATE)
    found |= {name: DATE for name in PERIODS if name not in found}
    sets = lower.sets_shape.values if lower.sets_shape else ()
    return found | {f"{one.name}__hashes": one.type for one in sets}


def folded_relation(lower: BoundRollup, dialect: Dialect, source: Folded, today: dt.date) -> exp.Subquery:
    """A rollup's rows with their sets as something to select from; of a standing profile those of today."""
    shape = lower.shape
    if lower.is_lifelong:
        rows = exp.select(*(column(one.name, "t") for one in (*shape.key, *shape.body)))
        if source.is_standing:
            rows = rows.select(alias(exp.cast(exp.Literal.string(today.isoformat()), "date"), DAY))
        return rows.from_(exp.alias_(shape.table, "t", table=True)).subquery("folded__")
    day = column(shape.day_column, "t")
    names = dict.fromkeys([*(one.name for one in (*shape.identity, *shape.values)), shape.day_column])
    items: list[exp.Expr] = [column(name, "t") for name in names]
    items += [
        alias(dialect.cast(sql(f"date_trunc('{name}', _d)", _d=day), DATE), name)
        for name in PERIODS
        if name not in names
    ]
    select = exp.select(*items).from_(exp.alias_(shape.table, "t", table=True))
    if lower.sets_shape:
        same = both(
            dialect.piece("equal", _x=column(one.name, "t"), _y=column(one.name, "s")) for one in shape.identity
        )
        for one in lower.sets_shape.values:
            select = select.select(alias(column(one.name, "s"), f"{one.name}__hashes"))
        select = select.join(exp.alias_(lower.sets_shape.table, "s", table=True), on=same, join_type="left")
    return select.subquery("folded__")


def grain_minutes(rollup: RollupDef) -> int:
    """The length of a stored bucket."""
    return STORED_GRAINS["day" if rollup.is_profile else rollup.grain]


def _sum_type(type_: Type) -> Type:
    return INT if type_.kind is Kind.INT else decimal(MAX_DIGITS, type_.scale)


def _filtered(aggregate: exp.Expr, where: exp.Expr | None) -> exp.Expr:
    return aggregate if where is None else exp.Filter(this=aggregate, expression=exp.Where(this=where.copy()))


_PARTS: dict[type[Measured], Callable[..., None]] = {
    Count: _Binder._count,
    Sum: _Binder._sum,
    Increase: _Binder._increase,
    Avg: _Binder._avg,
    Distinct: _Binder._distinct,
    Gauge: _Binder._gauge,
    Size: _Binder._size,
    Exists: _Binder._exists,
    Mode: _Binder._mode,
    First: _Binder._first,
    Collect: _Binder._collect,
    Min: _Binder._extreme,
}
_PARTS |= {kind: _Binder._extreme for kind in Min.__subclasses__() if kind is not Distinct}
