"""The benchmark's rollup without a Distinct, over a table with triggers."""

from dayfold import Count, Max, Rollup, Sum, Table

event = Table("event", changes="trigger")


class EventDaily(Rollup):
    """What one account did on one day."""

    key = "account"

    events = Count(event, at="occurred_at")
    purchases = Count(event, at="occurred_at", where="kind = 'purchase'")
    revenue = Sum(event, "amount", at="occurred_at")
    biggest = Max(event, "amount", at="occurred_at")
