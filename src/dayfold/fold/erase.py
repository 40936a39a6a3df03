"""Erase: nothing of a person stands in the store any more, and what was folded from them is folded again. Fold floor.

One transaction takes the person out of everything that holds personal data, out of the sets and keys of sealed days, and takes away
their names wherever the erasure itself had written them. What follows needs no name: the cells that were marked with it are folded,
and the space that the rows had is rewritten. An erasure that ended in between is finished by the next one, or by the job `retain`.

Invariant: a person is in all of it or in none of it, whenever the process ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from dayfold.define.counter import CounterDef
from dayfold.define.events import TABLE
from dayfold.engines.base import Session, undone
from dayfold.errors import UsageError
from dayfold.fold.certificate import ALWAYS, ELSEWHERE, SEALED, Certificate, identifiers
from dayfold.fold.fold import FoldResult
from dayfold.fold.reduce import Reduced, over_own, reduce
from dayfold.ledger import counted_proof, erasures, events, holders, leases, marks, persons, versions
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.persons import Person
from dayfold.plan.bind import BoundRollup
from dayfold.plan.follow import TAG
from dayfold.plan.shape import SETS_SUFFIX
from dayfold.plan.sql import table

#: Names of one person that are given at once.
MOST_NAMES = 1_000
_DRY = "dry run"


@dataclass(frozen=True, slots=True)
class Outside:
    """What holds something of persons beside the store's tables: a journal, caches, files.

    Attributes:
        name: What a certificate calls it; ``holds``: what it has of a person.
        erase: Lets a person go; how much was found. Called before the store is touched and again at the end. Again is harmless.
        not_reached: What of it stays, as a certificate says it.
        tables: Tables of the ledger that name it, rewritten where something went.
    """

    name: str
    holds: str
    erase: Callable[[Person], int]
    not_reached: str = ""
    tables: tuple[str, ...] = ()


@dataclass(slots=True)
class Eraser:
    """Erases persons from one store.

    Args:
        ledger: Of the store, ready.
        rollups: All of the definitions; ``counters``: those of them that have tables.
        fold: Folds rollups by their names.
        settle: Called first: what was taken in and waits for the log is in it afterwards.
        pause: A context in which this process writes no events, and after which it knows no visitors.
        outside: What holds personal data elsewhere.
    """

    ledger: Ledger
    rollups: Sequence[BoundRollup]
    counters: Sequence[CounterDef]
    fold: Callable[[list[str]], list[FoldResult]]
    settle: Callable[[], None]
    pause: Callable[[], AbstractContextManager[None]]
    outside: Sequence[Outside]
    wait_s: float

    def look(self, given: Person, asked_by: str) -> Certificate:
        """What erasing a person would do; nothing is changed."""
        check(given)
        self.settle()
        made = Certificate(0, self._now(), asked_by, _DRY)
        with undone(self.ledger.store) as session:
            self._let_go(session, given, made)
        return made

    def erase(self, given: Person, asked_by: str, number: int | None = None) -> Certificate:
        """The person is erased; ``number``: of the erasure that was asked for before.

        Raises:
            UsageError: where nobody is named; Busy: where another erasure goes on for longer than is waited.
        """
        check(given)
        self._add_fence()
        with leases.lease(self.ledger, erasures.LEASE, wait_s=self.wait_s):
            self.settle()
            before = {one.name: one.erase(given) for one in self.outside}
            with self.pause():
                made = self.ledger.retried(lambda: self._once(given, asked_by, number, before))
            try:
                found = {one.erasure: one for one in self._finish()}
            finally:
                # What was computed meanwhile may have been kept.
                for one in self.outside:
                    one.erase(given)
            return found[made.erasure]

    def finish(self) -> list[Certificate]:
        """What earlier erasures left to do is done."""
        with self.ledger.store.transaction(read_only=True) as session:
            if not erasures.unfinished(self.ledger, session):
                return []
        self._add_fence()
        with leases.lease(self.ledger, erasures.LEASE, wait_s=self.wait_s):
            return self._finish()

    # -- the person ------------------------------------------------------------------------------

    def _once(self, given: Person, asked_by: str, number: int | None, outside: Mapping[str, int]) -> Certificate:
        ledger = self.ledger
        with ledger.store.transaction() as session:
            own = number if number is not None else erasures.ask(ledger, session, {}, asked_by)
            asked = erasures.erasure(ledger, session, own)
            made = Certificate(own, asked.asked_at, asked.asked_by, erasures.ERASED)
            self._let_go(session, given, made)
            made.searched += [
                {"holder": one.name, "holds": one.holds, "rows": outside[one.name]} for one in self.outside
            ]
            emptied = {name for one in self.outside if outside[one.name] for name in one.tables}
            made.tables = sorted({*made.tables, *emptied})
            if asked.request:
                # The names stood there; what was written of them is rewritten with the rest.
                made.tables = sorted({*made.tables, "dayfold__erasures"})
            erasures.erased(ledger, session, own, made.as_object())
        return made

    def _let_go(self, session: Session, given: Person, made: Certificate) -> None:
        """The person is out of every holder and of sealed days, as far as this transaction goes."""
        ledger = self.ledger
        person = persons.known(ledger, session, given, has_log=events.exists(ledger))
        made.identifiers = identifiers(ledger.store_key(session), made.erasure, given, person)
        has_log = events.exists(ledger)
        reduced = reduce(ledger, session, over_own(self.rollups), person) if has_log or self.counters else Reduced()
        named = self._named_elsewhere(session, person) if has_log else 0
        counts = holders.erase(ledger, session, person)
        touched = {name for one in holders.HOLDERS if counts[one.name] for name in one.tables}
        made.searched = [{"holder": one.name, "holds": one.holds, "rows": counts[one.name]} for one in holders.HOLDERS]
        if self.counters:
            owned = {one.counted.label: counted_proof.erase(ledger, session, one, person) for one in self.counters}
            touched |= {name for name, rows in owned.items() if rows}
            touched |= {one.totals_table for one in self.counters if owned[one.counted.label]}
            made.searched.append(
                {
                    "holder": "counters",
                    "holds": "whose keys are, and what was counted of them",
                    "rows": sum(owned.values()),
                }
            )
        made.sealed = [
            {"rollup": name, "sets": reduced.sets.get(name, 0), "keys": reduced.keys.get(name, 0)}
            for name in sorted({*reduced.sets, *reduced.keys})
        ]
        if touched:
            touched |= {"dayfold__marks"}
        made.tables = sorted(touched | reduced.tables)
        made.not_reached = [
            *ALWAYS,
            ELSEWHERE,
            *self._of_holders(named),
            *self._of_sealed(reduced),
            *self._orphans(session),
        ]

    def _named_elsewhere(self, session: Session, person: Person) -> int:
        """Events of others that have one of the names in their properties."""
        text = (
            "select count(*) from _t where strpos(cast(properties as text), :name::text) > 0 and not " + persons.THEIRS
        )
        found = 0
        for one in person.names:
            query = self.ledger.sql(text, _t=table(TABLE, self.ledger.store.schema), name=f'"{one}"', **person.bound)
            found += int(session.rows(query)[0][0])
        return found

    def _of_holders(self, named: int) -> list[str]:
        said = [*(one.not_reached for one in holders.HOLDERS), *(one.not_reached for one in self.outside)]
        said = [one for one in said if one]
        return [f"{one} ({named:,} found)" if one.startswith("events of others") else one for one in said]

    def _of_sealed(self, reduced: Reduced) -> list[str]:
        said = [SEALED]
        if reduced.unnamed:
            names = ", ".join(reduced.unnamed)
            said.append(f"sets on sealed days of values that are no name of the person: {names}")
        return said

    def _orphans(self, session: Session) -> list[str]:
        """Rollups that no definition names any more are not known well enough to be reduced."""
        known = {one.name for one in self.rollups}
        gone = [name for name in versions.versions(self.ledger, session) if name not in known]
        return (
            [f"rollups that were removed from the definitions, until they are pruned: {', '.join(gone)}"]
            if gone
            else []
        )

    # -- what follows ----------------------------------------------------------------------------

    def _finish(self) -> list[Certificate]:
        """Fold, rewrite, and say so in every certificate that waits for it."""
        ledger = self.ledger
        with ledger.store.transaction(read_only=True) as session:
            waiting = [Certificate.of_object(one.certificate or {}) for one in erasures.unfinished(ledger, session)]
        tables = {name for one in waiting for name in one.tables}
        refolded: list[dict[str, Any]] = []
        own = {TABLE, *(one.counted.label for one in self.counters)}
        # Profiles over sealed days whose keys named the person.
        own |= {one.shape.name for one in over_own(self.rollups) if one.is_lifelong}
        if own & tables:
            refolded = self._refold()
            tables |= self._tables()
        rewritten, missed = ledger.store.rewrite(sorted(tables)) if tables else ([], [])
        for one in waiting:
            one.refolded = refolded if own & set(one.tables) else []
            one.rewritten = rewritten
            one.not_reached = list(dict.fromkeys([*one.not_reached, *(missed if one.tables else [])]))
            one.state = erasures.DONE

        def settle() -> None:
            with ledger.store.transaction() as session:
                for one in waiting:
                    erasures.done(ledger, session, one.erasure, one.as_object())

        ledger.retried(settle)
        return waiting

    def _refold(self) -> list[dict[str, Any]]:
        """The rollups over events are folded; marks that no fold took name no cell any more, but whole days."""
        names = [one.name for one in over_own(self.rollups)]
        results = self.fold(names) if names else []
        for one in results:
            if one.error:
                self.ledger.retried(lambda name=one.rollup: self._blur_marks(name))  # type: ignore[misc]
        return [
            {"rollup": one.rollup, "cells": one.cells, "error": one.error} for one in results if one.cells or one.error
        ]

    def _blur_marks(self, rollup: str) -> None:
        ledger = self.ledger
        with ledger.store.transaction() as session:
            version = versions.versions(ledger, session).get(rollup)
            if version is None:
                return
            session.execute(ledger.sql("update dayfold__marks set key = null where rollup = :rollup", rollup=rollup))
            tags = "delete from dayfold__marks where left(rollup, length(:tag)) = :tag"
            if session.execute(ledger.sql(tags, tag=rollup + TAG)):
                marks.mark(ledger, session, rollup, version.number, None, "a person was erased")

    def _tables(self) -> set[str]:
        """The tables of rollups that the fold has written to."""
        return {
            name
            for one in over_own(self.rollups)
            for name in (one.shape.name, *([one.shape.name + SETS_SUFFIX] if one.sets_shape else []))
        }

    # -- the rest --------------------------------------------------------------------------------

    def _add_fence(self) -> None:
        ledger = self.ledger

        def is_there() -> bool:
            with ledger.store.transaction(read_only=True) as session:
                query = ledger.sql("select 1 from dayfold__fences where rollup = :rollup", rollup=erasures.LEASE)
                return bool(session.rows(query))

        def add() -> None:
            with ledger.store.transaction() as session:
                versions.add_fence(ledger, session, erasures.LEASE)

        ledger.make_once(is_there, add)

    def _now(self) -> str:
        return self.ledger.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def check(given: Person) -> None:
    """Raise UsageError where nobody is named, or a name is none."""
    if not given.names:
        raise UsageError("Nobody is named.", hint="Name them: dayfold erase --actor ID, --anonymous ID, or both.")
    if len(given.names) > MOST_NAMES:
        raise UsageError(
            f"{len(given.names):,} names were given; one person has at most {MOST_NAMES:,}.",
            hint="Erase one person at a time.",
        )
    if any(not one.strip() or "\0" in one for one in given.names):
        raise UsageError("A name is empty, or holds a NUL.", hint="Give each as the events have it.")


def of_request(request: dict[str, Any]) -> Person:
    """The person that a kept request names."""
    return Person.of(request.get("actor", ()), request.get("anonymous", ()))
