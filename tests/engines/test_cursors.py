"""A source that stamps its rows: what changed is read behind open transactions, and what a stamp cannot show is pinned."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg
import pytest

from dayfold import Count, Rollup, Sum, Table
from dayfold.errors import DefinitionError
from dayfold.fold import discover
from tests.engines.ground import Ground, march

DDL = "id bigint, shop bigint, amount bigint, made timestamptz, updated_at {type}"


def filled(ground: Ground, stamp: str = "timestamptz") -> None:
    """A folded rollup over rows that were all stamped an hour ago."""
    ground.load("visit", DDL.format(type=stamp), [])
    ground.source(
        "INSERT INTO visit SELECT i, i % 3, i, TIMESTAMPTZ '2026-03-01 12:00:00+00' + (i % 9) * INTERVAL '1 day', "
        f"CAST(now() AT TIME ZONE 'UTC' - INTERVAL '1 hour' AS timestamp){' ' + AS_UTC if stamp == 'timestamptz' else ''} "
        "FROM generate_series(1, 60) AS g(i)"
    )
    visit = ground.table("visit", changes="updated_at")
    metrics = {"visits": Count(visit, at="made"), "total": Sum(visit, "amount", at="made", where="amount > 3")}
    ground.define(type("Visits", (Rollup,), {"key": "shop", **metrics}))
    ground.fold()


AS_UTC = "AT TIME ZONE 'UTC'"
STAMP = "updated_at = now()"


def rows_of(ground: Ground) -> list[tuple[Any, ...]]:
    return ground.stored("SELECT shop, day, visits, total FROM visits ORDER BY shop NULLS LAST, day")


def truth(ground: Ground) -> list[tuple[Any, ...]]:
    return ground.source(
        "SELECT shop, CAST(made AT TIME ZONE 'UTC' AS DATE), count(*), CAST(coalesce(sum(amount) FILTER (WHERE amount > 3), 0) "
        "AS BIGINT) FROM visit GROUP BY 1, 2 ORDER BY shop NULLS LAST, 2"
    )


def changed(ground: Ground) -> tuple[int, int]:
    [run] = ground.fold()
    return run.cells, run.rows_inserted + run.rows_updated + run.rows_deleted


def test_stamped_change_refolds_only_its_cell(ground: Ground) -> None:
    """A changed row and a new one, each on a day of its own; nothing else is computed."""
    filled(ground)
    assert rows_of(ground) == truth(ground)
    assert changed(ground) == (0, 0)
    ground.source(f"UPDATE visit SET amount = 1000, {STAMP} WHERE id = 7")
    assert changed(ground) == (1, 1)
    ground.source("INSERT INTO visit VALUES (99, 1, 5, TIMESTAMPTZ '2025-01-05 12:00:00+00', now())")
    changed(ground)
    assert rows_of(ground) == truth(ground)


def test_row_that_a_filter_leaves_out_now_is_taken_out(ground: Ground) -> None:
    """The stamp is read whatever the filter says: what stopped counting is a change too."""
    filled(ground)
    ground.source(f"UPDATE visit SET amount = 0, {STAMP} WHERE amount = 50")
    changed(ground)
    assert rows_of(ground) == truth(ground)


def test_stamp_without_a_zone_is_utc(ground: Ground) -> None:
    """The same with a plain timestamp."""
    filled(ground, "timestamp")
    ground.source(f"UPDATE visit SET amount = 1000, updated_at = CAST(now() {AS_UTC} AS timestamp) WHERE id = 7")
    assert changed(ground) == (1, 1)
    assert rows_of(ground) == truth(ground)


def test_change_of_a_day_that_is_over_is_not_forgotten_when_the_day_closes(ground: Ground) -> None:
    """Yesterday's row changes after midnight."""
    filled(ground)
    ground.clock.instant += dt.timedelta(days=2)
    ground.source("INSERT INTO visit VALUES (99, 1, 5, TIMESTAMPTZ '2026-03-12 12:00:00+00', now())")
    changed(ground)
    assert rows_of(ground) == truth(ground)


def test_late_commit_is_picked_up(postgres_pairing: Ground, no_overlap: None) -> None:
    """A transaction that took its stamp first commits after a later one was read."""
    ground = postgres_pairing
    filled(ground)
    with psycopg.connect(ground.pairing.source, autocommit=False) as slow:
        slow.execute("UPDATE visit SET amount = 500, updated_at = now() WHERE id = 3")
        ground.source(f"UPDATE visit SET amount = 600, {STAMP} WHERE id = 4")
        changed(ground)
        ground.source(f"UPDATE visit SET amount = 601, {STAMP} WHERE id = 4")
        changed(ground)
        slow.commit()
    changed(ground)
    assert rows_of(ground) == truth(ground)


def test_transaction_open_since_before_the_first_fold_is_picked_up(postgres_pairing: Ground) -> None:
    """Its stamp is from before the backfill, and its commit after."""
    ground = postgres_pairing
    ground.load(
        "visit",
        DDL.format(type="timestamptz"),
        [{"id": 1, "shop": 1, "amount": 5, "made": march(2), "updated_at": march(2)}],
    )
    with psycopg.connect(ground.pairing.source, autocommit=False) as slow:
        slow.execute("INSERT INTO visit VALUES (2, 2, 9, '2026-03-03 12:00+00', now())")
        visit = ground.table("visit", changes="updated_at")
        metrics = {"visits": Count(visit, at="made"), "total": Sum(visit, "amount", at="made", where="amount > 3")}
        ground.define(type("Visits", (Rollup,), {"key": "shop", **metrics}))
        ground.fold()
        assert len(rows_of(ground)) == 1
        slow.commit()
    changed(ground)
    assert rows_of(ground) == truth(ground)


def test_transaction_that_has_begun_and_not_yet_written_is_waited_for(
    postgres_pairing: Ground, no_overlap: None
) -> None:
    """It has no transaction id yet; its virtual one is seen."""
    ground = postgres_pairing
    filled(ground)
    with psycopg.connect(ground.pairing.source, autocommit=False) as slow:
        slow.execute("SELECT 1")
        ground.source("SELECT pg_sleep(0.01)")
        for _ in range(3):
            changed(ground)
        slow.execute("UPDATE visit SET amount = 777, updated_at = now() WHERE id = 5")
        slow.commit()
    changed(ground)
    assert rows_of(ground) == truth(ground)


def test_delete_and_the_left_side_of_a_move_are_not_seen(store: Ground) -> None:
    """A known limit of stamps: they stay wrong until a rebuild or a verification; a test that fails when that is no more so."""
    filled(store)
    store.source("DELETE FROM visit WHERE id = 9")
    store.source(f"UPDATE visit SET made = TIMESTAMPTZ '2026-03-11 12:00:00+00', {STAMP} WHERE id = 10")
    changed(store)
    wrong = {row[:2] for row in set(rows_of(store)) ^ set(truth(store))}
    assert wrong == {(0, dt.date(2026, 3, 1)), (1, dt.date(2026, 3, 2))}


def test_stamp_column_that_is_not_there(store: Ground) -> None:
    """The error names the nearest column."""
    store.load("visit", DDL.format(type="timestamptz"), [])
    visit = Table("visit", changes="update_at")
    store.define(type("Visits", (Rollup,), {"visits": Count(visit, at="made")}))
    with pytest.raises(
        DefinitionError, match=r"changes='update_at': visit has no column 'update_at'; the nearest is 'updated_at'"
    ):
        store.opened.fold()


@pytest.fixture
def no_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks that agree: only what is known of open transactions keeps the cursor back."""
    monkeypatch.setattr(discover, "OVERLAP", dt.timedelta(0))


@pytest.fixture(params=["same", "to-duckdb"])
def postgres_pairing(request: pytest.FixtureRequest, postgres_url: str, new_duckdb: Any) -> Any:
    from tests.conftest import Pairing

    if request.param == "same":
        pairing = Pairing("postgres-same", postgres_url, postgres_url)
    else:
        pairing = Pairing("postgres-to-duckdb", postgres_url, new_duckdb())
    with Ground(pairing) as ground:
        yield ground
