"""Customers of salons over their whole life, and what each location did on each day.

The tables tell their changes by triggers (`dayfold track install`): a refresh computes the customers whose rows changed, and those
whom the calendar changes, over all their years. Without the triggers every refresh computes everybody.

- Today is the UTC day of the refresh, and `now()` its first moment. "The last 30 days" are today and the 30 days before it.
- A visit is an accepted booking that began by the end of today; what is accepted and begins later is the next booking.
- Of several bookings at one moment the one with the lower id came first. Whatever is NULL is left out of firsts, lasts and favourites.
- A booking or payment without a customer is a walk-in: it counts for its location, and for no customer.
"""

from dayfold import (
    Avg,
    Case,
    Check,
    Cohort,
    Collect,
    Count,
    Distinct,
    Exists,
    First,
    Formula,
    Funnel,
    Last,
    Max,
    Min,
    Mode,
    Profile,
    Ratio,
    Rollup,
    Size,
    Sum,
    Table,
)

customer = Table("customers", changes="trigger", columns={"square_customer_id": "id"})
booking = Table("bookings", changes="trigger", columns={"square_customer_id": "customer_id"})
payment = Table("payments", changes="trigger", columns={"square_customer_id": "customer_id"})
referral = Table("referral_profiles", changes="trigger", columns={"square_customer_id": "customer_id"})

ACCEPTED = "status = 'ACCEPTED'"
BEGUN = "start_at < now() + interval '1 day'"
VISIT = f"{ACCEPTED} and {BEGUN}"
NEXT = f"{ACCEPTED} and start_at >= now() + interval '1 day'"
PAID = "status = 'COMPLETED'"
NOTED = "note <> ''"


def within(days, moment, *conditions):
    """Today and so many days before it."""
    window = f"{moment} >= now() - interval '{days} days' and {moment} < now() + interval '1 day'"
    return " and ".join([*conditions, window])


class CustomerAnalytics(Profile):
    """One row for each customer of each organization, over their whole life."""

    table = "customer_analytics"
    key = ("organization_id", "square_customer_id")
    index = ["last_booking_at", "first_booking_at", "customer_segment", "total_revenue_cents", "is_referrer"]  # noqa: RUF012

    #: Customers are new so many days from their first booking, active and at risk so many days from their last visit.
    NEW_DAYS, ACTIVE_DAYS, AT_RISK_DAYS = 30, 60, 120
    #: The least revenue of each tier.
    VIP_CENTS, HIGH_CENTS, MEDIUM_CENTS = 150_000, 60_000, 15_000
    #: What a booking without a show takes from a score of 100, and what a cancelled one does, as shares of all bookings.
    NO_SHOW_COST, CANCELLATION_COST = 100, 50
    #: The newest notes that are kept.
    NOTES = 20

    customer_created_at = Min(customer, "created_at")

    first_booking_at = Min(booking, "start_at", where=ACCEPTED)
    last_booking_at = Max(booking, "start_at", where=VISIT)
    next_booking_at = Min(booking, "start_at", where=NEXT)
    first_location_id = First(booking, "location_id", at="start_at", ties="id", where=ACCEPTED)
    last_location_id = Last(booking, "location_id", at="start_at", ties="id", where=VISIT)
    first_service_id = First(booking, "service_id", at="start_at", ties="id", where=ACCEPTED)
    last_service_id = Last(booking, "service_id", at="start_at", ties="id", where=VISIT)

    total_bookings = Count(booking)
    total_accepted_bookings = Count(booking, where=ACCEPTED)
    total_cancelled = Count(booking, where="status = 'CANCELLED'")
    total_no_shows = Count(booking, where="status = 'NO_SHOW'")
    total_pending = Count(booking, where="status = 'PENDING'")
    # By the day of the appointment, whatever became of it.
    bookings_30d = Count(booking, where=within(30, "start_at"))
    bookings_90d = Count(booking, where=within(90, "start_at"))
    bookings_365d = Count(booking, where=within(365, "start_at"))
    no_shows_90d = Count(booking, where=within(90, "start_at", "status = 'NO_SHOW'"))
    cancellations_90d = Count(booking, where=within(90, "start_at", "status = 'CANCELLED'"))
    # Of all bookings, upcoming ones too.
    no_show_rate = Ratio("total_no_shows", "total_bookings")
    cancellation_rate = Ratio("total_cancelled", "total_bookings")
    acceptance_rate = Ratio("total_accepted_bookings", "total_bookings")

    # Below zero while the first booking is still to come.
    days_since_first_booking = Formula("now()::date - first_booking_at::date")
    days_since_last_booking = Formula("now()::date - last_booking_at::date")
    days_until_next_booking = Formula("next_booking_at::date - now()::date")
    # Null with fewer than two visits.
    avg_days_between_visits = Formula("(last_booking_at::date - first_booking_at::date) / (visits - 1)")
    # A month is 30.4375 days, and the time runs from the day of the first visit to today, both included.
    visits_per_month = Formula(
        "case when days_since_first_booking >= 0 then visits * 30.4375 / (days_since_first_booking + 1) end"
    )
    # Different calendar months with a visit.
    active_months = Distinct(booking, "date_trunc('month', start_at)", where=VISIT)

    # The most frequent among accepted bookings; of several, the least value. Monday is 1, hours are UTC.
    favourite_location_id = Mode(booking, "location_id", where=ACCEPTED)
    favourite_service_id = Mode(booking, "service_id", where=ACCEPTED)
    favourite_team_member_id = Mode(booking, "team_member_id", where=ACCEPTED)
    favourite_weekday = Mode(booking, "extract(isodow from start_at)", where=ACCEPTED)
    favourite_hour = Mode(booking, "extract(hour from start_at)", where=ACCEPTED)
    locations_count = Distinct(booking, "location_id", where=ACCEPTED)
    services_count = Distinct(booking, "service_id", where=ACCEPTED)
    team_members_count = Distinct(booking, "team_member_id", where=ACCEPTED)
    total_booked_minutes = Sum(booking, "duration_minutes", where=ACCEPTED)
    avg_booked_minutes = Avg(booking, "duration_minutes", where=ACCEPTED)

    # Revenue is what was paid and not given back, without tips.
    total_revenue_cents = Sum(payment, "amount_cents", where=PAID)
    payments_count = Count(payment, where=PAID)
    avg_ticket_cents = Ratio("total_revenue_cents", "payments_count")
    min_ticket_cents = Min(payment, "amount_cents", where=PAID)
    max_ticket_cents = Max(payment, "amount_cents", where=PAID)
    first_payment_at = Min(payment, "paid_at", where=PAID)
    last_payment_at = Max(payment, "paid_at", where=PAID)
    last_payment_cents = Last(payment, "amount_cents", at="paid_at", ties="id", where=PAID)
    refunded_cents = Sum(payment, "amount_cents", where="status = 'REFUNDED'")
    refunds_count = Count(payment, where="status = 'REFUNDED'")
    failed_payments_count = Count(payment, where="status = 'FAILED'")
    tips_cents = Sum(payment, "tip_cents", where=PAID)
    revenue_30d_cents = Sum(payment, "amount_cents", where=within(30, "paid_at", PAID))
    revenue_90d_cents = Sum(payment, "amount_cents", where=within(90, "paid_at", PAID))
    revenue_365d_cents = Sum(payment, "amount_cents", where=within(365, "paid_at", PAID))
    revenue_per_visit_cents = Ratio("total_revenue_cents", "visits")

    # A customer merged from several has several referral profiles.
    is_referrer = Exists(referral, where="activated_at is not null")
    referrals_count = Sum(referral, "referrals_count")
    referred_by_customer_id = First(referral, "referred_by_customer_id", at="created_at", ties="id")
    referral_rewards_cents = Sum(referral, "rewards_cents")

    # The newest first, of bookings of any status.
    booking_notes = Collect(booking, "note", at="start_at", ties="id", most=NOTES, newest=True, where=NOTED)
    booking_notes_count = Count(booking, where=NOTED)
    last_note_at = Max(booking, "start_at", where=NOTED)

    # The first that holds.
    customer_segment = Case(
        {
            "prospect": "total_accepted_bookings = 0",
            "new": f"days_since_first_booking <= {NEW_DAYS}",
            "active": f"days_since_last_booking <= {ACTIVE_DAYS}",
            "at_risk": f"days_since_last_booking <= {AT_RISK_DAYS}",
        },
        default="lost",
    )
    value_tier = Case(
        {
            "vip": f"total_revenue_cents >= {VIP_CENTS}",
            "high": f"total_revenue_cents >= {HIGH_CENTS}",
            "medium": f"total_revenue_cents >= {MEDIUM_CENTS}",
            "low": "total_revenue_cents > 0",
        },
        default="none",
    )
    # From 0 to 100: 100 with every booking kept. Null without a booking.
    reliability_score = Formula(
        f"(100 * total_bookings - {NO_SHOW_COST} * total_no_shows - {CANCELLATION_COST} * total_cancelled) / total_bookings"
    )

    # Beside the columns above: what averages per visit divide by.
    visits = Count(booking, where=VISIT)


# A new customer belongs to the location of the first accepted booking, once in each organization.
new_customer = CustomerAnalytics.source(columns={"location_id": "first_location_id"})


class AnalyticsAppointmentsByLocationDaily(Rollup):
    """What each location did on each day. Walk-ins are appointments, and never new customers."""

    key = ("organization_id", "location_id")

    appointments = Count(booking, at="start_at", where=ACCEPTED)
    no_shows = Count(booking, at="start_at", where="status = 'NO_SHOW'")
    revenue_cents = Sum(payment, "amount_cents", at="paid_at", where=PAID)
    # The day of the first accepted booking, and not the one on which the record was made.
    new_customers = Count(new_customer, at="first_booking_at")


class CustomerSegmentsDaily(Rollup):
    """How many customers each segment had at the end of each day, as the last refresh of that day left it."""

    key = ("organization_id", "customer_segment")

    customers = Size(CustomerAnalytics)


class CustomerDaily(Rollup):
    """What each customer did on each day."""

    key = ("organization_id", "square_customer_id")

    visits = Count(booking, at="start_at", where=ACCEPTED)
    no_shows = Count(booking, at="start_at", where="status = 'NO_SHOW'")
    revenue_cents = Sum(payment, "amount_cents", at="paid_at", where=PAID)


class BookingRetention(Cohort):
    """Who comes back, and what they pay, by when they first booked."""

    profile = CustomerAnalytics
    start = "first_booking_at"
    activity = CustomerDaily
    active = "visits > 0"
    values = "revenue_cents"


class BookingFunnel(Funnel):
    """From the customer's record to the first booking and the first payment."""

    profile = CustomerAnalytics
    steps = ("customer_created_at", "first_booking_at", "first_payment_at")
    window_days = 60


# -- what must hold of the stored rows: checked after every fold that wrote some, and by `dayfold verify` ----------------------
# They compare with the tables as they are when they run: what arrived since the fold shows as a difference until the next one.


class NoDuplicateCustomers(Check):
    """A customer of an organization has one row."""

    of = CustomerAnalytics
    query = """
        select organization_id, square_customer_id from customer_analytics
        group by organization_id, square_customer_id having count(*) > 1
    """


class FirstBookingIsNotAfterLast(Check):
    """The first accepted booking is not after the last visit, and the next one is after both."""

    of = CustomerAnalytics
    query = """
        select organization_id, square_customer_id from customer_analytics
        where first_booking_at > last_booking_at or last_booking_at >= next_booking_at or first_booking_at > next_booking_at
    """


class CountsEqualTheSource(Check):
    """Each customer has the bookings that the table has, and so many of each status."""

    of = CustomerAnalytics
    query = """
        select coalesce(a.organization_id, b.organization_id), coalesce(a.square_customer_id, b.customer_id)
        from customer_analytics as a
        full join (
            select
                organization_id,
                customer_id,
                count(*) as bookings,
                count(*) filter (where status = 'ACCEPTED') as accepted,
                count(*) filter (where status = 'CANCELLED') as cancelled,
                count(*) filter (where status = 'NO_SHOW') as no_shows,
                count(*) filter (where status = 'PENDING') as pending
            from bookings
            where customer_id is not null
            group by organization_id, customer_id
        ) as b on b.organization_id = a.organization_id and b.customer_id = a.square_customer_id
        where coalesce(a.total_bookings, -1) <> coalesce(b.bookings, 0)
            or a.total_accepted_bookings <> coalesce(b.accepted, 0)
            or a.total_cancelled <> coalesce(b.cancelled, 0)
            or a.total_no_shows <> coalesce(b.no_shows, 0)
            or a.total_pending <> coalesce(b.pending, 0)
    """


class RevenueEqualsTheSource(Check):
    """The customers' revenue is what customers paid, to the cent."""

    of = CustomerAnalytics
    left = "select coalesce(sum(total_revenue_cents), 0) from customer_analytics"
    right = "select coalesce(sum(amount_cents), 0) from payments where status = 'COMPLETED' and customer_id is not null"


class NoCustomerIsMissing(Check):
    """Whoever has a record, a booking, a payment or a referral profile has a row."""

    of = CustomerAnalytics
    query = """
        select organization_id, id from customers
        union
        select organization_id, customer_id from bookings where customer_id is not null
        union
        select organization_id, customer_id from payments where customer_id is not null
        union
        select organization_id, customer_id from referral_profiles
        except
        select organization_id, square_customer_id from customer_analytics
    """


class NoCustomerIsInvented(Check):
    """Whoever has a row has a record, a booking, a payment or a referral profile."""

    of = CustomerAnalytics
    query = """
        select organization_id, square_customer_id from customer_analytics
        except
        (
            select organization_id, id from customers
            union
            select organization_id, customer_id from bookings
            union
            select organization_id, customer_id from payments
            union
            select organization_id, customer_id from referral_profiles
        )
    """


class SegmentsFollowFromDates(Check):
    """The segment is what the dates make it, on the one day that all of a row's dates are told from."""

    of = CustomerAnalytics
    query = f"""
        select organization_id, square_customer_id from customer_analytics
        where customer_segment <> case
                when first_booking_at is null then 'prospect'
                when days_since_first_booking <= {CustomerAnalytics.NEW_DAYS} then 'new'
                when days_since_last_booking <= {CustomerAnalytics.ACTIVE_DAYS} then 'active'
                when days_since_last_booking <= {CustomerAnalytics.AT_RISK_DAYS} then 'at_risk'
                else 'lost'
            end
            or (first_booking_at at time zone 'UTC')::date + days_since_first_booking::integer
                <> (last_booking_at at time zone 'UTC')::date + days_since_last_booking::integer
    """


class NewCustomersEqualFirstBookings(Check):
    """Every customer whose first accepted booking has come was new on one day, at one location."""

    of = (CustomerAnalytics, AnalyticsAppointmentsByLocationDaily)
    left = "select coalesce(sum(new_customers), 0) from analytics_appointments_by_location_daily"
    right = "select count(*) from customer_analytics where days_since_first_booking >= 0"
