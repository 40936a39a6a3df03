"""The kinds of metrics that only a profile has: what is true of an entity over its whole life. Definitions floor, pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sqlglot import exp

from dayfold.define.metric import Computed, Count, Measured
from dayfold.define.source import Moment, Table
from dayfold.names import listing

#: The most values that a `Collect` may keep.
MOST_COLLECTED = 10_000


class First(Measured):
    """The value of an expression at the earliest moment. Facts whose value or moment is NULL are left out.

    ``ties``: an expression that orders facts of one moment, the least first; among equals the least value stands.

    >>> First(Table("booking"), "location_id", at="start_at", ties="id").kind
    'first'
    """

    kind = "first"
    OPTIONS: ClassVar[tuple[str, ...]] = ("at", "where", "ties", "trust")
    is_lifelong = True

    def __init__(
        self,
        source: Table | type | None = None,
        expr: str | None = None,
        *,
        at: str | Moment | None = None,
        where: str | None = None,
        ties: str | None = None,
        trust: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(source, expr, at, where, unknown)
        self._need_expression(expr)
        self._check_trust(trust)
        self.ties = self.parsed(ties, "ties") if ties is not None else None
        if at is None:
            self.problem("no-moment", f"{type(self).__name__} needs at=…, the column that facts are ordered by.")

    def identity(self) -> dict[str, Any]:
        """That of any metric, and what decides among facts of one moment."""
        return {**super().identity(), "ties": self.ties.sql() if self.ties else None}


class Last(First):
    """The value of an expression at the latest moment. Facts whose value or moment is NULL are left out.

    ``ties``: an expression that orders facts of one moment, the greatest last; among equals the greatest value stands.

    >>> Last(Table("payment"), "amount_cents", at="paid_at", ties="id").kind
    'last'
    """

    kind = "last"


class Collect(First):
    """The values of an expression in the order of their moments, as a JSON list.

    ``most``: so many values are kept, from 1 to 10,000; ``newest``: the latest ones, the latest first, instead of the earliest.

    >>> Collect(Table("booking"), "note", at="start_at", most=20, newest=True).most
    20
    """

    kind = "collect"
    OPTIONS = (*First.OPTIONS, "most", "newest")

    def __init__(
        self,
        source: Table | type | None = None,
        expr: str | None = None,
        *,
        at: str | Moment | None = None,
        where: str | None = None,
        ties: str | None = None,
        trust: str | None = None,
        most: int = 100,
        newest: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__(source, expr, at=at, where=where, ties=ties, trust=trust, **unknown)
        self.most = most
        self.newest = newest is True
        asked: object = most
        if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= MOST_COLLECTED:
            self.problem("bad-value", f"most is a number of values from 1 to {MOST_COLLECTED:,}, got {most!r}.")
            self.most = 1
        if newest not in (True, False):
            self.problem("bad-value", f"newest is True or False, got {newest!r}.")

    def identity(self) -> dict[str, Any]:
        """How many values, and which."""
        return {**super().identity(), "most": self.most, "newest": self.newest}


class Exists(Count):
    """Whether there is any fact: true or false.

    >>> Exists(Table("referral"), where="rewarded").kind
    'exists'
    """

    kind = "exists"
    OPTIONS: ClassVar[tuple[str, ...]] = ("where",)
    is_lifelong = True

    def _no_expression(self) -> tuple[str, str]:
        return "Exists takes a source and no expression; it looks for a fact.", 'To leave facts out: where="…".'


class Mode(Measured):
    """The most frequent value of an expression; of several, the least. NULLs are left out.

    >>> Mode(Table("booking"), "location_id").kind
    'mode'
    """

    kind = "mode"
    OPTIONS = ("where", "trust")
    is_lifelong = True

    def __init__(
        self,
        source: Table | type | None = None,
        expr: str | None = None,
        *,
        where: str | None = None,
        trust: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(source, expr, None, where, unknown)
        self._need_expression(expr)
        self._check_trust(trust)


class Case(Computed):
    """The word of the first condition that holds, over the other columns of the profile; else the default.

    >>> Case({"new": "orders = 1", "regular": "orders > 1"}, default="prospect").kind
    'case'
    """

    kind = "case"
    OPTIONS = ("default",)

    def __init__(self, words: Mapping[str, str] | None = None, *, default: str | None = None, **unknown: Any) -> None:
        super().__init__("null", unknown)
        given: object = words
        self.default: str | None = None
        self.words = dict(given) if isinstance(given, Mapping) else {}
        named: list[object] = [one for pair in self.words.items() for one in pair]
        if not named or not all(isinstance(one, str) and one for one in named):
            self.problem(
                "bad-value",
                f"Case maps words to conditions, both texts, got {words!r}.",
                'Such as: Case({"new": "orders = 1"}, default="other").',
            )
            return
        self.default = default
        otherwise: object = default
        if not isinstance(otherwise, str | None):
            self.problem("bad-value", f"default is a text, got {default!r}.")
            return
        self.expr = self._tree(default)

    def _tree(self, default: str | None) -> exp.Expr | None:
        """The words as one expression; None where one of the conditions was a mistake."""
        conditions = [self.parsed(text, f"the condition of '{word}'") for word, text in self.words.items()]
        branches = [
            exp.If(this=exp.Paren(this=condition), true=exp.Literal.string(word))
            for word, condition in zip(self.words, conditions, strict=True)
            if condition is not None
        ]
        if len(branches) < len(conditions):
            return None
        otherwise = exp.Null() if default is None else exp.Literal.string(default)
        return exp.Case(ifs=branches, default=otherwise)


#: What a profile computes from its sources.
LASTING = (First, Last, Collect, Exists, Mode)


def kinds() -> str:
    """The kinds that only a profile has, for messages."""
    return listing([one.__name__ for one in (*LASTING, Case)])
