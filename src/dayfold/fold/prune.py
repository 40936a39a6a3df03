"""Prune: a rollup that is in no definition any more is dropped, by its name. Fold floor."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from dayfold.define.catalog import Catalog
from dayfold.engines.base import Session
from dayfold.errors import StoreError, UnknownName, UsageError
from dayfold.fold import fetch, reshape
from dayfold.fold.longview import LongView
from dayfold.ledger import leases, versions
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, suggestion
from dayfold.plan.shape import SETS_SUFFIX, Shape, quoted


@dataclass(frozen=True, slots=True)
class Orphan:
    """A rollup that the store has and the definitions do not: readable until it is pruned.

    Attributes:
        dependents: Views on its table, and rollups that are folded from it.
    """

    rollup: str
    table: str
    rows: int
    dependents: tuple[str, ...]


def orphans(catalog: Catalog, ledger: Ledger) -> list[Orphan]:
    """The rollups that were removed from the definitions, with what depends on each."""
    with ledger.store.transaction(read_only=True) as session:
        if ledger.version(session) is None:
            return []
        known = versions.versions(ledger, session)
        gone = [one for name, one in known.items() if name not in catalog.rollups]
        sizes = ledger.store.sizes(session, [one.table for one in gone])
        return [
            Orphan(one.rollup, one.table, sizes.get(one.table, (0, 0))[0], _dependents(ledger, session, one, known))
            for one in gone
        ]


def _dependents(
    ledger: Ledger, session: Session, version: versions.Version, known: dict[str, versions.Version]
) -> tuple[str, ...]:
    found = [
        f"the view {name}" for name in ledger.store.views_on(session, [version.table, version.table + SETS_SUFFIX])
    ]
    found += [f"the rollup {one.rollup}" for one in known.values() if version.table in versions.folded_from(one)]
    return tuple(found)


def prune(
    catalog: Catalog, ledger: Ledger, names: Sequence[str], *, wait_s: float, long_view: LongView | None = None
) -> list[Orphan]:
    """Drop removed rollups: their tables, and all that the ledger knows of them but their runs.

    Raises:
        UsageError: for one that is defined; UnknownName: for one that is not there.
        StoreError: naming what depends on one, which then stays.
    """
    found = {one.rollup: one for one in orphans(catalog, ledger)}
    for name in names:
        if name in catalog.rollups:
            raise UsageError(f"{name} is defined; only a rollup that was removed from the definitions is pruned.")
        if name not in found:
            raise UnknownName(
                f"There is no removed rollup '{name}'{suggestion(name, found)}.",
                hint=f"Removed rollups: {listing(found)}" if found else "Every rollup of the store is defined.",
            )
    done = []
    for one in _uppers_first([found[name] for name in dict.fromkeys(names)]):
        with leases.lease(ledger, one.rollup, wait_s=wait_s) as lease:
            # Tried again where another run makes the long view at the same time.
            ledger.retried(functools.partial(_prune, ledger, one, lease, long_view))
        done.append(one)
    return done


def _prune(ledger: Ledger, one: Orphan, lease: leases.Lease, long_view: LongView | None) -> None:
    """The tables of a rollup are gone, and what is known of it, in one transaction."""
    with ledger.store.transaction() as session:
        leases.fence(ledger, session, lease)
        known = versions.versions(ledger, session)
        if dependents := _dependents(ledger, session, known[one.rollup], known):
            raise StoreError(
                f"{one.rollup} is not dropped: {listing(dependents)} depend on its table {one.table}.",
                hint="Drop or change these first.",
            )
        if long_view:
            long_view.leave_out(session, one.rollup)
        _drop(ledger, session, one.table)
        versions.remove(ledger, session, one.rollup)
        fetch.drop_unread(ledger, session)
        if long_view:
            long_view.put(session)


def _uppers_first(chosen: Sequence[Orphan]) -> list[Orphan]:
    """One that is folded from another goes before it."""
    ordered: list[Orphan] = []

    def place(one: Orphan) -> None:
        for upper in chosen:
            if f"the rollup {upper.rollup}" in one.dependents and upper not in ordered:
                place(upper)
        if one not in ordered:
            ordered.append(one)

    for one in chosen:
        place(one)
    return ordered


def _drop(ledger: Ledger, session: Session, name: str) -> None:
    shape = Shape(name, ledger.store.schema, (), "day", "day", ())
    reshape.drop_build(ledger, session, shape)
    reshape.drop_aside(ledger, session, shape)
    for one in (name + SETS_SUFFIX, name):
        session.execute(f"DROP TABLE IF EXISTS {quoted(ledger.store.schema)}.{quoted(one)}")
