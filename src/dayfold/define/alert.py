"""Alert rules as they are written, in ``metrics.py`` or under ``[alerts.rules]``, and as they are once checked. Definitions floor, pure.

Both are the same words, checked here. To add a kind: its word and what reads it in `KINDS`, a class for what it watches, and how it is
judged in `dayfold.jobs.rules`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

from dayfold.define.condition import Condition, condition
from dayfold.define.expr import ExpressionError
from dayfold.define.rollup import RollupDef
from dayfold.define.source import Place, caller
from dayfold.errors import Problem
from dayfold.names import is_plain, listing, suggestion

#: The jobs that a rule may name; those of one rollup are ``fold:NAME``.
JOBS = ("fold", "finalize", "verify", "enrich", "rebuild", "retain", "export")


class Alert:
    """A rule that opens an episode when what it watches goes wrong, and closes it on recovery. Write a subclass.

    Attributes:
        when: A condition on metrics of one rollup at its last covered day: ``"mrr < 1000"``, ``"ad_spend > 1.5 * previous week"``.
        job_failed: True, or the names of jobs: a run failed after its last attempt.
        drift_above: A number of cells, or a share such as ``"1%"``: a verification found more drift.
        stale_hours: A rollup was not folded, or a day that is over not settled, for longer.
        left_open: True: the last `finalize` left days open or failed that are so still.
        held_above: A number: more events than that are held in quarantine.
        rollup: The rollup that is watched. Default: that of the metrics; for drift, staleness and days left open all of them.
        check_failed: True, or the names of checks: a check did not pass when it last ran. True: of those of severity error, any.
        unaccounted: True: increments of a counter that were accepted are neither applied, pending nor quarantined.
        over: For ``when``: ``"week"``, ``"month"``, ``"quarter"`` or ``"year"``: the metrics of that period so far, today's included,
            instead of those of the last covered day.
        where: For ``when``: values of key columns, such as ``{"channel": "ios"}``.
        by: For ``when``: key columns; every value has episodes of its own.
        to: The channels that are told. Default: all.

    >>> class LowRevenue(Alert):
    ...     when = "mrr < 1000"
    >>> written(LowRevenue).words
    {'when': 'mrr < 1000'}
    """

    when: ClassVar[str]
    job_failed: ClassVar[bool | str | list[str]]
    drift_above: ClassVar[int | str]
    stale_hours: ClassVar[float]
    left_open: ClassVar[bool]
    held_above: ClassVar[int]
    unaccounted: ClassVar[bool]
    check_failed: ClassVar[bool | str | list[str]]
    over: ClassVar[str]
    rollup: ClassVar[str]
    where: ClassVar[Mapping[str, Any]]
    by: ClassVar[str | tuple[str, ...]]
    to: ClassVar[str | list[str]]

    _place: ClassVar[Place]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._place = caller()


@dataclass(frozen=True, slots=True)
class Written:
    """A rule's words as they stand somewhere.

    Attributes:
        place: The line of a definitions file, or the setting.
    """

    name: str
    place: str
    description: str
    words: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JobFailed:
    """A job's run failed after its last attempt; ``jobs`` None: any job."""

    kind: ClassVar[str] = "job_failed"
    jobs: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Drift:
    """A verification of a rollup found more drift than a number of cells, or than a share of those it compared."""

    kind: ClassVar[str] = "drift"
    rollup: str | None
    cells: int | None
    share: Fraction | None


@dataclass(frozen=True, slots=True)
class Stale:
    """A rollup was not folded, or a day that is over not settled, for longer than so many hours."""

    kind: ClassVar[str] = "stale"
    rollup: str | None
    hours: float


@dataclass(frozen=True, slots=True)
class LeftOpen:
    """Days of a rollup that the last `finalize` left open or failed are so still."""

    kind: ClassVar[str] = "left_open"
    rollup: str | None


@dataclass(frozen=True, slots=True)
class Held:
    """More events than a number are held in quarantine."""

    kind: ClassVar[str] = "held"
    events: int


@dataclass(frozen=True, slots=True)
class Unaccounted:
    """Of what was added to a counter, something is nowhere."""

    kind: ClassVar[str] = "unaccounted"


@dataclass(frozen=True, slots=True)
class CheckFailed:
    """A check did not pass when it last ran; ``checks`` None: any of severity error."""

    kind: ClassVar[str] = "check_failed"
    checks: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition on metrics of one rollup; ``where`` are words of a question's filters.

    ``over``: the period whose numbers so far are judged; None: those of the last covered day.
    """

    kind: ClassVar[str] = "threshold"
    rollup: str
    condition: Condition
    where: tuple[str, ...]
    by: tuple[str, ...]
    over: str | None = None


Watch = JobFailed | Drift | Stale | LeftOpen | Held | Unaccounted | CheckFailed | Threshold
#: Periods that a condition may be about.
OVER = ("week", "month", "quarter", "year")


@dataclass(frozen=True, slots=True)
class AlertDef:
    """A checked rule; ``to`` None: every channel."""

    name: str
    place: str
    description: str
    watch: Watch
    to: tuple[str, ...] | None


def written(cls: type[Alert]) -> Written:
    """A class's words."""
    words: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base not in (Alert, object):
            words |= {
                name: value for name, value in vars(base).items() if not name.startswith("_") and not name.isupper()
            }
    return Written(cls.__name__, str(cls._place), " ".join((cls.__doc__ or "").split()), words)


def checked(
    rules: Iterable[Written],
    rollups: Mapping[str, RollupDef],
    channels: Iterable[str] | None = None,
    checks: Collection[str] = (),
) -> tuple[dict[str, AlertDef], list[Problem]]:
    """The rules by name, and everything that is wrong with them. ``channels`` None: these are not known yet."""
    found: dict[str, AlertDef] = {}
    problems: list[Problem] = []
    places: dict[str, str] = {}
    for one in rules:
        reader = _Reader(one, rollups, checks)
        alert = reader.read()
        taken = places.setdefault(one.name.lower(), one.place)
        if taken != one.place:
            reader.problem("duplicate-name", f"the alert's name '{one.name}' is taken by {taken}.")
        if alert is not None:
            found[one.name] = alert
        problems += reader.problems
    if channels is not None:
        problems += unknown_channels(found.values(), channels)
    return found, problems


def unknown_channels(alerts: Iterable[AlertDef], channels: Iterable[str]) -> list[Problem]:
    """Channels that rules name and the settings do not have."""
    known = list(channels)
    return [
        Problem(
            "unknown-channel", one.place, one.name if one.place != _setting(one.name) else "",
            f"to names the channel '{name}', which the settings do not have{suggestion(name, known)}.",
            f"Channels: {listing(known)}. Add [alerts.channels.{name}] to dayfold.toml.",
        )
        for one in alerts for name in one.to or () if name not in known
    ]  # fmt: skip


def _setting(name: str) -> str:
    return f"alerts.rules.{name}"


def of_settings(rules: Mapping[str, Mapping[str, Any]]) -> list[Written]:
    """The words of ``[alerts.rules.NAME]``.

    >>> of_settings({"jobs": {"job_failed": True}})[0].place
    'alerts.rules.jobs'
    """
    return [Written(name, _setting(name), "", dict(words)) for name, words in rules.items()]


@dataclass(slots=True)
class _Reader:
    """Reads one rule and collects its mistakes."""

    rule: Written
    rollups: Mapping[str, RollupDef]
    checks: Collection[str] = ()
    problems: list[Problem] = field(default_factory=list)

    def problem(self, code: str, message: str, hint: str = "") -> None:
        subject = self.rule.name if self.rule.place != _setting(self.rule.name) else ""
        self.problems.append(Problem(code, self.rule.place, subject, message, hint))

    def read(self) -> AlertDef | None:
        words = self.rule.words
        if not is_plain(self.rule.name):
            self.problem("bad-name", f"an alert's name has letters, digits and '_', got {self.rule.name!r}.")
        for name in words:
            if name not in WORDS:
                self.problem(
                    "unknown-attribute", f"an Alert has no attribute '{name}'{suggestion(name, WORDS)}.",
                    f"Attributes: {listing(WORDS)}; constants of your own are written in capitals.",
                )  # fmt: skip
        given = [name for name in KINDS if name in words]
        if len(given) != 1:
            got = f"got {listing(given)}" if given else "got none of them"
            self.problem("bad-alert", f"an Alert says one of {listing(KINDS)}, {got}.")
            return None
        read, takes = KINDS[given[0]]
        for name in ("rollup", "where", "by", "over"):
            if name in words and name not in takes:
                self.problem("bad-alert", f"{name} does not go with {given[0]}.")
        watch = read(self, words[given[0]])
        to = self.names("to", words["to"], "a channel's name") if "to" in words else None
        return AlertDef(self.rule.name, self.rule.place, self.rule.description, watch, to) if watch else None

    def names(self, what: str, value: object, one: str) -> tuple[str, ...]:
        """One text or several."""
        found = (value,) if isinstance(value, str) else value
        if not isinstance(found, list | tuple) or not found or not all(isinstance(name, str) for name in found):
            self.problem("bad-value", f"{what} is {one} or a list of them, got {value!r}.")
            return ()
        return tuple(dict.fromkeys(found))

    def rollup(self) -> str | None:
        """The named rollup, or None where none is named or there is none of that name."""
        name = self.rule.words.get("rollup")
        if name is None:
            return None
        for one in self.rollups.values():
            if name in (one.name, one.table):
                return one.name
        self.problem(
            "unknown-rollup", f"there is no rollup {name!r}{suggestion(str(name), self.rollups)}.",
            f"Rollups: {listing(self.rollups)}",
        )  # fmt: skip
        return None

    def job_failed(self, value: object) -> JobFailed:
        if value is True:
            return JobFailed(None)
        jobs = self.names("job_failed", value, "true, a job's name") if value is not False else ()
        if value is False:
            self.problem("bad-value", "job_failed is true, a job's name or a list of them, got False.")
        for job in jobs:
            name, _, rollup = job.partition(":")
            if name not in JOBS or (rollup and (name != "fold" or rollup not in self.rollups)):
                known = [*JOBS, *(f"fold:{one}" for one in self.rollups)]
                self.problem(
                    "unknown-job", f"there is no job '{job}'{suggestion(job, known)}.", f"Jobs: {listing(known)}"
                )
        return JobFailed(jobs)

    def drift(self, value: object) -> Drift:
        rollup = self.rollup()
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return Drift(rollup, value, None)
        share = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?) ?%", value) if isinstance(value, str) else None
        if share and Fraction(share[1]) <= 100:
            return Drift(rollup, None, Fraction(share[1]) / 100)
        self.problem("bad-value", f'drift_above is a number of cells, or a share such as "1%", got {value!r}.')
        return Drift(rollup, 0, None)

    def stale(self, value: object) -> Stale:
        rollup = self.rollup()
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 100_000:
            return Stale(rollup, float(value))
        self.problem("bad-value", f"stale_hours is a number of hours above 0, got {value!r}.")
        return Stale(rollup, 0)

    def left_open(self, value: object) -> LeftOpen:
        if value is not True:
            self.problem("bad-value", f"left_open is true, got {value!r}.")
        return LeftOpen(self.rollup())

    def held(self, value: object) -> Held:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return Held(value)
        self.problem("bad-value", f"held_above is a number of events, got {value!r}.")
        return Held(0)

    def unaccounted(self, value: object) -> Unaccounted:
        if value is not True:
            self.problem("bad-value", f"unaccounted is true, got {value!r}.")
        return Unaccounted()

    def check_failed(self, value: object) -> CheckFailed:
        if value is True:
            return CheckFailed(None)
        if value is False:
            self.problem("bad-value", "check_failed is true, a check's name or a list of them, got False.")
            return CheckFailed(())
        found = self.names("check_failed", value, "true, a check's name")
        for name in found:
            if name not in self.checks:
                self.problem(
                    "unknown-check", f"there is no check '{name}'{suggestion(name, self.checks)}.",
                    f"Checks: {listing(self.checks)}",
                )  # fmt: skip
        return CheckFailed(found)

    def _over(self, wanted: Condition) -> str | None:
        over = self.rule.words.get("over")
        if over is None:
            return None
        if over not in OVER:
            self.problem("bad-value", f"over is one of {listing(OVER)}, got {over!r}.")
        elif wanted.earlier:
            self.problem(
                "bad-alert", f"over does not go with previous: a {over} so far has no other one of its length."
            )
        return str(over)

    def threshold(self, value: object) -> Threshold | None:
        try:
            wanted = condition(value)
        except ExpressionError as error:
            self.problem("bad-expression", f"when: {error}", error.hint)
            return None
        rollup = self._owner(wanted.metrics)
        if rollup is None:
            return None
        words = self.rule.words
        by = self.names("by", words["by"], "a key column") if "by" in words else ()
        where = self._where(rollup, words.get("where", {}))
        for name in by:
            self._key(rollup, "by", name)
        return Threshold(rollup.name, wanted, where, by, self._over(wanted))

    def _owner(self, metrics: tuple[str, ...]) -> RollupDef | None:
        """The one rollup that has the metrics."""
        if "rollup" in self.rule.words:
            name = self.rollup()
            candidates = [self.rollups[name]] if name else []
            if candidates and candidates[0].is_profile:
                self.problem(
                    "bad-alert", f"when is about the last covered day, and {name} is a profile, which has no days.",
                    "Count its entities in a rollup, such as Size(…), and watch that; or write a Check.",
                )  # fmt: skip
                return None
        else:
            candidates = [one for one in self.rollups.values() if not one.is_profile]
        owners = [one for one in candidates if all(name in one.metrics for name in metrics)]
        if len(owners) == 1:
            return owners[0]
        if owners:
            self.problem(
                "bad-alert", f"when names {listing(metrics)}, which several rollups have: {listing(one.name for one in owners)}.",
                f'Say which: rollup = "{owners[0].name}"',
            )  # fmt: skip
            return None
        known = list(dict.fromkeys(name for one in candidates for name in one.metrics))
        for name in metrics:
            if candidates and name not in known:
                of = candidates[0].name if len(candidates) == 1 else "any rollup"
                self.problem(
                    "unknown-metric", f"when names '{name}', which is no metric of {of}{suggestion(name, known)}.",
                    f"Metrics: {listing(known)}",
                )  # fmt: skip
        if candidates and all(name in known for name in metrics):
            self.problem("bad-alert", f"when names {listing(metrics)}, which no rollup has together.")
        return None

    def _key(self, rollup: RollupDef, what: str, name: str) -> None:
        if name not in rollup.key:
            self.problem(
                "unknown-column", f"{what} names '{name}', which is no key column of {rollup.name}{suggestion(name, rollup.key)}.",
                f"Key columns: {listing(rollup.key)}",
            )  # fmt: skip

    def _where(self, rollup: RollupDef, where: object) -> tuple[str, ...]:
        """Filters as the words of a question."""
        if not isinstance(where, Mapping):
            self.problem("bad-value", f'where maps key columns to values, such as {{"channel": "ios"}}, got {where!r}.')
            return ()
        words = []
        for name, value in where.items():
            self._key(rollup, "where", str(name))
            for one in value if isinstance(value, list | tuple) else [value]:
                if one is not None and not isinstance(one, str | int):
                    self.problem(
                        "bad-value", f"where: '{name}' is a text, a whole number, true, false or a list of these."
                    )
                    continue
                words.append(f"{name}={filter_text(one)}")
        return tuple(words)


def filter_text(value: str | int | None) -> str:
    """A value as the words of a filter have it: nothing is NULL, two quotes are the text that is empty.

    >>> filter_text("ios"), filter_text(None), filter_text(True), filter_text("")
    ('ios', '', 'true', '""')
    """
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value) or '""'


#: The word that says a rule's kind: what reads it, and which other words go with it.
KINDS: dict[str, tuple[Callable[[_Reader, object], Watch | None], tuple[str, ...]]] = {
    "when": (_Reader.threshold, ("rollup", "where", "by", "over")),
    "job_failed": (_Reader.job_failed, ()),
    "drift_above": (_Reader.drift, ("rollup",)),
    "stale_hours": (_Reader.stale, ("rollup",)),
    "left_open": (_Reader.left_open, ("rollup",)),
    "held_above": (_Reader.held, ()),
    "unaccounted": (_Reader.unaccounted, ()),
    "check_failed": (_Reader.check_failed, ()),
}
#: Every word that a rule may have.
WORDS = (*KINDS, "rollup", "where", "by", "over", "to")
