"""An edited definition: built aside, then published into the rollup's own table in one transaction. Fold floor.

The table keeps its name and identity for life, so grants, policies and views on it survive.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace as changed_copy

from sqlglot import exp

from dayfold.days import Days, union
from dayfold.define.metric import Distinct
from dayfold.define.rollup import PACKED
from dayfold.engines.base import Changed, Session, ensure, holds_rows, replace
from dayfold.errors import Conflict, DefinitionsDiffer, Sealed, StoreAltered, SuddenlyEmpty
from dayfold.fold import above, rls
from dayfold.fold.longview import LongView
from dayfold.ledger import coverage, leases, receipts, runs, versions
from dayfold.ledger.ledger import Ledger
from dayfold.names import fitted, listing
from dayfold.plan.bind import BoundRollup, identity
from dayfold.plan.publish import Publication
from dayfold.plan.shape import SETS_SUFFIX, Shape, quoted
from dayfold.plan.sql import alias, column

_BUILD_PREFIX = "dayfold_build__"
_ASIDE_PREFIX = "dayfold_rebuild__"
#: The job of runs that build days aside.
REBUILD = "rebuild"
_ALWAYS = Days(dt.date.min, dt.date.max)


def build_of(rollup: BoundRollup) -> BoundRollup:
    """The rollup with tables of its own to be built in."""
    sets = rollup.sets_shape
    return changed_copy(
        rollup,
        shape=rollup.shape.named(build_name(rollup.shape.name)),
        sets_shape=sets.named(build_name(sets.name)) if sets else None,
    )


def build_name(name: str) -> str:
    """What a table is called while an edited definition of it is built."""
    # A long name is cut, and told from others with the same beginning by a digest of the whole.
    return fitted(_BUILD_PREFIX + name)


def drop_build(ledger: Ledger, session: Session, shape: Shape) -> None:
    """Forget what was built aside for a table and its sets."""
    schema = quoted(ledger.store.schema)
    for one in (shape, shape.named(shape.name + SETS_SUFFIX)):
        session.execute(f"DROP TABLE IF EXISTS {schema}.{quoted(build_name(one.name))}")


def aside_name(shape: Shape) -> str:
    """The table that a rebuild of several portions is kept in until it is published."""
    return fitted(_ASIDE_PREFIX + shape.name)


def drop_aside(ledger: Ledger, session: Session, shape: Shape) -> None:
    """Nothing of an earlier rebuild is left."""
    session.execute(f"DROP TABLE IF EXISTS {quoted(ledger.store.schema)}.{quoted(aside_name(shape))}")


def check_free(ledger: Ledger, session: Session, rollup: BoundRollup, version: versions.Version | None = None) -> None:
    """The tables that the rollup is about to make, beside those of its published version, are not somebody's.

    Raises:
        StoreAltered: naming what is there already.
        Conflict: when another run has made it for this rollup just now.
    """
    name = rollup.shape.name
    moved = version is None or version.table != name
    wanted = [rollup.shape] if moved else []
    if rollup.sets_shape and (moved or not _keeps_sets(version)):
        wanted.append(rollup.sets_shape)
    if not wanted:
        return
    # The tables first: one that another run makes between the two looks is then known by its version.
    taken = ledger.store.stored_columns(session, [one.name for one in wanted])
    for other in versions.versions(ledger, session).values():
        if other.rollup == rollup.name and other.table == name and version is None:
            raise Conflict(f"Another run has made the table {name} of {rollup.name}.", hint="Run it again.")
        if other.rollup != rollup.name and other.table.lower() == name.lower():
            raise StoreAltered(
                f"The table {name} of {rollup.name} is that of the rollup {other.rollup}, which was folded before.",
                hint=f'Call the class {other.rollup} again, or give it another table: table = "…".',
            )
    if taken:
        earlier = f" If an earlier version of {rollup.name} left it, drop it." if version else ""
        raise StoreAltered(
            f"There is a table {' and a table '.join(taken)} already, which Dayfold did not make for {rollup.name}.",
            hint=f'Rename or drop it, or give the rollup another table: table = "…".{earlier}',
        )


def check_ours(ledger: Ledger, session: Session, rollup: BoundRollup, version: versions.Version) -> None:
    """Everything in the rollup's table is Dayfold's, so that an edit drops nothing of anyone else.

    Raises:
        StoreAltered: naming the columns that are somebody's.
    """
    if version.table != rollup.shape.name:
        return
    old = version.definition
    known = {*old["types"], old["day_column"], "bucket", *(one.name for one in rollup.shape.columns)}
    if any(one.get("extra") for one in old["metrics"].values()):
        known.add(PACKED)
    found = ledger.store.stored_columns(session, [version.table]).get(version.table, {})
    if strange := [name for name in found if name not in known]:
        raise StoreAltered(
            f"The table {version.table} has what Dayfold did not make: {listing(strange)}. The edit would drop it.",
            hint="Move it elsewhere and drop it here; then fold again.",
        )


def check_not_undone(version: versions.Version, mark: str, published: dict[str, str] | None) -> None:
    """What this process wants may replace what is published: it is the same, or was published when this process read its own.

    Raises:
        DefinitionsDiffer: where another process has published an edited definition since.
    """
    if published is None:
        return
    if version.fingerprint == mark:
        published[version.rollup] = mark
    elif version.fingerprint != published.get(version.rollup):
        raise DefinitionsDiffer(
            f"Another process has published another definition of {version.rollup} since this one read its own: fingerprint "
            f"{version.fingerprint}; this one has {mark}.",
            hint="Restart or reload this server with the definitions that are wanted.",
        )


def check_unsealed(ledger: Ledger, session: Session, rollup: BoundRollup, version: versions.Version) -> None:
    """No day of the published version is sealed, so that an edited definition can be folded over all of them.

    Raises:
        Sealed: naming the days.
    """
    sealed = coverage.sealed_days(coverage.ranges(ledger, session, rollup.name, version.number))
    if sealed:
        raise Sealed(
            f"The definition of {rollup.name} was edited, and its sealed days ({', '.join(map(str, sealed))}) can never be "
            "computed again. The old version stays.",
            hint="Take the edit back, and write what is new as a rollup of its own: history does not mix two definitions.",
        )


def _keeps_sets(version: versions.Version | None) -> bool:
    """Whether the published version has a table of sets beside its own."""
    return version is not None and any(one["kind"] == Distinct.kind for one in version.definition["metrics"].values())


def publish_version(
    ledger: Ledger,
    rollup: BoundRollup,
    built: BoundRollup,
    lease: leases.Lease,
    run_id: int,
    allow_empty: bool,
    uppers: Callable[[Session], Sequence[above.Upper]],
    long_view: LongView | None = None,
) -> Changed:
    """The built rows become the rollup's, by difference; readers see the old version or the new one.

    Raises:
        SuddenlyEmpty: when the new version has no row and the old one has.
    """
    with ledger.store.transaction() as session:
        leases.fence(ledger, session, lease)
        version = versions.versions(ledger, session)[rollup.name]
        old = rollup.shape.named(version.table)
        if not allow_empty and not holds_rows(session, built.shape) and _had_rows(ledger, session, old):
            raise SuddenlyEmpty(
                f"{rollup.name}: the new definition has no row where the old one has some. The old version stays.",
                hint="If that is what you want, run again with --allow-empty.",
            )
        check_free(ledger, session, rollup, version)
        if long_view:
            long_view.leave_out(session, rollup.name)
        changed = Changed()
        pairs = [(rollup.shape, built.shape, True)]
        if rollup.sets_shape and built.sets_shape:
            pairs.append((rollup.sets_shape, built.sets_shape, False))
        rekeyed = _rekeyed(version, rollup)
        # What stood for which cell before is not known of rows whose columns were others.
        known = [above.Upper(one.name, one.versions, None) for one in uppers(session)]
        marker = above.Marker(ledger, session, rollup, known)
        there = ledger.store.stored_columns(session, [live.name for live, _, _ in pairs])
        for live, aside, counted in pairs:
            written = _publish_table(ledger, session, live, aside, run_id, marker, rekeyed=rekeyed)
            changed = changed + written if counted else changed
        rls.follow(ledger.store, session, version.table, [live.name for live, _, _ in pairs if live.name not in there])
        if not rollup.sets_shape and _keeps_sets(version) and version.table == rollup.shape.name:
            session.execute(
                f"DROP TABLE IF EXISTS {quoted(ledger.store.schema)}.{quoted(rollup.shape.name + SETS_SUFFIX)}"
            )
        drop_build(ledger, session, rollup.shape)
        runs.progress(ledger, session, run_id, 0, changed)
        versions.end_build(ledger, session, version, rollup.shape.name)
        _give_receipts(ledger, session, rollup, version.number + 1, run_id)
        if long_view:
            long_view.put(session)
    return changed


def _give_receipts(ledger: Ledger, session: Session, rollup: BoundRollup, number: int, run_id: int) -> None:
    """The days that were built aside have receipts for the rows that are published now."""
    states = coverage.ranges(ledger, session, rollup.name, number).values()
    for days in union(days for ranges in states for found in ranges.values() for days in found):
        receipts.record(ledger, session, rollup.shape, rollup.name, number, days, run_id)


def _had_rows(ledger: Ledger, session: Session, old: Shape) -> bool:
    return bool(ledger.store.stored_columns(session, [old.name])) and holds_rows(session, old)


def _rekeyed(version: versions.Version, rollup: BoundRollup) -> bool:
    """Whether rows are identified by other columns, or columns of other types, than before."""
    old, new = version.definition, identity(rollup)
    same = all(old.get(name) == new[name] for name in ("key", "day_column", "grain"))
    return not same or any(old["types"].get(one.name) != str(one.type) for one in rollup.shape.key)


def _publish_table(
    ledger: Ledger, session: Session, live: Shape, aside: Shape, run_id: int, marker: above.Marker, *, rekeyed: bool
) -> Changed:
    found = ledger.store.stored_columns(session, [live.name]).get(live.name)
    if found is None:
        ensure(ledger.store, session, live)
    else:
        ledger.store.refit(session, live, found, rekeyed=rekeyed)
    rows = exp.select(
        *(column(one.name) for one in live.key),
        alias(live.slot_of(), "slot__"),
        *(column(one.name) for one in live.values),
    )
    staged = exp.Subquery(this=rows.from_(aside.table), alias=exp.TableAlias(this=exp.to_identifier("built__")))
    publication = Publication(live, staged, [one.name for one in live.values], [_ALWAYS], ledger.store.dialect)
    return replace(ledger.store, session, publication, ledger.clock.now(), run_id, watch=marker)
