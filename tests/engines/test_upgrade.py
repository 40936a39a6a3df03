"""The store of the previous version: refused until it is migrated, and then as good as new."""

from __future__ import annotations

import pytest

from dayfold import Count, Distinct, Rollup
from dayfold.errors import StoreNotMigrated
from dayfold.ledger.migrations import MIGRATIONS, SEQUENCES, TABLES, VERSION, VIEWS
from tests.engines.ground import Ground, march

#: What version 1 made; all else came later.
FIRST = tuple(f"dayfold__{name}" for name in ("store", "rollups", "sources", "leases", "fences", "coverage", "runs"))


def as_version_one(ground: Ground) -> None:
    """The ledger as the first program left it."""
    for view in VIEWS:
        if view not in ("dayfold_runs", "dayfold_coverage"):
            ground.stored(f"DROP VIEW {view}")
    for table in TABLES:
        if table not in FIRST:
            ground.stored(f"DROP TABLE {table}")
    for sequence in SEQUENCES:
        if sequence != "dayfold__run_ids":
            ground.stored(f"DROP SEQUENCE {sequence}")
    ground.stored("ALTER TABLE dayfold__coverage DROP COLUMN as_of")
    ground.stored("UPDATE dayfold__store SET version = 1")


def test_store_of_the_first_version_is_migrated_and_goes_on(store: Ground) -> None:
    """Its rows stand, nothing is computed again, and what is new works on them."""
    store.load(
        "visit",
        "shop bigint, who text, made timestamptz",
        [{"shop": n % 3, "who": f"p{n}", "made": march(n % 9 + 1)} for n in range(40)],
    )
    visit = store.table("visit")
    rollup = type(
        "Visits",
        (Rollup,),
        {"key": "shop", "visits": Count(visit, at="made"), "people": Distinct(visit, "who", at="made")},
    )
    store.define(rollup)
    store.fold()
    before = store.stored("SELECT * FROM visits ORDER BY shop, day")
    as_version_one(store)
    with pytest.raises(StoreNotMigrated, match=f"is of version 1; this program needs version {VERSION}") as refused:
        store.opened.fold()
    assert refused.value.hint == "Run: dayfold migrate"
    assert store.opened.migrate() == [f"{one.number}: {one.name}" for one in MIGRATIONS[1:]]
    assert store.opened.migrate() == []
    assert store.fold_written() == 0
    assert store.stored("SELECT * FROM visits ORDER BY shop, day") == before
    [result] = store.opened.verify()
    assert (result.drifts, result.error) == ([], None)
    store.stored("UPDATE visits SET visits = visits + 1 WHERE day = DATE '2026-03-02'")
    [result] = store.opened.verify(heal=True)
    assert result.healed == 1
    assert [row[:4] for row in store.stored("SELECT * FROM visits ORDER BY shop, day")] == [row[:4] for row in before]
