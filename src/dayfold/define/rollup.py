"""Rollups as they are written, and as they are once checked. Definitions floor, pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dayfold.days import LIFELONG, STORED_GRAINS
from dayfold.define.expr import columns
from dayfold.define.metric import Computed, Measured, Metric
from dayfold.define.source import Folded, Place, Table, caller
from dayfold.errors import Problem, UsageError
from dayfold.names import RESERVED, TABLE_LETTERS, is_plain, listing, snake_case, suggestion, way_back
from dayfold.schedule import check_zone, expression

DEFAULT_LOOKBACK_DAYS = 7
#: The JSON column of the metrics that are marked as extra, where there are some.
PACKED = "metadata"
ATTRIBUTES = ("table", "key", "day_column", "grain", "lookback", "since", "index", "owner", "schedule", "timezone")


class Rollup:
    """One row per key per day. Write a subclass with metrics as its attributes.

    Attributes:
        table: The table's name. Default: snake case of the class.
        key: A column, a tuple of columns, or ``()`` for one row a day.
        day_column: What the day is called in the table.
        grain: ``"day"``, ``"hour"`` or ``"15min"``, the size of a stored bucket.
        lookback: Days before today that every fold computes again. Default: 7, or none where every source reports
            its changes.
        since: The first day of history. Default: the day of the first moment in the sources.
        index: More indexes, each a column or a tuple of columns.
        owner: The key column that says whose a row is, for row-level policies in PostgreSQL.
        schedule: When `dayfold serve` folds it, as a cron expression, a time of day or ``"off"``; it is then folded by a
            job of its own. Default: with the others, as ``[schedule] fold`` says.
        timezone: The zone of its schedule; days are UTC whatever it says. Default: ``[schedule] timezone``.

    >>> from dayfold.define.metric import Count
    >>> class Signups(Rollup):
    ...     total = Count(Table("user"), at="created_at")
    >>> definition(Signups)[0].table
    'signups'
    """

    table: ClassVar[str]
    key: ClassVar[str | Sequence[str]] = ()
    day_column: ClassVar[str] = "day"
    grain: ClassVar[str] = "day"
    lookback: ClassVar[int | None] = None
    since: ClassVar[dt.date | str | None] = None
    index: ClassVar[Sequence[str | Sequence[str]]] = ()
    owner: ClassVar[str | None] = None
    schedule: ClassVar[str | None] = None
    timezone: ClassVar[str | None] = None

    _place: ClassVar[Place]
    #: What a definition may say beside its metrics.
    _attributes: ClassVar[tuple[str, ...]] = ATTRIBUTES
    _kind: ClassVar[str] = "Rollup"
    #: What reads its definition, where that is no ordinary one.
    _reader: ClassVar[type[Reader] | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._place = caller()

    @classmethod
    def _key(cls) -> object:
        """The columns that a row is identified by, beside its day, as they were written."""
        return cls.key

    @classmethod
    def _table(cls) -> str:
        """The name of the table, as it was written or by default."""
        return str(getattr(cls, "table", snake_case(cls.__name__)))

    @classmethod
    def as_source(cls, columns: Mapping[str, str] | None = None) -> Folded:
        """The rollup as a source of another one's metrics: its stored rows.

        ``columns``: names that the other one uses, each for a column of this one.
        """
        return Folded(cls, cls._table(), columns, is_lifelong=cls._grain() == LIFELONG)

    @classmethod
    def source(cls, *, columns: Mapping[str, str]) -> Folded:
        """The rollup as a source whose columns have other names, such as those of another key.

        >>> from dayfold.define.metric import Count
        >>> class Signups(Rollup):
        ...     key = "shop_id"
        ...     total = Count(Table("user"), at="created_at")
        >>> Signups.source(columns={"branch_id": "shop_id"}).naming
        {'branch_id': 'shop_id'}
        """
        return cls.as_source(columns)

    @classmethod
    def _grain(cls) -> object:
        """The size of a bucket, as it was written."""
        return cls.grain


@dataclass(frozen=True)
class RollupDef:
    """A rollup's definition, checked as far as it can be without its sources."""

    name: str
    place: Place
    description: str
    table: str
    key: tuple[str, ...]
    day_column: str
    grain: str
    lookback: int | None
    since: dt.date | None
    index: tuple[tuple[str, ...], ...]
    metrics: Mapping[str, Metric]
    owner: str | None = None
    schedule: str | None = None
    timezone: str | None = None

    def lookback_days(self, untracked: Collection[str] = ()) -> int | None:
        """Days before today that every fold computes again; None where every source reports its changes.

        ``untracked``: sources that should report their changes and do not at present.
        """
        if self.lookback is not None:
            return self.lookback
        reporting = all(one.reports_changes and one.label not in untracked for one in self.sources)
        return None if reporting else DEFAULT_LOOKBACK_DAYS

    @property
    def is_profile(self) -> bool:
        """Whether a row is an entity over its whole life, and none of a day."""
        return self.grain == LIFELONG

    @property
    def lowers(self) -> list[Folded]:
        """The rollups that it is folded from, as sources."""
        return [one for one in self.sources if isinstance(one, Folded)]

    @property
    def is_standing(self) -> bool:
        """Whether it says how profiles stand on each day, which nothing can tell of a day that is over."""
        return any(isinstance(one, Folded) and one.is_standing for one in self.sources)

    @property
    def measured(self) -> dict[str, Measured]:
        """The metrics that come from sources, by name."""
        return {name: metric for name, metric in self.metrics.items() if isinstance(metric, Measured)}

    @property
    def extras(self) -> tuple[str, ...]:
        """The metrics that the JSON column `PACKED` of the table holds."""
        return tuple(name for name, metric in self.measured.items() if metric.extra)

    @property
    def computed(self) -> dict[str, Computed]:
        """The metrics computed when read, each after those it is made of."""
        found = {name: metric for name, metric in self.metrics.items() if isinstance(metric, Computed)}
        ordered: dict[str, Computed] = {}

        def place(name: str) -> None:
            if name in found and name not in ordered:
                for sibling in siblings(found[name]):
                    place(sibling)
                ordered[name] = found[name]

        for name in found:
            place(name)
        return ordered

    @property
    def sources(self) -> list[Table]:
        """The sources, each once, in the order of the metrics."""
        return list(dict.fromkeys(metric.source for metric in self.measured.values()))

    @property
    def slot(self) -> str:
        """The column that, with the key, identifies a row: the day, or the bucket of a finer grain."""
        return self.day_column if self.grain == "day" else "bucket"


def siblings(metric: Computed) -> list[str]:
    """The metrics that a formula names."""
    return sorted({column.name for column in columns(metric.expr)}) if metric.expr else []


def definition(cls: type[Rollup]) -> tuple[RollupDef, list[Problem]]:
    """A rollup's definition and everything that is wrong with it so far."""
    return (cls._reader or Reader)(cls).read()


class Reader:
    """Reads one class and collects its mistakes."""

    #: Whether rows are of days.
    has_days = True
    _NO_METRICS = "a Rollup needs at least one metric of a source, such as Count(table, at=…)."

    def __init__(self, cls: type[Rollup]) -> None:
        self.cls = cls
        self.problems: list[Problem] = []
        self.metrics: dict[str, Metric] = {}
        for base in reversed(cls.__mro__):
            if issubclass(base, Rollup):
                self.metrics |= {name: value for name, value in vars(base).items() if isinstance(value, Metric)}

    def read(self) -> tuple[RollupDef, list[Problem]]:
        cls = self.cls
        self._check_attributes()
        key = self._names("key", cls._key())
        found = RollupDef(
            name=cls.__name__,
            place=cls._place,
            description=" ".join((cls.__doc__ or "").split()),
            table=self._table(cls._table()),
            key=key,
            day_column=self._day_column(),
            grain=self._grain(),
            lookback=self._lookback(),
            since=self._since(),
            index=self._indexes(key),
            metrics=self.metrics,
            owner=self._owner(key),
            schedule=self._schedule(),
            timezone=self._timezone(),
        )
        self._check_names(found)
        self._check_metrics(found)
        return found, self.problems

    def _problem(self, code: str, message: str, hint: str = "", metric: Metric | None = None) -> None:
        place = metric.place if metric else self.cls._place
        subject = f"{self.cls.__name__}.{metric.name}" if metric else self.cls.__name__
        self.problems.append(Problem(code, str(place), subject, message, hint))

    def _check_attributes(self) -> None:
        for name, value in vars(self.cls).items():
            known = self.cls._attributes
            if name.startswith("_") or name in known or isinstance(value, Metric) or name.isupper():
                continue
            if not callable(value) and not isinstance(value, classmethod | staticmethod | property):
                self._problem(
                    "unknown-attribute",
                    f"a {self.cls._kind} has no attribute '{name}'{suggestion(name, known)}.",
                    f"Attributes: {listing(known)}; constants of your own are written in capitals.",
                )

    def _plain(self, what: str, value: object) -> str:
        if isinstance(value, str) and is_plain(value):
            return value
        self._problem("bad-name", f"{what} is a name of letters, digits and '_' (at most 63), got {value!r}.")
        return str(value)

    def _table(self, value: object) -> str:
        name = self._plain("table", value)
        if len(name) > TABLE_LETTERS:
            self._problem("bad-name", f"the table name '{name}' is longer than {TABLE_LETTERS} letters.")
        elif name.lower().startswith("dayfold_") or name.lower().endswith("__sets"):
            self._problem(
                "reserved-name",
                f"the table name '{name}' is one that Dayfold uses itself.",
                "Reserved: names that begin with 'dayfold_' or end with '__sets'.",
            )
        return name

    def _names(self, what: str, value: object) -> tuple[str, ...]:
        names = (value,) if isinstance(value, str) else value
        if not isinstance(names, list | tuple):
            self._problem("bad-name", f"{what} is a column or a tuple of columns, got {value!r}.")
            return ()
        if len(set(map(str, names))) < len(names):
            self._problem("duplicate-name", f"{what} names a column twice: {listing(map(str, names))}.")
        return tuple(self._plain(what, name) for name in names)

    def _one_of(self, what: str, value: object, known: tuple[str, ...]) -> str:
        if value not in known:
            self._problem("bad-value", f"{what} is one of {listing(known)}, got {value!r}.")
            return known[0]
        return str(value)

    def _day_column(self) -> str:
        return self._plain("day_column", self.cls.day_column)

    def _grain(self) -> str:
        return self._one_of("grain", self.cls.grain, tuple(STORED_GRAINS))

    def _lookback(self) -> int | None:
        days: object = self.cls.lookback
        if days is None:
            return None
        if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= 3660:
            self._problem("bad-value", f"lookback is a number of days from 0 to 3660, got {days!r}.")
            return None
        return days

    def _since(self) -> dt.date | None:
        since = self.cls.since
        if isinstance(since, str):
            try:
                return dt.date.fromisoformat(since)
            except ValueError:
                since = None
                self._problem("bad-date", f"since is a date written YYYY-MM-DD, got {self.cls.since!r}.")
        if isinstance(since, dt.datetime) or (since is not None and not isinstance(since, dt.date)):
            self._problem("bad-date", f"since is a date written YYYY-MM-DD, got {since!r}.")
            return None
        return since

    def _owner(self, key: tuple[str, ...]) -> str | None:
        owner: object = self.cls.owner
        if owner is None or owner in key:
            return self.cls.owner
        near = suggestion(str(owner), key)
        self._problem(
            "unknown-column", f"owner is one of the key columns, got {owner!r}{near}.", f"Key: {listing(key)}"
        )
        return None

    def _schedule(self) -> str | None:
        schedule: object = self.cls.schedule
        if schedule is None:
            return None
        try:
            expression(schedule)
        except UsageError as error:
            self._problem("bad-schedule", f"schedule: {error.message}, got {schedule!r}.")
            return None
        return str(schedule)

    def _timezone(self) -> str | None:
        zone: object = self.cls.timezone
        if zone is None:
            return None
        try:
            name = check_zone(zone)
        except UsageError as error:
            self._problem("bad-schedule", f"timezone: {error.message}, got {zone!r}.")
            return None
        if self.cls.schedule is None:
            self._problem(
                "bad-schedule", "timezone is the zone of a schedule, and there is none.", 'Add: schedule = "01:00"'
            )
        return name

    def _indexes(self, key: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        known = (*key, *([self._day_column()] if self.has_days else []), *self.metrics)
        found = []
        entries: object = self.cls.index
        if not isinstance(entries, list | tuple):
            hint = f'Write index = ["{entries}"].' if isinstance(entries, str) else ""
            self._problem("bad-value", f"index is a list, got {entries!r}.", hint)
            entries = []
        for entry in entries:
            names = self._names("index", entry)
            for name in names:
                if name not in known:
                    self._problem(
                        "unknown-column",
                        f"index names '{name}', which the table does not have{suggestion(name, known)}.",
                        f"Columns: {listing(known)}",
                    )
                elif not self._is_stored(name):
                    self._problem("bad-index", f"index names '{name}', which is computed when read and not stored.")
            found.append(names)
        return tuple(found)

    def _is_stored(self, name: str) -> bool:
        """Whether the table has a column of this name; a mean is kept as two."""
        metric = self.metrics.get(name)
        return not isinstance(metric, Computed) and getattr(metric, "kind", "") != "avg"

    def _check_names(self, found: RollupDef) -> None:
        seen: dict[str, str] = {}
        for name in (*found.key, found.day_column, *self.metrics):
            other = seen.setdefault(name.lower(), name)
            if other != name:
                self._problem(
                    "duplicate-name",
                    f"'{name}' and '{other}' differ only in upper and lower case, which databases do not tell apart.",
                    metric=self.metrics.get(name),
                )
        reserved = (RESERVED - {"day"}) | ({"day"} if found.day_column != "day" else set())
        for name in found.key:
            if name.lower() in RESERVED or name == found.day_column or "__" in name:
                self._problem("reserved-name", f"the key column '{name}' has a name that Dayfold uses itself.")
            if name in self.metrics:
                self._problem(
                    "duplicate-name",
                    f"'{name}' is both a key column and a metric.",
                    metric=self.metrics[name],
                )
        if found.day_column in reserved:
            self._problem("reserved-name", f"day_column '{found.day_column}' is a name that Dayfold uses itself.")
        for name, metric in self.metrics.items():
            if name.lower() in RESERVED or name == found.day_column or "__" in name:
                self._problem(
                    "reserved-name",
                    f"the metric '{name}' has a name that Dayfold uses itself.",
                    f"Reserved: {listing(sorted(RESERVED))}, the day column, and any name with '__'.",
                    metric,
                )
            elif not is_plain(name) or len(name) > 55:
                self._problem(
                    "bad-name",
                    f"'{name}' is too long or not plain for a metric (at most 55 letters, digits and '_').",
                    metric=metric,
                )

    def _check_metrics(self, found: RollupDef) -> None:
        taken = [one for one in (*found.key, found.day_column, *found.metrics) if one.lower() == PACKED]
        if found.extras and taken:
            self._problem(
                "reserved-name",
                f"'{taken[0]}' is what the column of the metrics marked as extra is called.",
                "Call it otherwise, or mark none as extra.",
                found.metrics.get(taken[0]),
            )
        if not found.measured:
            self._problem("no-metrics", self._NO_METRICS)
        for measured in found.measured.values():
            self._check_measured(measured)
        self._check_standing(found)
        for metric in self.metrics.values():
            self.problems += [
                Problem(p.code, p.place, f"{found.name}.{metric.name}", p.message, p.hint) for p in metric.problems
            ]
        for source in found.sources:
            if isinstance(source, Table):
                self.problems += [Problem(p.code, p.place, p.subject, p.message, p.hint) for p in source.problems]
        for name, metric in found.metrics.items():
            if isinstance(metric, Computed):
                self._check_siblings(found, name, metric)

    def _check_measured(self, metric: Measured) -> None:
        """A metric of a source has what this kind of definition needs of it."""
        if metric.is_lifelong:
            self._problem(
                "bad-metric", f"{type(metric).__name__} is of a whole life, and a rollup has days.",
                "Write it in a Profile.", metric,
            )  # fmt: skip
        elif not metric.is_timed:
            self._problem(
                "no-moment",
                f"{type(metric).__name__} needs at=…, the column that says when a fact counts.",
                metric=metric,
            )

    def _check_standing(self, found: RollupDef) -> None:
        """What is known of its own day only stands apart from what can be computed again."""
        named: list[object] = [*found.sources]  # what is none at all is a mistake of its own
        others = [
            one.title for one in named if isinstance(one, Table) and not (isinstance(one, Folded) and one.is_standing)
        ]
        if found.is_standing and others:
            self._problem(
                "bad-source", f"sizes of a profile are taken on their day and never again, and {listing(others)} can be read again.",
                "Write the sizes as a rollup of their own.",
            )  # fmt: skip
        if found.is_standing and (found.grain != "day" or found.since is not None):
            self._problem("bad-value", 'sizes of a profile are of days that are folded: grain = "day", and no since.')

    def _named(self, found: RollupDef) -> Collection[str]:
        """What a formula may name."""
        return found.metrics

    def _check_siblings(self, found: RollupDef, name: str, metric: Computed) -> None:
        for sibling in siblings(metric):
            if sibling not in self._named(found):
                others = [other for other in found.metrics if other != name]
                self._problem(
                    "unknown-metric",
                    f"the {metric.kind} names '{sibling}', which is no metric of {found.name}{suggestion(sibling, others)}.",
                    f"Metrics: {listing(others)}",
                    metric,
                )
        path = way_back(name, lambda one: _parts(found, one))
        if path:
            self._problem("cycle", f"the {metric.kind} is computed from itself: {' → '.join(path)}.", metric=metric)


def _parts(found: RollupDef, name: str) -> list[str]:
    """The metrics that a metric is computed from directly."""
    metric = found.metrics.get(name)
    return siblings(metric) if isinstance(metric, Computed) else []
