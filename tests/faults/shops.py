"""What the fault tests fold: a few weeks of two sources, in many small chunks, in two versions."""

from __future__ import annotations

import datetime as dt
from typing import Any

from dayfold import Count, Distinct, Increase, NotReady, Rollup, Sum, Table, source
from dayfold.ledger.migrations import VIEWS
from tests.sql import Session, run_sql, store_config

NOW = dt.datetime(2026, 3, 20, 12, tzinfo=dt.UTC)
DDL = "shop bigint, who text, amount bigint, made timestamptz, stamped_at timestamptz"
#: Four facts a day and source, so that a backfill of twenty days takes five chunks.
CHUNK_ROWS = 32
STORE_KEY = "0123456789abcdef0123456789abcdef"


#: How the sources tell what changed, by version of the definitions.
CHANGES = {"tracked": "trigger", "tracked and edited": "trigger", "stamped": "stamped_at"}


def definitions(version: str, *, apart: bool = False) -> list[type[Any]]:
    """The rollup as it was first written, or ``edited``: another filter, a metric more, one less.

    ``tracked`` and ``stamped`` sources tell what changed, and a rollup of the whole platform is folded from the shops;
    ``fetched``: one source is a function, which is not ready on one day; ``fetched and corrected``: it is, and corrects another.
    ``removed``: only that of another table is left. ``salon``: see `tests.faults.salons`.
    """
    if version.startswith("salon"):
        from tests.faults import salons

        return salons.definitions(version)
    if version == "removed":
        return [type("Others", (Rollup,), {"n": Count(Table("payment"), at="made")})]
    if version in CHANGES:
        return _told(CHANGES[version], "app" if apart else None, edited="edited" in version)
    if version.startswith("fetched"):
        return _fetched(corrected="corrected" in version)
    request, payment = Table("request"), Table("payment")
    asked_where = "amount > 2" if version == "edited" else None
    metrics: dict[str, Any] = {
        "asked": Count(request, at="made", where=asked_where),
        "people": Distinct(request, "who", at="made"),
    }
    if version == "edited":
        metrics["least"] = Sum(payment, "amount * 3", at="made")
    else:
        metrics["paid"] = Sum(payment, "amount", at="made")
    return [type("Shops", (Rollup,), {"key": "shop", "lookback": 3, **metrics})]


def _fetched(*, corrected: bool) -> list[type[Any]]:
    @source(columns={"shop": "bigint", "amount": "bigint"}, since="2026-03-01", lookback=5)
    def ad_spend(day: dt.date) -> list[tuple[int, int]]:
        if day.day == 18 and not corrected:
            raise NotReady("the report comes later")
        return [(1, 99 if corrected and day.day == 16 else day.day), (2, 3)]

    metrics = {"asked": Count(Table("request"), at="made"), "spent": Sum(ad_spend, "amount")}
    return [type("Shops", (Rollup,), {"key": "shop", "lookback": 1, **metrics})]


def _told(changes: str, database: str | None, *, edited: bool = False) -> list[type[Any]]:
    request, payment = (Table(name, changes=changes, database=database) for name in ("request", "payment"))
    metrics = {
        "asked": Count(request, at="made"),
        "people": Distinct(request, "who", at="made"),
        "paid": Sum(payment, "amount * 2" if edited else "amount", at="made"),
        "grown": Increase(payment, "amount", per="who", at="made"),
    }
    lower = type("Shops", (Rollup,), {"key": "shop", **metrics})
    upper = {"asked": Sum(lower, "asked", at="day"), "people": Distinct(lower, "people", at="day")}
    return [lower, type("Platform", (Rollup,), upper)]


def config(store: str, source: str | None = None) -> dict[str, Any]:
    """What ``dayfold.toml`` would say; a test that wants the long view sets its variable."""
    databases = {"app": {"url": source}} if source else {}
    return {
        **store_config(store, long_view=""),
        "databases": databases,
        "fold": {"chunk_rows": CHUNK_ROWS, "wait_s": 30},
    }


def fill(url: str) -> None:
    """Twenty days of facts, some of a NULL shop."""
    start = NOW.replace(hour=9) - dt.timedelta(days=19)
    with Session(url) as session:
        for name in ("request", "payment"):
            session.run(f"CREATE TABLE {name} ({DDL})")
            rows = [
                {
                    "shop": [1, 2, None, 1][n % 4],
                    "who": f"p{n % 7}",
                    "amount": n % 5,
                    "made": start + dt.timedelta(hours=6 * n),
                    "stamped_at": start,
                }
                for n in range(78)
            ]
            session.insert(name, rows)


def change(url: str) -> None:
    """An update, a delete that empties a cell, and a late row, all within the lookback."""
    run_sql(url, "UPDATE request SET amount = 99 WHERE made >= TIMESTAMPTZ '2026-03-20 00:00:00+00'")
    run_sql(url, "DELETE FROM payment WHERE made >= TIMESTAMPTZ '2026-03-18 00:00:00+00' AND shop = 2")
    run_sql(url, "DELETE FROM request WHERE made >= TIMESTAMPTZ '2026-03-18 00:00:00+00' AND shop = 2")
    with Session(url) as session:
        late = NOW - dt.timedelta(days=2)
        session.insert("request", [{"shop": 7, "who": "new", "amount": 9, "made": late, "stamped_at": late}])


def change_far_back(url: str) -> None:
    """The same long before the lookback: a move between keys and days, a cell that goes, a late row; all stamped."""
    run_sql(
        url,
        "UPDATE request SET amount = 99, who = 'x', stamped_at = now() WHERE made < TIMESTAMPTZ '2026-03-03 00:00:00+00'",
    )
    run_sql(
        url,
        "UPDATE request SET shop = 2, stamped_at = now() WHERE shop = 1 AND made >= TIMESTAMPTZ '2026-03-05 00:00:00+00' AND "
        "made < TIMESTAMPTZ '2026-03-06 00:00:00+00'",
    )
    run_sql(
        url,
        "UPDATE payment SET amount = 5, stamped_at = now() WHERE made < TIMESTAMPTZ '2026-03-04 00:00:00+00' AND shop = 2",
    )
    with Session(url) as session:
        late = NOW - dt.timedelta(days=12)
        session.insert(
            "request", [{"shop": 7, "who": "new", "amount": 9, "made": late, "stamped_at": dt.datetime.now(dt.UTC)}]
        )


def legacy(url: str) -> None:
    """A table of earlier days that somebody kept before."""
    with Session(url) as session:
        session.run("CREATE TABLE legacy (day date, n bigint)")
        session.insert("legacy", [{"day": dt.date(2026, 2, 1 + n), "n": n} for n in range(20)])


#: What readers see, and the keys of these tables.
TABLES = (
    "shops",
    "shops__sets",
    "platform",
    "platform__sets",
    "others",
    "customers",
    "customers__sets",
    "new_customers",
)
KEYS = ("day", "shop", "org", "customer", "location")


def contents(url: str) -> dict[str, Any]:
    """All that readers can see: rows without their stamps, sets, coverage; receipts, and what is still marked."""
    found: dict[str, Any] = {}
    with Session(url) as session:
        for table in TABLES:
            names = [name for (name,) in session.run(COLUMNS, [table])]
            if not names and not table.startswith("shops"):
                continue
            columns = ", ".join(sorted(set(names) - {"created_at", "updated_at", "run_id"}))
            if names:
                order = ", ".join(f"{name} NULLS LAST" for name in KEYS if name in names)
                found[table] = session.run(f"SELECT {columns} FROM {table} ORDER BY {order}")
        found["coverage"] = session.run(
            "SELECT source, day, state, facts, reason FROM dayfold_coverage ORDER BY source, day"
        )
        found["receipts"] = session.run(
            "SELECT r.rollup, r.day, r.stored, r.digest, r.origin FROM dayfold__receipts AS r JOIN dayfold__rollups AS v "
            "ON v.rollup = r.rollup AND v.version = r.version ORDER BY 1, 2"
        )
        found["fetches"] = session.run("SELECT source, day, state, reason, held FROM dayfold__fetches ORDER BY 1, 2")
        found["fetched"] = [session.run(f"SELECT * FROM {name} ORDER BY day, shop") for (name,) in session.run(FETCHED)]
        found["marks"] = session.run("SELECT rollup, key, day FROM dayfold__marks ORDER BY 1, 2, 3")
        found["leftovers"] = session.run(LEFTOVERS)
    return found


COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
FETCHED = "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'dayfold\\_\\_source\\_%' ESCAPE '\\'"
LEFTOVERS = (
    "SELECT table_name FROM information_schema.tables "
    "WHERE table_name LIKE 'dayfold_%' AND table_name NOT LIKE 'dayfold\\_\\_%' ESCAPE '\\' "
    f"AND table_name NOT IN ({', '.join(repr(name) for name in VIEWS)})"
)
