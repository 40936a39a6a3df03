"""The benchmark's rollups over very many events: one without, one with a Distinct."""

from dayfold import Count, Distinct, Max, Rollup, Sum, Table

event = Table("event")


class CountsDaily(Rollup):
    """What one account did on one day."""

    key = "account"
    lookback = 0

    events = Count(event, at="occurred_at")
    purchases = Count(event, at="occurred_at", where="kind = 'purchase'")
    revenue = Sum(event, "amount", at="occurred_at")
    biggest = Max(event, "amount", at="occurred_at")


class VisitorsDaily(Rollup):
    """The same, and how many visitors there were."""

    key = "account"
    lookback = 0

    events = Count(event, at="occurred_at")
    purchases = Count(event, at="occurred_at", where="kind = 'purchase'")
    revenue = Sum(event, "amount", at="occurred_at")
    biggest = Max(event, "amount", at="occurred_at")
    visitors = Distinct(event, "visitor", at="occurred_at")
