"""What triggers need, and what happens without them: missing, older, disabled, on partitions, of other users, broken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from dayfold import Count, Rollup, Sum, Table
from dayfold.errors import DayfoldError, DefinitionError, UnknownName, UsageError
from dayfold.fold import install
from tests.engines.ground import Ground, march

pytestmark = pytest.mark.in_turn

DDL = "id bigint, shop bigint, amount text, made timestamptz"


def rollup(ground: Ground, name: str = "Visits", **more: Any) -> type[Any]:
    visit = ground.table("visit", changes="trigger")
    return type(name, (Rollup,), {"key": "shop", "visits": Count(visit, at="made"), **more})


def row(number: int, shop: int = 1, day: int = 3) -> dict[str, Any]:
    return {"id": number, "shop": shop, "amount": str(number), "made": march(day)}


def filled(ground: Ground, *rollups: type[Any]) -> None:
    ground.load("visit", DDL, [row(n, n % 3, n % 9 + 1) for n in range(30)])
    ground.define(*(rollups or [rollup(ground)]))
    ground.opened.track_install()
    ground.fold()


def cells(ground: Ground) -> dict[str, int]:
    return {run.rollup: run.cells for run in ground.fold()}


def visits(ground: Ground, table: str = "visits") -> Any:
    return ground.stored(f"SELECT shop, day, visits FROM {table} ORDER BY 1, 2")


def truth(ground: Ground) -> Any:
    return ground.source(
        "SELECT shop, CAST(made AT TIME ZONE 'UTC' AS DATE), count(*) FROM visit GROUP BY 1, 2 ORDER BY 1, 2"
    )


@pytest.fixture(params=["same", "databases", "to-duckdb"])
def postgres(request: pytest.FixtureRequest, new_postgres: Any, new_duckdb: Any) -> Iterator[Ground]:
    """A source in PostgreSQL, and a store in it, in another, or in DuckDB."""
    from tests.conftest import Pairing

    source = new_postgres()
    stores = {"same": lambda: source, "databases": new_postgres, "to-duckdb": new_duckdb}
    with Ground(Pairing(request.param, source, stores[request.param]())) as ground:
        yield ground


def states(ground: Ground) -> list[tuple[str, str]]:
    return [(one.state, one.message) for one in ground.opened.track_status()]


# -- without triggers ------------------------------------------------------------------------------


def test_source_without_triggers_is_folded_by_lookback_with_a_warning(store: Ground) -> None:
    """Nothing is installed silently, and nothing is pretended."""
    store.load("visit", DDL, [row(n) for n in range(5)])
    store.define(rollup(store))
    [run] = store.fold()
    assert run.warnings == [
        "visit is folded by a lookback of 7 days, because it has no triggers. Install its triggers: dayfold track install"
    ]
    assert states(store) == [("missing", "it has no triggers")]
    store.insert("visit", [row(9, 2, 11)])
    assert store.fold_written() == 1


def test_changes_before_the_triggers_were_there_are_found(store: Ground) -> None:
    """A late row came while nobody looked: with the triggers everything is looked at once, and then no more."""
    store.load("visit", DDL, [row(n) for n in range(5)])
    store.define(rollup(store))
    store.fold()
    store.clock.instant = march(28)
    store.fold()
    store.insert("visit", [row(9, 2, 4)])
    assert store.fold_written() == 0
    store.opened.track_install()
    assert store.fold_written() == 1
    assert visits(store) == truth(store)
    assert cells(store) == {"Visits": 0}


def test_triggers_that_were_gone_for_a_while_are_not_believed(postgres: Ground) -> None:
    """Dropped, a row, made again: the row is found though no trigger saw it."""
    filled(postgres)
    postgres.clock.instant = march(28)
    postgres.fold()
    postgres.opened.track_remove()
    postgres.insert("visit", [row(99, 1, 4)])
    postgres.opened.track_install()
    assert postgres.fold_written() == 1
    assert visits(postgres) == truth(postgres)


def test_disabled_trigger_is_seen(postgres: Ground) -> None:
    """A trigger that does not fire is as good as none."""
    filled(postgres)
    postgres.source("ALTER TABLE visit DISABLE TRIGGER dayfold_delete")
    [run] = postgres.fold()
    assert "because it has no trigger for delete" in run.warnings[0]
    assert states(postgres) == [("missing", "it has no trigger for delete")]


def test_update_back_to_back_with_a_reinstall_loses_nothing(store: Ground) -> None:
    """Installing again keeps what stands, and the marks that wait."""
    filled(store)
    store.insert("visit", [row(99, 1, 4)])
    store.opened.track_install()
    assert cells(store) == {"Visits": 1}
    assert visits(store) == truth(store)


# -- definitions -----------------------------------------------------------------------------------


def test_two_rollups_over_one_source_each_see_every_change(store: Ground) -> None:
    """The second still has its marks after the first was folded alone."""
    other = type("Days", (Rollup,), {"visits": Count(store.table("visit", changes="trigger"), at="made")})
    filled(store, rollup(store), other)
    store.insert("visit", [row(99, 1, 4)])
    assert [run.cells for run in store.fold(rollups=["Visits"])] == [1]
    assert [run.cells for run in store.fold(rollups=["Days"])] == [1]
    assert visits(store) == truth(store)


def test_edited_definition_has_its_triggers_before_its_backfill(store: Ground) -> None:
    """Triggers are older than the definition until they are installed again; then they log the new key's cells."""
    filled(store)
    by_amount = rollup(store, key="amount")
    store.define(by_amount)
    assert states(store) == [("older", "its triggers are older than the definition of Visits")]
    store.opened.track_install()
    [run] = store.fold()
    assert run.warnings == []
    store.insert("visit", [row(99, 1, 4)])
    assert cells(store) == {"Visits": 1}
    assert store.stored("SELECT visits FROM visits WHERE amount = '99'") == [(1,)]


def test_marks_of_an_older_definition_are_not_read_as_cells_of_the_new_one(store: Ground) -> None:
    """Triggers of the old key go on logging while the edit is folded by lookback, and then with triggers."""
    filled(store)
    store.define(rollup(store, key=("shop", "amount")))
    store.opened.track_install()
    store.define(rollup(store, key="amount"))
    store.insert("visit", [row(99, 1, 4)])
    [run] = store.fold()
    assert "its triggers are older than the definition of Visits" in run.warnings[0]
    store.insert("visit", [row(100, 1, 5)])
    store.fold()
    store.opened.track_install()
    store.fold()
    found = store.stored("SELECT amount, day, visits FROM visits ORDER BY 1, 2")
    expected = store.source(
        "SELECT amount, CAST(made AT TIME ZONE 'UTC' AS DATE), count(*) FROM visit GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert sorted(found) == sorted(expected)


def test_edit_that_is_taken_back_finds_what_it_missed(store: Ground) -> None:
    """The triggers followed the edit; the first definition's cells were not logged meanwhile."""
    filled(store)
    store.define(rollup(store, key="amount"))
    store.opened.track_install()
    store.insert("visit", [row(99, 1, 4)])
    store.define(rollup(store))
    store.opened.track_install()
    store.fold()
    assert visits(store) == truth(store)


def test_another_metric_of_the_row_is_a_change(store: Ground) -> None:
    """Only columns that some rollup uses are compared, and those of all its metrics are."""
    text = store.table("visit", changes="trigger")
    total = Sum(text, "amount::bigint", at="made")
    filled(store, rollup(store, total=total))
    store.source("UPDATE visit SET amount = '1000' WHERE id = 5")
    assert cells(store) == {"Visits": 1}


def test_plan_says_where_triggers_are_missing_or_older(store: Ground) -> None:
    """Before the first fold, and after an edit; not while they stand."""
    said = "visit is folded by lookback: its triggers are missing, or older than the definitions; dayfold track install"
    store.load("visit", DDL, [row(n) for n in range(5)])
    store.define(rollup(store))
    assert planned(store) == [said]
    store.opened.track_install()
    assert planned(store) == []
    store.fold()
    assert planned(store) == []
    store.define(rollup(store, key="amount"))
    assert planned(store) == [said]
    store.opened.track_install()
    assert planned(store) == []


def planned(ground: Ground) -> list[str]:
    """What a plan of the one rollup warns of."""
    [plan] = ground.opened.plan()
    return plan.warnings


# -- the application's statements ------------------------------------------------------------------


def test_value_that_cannot_be_read_does_not_break_the_statement(postgres: Ground) -> None:
    """The row goes in, every cell is marked, and the fold says what is wrong with the value."""
    total = Sum(postgres.table("visit", changes="trigger"), "1", at="made", where="amount::bigint > 3")
    filled(postgres, rollup(postgres, total=total))
    postgres.insert("visit", [{**row(99), "amount": "many"}])
    [run] = postgres.opened.fold()
    assert run.status == "partial"
    postgres.source("UPDATE visit SET amount = '7' WHERE id = 99")
    assert [run.error for run in postgres.opened.fold()] == [None]
    assert visits(postgres) == truth(postgres)


def test_log_that_is_gone_does_not_break_the_statement(postgres: Ground) -> None:
    """A DBA dropped it: the application goes on, and folds say that the triggers are of no use."""
    if postgres.pairing.same:
        pytest.skip("the log is the ledger itself")
    filled(postgres)
    postgres.source("DROP TABLE dayfold_track.marks")
    postgres.insert("visit", [row(99, 1, 11)])
    [run] = postgres.fold()
    assert "because it has no triggers" in run.warnings[0]
    assert visits(postgres) == truth(postgres)


def test_rows_written_by_an_application_user_without_rights_are_logged(postgres: Ground) -> None:
    """The function runs as its owner; the application's user needs no right on the log, nor its own search path."""
    filled(postgres)
    with role(postgres, "GRANT INSERT, SELECT ON visit TO {role}") as url, psycopg.connect(url) as connection:
        connection.execute("SET search_path = ''")
        connection.execute("SET TimeZone = 'Asia/Kathmandu'")
        connection.execute("INSERT INTO public.visit VALUES (99, 1, 'x', '2026-03-04 23:30+00')")
        log = "public.dayfold__marks" if postgres.pairing.same else "dayfold_track.marks"
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(f"SELECT * FROM {log}")
    assert cells(postgres) == {"Visits": 1}
    assert visits(postgres) == truth(postgres)


def test_missing_right_is_named_with_the_statements_for_a_dba(postgres: Ground) -> None:
    """Nothing is half installed; --sql prints what a DBA runs, and that is enough."""
    postgres.load("visit", DDL, [row(n) for n in range(5)])
    grants = "GRANT SELECT ON visit TO {role}"
    if postgres.pairing.same:
        grants += "; GRANT CREATE ON SCHEMA public TO {role}"
    with role(postgres, grants) as url:
        config = postgres.config
        postgres.config = swapped(config, postgres.pairing.source, url)
        postgres.define(rollup(postgres))
        with pytest.raises(DayfoldError, match="permission denied") as refused:
            postgres.opened.track_install()
        assert 'Its user needs TRIGGER on "visit"' in refused.value.hint
        assert "dayfold track install visit --sql" in refused.value.hint
        assert states(postgres) == [("missing", "it has no triggers")]
        texts = [text for _, _, found in postgres.opened.installer().statements() for text in found]
        for text in texts:
            postgres.source(text)
        assert states(postgres) == [("ok", "")]
        postgres.fold()
        postgres.insert("visit", [row(99, 1, 4)])
        assert cells(postgres) == {"Visits": 1}
        postgres._close()
        postgres.config = config


@contextlib.contextmanager
def role(ground: Ground, grants: str) -> Iterator[str]:
    """A user of the source database with these rights only; its address."""
    name = f"app_{urlsplit(ground.pairing.source).path.strip('/')}"
    ground.source(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    for grant in grants.split("; "):
        ground.source(grant.format(role=name))
    parts = urlsplit(ground.pairing.source)
    try:
        yield urlunsplit(parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}"))
    finally:
        ground._close()
        ground.source(f"DROP OWNED BY {name} CASCADE")
        ground.source(f"DROP ROLE {name}")


def swapped(config: Any, old: str, new: str) -> Any:
    if isinstance(config, dict):
        return {name: swapped(value, old, new) for name, value in config.items()}
    return new if config == old else config


# -- shapes of tables ------------------------------------------------------------------------------


def test_partitions_are_tracked_and_a_new_one_is_missed_aloud(postgres: Ground) -> None:
    """Statements sent straight to a partition are seen; a partition attached later is named until it is installed."""
    postgres.source(
        "CREATE TABLE visit (id bigint, shop bigint, amount text, made timestamptz) PARTITION BY RANGE (made)"
    )
    postgres.source("CREATE TABLE visit_early PARTITION OF visit FOR VALUES FROM ('2026-03-01') TO ('2026-03-05')")
    postgres.source("CREATE TABLE visit_late PARTITION OF visit FOR VALUES FROM ('2026-03-05') TO ('2026-04-01')")
    postgres.insert("visit", [row(n, n % 3, n % 9 + 1) for n in range(30)])
    postgres.define(rollup(postgres))
    postgres.opened.track_install()
    postgres.fold()
    postgres.insert("visit_late", [row(99, 1, 8)])
    postgres.insert("visit", [row(100, 1, 2)])
    assert cells(postgres) == {"Visits": 2}
    postgres.source("UPDATE visit SET made = '2026-03-02 12:00+00' WHERE id = 99")
    assert cells(postgres) == {"Visits": 2}
    postgres.source("CREATE TABLE visit_old PARTITION OF visit FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')")
    assert states(postgres) == [("missing", "its partition visit_old has no triggers")]
    postgres.opened.track_install()
    postgres.fold()
    postgres.source("INSERT INTO visit_old VALUES (101, 1, 'x', '2026-02-03 12:00+00')")
    postgres.fold()
    assert visits(postgres) == truth(postgres)


def test_view_is_refused_with_the_way_out(postgres: Ground) -> None:
    """Triggers with transition tables are for tables."""
    postgres.source("CREATE VIEW visit AS SELECT 1::bigint AS shop, now() AS made")
    postgres.define(rollup(postgres))
    with pytest.raises(UsageError, match="visit is no table but a view") as refused:
        postgres.opened.track_install()
    assert "Table(sql=…, reads=[…])" in refused.value.hint


def test_removing_leaves_nothing_of_ours(postgres: Ground) -> None:
    """Triggers, function, and the schema of ours in a database that is only a source."""
    filled(postgres)
    assert postgres.opened.track_remove() == ["visit"]
    assert postgres.opened.track_remove() == []
    left = postgres.source(
        "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'dayfold%'), "
        "(SELECT count(*) FROM pg_proc WHERE proname LIKE 'dayfold%'), "
        "(SELECT count(*) FROM pg_namespace WHERE nspname = 'dayfold_track')"
    )
    assert left == [(0, 0, 0)]
    postgres.insert("visit", [row(99, 1, 11)])
    postgres.fold()
    assert visits(postgres) == truth(postgres)


def test_unknown_table_and_no_table_at_all(store: Ground) -> None:
    """Each says what there is."""
    filled(store)
    with pytest.raises(UnknownName, match="No definition tracks a table 'visits'; the nearest is 'visit'"):
        store.opened.track_install(["visits"])
    store.define(type("Plain", (Rollup,), {"visits": Count(store.table("visit"), at="made")}))
    with pytest.raises(UsageError, match="No definition asks for triggers"):
        store.opened.track_install()


def test_duckdb_file_that_is_only_read_has_no_triggers(new_duckdb: Any) -> None:
    """A definition error that names the other ways."""
    from tests.conftest import Pairing

    with Ground(Pairing("files", new_duckdb("a"), new_duckdb("b"))) as ground:
        ground.load("visit", DDL, [row(1)])
        ground.define(rollup(ground))
        with pytest.raises(DefinitionError, match="is for tables of the store's own file"):
            ground.opened.fold()


def test_the_same_table_told_in_two_ways_is_an_error(store: Ground) -> None:
    """One rollup would be folded by triggers and the other by lookback."""
    plain = type("Plain", (Rollup,), {"visits": Count(Table("visit"), at="made")})
    tracked = type("Tracked", (Rollup,), {"visits": Count(Table("visit", changes="trigger"), at="made")})
    store.define(plain, tracked)
    with pytest.raises(DefinitionError, match="it tells its changes in another way than the same source in"):
        store.opened.fold()


def test_first_row_of_an_empty_table_is_folded_as_a_cell(store: Ground) -> None:
    """Its day was folded while nothing was there, and the rollup's table has no row and no index yet."""
    store.load("visit", DDL, [])
    store.define(rollup(store))
    store.opened.track_install()
    store.fold()
    store.insert("visit", [row(1, 1, 12)])
    assert cells(store) == {"Visits": 1}
    assert visits(store) == truth(store)
    store.source("TRUNCATE visit")
    store.fold()
    store.insert("visit", [row(2, 1, 12)])
    store.fold()
    assert visits(store) == truth(store)


def test_row_older_than_history_that_came_before_the_triggers_is_found(store: Ground) -> None:
    """History begins where the source does when everything is looked at."""
    store.load("visit", DDL, [row(n) for n in range(5)])
    store.define(rollup(store))
    store.fold()
    store.source("INSERT INTO visit VALUES (9, 2, 'x', TIMESTAMPTZ '2025-11-03 12:00:00+00')")
    store.opened.track_install()
    store.fold()
    assert visits(store) == truth(store)


def test_source_that_begins_to_stamp_its_rows_loses_no_half_day(store: Ground) -> None:
    """The day that was open at the last fold by lookback is folded whole once more."""
    store.load("visit", DDL + ", seen timestamptz", [{**row(n, 1, 12), "seen": march(12)} for n in range(5)])
    store.define(type("Visits", (Rollup,), {"key": "shop", "visits": Count(store.table("visit"), at="made")}))
    store.fold()
    store.insert("visit", [{**row(9, 2, 12), "seen": march(12, 13)}])
    store.clock.instant = march(14)
    stamped = store.table("visit", changes="seen")
    store.define(type("Visits", (Rollup,), {"key": "shop", "visits": Count(stamped, at="made")}))
    store.fold()
    assert visits(store) == truth(store)


def test_two_stores_over_one_source_do_not_take_each_others_marks(new_postgres: Any, new_duckdb: Any) -> None:
    """The triggers are those of one store; the other is told that they are not its own, and loses nothing."""
    from tests.conftest import Pairing

    source = new_postgres()
    with (
        Ground(Pairing("one", source, new_duckdb("one"))) as one,
        Ground(Pairing("other", source, new_duckdb("other"))) as other,
    ):
        filled(one)
        other.define(rollup(other))
        [run] = other.fold()
        assert "its triggers are older than the definition of Visits" in run.warnings[0]
        one.insert("visit", [row(99, 1, 4)])
        other.fold()
        assert cells(one) == {"Visits": 1}
        assert visits(one) == truth(one)


def test_installing_gives_up_where_a_transaction_holds_the_table(
    postgres: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers would wait behind it; the error says what is in the way."""
    monkeypatch.setattr(install, "_LOCK_SECONDS", 1)
    postgres.load("visit", DDL, [row(1)])
    postgres.define(rollup(postgres))
    with psycopg.connect(postgres.pairing.source) as writer:
        writer.execute("INSERT INTO visit VALUES (2, 1, 'x', now())")
        with pytest.raises(DayfoldError, match="another transaction holds the table"):
            postgres.opened.track_install()
    assert states(postgres) == [("missing", "it has no triggers")]
