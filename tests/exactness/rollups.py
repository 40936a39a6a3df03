"""The rollups that histories are folded into, each said twice: for the product and for the oracle."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from tests.exactness.oracle import Computed, Measure, Row, Spec, ratio

#: One table with every kind of moment; every column but ``id`` may be NULL.
TABLE = "fact"
DDL = """
    id bigint, tenant text, shop bigint, made_at timestamptz, paid_at timestamp, due date,
    amount numeric(12,2), units bigint, huge bigint, buyer text, state text
"""
#: Far enough back that every fold looks at every day of a history.
WHOLE_HISTORY_DAYS = 3660


def definitions(database: str | None, lookback_days: int = WHOLE_HISTORY_DAYS) -> list[type[Any]]:
    """The rollups for the product, over the table in the given database."""
    from dayfold import Avg, Count, Distinct, Formula, Gauge, Increase, Max, Min, Ratio, Rollup, Sum, Table

    fact = Table(TABLE, database=database)

    class ShopDaily(Rollup):
        """A key of two columns, two moments, every kind of metric."""

        key = ("tenant", "shop")
        lookback = lookback_days

        made = Count(fact, at="made_at")
        paid = Count(fact, at="paid_at", where="state = 'paid'")
        revenue = Sum(fact, "amount", at="paid_at", where="state = 'paid'")
        units = Sum(fact, "units", at="made_at")
        least = Min(fact, "huge", at="made_at")
        most = Max(fact, "amount", at="paid_at")
        mean = Avg(fact, "amount", at="made_at")
        buyers = Distinct(fact, "buyer", at="made_at")
        level = Gauge(fact, "units", at="made_at", over_keys="sum")
        held = Gauge(fact, "amount", at="paid_at", over_keys="max", carry=True)
        grown = Increase(fact, "units", per="buyer", at="made_at", where="units >= 0")
        risen = Increase(fact, "units", per=["state", "shop"], at="paid_at", where="units >= 0 and buyer <> 'ann'")
        worth = Ratio("revenue", "made")
        spread = Formula("most - coalesce(revenue, 0) * 2")

    class PlatformDaily(Rollup):
        """No key, a date for a moment."""

        lookback = lookback_days

        falling_due = Count(fact, at="due")
        owed = Sum(fact, "amount", at="due", where="state <> 'paid'")
        debtors = Distinct(fact, "buyer", at="due", where="state IS DISTINCT FROM 'paid'")

    class TenantQuarterHours(Rollup):
        """Buckets of 15 minutes, for days of any time zone."""

        key = "tenant"
        grain = "15min"
        lookback = lookback_days

        made = Count(fact, at="made_at")
        units = Sum(fact, "units", at="made_at")
        buyers = Distinct(fact, "buyer", at="made_at")
        peak = Max(fact, "huge", at="made_at")

    return [ShopDaily, PlatformDaily, TenantQuarterHours]


def told_definitions(database: str | None, edited: bool) -> list[type[Any]]:
    """The same over a table whose triggers tell what changed, and one folded from the quarter hours.

    ``edited``: the platform has another key and another filter.
    """
    from dayfold import Count, Distinct, Increase, Max, Rollup, Sum, Table

    fact = Table(TABLE, database=database, changes="trigger")

    class ShopDaily(Rollup):
        """A key of two columns, two moments; NULLs in both."""

        key = ("tenant", "shop")

        made = Count(fact, at="made_at")
        revenue = Sum(fact, "amount", at="paid_at", where="state = 'paid'")
        buyers = Distinct(fact, "buyer", at="made_at")
        grown = Increase(fact, "units", per="buyer", at="made_at", where="units >= 0")
        greater = Increase(fact, "huge", per="buyer", at="made_at", where="huge >= 0")
        owed = Increase(fact, "amount", per=["state", "buyer"], at="paid_at", where="amount >= 0")

    class TenantQuarterHours(Rollup):
        """Buckets of 15 minutes."""

        key = "tenant"
        grain = "15min"

        made = Count(fact, at="made_at")
        buyers = Distinct(fact, "buyer", at="made_at")
        peak = Max(fact, "huge", at="made_at")

    class Above(Rollup):
        """The whole platform, from the quarter hours of its tenants."""

        made = Sum(TenantQuarterHours, "made", at="day")
        buyers = Distinct(TenantQuarterHours, "buyers", at="day")
        peak = Max(TenantQuarterHours, "peak", at="day")

    class PlatformDaily(Rollup):
        """A date for a moment."""

        key = "tenant" if edited else ()

        falling_due = Count(fact, at="due")
        owed = Sum(fact, "amount", at="due", where="state = 'paid'" if edited else "state <> 'paid'")

    return [Above, ShopDaily, PlatformDaily, TenantQuarterHours]


def column(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


def _fact(kind: str, expr: str, at: str, **more: Any) -> Measure:
    return Measure(kind, TABLE, column(at), column(expr), **more)


def _count(at: str, **more: Any) -> Measure:
    return Measure("count", TABLE, column(at), **more)


def _is_paid(row: Row) -> bool | None:
    return row["state"] is not None and row["state"] == "paid"


def _is_known_unpaid(row: Row) -> bool | None:
    return row["state"] is not None and row["state"] != "paid"


def _is_not_paid(row: Row) -> bool | None:
    return row["state"] != "paid"


def _is_level(name: str) -> Callable[[Row], bool | None]:
    return lambda row: row[name] is not None and row[name] >= 0


def _spread(numbers: Any) -> float | None:
    if numbers["most"] is None:
        return None
    return float(numbers["most"]) - float(numbers["revenue"] or 0) * 2


SHOP_DAILY = Spec(
    ("tenant", "shop"),
    {
        "made": _count("made_at"),
        "paid": _count("paid_at", where=_is_paid),
        "revenue": _fact("sum", "amount", "paid_at", where=_is_paid),
        "units": _fact("sum", "units", "made_at"),
        "least": _fact("min", "huge", "made_at"),
        "most": _fact("max", "amount", "paid_at"),
        "mean": _fact("avg", "amount", "made_at"),
        "buyers": _fact("distinct", "buyer", "made_at"),
        "level": _fact("gauge", "units", "made_at", over_keys="sum"),
        "held": _fact("gauge", "amount", "paid_at", over_keys="max", carry=True),
        "grown": _fact("increase", "units", "made_at", where=_is_level("units"), per=column("buyer")),
        "risen": _fact(
            "increase",
            "units",
            "paid_at",
            where=lambda row: _is_level("units")(row) and row["buyer"] is not None and row["buyer"] != "ann",
            per=lambda row: (row["state"], row["shop"]),
        ),
        "worth": ratio("revenue", "made"),
        "spread": Computed(_spread),
    },
)

PLATFORM_DAILY = Spec(
    (),
    {
        "falling_due": _count("due"),
        "owed": _fact("sum", "amount", "due", where=_is_known_unpaid),
        "debtors": _fact("distinct", "buyer", "due", where=_is_not_paid),
    },
)

TENANT_QUARTER_HOURS = Spec(
    ("tenant",),
    {
        "made": _count("made_at"),
        "units": _fact("sum", "units", "made_at"),
        "buyers": _fact("distinct", "buyer", "made_at"),
        "peak": _fact("max", "huge", "made_at"),
    },
    grain=dt.timedelta(minutes=15),
)

#: Table to what the oracle expects in it.
SPECS = {
    "shop_daily": SHOP_DAILY,
    "platform_daily": PLATFORM_DAILY,
    "tenant_quarter_hours": TENANT_QUARTER_HOURS,
}
CLASSES = {
    "shop_daily": "ShopDaily",
    "platform_daily": "PlatformDaily",
    "tenant_quarter_hours": "TenantQuarterHours",
}


def told_specs(edited: bool) -> dict[str, Spec]:
    """What the oracle expects of `told_definitions`."""
    quarters = {name: TENANT_QUARTER_HOURS.metrics[name] for name in ("made", "buyers", "peak")}
    where = _is_paid if edited else _is_known_unpaid
    return {
        "shop_daily": Spec(
            ("tenant", "shop"),
            {
                **{name: SHOP_DAILY.metrics[name] for name in ("made", "revenue", "buyers", "grown")},
                "greater": _fact("increase", "huge", "made_at", where=_is_level("huge"), per=column("buyer")),
                "owed": _fact(
                    "increase",
                    "amount",
                    "paid_at",
                    where=_is_level("amount"),
                    per=lambda row: (row["state"], row["buyer"]),
                ),
            },
        ),
        "tenant_quarter_hours": Spec(("tenant",), quarters, grain=dt.timedelta(minutes=15)),
        "above": Spec((), quarters),
        "platform_daily": Spec(
            ("tenant",) if edited else (),
            {"falling_due": _count("due"), "owed": _fact("sum", "amount", "due", where=where)},
        ),
    }
