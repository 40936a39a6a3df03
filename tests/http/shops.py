"""Shops with orders, for the HTTP tests."""

from __future__ import annotations

from typing import Any

from dayfold import Case, Cohort, Collect, Count, Distinct, Funnel, Max, Min, Profile, Ratio, Rollup, Sum
from tests.engines.ground import Ground, march

COLUMNS = "shop_id bigint, channel text, customer text, cents bigint, made_at timestamptz"


def order(shop: int | None, day: int, cents: int, channel: str = "web", customer: str = "c") -> dict[str, Any]:
    """One order."""
    return {"shop_id": shop, "channel": channel, "customer": customer, "cents": cents, "made_at": march(day)}


def rollups(ground: Ground) -> tuple[type[Rollup], ...]:
    """A rollup of each shop, one of each channel of a shop, and one of the platform."""
    made = ground.table("orders")

    class ShopDaily(Rollup):
        """Orders of one shop."""

        key = "shop_id"
        orders = Count(made, at="made_at")
        customers = Distinct(made, "customer", at="made_at")
        cents = Sum(made, "cents", at="made_at")
        per_order = Ratio("cents", "orders")

    class ChannelDaily(Rollup):
        """Orders of one channel of a shop."""

        key = ("shop_id", "channel")
        sales = Count(made, at="made_at")

    class PlatformDaily(Rollup):
        """Orders of everybody."""

        everything = Count(made, at="made_at")

    return ShopDaily, ChannelDaily, PlatformDaily


def studies(ground: Ground) -> tuple[type, ...]:
    """A profile of each shop's customers, what they do on a day, and a cohort and a funnel over both."""
    made = ground.table("orders")

    class Shoppers(Profile):
        """Customers of one shop."""

        key = ("shop_id", "customer")
        first_order_at = Min(made, "made_at")
        first_large_at = Min(made, "made_at", where="cents > 500")
        dearest = Max(made, "cents")

    class ShopperDaily(Rollup):
        """What a customer of a shop bought."""

        key = ("shop_id", "customer", "channel")
        paid = Sum(made, "cents", at="made_at")

    class Returning(Cohort):
        """Who comes back."""

        profile, start, activity, active, values = Shoppers, "first_order_at", ShopperDaily, "paid > 0", "paid"

    class Growing(Funnel):
        """From the first order to the first large one."""

        profile, steps, window_days = Shoppers, ("first_order_at", "first_large_at"), 5

    return Shoppers, ShopperDaily, Returning, Growing


def customers(ground: Ground) -> type[Profile]:
    """A profile of each customer of a shop."""
    made = ground.table("orders")

    class Customers(Profile):
        """One customer of a shop."""

        key = ("shop_id", "customer")
        orders = Count(made)
        cents = Sum(made, "cents")
        last_at = Max(made, "made_at")
        amounts = Collect(made, "cents", at="made_at", most=3)
        segment = Case({"regular": "orders > 2"}, default="new")

    return Customers
