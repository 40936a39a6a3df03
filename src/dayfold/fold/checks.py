"""Runs user-defined sanity checks and keeps their verdicts. Fold floor.

A check reads in one snapshot of each database that it asks, read-only, within its time. It undoes nothing: what was published stays.

Invariant: no value of a row leaves a check: of a query only the number of its rows does, and of a comparison its two values where they are
numbers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any, Protocol

from sqlglot import exp

from dayfold.define.catalog import Catalog, by_place
from dayfold.define.check import ERROR, CheckDef
from dayfold.define.fingerprint import digest
from dayfold.define.source import Table
from dayfold.engines.base import Session, Source
from dayfold.engines.databases import Databases
from dayfold.errors import DayfoldError, Problem, SourceFailed, TookTooLong
from dayfold.fold.fold import StopCheck, never
from dayfold.ledger import checks as verdicts
from dayfold.ledger import runs, versions
from dayfold.ledger.checks import FAILED, PASSED, Verdict
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, plural, suggestion
from dayfold.plan.sql import Constant, column

#: The name that a query has inside ours.
_Q = "dayfold_q"
_NOUNS = {Decimal: "a number", float: "a number", bool: "a truth", str: "a text"}
#: What a query gave: a number with all its digits, a double, a truth, anything else as its text, or NULL.
Value = Decimal | float | bool | str | None


class Ran(Protocol):
    """What was done to a rollup just before."""

    @property
    def rollup(self) -> str:
        """Its name."""
        ...

    @property
    def run_id(self) -> int | None:
        """The run that it was."""
        ...


class Folded(Ran, Protocol):
    """A fold of a rollup, and how it ended."""

    @property
    def status(self) -> str:
        """As a run has it."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """A fold that is only known by what was noted of it."""

    rollup: str
    status: str
    run_id: int | None


def has_failed(found: Iterable[Verdict]) -> bool:
    """Whether a check of severity error did not pass, so that what ran it has failed."""
    return any(one.severity == ERROR and one.verdict != PASSED for one in found)


@dataclass(frozen=True, slots=True)
class Checker:
    """Runs the checks of one application."""

    databases: Databases
    ledger: Ledger
    checks: Mapping[str, CheckDef]
    stop: StopCheck = never

    def of(self, rollups: Iterable[str] | None) -> list[CheckDef]:
        """The checks that are of one of these rollups; all where none are named."""
        if rollups is None:
            return list(self.checks.values())
        names = set(rollups)
        return [one for one in self.checks.values() if names & set(one.of)]

    def due(self, folds: Sequence[Folded]) -> list[CheckDef]:
        """The checks that a fold leads to.

        A check of named rollups is due where one of them was published since it last ran, by whichever run, where it did not pass
        then, and where it was edited since. One of no rollup is due after every fold.
        """
        folded = {one.rollup for one in folds if one.status in (runs.DONE, runs.PARTIAL)}
        if not folded or not self.checks:
            return []
        with self.ledger.store.transaction(read_only=True) as session:
            known = verdicts.last(self.ledger, session)
            now = versions.versions(self.ledger, session)
        return [
            one for one in self.checks.values()
            if not one.of or (folded & set(one.of) and _is_due(one, known.get(one.name), _revisions(one, now)))
        ]  # fmt: skip

    def run(self, checks: Iterable[CheckDef], after: Iterable[Ran] = ()) -> list[Verdict]:
        """Run checks one after the other, and keep what each found. ``after``: what they come after. Raises Stopped between two."""
        numbers = {one.rollup: one.run_id for one in after if one.run_id is not None}
        found = []
        for check in checks:
            self.stop()
            own = [number for name, number in numbers.items() if not check.of or name in check.of]
            found.append(self._one(check, max(own, default=None)))
        return found

    def _one(self, check: CheckDef, run_id: int | None) -> Verdict:
        with self.ledger.store.transaction(read_only=True) as session:
            # Looked up before the check reads: what is published meanwhile makes it due again.
            seen = _revisions(check, versions.versions(self.ledger, session))
        began = time.monotonic()
        result = replace(self._judged(check), seconds=round(time.monotonic() - began, 3), run_id=run_id)

        def write() -> None:
            with self.ledger.store.transaction() as session:
                verdicts.record(self.ledger, session, result, digest(check.as_words()), seen)

        self.ledger.retried(write)
        return replace(result, checked_at=f"{self.ledger.clock.now():%Y-%m-%dT%H:%M:%SZ}")

    def _judged(self, check: CheckDef) -> Verdict:
        plain = Verdict(check.name, check.severity, PASSED)
        try:
            if check.is_comparison:
                return _compared(check, plain, self._values(check))
            count = self._counted(check)
        except TookTooLong:
            return replace(plain, verdict=verdicts.ERROR, reason=f"It takes longer than {check.seconds:g} s.")
        except DayfoldError as error:
            return replace(plain, verdict=verdicts.ERROR, reason=error.message)
        if not count:
            return replace(plain, offending=0)
        reason = f"Its query returns {plural(count, 'row')}, and must return none."
        return replace(plain, verdict=FAILED, offending=count, reason=reason)

    # -- asking --------------------------------------------------------------------------------------

    def _counted(self, check: CheckDef) -> int:
        source = check.sides["query"]
        store = self.databases.of(source)
        with store.transaction(read_only=True) as session, session.limit(check.seconds):
            return int(self._rows(session, store, source, "SELECT count(*)", _Q)[0][0])

    def _values(self, check: CheckDef) -> dict[str, Value]:
        """What each side gives; sides in one database are read in one snapshot."""
        until = time.monotonic() + check.seconds
        found: dict[str, Value] = {}
        stores = {side: self.databases.of(source) for side, source in check.sides.items()}
        for store in dict.fromkeys(stores.values()):
            left_s = max(until - time.monotonic(), 0.001)
            with store.transaction(read_only=True) as session, session.limit(left_s):
                for side, source in check.sides.items():
                    if stores[side] is store:
                        found[side] = self._value(session, store, side, source)
        return found

    def _value(self, session: Session, store: Source, side: str, source: Table) -> Value:
        nature = store.dialect.piece("nature", _x=column("v", _Q)).sql(store.dialect.name, identify=True)
        rows = self._rows(session, store, source, f"SELECT {nature}, CAST({_Q}.v AS text)", f"{_Q}(v) LIMIT 2")
        if len(rows) != 1:
            raise SourceFailed(f"The query of {side} returns {'no row' if not rows else 'several rows'}, expected one.")
        value = _value(*rows[0])
        if isinstance(value, Decimal | float) and not isfinite(value):
            raise SourceFailed(f"The query of {side} gives no finite number.")
        return value

    def _rows(self, session: Session, store: Source, source: Table, head: str, tail: str) -> list[tuple[Any, ...]]:
        """The result of a query that is wrapped in ours; its own text is as its author wrote it."""
        text = f"{head} FROM (\n{(source.sql or '').strip().rstrip(';')}\n) AS {tail}"
        with self._among(session, store, source):
            return session.rows(Constant(exp.null(), text=text, side="rows"))

    def _among(self, session: Session, store: Source, source: Table) -> AbstractContextManager[None]:
        """Where a query finds its tables: those of the store without their schema."""
        is_ours = store is self.databases.store and not (source.database and store.reaches(source.database))
        found: AbstractContextManager[None] = session.at_home() if is_ours else session.within(source)
        return found


def _revisions(check: CheckDef, known: Mapping[str, versions.Version]) -> dict[str, int]:
    return {name: known[name].revision for name in check.of if name in known}


def _is_due(check: CheckDef, last: verdicts.Last | None, now: Mapping[str, int]) -> bool:
    if last is None or last.verdict.verdict != PASSED:
        return True
    return last.seen != now or last.digest != digest(check.as_words())


# -- comparing -------------------------------------------------------------------------------------


def _value(nature: str, text: str | None) -> Value:
    if text is None:
        return None
    match nature:
        case "number":
            return Decimal(text)
        case "double":
            return float(text)
        case "boolean":
            return text == "true"
    return text


def _compared(check: CheckDef, plain: Verdict, values: Mapping[str, Value]) -> Verdict:
    """The verdict of a comparison; its numbers are shown, anything else is not."""
    left, right = values["left"], values["right"]
    shown = all(value is None or _is_number(value) for value in (left, right))
    if shown:
        plain = replace(plain, left=_shown(left), right=_shown(right))
    if holds(check, left, right):
        return plain
    nulls = [side for side, value in values.items() if value is None]
    more = f"; {' and '.join(nulls)} {'is' if len(nulls) == 1 else 'are'} NULL" if nulls else ""
    more += "" if shown else "; the values are no numbers, and are not shown"
    return replace(plain, verdict=FAILED, reason=f"left {check.compare} right does not hold{more}.")


def holds(check: CheckDef, left: Value, right: Value) -> bool:
    """Whether left is to right as a check says. NULL equals NULL, and nothing else.

    Numbers are compared exactly, and as doubles where one of them is one; texts letter by letter.

    Raises:
        SourceFailed: where the two are of different kinds.
    """
    if left is None or right is None:
        is_same = left is right
        return is_same if check.compare in ("=", "<=", ">=") else check.compare == "!=" and not is_same
    if _is_number(left) and _is_number(right):
        a, b = _exact(left, right), _exact(right, left)
        slack = Fraction(check.tolerance) + abs(b) * Fraction(check.tolerance_percent) / 100
        return _hold(check.compare, a, b, slack)
    if type(left) is not type(right):
        raise SourceFailed(f"left gives {_NOUNS[type(left)]} and right {_NOUNS[type(right)]}.")
    if check.tolerance or check.tolerance_percent:
        raise SourceFailed(f"A tolerance is for numbers, and left gives {_NOUNS[type(left)]}.")
    return _hold(check.compare, left, right, None)


def _hold(how: str, a: Any, b: Any, slack: Fraction | None) -> bool:
    is_near = a == b if slack is None else abs(a - b) <= slack
    match how:
        case "=":
            return bool(is_near)
        case "!=":
            return not is_near
        case "<=":
            return bool(a <= b or is_near)
        case ">=":
            return bool(a >= b or is_near)
        case "<":
            return bool(a < b or (slack and a - b < slack))
    return bool(a > b or (slack and b - a < slack))


def _is_number(value: Value) -> bool:
    return isinstance(value, Decimal | float)


def _exact(value: Any, other: Any) -> Fraction:
    return Fraction(float(value)) if isinstance(other, float) else Fraction(value)


def _shown(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


# -- definitions -----------------------------------------------------------------------------------


def checked(catalog: Catalog, databases: Databases) -> Catalog:
    """The catalog with the mistakes of its checks that only the databases' own languages show."""
    found: list[Problem] = []
    for check in catalog.checks.values():
        for side, source in check.sides.items():
            if source.database is None or databases.known(source.database):
                found += check.mistakes(side, databases.of(source).dialect.name)
                continue
            found.append(
                Problem(
                    "unknown-database", str(check.place), f"{check.name}.{side}",
                    f"there is no [databases.{source.database}] in dayfold.toml{suggestion(source.database, databases.names)}.",
                    f"Databases: {listing(databases.names)}",
                )
            )  # fmt: skip
    if not found:
        return catalog
    return replace(catalog, problems=tuple(sorted(dict.fromkeys([*catalog.problems, *found]), key=by_place)))
