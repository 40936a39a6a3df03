"""Pages as they are written: cards, series, top lists, funnels and text about rollups. Definitions floor, pure.

A class and a row of the store say a page with the same words, which `dayfold.define.page_words` checks. To add a kind of part: a class
here, and its words there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dayfold.define.access import Access, AccessDef
from dayfold.define.funnel import Funnel, FunnelDef
from dayfold.define.rollup import Rollup, RollupDef
from dayfold.define.source import Place, caller, unknown_options
from dayfold.errors import Problem
from dayfold.periods import USUAL

#: What a class may say beside its parts.
ATTRIBUTES = ("title", "parameters", "period", "access")
#: The most rows, or lines, that a part shows without saying how many.
USUAL_ROWS = 10


class Part:
    """Something that a page shows. Write one of its kinds as an attribute of a `Page`."""

    kind: ClassVar[str] = ""
    #: What one may say of it, in the order of a call; the first ones without their names.
    words_known: ClassVar[tuple[str, ...]] = ()
    plain_words: ClassVar[int] = 1

    def __init__(self, words: Mapping[str, Any], unknown: Mapping[str, Any]) -> None:
        self.place = caller()
        self.problems = unknown_options(type(self).__name__, self.place, unknown, self.words_known)
        self.words = {name: _named(value) for name, value in words.items() if value is not None}


def _named(value: object) -> object:
    """A class as its name."""
    return value.__name__ if isinstance(value, type) else value


class Card(Part):
    """One number over the period, with a sparkline.

    Args:
        rollup: The rollup, or its name.
        metric: One of its metrics.
        title: Default: the metric.
        compare: ``"previous"`` or ``"year"``: beside the period before, or the one a year before.
        where: Values of key columns, such as ``{"channel": "ios"}``; a list means any of them, None is NULL.
    """

    kind = "card"
    words_known = ("rollup", "metric", "title", "compare", "where")
    plain_words = 2

    def __init__(
        self, rollup: type[Rollup] | str, metric: str, *, title: str | None = None, compare: str | None = None,
        where: Mapping[str, Any] | None = None, **unknown: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            {"rollup": rollup, "metric": metric, "title": title, "compare": compare, "where": where}, unknown
        )


class Series(Part):
    """Numbers over time: several metrics, or one metric by the values of a key column.

    Args:
        rollup: The rollup, or its name.
        metrics: One of its metrics or several.
        by: A key column: a line for each of its values, of one metric.
        n: At most so many lines, those with the most.
        grain: ``"day"``, ``"week"``, ``"month"``, ``"quarter"`` or ``"year"``. Default: as the period's length asks for.
        compare: As of a `Card`; of one metric without ``by``.
        title: Default: the metrics.
        where: As of a `Card`.
    """

    kind = "series"
    words_known = ("rollup", "metrics", "by", "n", "grain", "compare", "title", "where")
    plain_words = 2

    def __init__(
        self, rollup: type[Rollup] | str, metrics: str | Sequence[str], *, by: str | None = None, n: int | None = None,
        grain: str | None = None, compare: str | None = None, title: str | None = None, where: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            {
                "rollup": rollup, "metrics": metrics, "by": by, "n": n, "grain": grain, "compare": compare, "title": title,
                "where": where,
            },
            unknown,
        )  # fmt: skip


class Top(Part):
    """The keys with the most of a metric, as a table with bars.

    Args:
        rollup: The rollup, or its name.
        metrics: One of its metrics or several; the first one orders.
        by: A key column or several.
        n: How many.
        title: Default: the first metric and what it is by.
        where: As of a `Card`.
    """

    kind = "top"
    words_known = ("rollup", "metrics", "by", "n", "title", "where")
    plain_words = 2

    def __init__(
        self, rollup: type[Rollup] | str, metrics: str | Sequence[str], *, by: str | Sequence[str] | None = None,
        n: int | None = None, title: str | None = None, where: Mapping[str, Any] | None = None, **unknown: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            {"rollup": rollup, "metrics": metrics, "by": by, "n": n, "title": title, "where": where}, unknown
        )


class Steps(Part):
    """A funnel over the period: how many went from step to step.

    Args:
        funnel: The funnel, or its name.
        title: Default: the funnel.
        where: Values of key columns of its profile, as of a `Card`.
    """

    kind = "steps"
    words_known = ("funnel", "title", "where")

    def __init__(
        self, funnel: type[Funnel] | str, *, title: str | None = None, where: Mapping[str, Any] | None = None, **unknown: Any
    ) -> None:  # fmt: skip
        super().__init__({"funnel": funnel, "title": title, "where": where}, unknown)


class Text(Part):
    """Words between the numbers: plain text, an empty line between paragraphs.

    Args:
        text: What is said.
        title: A heading over it. Default: none.
    """

    kind = "text"
    words_known = ("text", "title")

    def __init__(self, text: str, *, title: str | None = None, **unknown: Any) -> None:
        super().__init__({"text": text, "title": title}, unknown)


#: Every kind of part by its word.
PARTS: dict[str, type[Part]] = {one.kind: one for one in (Card, Series, Top, Steps, Text)}


class Parameter:
    """Something that a page is asked with, beside its period.

    Args:
        type: ``"text"``, ``"bigint"``, ``"uuid"``, ``"date"`` or ``"boolean"``.
        column: The key column that it filters in every part. Default: the parameter's own name, or none for one of the page's access.
        title: What its field is called. Default: the parameter's name.
        default: Its value where none is given. Default: every value.

    >>> Parameter("bigint", column="shop_id").words
    {'type': 'bigint', 'column': 'shop_id'}
    """

    words_known = ("type", "column", "title", "default")

    def __init__(
        self, type: str = "text", *, column: str | None = None, title: str | None = None, default: str | int | None = None,
        **unknown: Any,
    ) -> None:  # fmt: skip
        self.place = caller()
        self.problems = unknown_options("Parameter", self.place, unknown, self.words_known)
        given = {"type": type, "column": column, "title": title, "default": default}
        self.words = {name: value for name, value in given.items() if value is not None}


class Page:
    """What somebody looks at: parts in the order in which they are written. Write a subclass.

    Attributes:
        title: Default: the class name in words.
        parameters: What it is asked with beside its period: names, each with its type, or a `Parameter`. Those of its access are
            parameters by themselves.
        period: ``"7d"``, ``"30d"``, ``"90d"`` or ``"12m"``: what it shows at first.
        access: The `Access` that one is given to see it, whose parameters are then filled from that. Whoever sees all rows is asked
            for them. Default: everybody who may read all that it shows.

    >>> class CreatorPage(Page):
    ...     views = Card("DailyMetrics", "views", compare="previous")
    ...     by_asset = Top("DailyMetrics", "views", by="asset_id")
    >>> [part["name"] for part in written(CreatorPage).words["parts"]]
    ['views', 'by_asset']
    """

    title: ClassVar[str | None] = None
    parameters: ClassVar[Mapping[str, str | Parameter]] = {}
    period: ClassVar[str] = USUAL
    access: ClassVar[type[Access] | str | None] = None

    _place: ClassVar[Place]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._place = caller()


@dataclass(frozen=True)
class WrittenPage:
    """A page's words as they stand somewhere.

    Attributes:
        words: ``title``, ``period``, ``access``, ``parameters`` and ``parts``, as JSON has them.
        places: The line of each part, where it has one of its own.
        problems: What was wrong before the words were looked at.
    """

    name: str
    place: str
    description: str
    words: Mapping[str, Any]
    places: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def written(cls: type[Page]) -> WrittenPage:
    """A class's words."""
    given: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base not in (Page, object):
            # What a class says anew stands where that class has it.
            for name, value in vars(base).items():
                given.pop(name, None)
                given[name] = value
    words: dict[str, Any] = {name: _named(given[name]) for name in ("title", "period", "access") if name in given}
    places: dict[str, str] = {}
    problems: list[Problem] = []
    parameters = given.get("parameters", {})
    if isinstance(parameters, Mapping):
        parameters = {name: dict(one.words) if isinstance(one, Parameter) else one for name, one in parameters.items()}
        problems += [
            Problem(p.code, p.place, f"{cls.__name__}.parameters", p.message, p.hint)
            for one in given.get("parameters", {}).values() if isinstance(one, Parameter) for p in one.problems
        ]  # fmt: skip
    if parameters != {}:
        words["parameters"] = parameters
    words["parts"] = []
    for name, value in given.items():
        if isinstance(value, Part):
            words["parts"].append({"part": value.kind, "name": name, **value.words})
            places[name] = str(value.place)
            problems += [Problem(p.code, p.place, f"{cls.__name__}.{name}", p.message, p.hint) for p in value.problems]
        elif not (name.startswith("_") or name.isupper() or name in ATTRIBUTES or callable(value)) and not isinstance(
            value, classmethod | staticmethod | property
        ):
            words[name] = value
    description = " ".join((cls.__doc__ or "").split())
    return WrittenPage(cls.__name__, str(cls._place), description, words, places, tuple(problems))


@dataclass(frozen=True, slots=True)
class ParameterDef:
    """A checked parameter; ``column`` None: one of the page's access."""

    name: str
    type: str
    column: str | None
    title: str
    default: str | None


@dataclass(frozen=True)
class PartDef:
    """A checked part. What its kind does not have is empty.

    Attributes:
        kind: ``card``, ``series``, ``top``, ``steps`` or ``text``.
        where: Words of a question's filters.
    """

    kind: str
    name: str
    title: str
    rollup: RollupDef | None = None
    metrics: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    n: int = USUAL_ROWS
    grain: str | None = None
    compare: str | None = None
    funnel: FunnelDef | None = None
    text: str = ""

    @property
    def rollups(self) -> tuple[RollupDef, ...]:
        """What it reads."""
        if self.funnel is not None:
            return self.funnel.rollups
        return () if self.rollup is None else (self.rollup,)


@dataclass(frozen=True)
class PageDef:
    """A checked page.

    Attributes:
        words: What it was written with, as JSON has it.
        parameters: By name, those of its access first.
    """

    name: str
    place: str
    title: str
    description: str
    period: str
    parts: tuple[PartDef, ...]
    parameters: Mapping[str, ParameterDef]
    access: AccessDef | None
    words: Mapping[str, Any]

    @property
    def rollups(self) -> tuple[RollupDef, ...]:
        """Everything that it reads: who may not see all of them does not see it."""
        found = {one.name: one for part in self.parts for one in part.rollups}
        return tuple(found.values())
