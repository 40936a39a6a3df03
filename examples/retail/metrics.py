"""Daily sales of a UK gift wholesaler, from its order lines.

The times in `order_line` are what the clock in the office showed, without a zone; the moment names the zone,
so that each line counts on its UTC day.
"""

from dayfold import Count, Distinct, Moment, Ratio, Rollup, Sum, Table

order_line = Table("order_line")
invoiced_at = Moment("invoiced_at", tz="Europe/London")


class SalesDaily(Rollup):
    """What the customers of one country ordered on one day, cancellations taken off."""

    key = "country"

    lines = Count(order_line, at=invoiced_at)
    orders = Distinct(order_line, "invoice", at=invoiced_at)
    customers = Distinct(order_line, "customer_id", at=invoiced_at)
    items = Sum(order_line, "quantity", at=invoiced_at)
    revenue = Sum(order_line, "quantity * price", at=invoiced_at)
    cancelled_lines = Count(order_line, at=invoiced_at, where="invoice LIKE 'C%'")
    revenue_per_order = Ratio("revenue", "orders")


class ProductDaily(Rollup):
    """What was ordered of one product on one day, cancellations taken off."""

    key = "stock_code"

    lines = Count(order_line, at=invoiced_at)
    customers = Distinct(order_line, "customer_id", at=invoiced_at)
    items = Sum(order_line, "quantity", at=invoiced_at)
    revenue = Sum(order_line, "quantity * price", at=invoiced_at)


class ReturnsDaily(Rollup):
    """What the customers of one country sent back or called off on one day."""

    key = "country"

    returned_lines = Count(order_line, at=invoiced_at, where="invoice LIKE 'C%'")
    returned_items = Sum(order_line, "-quantity", at=invoiced_at, where="invoice LIKE 'C%'")
    refunded = Sum(order_line, "-quantity * price", at=invoiced_at, where="invoice LIKE 'C%'")
