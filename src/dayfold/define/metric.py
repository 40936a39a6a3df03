"""The kinds of metrics and how each adds up. Definitions floor, pure.

A metric is written as a class attribute and knows the line it stands on. Mistakes are kept on it, so that all
mistakes of a file can be reported together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sqlglot import exp

from dayfold.define.events import PUBLIC, SERVER, EventLog
from dayfold.define.expr import ExpressionError, columns, parse
from dayfold.define.function import DAY, FunctionSource
from dayfold.define.source import Folded, Moment, Table, caller, unknown_options
from dayfold.errors import Problem
from dayfold.names import listing

#: How a gauge is combined over keys.
OVER_KEYS = ("sum", "avg", "min", "max", "refuse")


def reads_properties(tree: exp.Expr) -> bool:
    """Whether an expression over events looks into their properties."""
    return any(one.name in ("props", "properties") for one in columns(tree))


class Metric:
    """A named number of a rollup."""

    kind: ClassVar[str] = "metric"
    OPTIONS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, unknown: dict[str, Any]) -> None:
        self.name = ""
        self.place = caller()
        self.problems = unknown_options(type(self).__name__, self.place, unknown, self.OPTIONS)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__} at {self.place}"

    def problem(self, code: str, message: str, hint: str = "") -> None:
        """Keep a mistake of this metric."""
        self.problems.append(Problem(code, str(self.place), "", message, hint))

    def parsed(self, text: str, what: str) -> exp.Expr | None:
        """The tree of an expression, or None where it was a mistake."""
        try:
            return parse(text)
        except ExpressionError as error:
            self.problem("bad-expression", f"{what}: {error}", error.hint)
            return None

    def identity(self) -> dict[str, Any]:
        """What the metric's numbers depend on, for the fingerprint."""
        raise AssertionError("a kind of metric says what it depends on")


class Measured(Metric):
    """A metric of the facts of one source at one of its moments.

    ``extra``: it stands in the JSON column ``metadata`` of its table too, beside a column of its own.
    """

    #: Whether it is of a whole life only, so that no rollup has it.
    is_lifelong: ClassVar[bool] = False
    #: Whether it was said when a fact counts.
    is_timed = True

    def __init__(
        self,
        source: Table | type | None,
        expr: str | None,
        at: str | Moment | None,
        where: str | None,
        unknown: dict[str, Any],
        extra: object = False,
    ) -> None:
        super().__init__(unknown)
        as_source = getattr(source, "as_source", None) if isinstance(source, type) else None
        if as_source is not None:
            source = as_source()
        self.source: Table = source  # type: ignore[assignment]  # anything else is a problem, kept below
        self.expr_text = expr
        self.where_text = where
        if at is None and isinstance(source, FunctionSource):
            at = DAY
        self.moment = Moment(at) if isinstance(at, str) else at
        self.expr = self.parsed(expr, "the expression") if expr is not None else None
        self.where = self.parsed(where, "where") if where is not None else None
        self.scale: int | None = None
        self.is_timed = self.moment is not None
        self.extra = extra is True
        if extra not in (True, False):
            self.problem("bad-value", f"extra is True or False, got {extra!r}.")
        elif extra and isinstance(self, Avg):
            self.problem("bad-value", "an Avg is kept as its sum and its count, so that it is no extra.")
        self._check_source(source)
        self._check_moment(self.moment)

    def _check_source(self, source: object) -> None:
        if isinstance(source, Folded):
            self._check_folded(source)
            return
        if isinstance(source, Table):
            return
        if source is None:
            self.problem("bad-source", f"{type(self).__name__} needs a Table or a Rollup as its first argument.")
            return
        got = source.__name__ if isinstance(source, type) else type(source).__name__
        self.problem("bad-source", f"expected a Table or a Rollup as the source of {type(self).__name__}, got {got}.")

    def _check_folded(self, source: Folded) -> None:
        """Distinct values of another rollup are united, and computed metrics are not there to be added up."""
        name = source.rollup.__name__
        for word in sorted({one.name for tree in (self.expr, self.where) if tree for one in columns(tree)}):
            metric = None if source.is_lifelong else getattr(source.rollup, word, None)
            if isinstance(metric, Distinct) and not (isinstance(self, Distinct) and self.expr_text == word):
                self.problem(
                    "summed-distinct",
                    f"{name}.{word} is a Distinct, and Distinct values are never summed: one value may stand "
                    "in several rows.",
                    f'Unite them: Distinct({name}, "{word}", at=…). Or ask for it over a longer range or fewer keys: '
                    f"dayfold query {name} -m {word} --grain total",
                )
            elif isinstance(metric, Measured) and isinstance(metric.source, FunctionSource):
                # Whether a day of it is there yet is known of the function alone.
                self.problem(
                    "bad-source",
                    f"{name}.{word} is of the function {metric.source.title}, which is not read through another rollup.",
                    f"Read the function itself: {type(self).__name__}({metric.source.title}, …). It is called once for all.",
                )
            elif isinstance(metric, Computed | Avg):
                self.problem(
                    "bad-expression",
                    f"{name}.{word} is a {metric.kind}, which is computed when it is read and does not add up.",
                    f"Name the metrics that it is made of, and write the {metric.kind} again in this rollup.",
                )

    def _check_moment(self, moment: object) -> None:
        if moment is None:
            # Whether it needs one depends on the rollup or profile that it belongs to.
            return
        if not isinstance(moment, Moment):
            self.problem("bad-moment", f"at is a column's name or a Moment, got {type(moment).__name__}.")
            self.moment = None
        elif complaint := moment.complaint():
            self.problem("bad-moment", complaint)
        elif isinstance(self.source, FunctionSource) and moment != Moment(DAY):
            self.problem(
                "bad-moment",
                f"facts of a function count on the day that it was asked for, expected at=\"{DAY}\", got '{moment.column}'.",
            )

    def _need_expression(self, expr: object) -> None:
        if expr is None:
            self.problem("no-expression", f'{type(self).__name__} needs an expression, such as "amount".')

    def _check_trust(self, trust: object) -> None:
        """A number that an event carries counts where its sender is known, unless the metric says otherwise."""
        takes = isinstance(self.source, EventLog)
        if trust is not None and not takes:
            self.problem("bad-value", f"trust is said of events, and the source is {self.source!r}.")
        elif trust not in (None, PUBLIC, SERVER):
            self.problem("bad-value", f"trust is one of {listing((SERVER, PUBLIC))}, got {trust!r}.")
        elif takes and trust != PUBLIC and self.expr is not None and reads_properties(self.expr):
            known = parse(f"trust = '{SERVER}'")
            self.where = known if self.where is None else exp.and_(self.where, known, copy=False)

    def _check_scale(self, scale: object) -> None:
        if scale is None:
            return
        if not isinstance(scale, int) or isinstance(scale, bool) or not 0 <= scale <= 18:
            self.problem("bad-scale", f"scale is a number of digits from 0 to 18, got {scale!r}.")
            return
        self.scale = scale

    def identity(self) -> dict[str, Any]:
        """Source, moment, expression, filter and scale, and whether it is an extra."""
        moment = self.moment
        return {
            "kind": self.kind,
            "source": self.source.as_words(),
            "at": [moment.column, moment.tz, moment.unit] if moment else None,
            "expr": self.expr.sql() if self.expr else None,
            "where": self.where.sql() if self.where else None,
            "scale": self.scale,
            # Named where it is so only: a definition without it has the fingerprint that it always had.
            **({"extra": True} if self.extra else {}),
        }


class Count(Measured):
    """How many facts there were. Adds up over days and keys.

    >>> Count(Table("request"), at="sent_at", where="channel = 'mail'").kind
    'count'
    """

    kind = "count"
    OPTIONS: ClassVar[tuple[str, ...]] = ("at", "where", "extra")

    def __init__(
        self,
        source: Table | type | None = None,
        *more: object,
        at: str | Moment | None = None,
        where: str | None = None,
        extra: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__(source, None, at, where, unknown, extra)
        if more:
            self.problem("unknown-option", *self._no_expression())

    def _no_expression(self) -> tuple[str, str]:
        """What is said of an expression, and what to do."""
        return (
            "Count takes a source and no expression; it counts facts.",
            'To leave facts out: where="…". To count different values: Distinct.',
        )


class Sum(Measured):
    """The sum of an expression, exact. Adds up over days and keys.

    ``scale``: digits after the point, needed where the expression is a float or a decimal without a scale of
    its own. Each value is rounded to it (half away from zero) before it is added.

    ``trust``: over properties of events only. A number that an event carries counts where a server sent it; ``"public"``: where
    anybody did, such as seconds that a page was read. Other numbers from properties keep to the same.

    >>> Sum(Table("order_line"), "quantity * price", at="invoiced_at").kind
    'sum'
    """

    kind = "sum"
    OPTIONS: ClassVar[tuple[str, ...]] = ("at", "where", "scale", "trust", "extra")

    def __init__(
        self,
        source: Table | type | None = None,
        expr: str | None = None,
        *,
        at: str | Moment | None = None,
        where: str | None = None,
        scale: int | None = None,
        trust: str | None = None,
        extra: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__(source, expr, at, where, unknown, extra)
        self._need_expression(expr)
        self._check_scale(scale)
        self._check_trust(trust)


class Avg(Sum):
    """The mean of an expression, kept as sum and count, so that it is right over any range and keys.

    >>> Avg(Table("booking"), "duration_minutes", at="start_at").kind
    'avg'
    """

    kind = "avg"
    OPTIONS = ("at", "where", "scale", "trust")


class Increase(Sum):
    """How much cumulative levels grew in a day, such as the views of posts. Adds up over days and keys.

    The level of an entity on a day is the expression at the latest moment of the day, the greatest of several at that
    moment. What it grew by is that level less the one of the entity's previous observed day, however long ago that was,
    before ``since`` too, and whatever key it had then. A level lower than that was reset: it grew from zero, as it does
    where nothing was observed before. The growth belongs to the key of the row that the day's level was taken from.

    Facts whose expression is NULL, or that ``where`` leaves out, observe nothing. A day without an observation has no
    growth; the next observed day has all of it. A level below zero is no cumulative level and fails the source.

    ``per``: the column, or columns, of the source that say whose level it is. NULL is an entity of its own.

    >>> Increase(Table("snapshot"), "views", per="post_id", at="observed_at").per
    ('post_id',)
    """

    kind = "increase"
    OPTIONS = ("per", "at", "where", "scale", "trust", "extra")

    def __init__(
        self,
        source: Table | type | None = None,
        level: str | None = None,
        *,
        per: str | Sequence[str] = (),
        at: str | Moment | None = None,
        where: str | None = None,
        scale: int | None = None,
        trust: str | None = None,
        extra: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__(source, level, at=at, where=where, scale=scale, trust=trust, extra=extra, **unknown)
        self.per = self._entity(per)

    def _entity(self, per: object) -> tuple[str, ...]:
        """The columns that say whose level it is."""
        names = (per,) if isinstance(per, str) else per
        if not isinstance(names, list | tuple) or not all(isinstance(one, str) and one for one in names):
            self.problem("bad-value", f"per is a column or a list of columns, got {per!r}.")
        elif not names:
            self.problem(
                "bad-value",
                "Increase needs per=…, the column or columns that say whose level it is.",
                'Such as per="post_id": the level of one post is compared with its own earlier one.',
            )
        elif len(set(names)) < len(names):
            self.problem("duplicate-name", f"per names a column twice: {listing(names)}.")
        else:
            return tuple(names)
        return ()

    def identity(self) -> dict[str, Any]:
        """That of a sum, and whose level it is."""
        return {**super().identity(), "per": list(self.per)}


class Min(Measured):
    """The least value of an expression. Over days and keys: the least of them.

    >>> Min(Table("payment"), "amount_cents", at="paid_at").kind
    'min'
    """

    kind = "min"
    OPTIONS: ClassVar[tuple[str, ...]] = ("at", "where", "trust", "extra")

    def __init__(
        self,
        source: Table | type | None = None,
        expr: str | None = None,
        *,
        at: str | Moment | None = None,
        where: str | None = None,
        trust: str | None = None,
        extra: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__(source, expr, at, where, unknown, extra)
        self._need_expression(expr)
        self._check_trust(trust)


class Max(Min):
    """The greatest value of an expression. Over days and keys: the greatest of them.

    >>> Max(Table("payment"), "amount_cents", at="paid_at").kind
    'max'
    """

    kind = "max"


class Distinct(Min):
    """How many different values an expression had. Never summed: sets are united, over any range and keys.

    Exact while each bucket's set is complete (at most 16,384 values); beyond it an estimate with its error.

    >>> Distinct(Table("order_line"), "customer_id", at="invoiced_at").kind
    'distinct'
    """

    kind = "distinct"
    OPTIONS = ("at", "where", "extra")

    def _check_trust(self, trust: object) -> None:
        """Values are told apart, whoever sent them."""
        if trust is not None:
            self.problem("unknown-option", "Distinct has no option 'trust'.", f"Options: {listing(self.OPTIONS)}")


class Gauge(Measured):
    """A level, such as recurring revenue: the expression at the latest moment of the day.

    Over time: its value on the last covered day. Over keys: ``over_keys``, one of sum, avg, min, max, refuse.
    ``carry``: a key without a row on that day keeps its last earlier value.

    >>> Gauge(Table("plan"), "mrr", at="measured_at", over_keys="sum").over_keys
    'sum'
    """

    kind = "gauge"
    OPTIONS: ClassVar[tuple[str, ...]] = ("at", "where", "scale", "over_keys", "carry", "trust", "extra")

    def __init__(
        self,
        source: Table | type | None = None,
        expr: str | None = None,
        *,
        at: str | Moment | None = None,
        where: str | None = None,
        over_keys: str = "sum",
        carry: bool = False,
        scale: int | None = None,
        trust: str | None = None,
        extra: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__(source, expr, at, where, unknown, extra)
        self._need_expression(expr)
        self.over_keys = over_keys
        self.carry = carry is True
        if carry not in (True, False):
            self.problem("bad-value", f"carry is True or False, got {carry!r}.")
        self._check_scale(scale)
        self._check_trust(trust)
        if over_keys not in OVER_KEYS:
            self.problem("bad-over-keys", f"over_keys is one of {listing(OVER_KEYS)}, got {over_keys!r}.")


class Computed(Metric):
    """A metric computed from others when it is read, after they have been added up."""

    def __init__(self, text: str, unknown: dict[str, Any]) -> None:
        super().__init__(unknown)
        self.expr = self.parsed(text, "the formula")

    def identity(self) -> dict[str, Any]:
        """The formula."""
        return {"kind": self.kind, "expr": self.expr.sql() if self.expr else None}


class Formula(Computed):
    """An expression over sibling metrics, in double precision, computed after resampling, never averaged.

    >>> Formula("(likes + shares) / views").kind
    'formula'
    """

    kind = "formula"

    def __init__(self, expr: str = "", **unknown: Any) -> None:
        super().__init__(expr, unknown)


class Ratio(Computed):
    """One sibling metric divided by another, computed after resampling; null where the divisor is zero.

    >>> Ratio("revenue", "orders").kind
    'ratio'
    """

    kind = "ratio"

    def __init__(self, numerator: str = "", denominator: str = "", **unknown: Any) -> None:
        super().__init__(f'"{numerator}" / "{denominator}"', unknown)
        if not (numerator and denominator):
            self.problem("no-expression", "Ratio needs two metrics, the divided one and the divisor.")
