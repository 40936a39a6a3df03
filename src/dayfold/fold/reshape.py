"""An edited definition: built aside, then published into the rollup's own table in one transaction. Fold floor.

The table keeps its name and identity for life, so grants, policies and views on it survive.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace as changed_copy

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.fingerprint import identity
from dayfold.engines.base import Changed, Session, ensure, match_indexes, normal_type, replace
from dayfold.errors import SuddenlyEmpty
from dayfold.ledger import leases, versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup
from dayfold.plan.publish import Publication
from dayfold.plan.shape import Shape, declared, quoted, rendered
from dayfold.plan.sql import Statement, alias, column, sql

_BUILD_PREFIX = "dayfold_build__"
_ALWAYS = Days(dt.date.min, dt.date.max)


def build_of(rollup: BoundRollup) -> BoundRollup:
    """The rollup with tables of its own to be built in."""
    sets = rollup.sets_shape
    return changed_copy(
        rollup,
        shape=rollup.shape.named(_build_name(rollup.shape)),
        sets_shape=sets.named(_build_name(sets)) if sets else None,
    )


def _build_name(shape: Shape) -> str:
    return (_BUILD_PREFIX + shape.name)[:60]


def drop_build(ledger: Ledger, session: Session, rollup: BoundRollup) -> None:
    """Forget what was built aside."""
    schema = quoted(ledger.store.schema)
    for name in (_build_name(rollup.shape), _build_name(rollup.shape.named(rollup.shape.name + "__sets"))):
        session.execute(f"DROP TABLE IF EXISTS {schema}.{quoted(name)}")


def publish_version(
    ledger: Ledger,
    rollup: BoundRollup,
    built: BoundRollup,
    lease: leases.Lease,
    run_id: int,
    allow_empty: bool,
) -> Changed:
    """The built rows become the rollup's, by difference; readers see the old version or the new one.

    Raises:
        SuddenlyEmpty: when the new version has no row and the old one has.
    """
    with ledger.store.transaction() as session:
        leases.fence(ledger, session, lease)
        version = versions.versions(ledger, session)[rollup.name]
        if not allow_empty and _is_empty(session, built.shape) and not _is_empty(session, rollup.shape):
            raise SuddenlyEmpty(
                f"{rollup.name}: the new definition has no row where the old one has some. The old version stays.",
                hint="If that is what you want, run again with --allow-empty.",
            )
        changed = Changed()
        pairs = [(rollup.shape, built.shape, True)]
        if rollup.sets_shape and built.sets_shape:
            pairs.append((rollup.sets_shape, built.sets_shape, False))
        for live, aside, counted in pairs:
            written = _publish_table(ledger, session, live, aside, run_id, rekeyed=_rekeyed(version, rollup))
            changed = changed + written if counted else changed
        if not rollup.sets_shape:
            session.execute(
                f"DROP TABLE IF EXISTS {quoted(ledger.store.schema)}.{quoted(rollup.shape.name + '__sets')}"
            )
        drop_build(ledger, session, rollup)
        versions.end_build(ledger, session, version, rollup.shape.name)
    return changed


def _is_empty(session: Session, shape: Shape) -> bool:
    return not session.rows(Statement(sql("select 1 from _t limit 1", _t=shape.table)))


def _rekeyed(version: versions.Version, rollup: BoundRollup) -> bool:
    """Whether rows are identified by other columns than before."""
    new = identity(rollup.definition)
    return any(version.definition.get(name) != new[name] for name in ("key", "day_column", "grain"))


def _publish_table(
    ledger: Ledger, session: Session, live: Shape, aside: Shape, run_id: int, *, rekeyed: bool
) -> Changed:
    _fit_columns(ledger, session, live, rekeyed)
    rows = exp.select(
        *(column(one.name) for one in live.key),
        alias(column(live.slot), "slot__"),
        *(column(one.name) for one in live.values),
    )
    staged = exp.Subquery(this=rows.from_(aside.table), alias=exp.TableAlias(this=exp.to_identifier("built__")))
    publication = Publication(live, staged, [one.name for one in live.values], [_ALWAYS], ledger.store.dialect)
    changed = replace(session, publication, ledger.clock.now(), run_id)
    match_indexes(ledger.store, session, live)
    return changed


def _fit_columns(ledger: Ledger, session: Session, shape: Shape, rekeyed: bool) -> None:
    """The table gets the columns of its new shape; its rows go where what identifies them is another thing now."""
    store = ledger.store
    found = store.stored_columns(session, [shape.name]).get(shape.name)
    if found is None:
        ensure(store, session, shape)
        return
    expected = {one.name: normal_type(store.dialect, one.type) for one in shape.columns}
    gone = [name for name, type_ in found.items() if expected.get(name) != type_]
    fresh = [one for one in shape.columns if found.get(one.name) != expected[one.name]]
    if not gone and not fresh:
        return
    target = rendered(shape.table)
    identifying = {one.name for one in shape.identity} | {shape.day_column}
    for name in store.stored_indexes(session, shape.name):
        session.execute(f"DROP INDEX {quoted(store.schema)}.{quoted(name)}")
    if rekeyed or any(one.name in identifying for one in fresh):
        session.execute(f"DELETE FROM {target}")
    for name in gone:
        session.execute(f"ALTER TABLE {target} DROP COLUMN {quoted(name)}")
    for one in fresh:
        session.execute(f"ALTER TABLE {target} ADD COLUMN {declared(store.dialect, one)}")
        if one.name in shape.required:
            session.execute(f"ALTER TABLE {target} ALTER COLUMN {quoted(one.name)} SET NOT NULL")
