-- The customers of a salon by hand: the columns of `examples/salon`, one row each, with the same key and indexes. Of the shapes tried
-- (histogram(), lists, grouping sets, struct or 128-bit keys) these are the fastest: a favourite and the number of different values
-- come from counting each value of a customer first, and what is first or last is found by one number made of moment and id.
-- make_timestamp(epoch_us(…)) is UTC at a tenth of the cost of what asks the time zone tables. $today is replaced.
BEGIN;

CREATE TABLE by_hand AS
WITH b AS NOT MATERIALIZED (
    SELECT
        organization_id, customer_id, id, location_id, service_id, team_member_id, duration_minutes, note, status, start_at,
        make_timestamp(epoch_us(start_at)) AS at_utc,
        status = 'ACCEPTED' AS accepted,
        status = 'ACCEPTED' AND start_at < $today::timestamptz + INTERVAL '1 day' AS visited,
        start_at < $today::timestamptz + INTERVAL '1 day' AS begun,
        epoch_us(start_at)::hugeint * 9223372036854775808 + id AS place
    FROM bookings
    WHERE customer_id IS NOT NULL
),
of_bookings AS (
    SELECT
        organization_id,
        customer_id,
        min(start_at) FILTER (accepted) AS first_booking_at,
        max(start_at) FILTER (visited) AS last_booking_at,
        min(start_at) FILTER (accepted AND NOT begun) AS next_booking_at,
        arg_min(location_id, place) FILTER (accepted) AS first_location_id,
        arg_max(location_id, place) FILTER (visited) AS last_location_id,
        arg_min(service_id, place) FILTER (accepted AND service_id IS NOT NULL) AS first_service_id,
        arg_max(service_id, place) FILTER (visited AND service_id IS NOT NULL) AS last_service_id,
        count(*) AS total_bookings,
        count(*) FILTER (accepted) AS total_accepted_bookings,
        count(*) FILTER (status = 'CANCELLED') AS total_cancelled,
        count(*) FILTER (status = 'NO_SHOW') AS total_no_shows,
        count(*) FILTER (status = 'PENDING') AS total_pending,
        count(*) FILTER (begun AND start_at >= $today::timestamptz - INTERVAL '30 days') AS bookings_30d,
        count(*) FILTER (begun AND start_at >= $today::timestamptz - INTERVAL '90 days') AS bookings_90d,
        count(*) FILTER (begun AND start_at >= $today::timestamptz - INTERVAL '365 days') AS bookings_365d,
        count(*) FILTER (begun AND start_at >= $today::timestamptz - INTERVAL '90 days' AND status = 'NO_SHOW') AS no_shows_90d,
        count(*) FILTER (begun AND start_at >= $today::timestamptz - INTERVAL '90 days' AND status = 'CANCELLED')
            AS cancellations_90d,
        coalesce(sum(duration_minutes) FILTER (accepted), 0)::bigint AS total_booked_minutes,
        avg(duration_minutes) FILTER (accepted) AS avg_booked_minutes,
        count(*) FILTER (visited) AS visits
    FROM b
    GROUP BY organization_id, customer_id
),
of_months AS (
    SELECT organization_id, customer_id, count(*) AS active_months
    FROM (SELECT DISTINCT organization_id, customer_id, date_trunc('month', at_utc) AS month FROM b WHERE visited)
    GROUP BY ALL
),
of_notes AS (
    SELECT organization_id, customer_id, list(note ORDER BY place DESC) AS notes, max(start_at) AS last_note_at
    FROM b
    WHERE note <> ''
    GROUP BY ALL
),
of_locations AS (
    SELECT organization_id, customer_id, arg_min(value, {'n': -n, 'value': value}) AS favourite_location_id, count(*) AS locations_count
    FROM (
        SELECT organization_id, customer_id, location_id AS value, count(*) AS n
        FROM b
        WHERE accepted AND value IS NOT NULL
        GROUP BY ALL
    )
    GROUP BY ALL
),
of_services AS (
    SELECT organization_id, customer_id, arg_min(value, {'n': -n, 'value': value}) AS favourite_service_id, count(*) AS services_count
    FROM (
        SELECT organization_id, customer_id, service_id AS value, count(*) AS n
        FROM b
        WHERE accepted AND value IS NOT NULL
        GROUP BY ALL
    )
    GROUP BY ALL
),
of_members AS (
    SELECT organization_id, customer_id, arg_min(value, {'n': -n, 'value': value}) AS favourite_team_member_id, count(*) AS members_count
    FROM (
        SELECT organization_id, customer_id, team_member_id AS value, count(*) AS n
        FROM b
        WHERE accepted AND value IS NOT NULL
        GROUP BY ALL
    )
    GROUP BY ALL
),
of_weekdays AS (
    SELECT organization_id, customer_id, arg_min(value, {'n': -n, 'value': value}) AS favourite_weekday, count(*) AS weekdays_count
    FROM (
        SELECT organization_id, customer_id, isodow(at_utc) AS value, count(*) AS n
        FROM b
        WHERE accepted AND value IS NOT NULL
        GROUP BY ALL
    )
    GROUP BY ALL
),
of_hours AS (
    SELECT organization_id, customer_id, arg_min(value, {'n': -n, 'value': value}) AS favourite_hour, count(*) AS hours_count
    FROM (
        SELECT organization_id, customer_id, hour(at_utc) AS value, count(*) AS n
        FROM b
        WHERE accepted AND value IS NOT NULL
        GROUP BY ALL
    )
    GROUP BY ALL
),
of_payments AS (
    SELECT
        organization_id,
        customer_id,
        coalesce(sum(amount_cents) FILTER (status = 'COMPLETED'), 0)::bigint AS total_revenue_cents,
        count(*) FILTER (status = 'COMPLETED') AS payments_count,
        min(amount_cents) FILTER (status = 'COMPLETED') AS min_ticket_cents,
        max(amount_cents) FILTER (status = 'COMPLETED') AS max_ticket_cents,
        min(paid_at) FILTER (status = 'COMPLETED') AS first_payment_at,
        max(paid_at) FILTER (status = 'COMPLETED') AS last_payment_at,
        arg_max(amount_cents, (paid_at, id)) FILTER (status = 'COMPLETED' AND paid_at IS NOT NULL) AS last_payment_cents,
        coalesce(sum(amount_cents) FILTER (status = 'REFUNDED'), 0)::bigint AS refunded_cents,
        count(*) FILTER (status = 'REFUNDED') AS refunds_count,
        count(*) FILTER (status = 'FAILED') AS failed_payments_count,
        coalesce(sum(tip_cents) FILTER (status = 'COMPLETED'), 0)::bigint AS tips_cents,
        coalesce(sum(amount_cents) FILTER (recent AND paid_at >= $today::timestamptz - INTERVAL '30 days'), 0)::bigint
            AS revenue_30d_cents,
        coalesce(sum(amount_cents) FILTER (recent AND paid_at >= $today::timestamptz - INTERVAL '90 days'), 0)::bigint
            AS revenue_90d_cents,
        coalesce(sum(amount_cents) FILTER (recent AND paid_at >= $today::timestamptz - INTERVAL '365 days'), 0)::bigint
            AS revenue_365d_cents
    FROM (
        SELECT *, status = 'COMPLETED' AND paid_at < $today::timestamptz + INTERVAL '1 day' AS recent
        FROM payments
        WHERE customer_id IS NOT NULL
    )
    GROUP BY organization_id, customer_id
),
of_referrals AS (
    SELECT
        organization_id,
        customer_id,
        bool_or(activated_at IS NOT NULL) AS is_referrer,
        coalesce(sum(referrals_count), 0)::bigint AS referrals_count,
        arg_min(referred_by_customer_id, (created_at, id)) FILTER (referred_by_customer_id IS NOT NULL)
            AS referred_by_customer_id,
        coalesce(sum(rewards_cents), 0)::bigint AS referral_rewards_cents
    FROM referral_profiles
    GROUP BY organization_id, customer_id
),
joined AS (
    SELECT
        *,
        date_diff('day', make_timestamp(epoch_us(first_booking_at))::date, $today::timestamp::date) AS since_first,
        date_diff('day', make_timestamp(epoch_us(last_booking_at))::date, $today::timestamp::date) AS since_last
    FROM (SELECT organization_id, id AS customer_id, created_at AS customer_created_at FROM customers)
    FULL JOIN of_bookings USING (organization_id, customer_id)
    LEFT JOIN of_months USING (organization_id, customer_id)
    LEFT JOIN of_notes USING (organization_id, customer_id)
    LEFT JOIN of_locations USING (organization_id, customer_id)
    LEFT JOIN of_services USING (organization_id, customer_id)
    LEFT JOIN of_members USING (organization_id, customer_id)
    LEFT JOIN of_weekdays USING (organization_id, customer_id)
    LEFT JOIN of_hours USING (organization_id, customer_id)
    FULL JOIN of_payments USING (organization_id, customer_id)
    FULL JOIN of_referrals USING (organization_id, customer_id)
)
SELECT
    organization_id,
    customer_id AS square_customer_id,
    customer_created_at,
    first_booking_at,
    last_booking_at,
    next_booking_at,
    first_location_id,
    last_location_id,
    first_service_id,
    last_service_id,
    coalesce(total_bookings, 0) AS total_bookings,
    coalesce(total_accepted_bookings, 0) AS total_accepted_bookings,
    coalesce(total_cancelled, 0) AS total_cancelled,
    coalesce(total_no_shows, 0) AS total_no_shows,
    coalesce(total_pending, 0) AS total_pending,
    coalesce(bookings_30d, 0) AS bookings_30d,
    coalesce(bookings_90d, 0) AS bookings_90d,
    coalesce(bookings_365d, 0) AS bookings_365d,
    coalesce(no_shows_90d, 0) AS no_shows_90d,
    coalesce(cancellations_90d, 0) AS cancellations_90d,
    total_no_shows / total_bookings AS no_show_rate,
    total_cancelled / total_bookings AS cancellation_rate,
    total_accepted_bookings / total_bookings AS acceptance_rate,
    since_first AS days_since_first_booking,
    since_last AS days_since_last_booking,
    date_diff('day', $today::timestamp::date, make_timestamp(epoch_us(next_booking_at))::date) AS days_until_next_booking,
    (since_first - since_last) / nullif(visits - 1, 0) AS avg_days_between_visits,
    CASE WHEN since_first >= 0 THEN visits * 30.4375::double / (since_first + 1) END AS visits_per_month,
    coalesce(active_months, 0) AS active_months,
    favourite_location_id,
    favourite_service_id,
    favourite_team_member_id,
    favourite_weekday,
    favourite_hour,
    coalesce(locations_count, 0) AS locations_count,
    coalesce(services_count, 0) AS services_count,
    coalesce(members_count, 0) AS team_members_count,
    coalesce(total_booked_minutes, 0) AS total_booked_minutes,
    avg_booked_minutes,
    coalesce(total_revenue_cents, 0) AS total_revenue_cents,
    coalesce(payments_count, 0) AS payments_count,
    total_revenue_cents / nullif(payments_count, 0) AS avg_ticket_cents,
    min_ticket_cents,
    max_ticket_cents,
    first_payment_at,
    last_payment_at,
    last_payment_cents,
    coalesce(refunded_cents, 0) AS refunded_cents,
    coalesce(refunds_count, 0) AS refunds_count,
    coalesce(failed_payments_count, 0) AS failed_payments_count,
    coalesce(tips_cents, 0) AS tips_cents,
    coalesce(revenue_30d_cents, 0) AS revenue_30d_cents,
    coalesce(revenue_90d_cents, 0) AS revenue_90d_cents,
    coalesce(revenue_365d_cents, 0) AS revenue_365d_cents,
    coalesce(total_revenue_cents, 0) / nullif(visits, 0) AS revenue_per_visit_cents,
    coalesce(is_referrer, false) AS is_referrer,
    coalesce(referrals_count, 0) AS referrals_count,
    referred_by_customer_id,
    coalesce(referral_rewards_cents, 0) AS referral_rewards_cents,
    to_json(notes[:20]) AS booking_notes,
    coalesce(len(notes), 0) AS booking_notes_count,
    last_note_at,
    CASE
        WHEN coalesce(total_accepted_bookings, 0) = 0 THEN 'prospect'
        WHEN since_first <= 30 THEN 'new'
        WHEN since_last <= 60 THEN 'active'
        WHEN since_last <= 120 THEN 'at_risk'
        ELSE 'lost'
    END AS customer_segment,
    CASE
        WHEN total_revenue_cents >= 150000 THEN 'vip'
        WHEN total_revenue_cents >= 60000 THEN 'high'
        WHEN total_revenue_cents >= 15000 THEN 'medium'
        WHEN total_revenue_cents > 0 THEN 'low'
        ELSE 'none'
    END AS value_tier,
    (100 * total_bookings - 100 * total_no_shows - 50 * total_cancelled) / total_bookings AS reliability_score,
    coalesce(visits, 0) AS visits,
    now() AS created_at,
    now() AS updated_at,
    1::bigint AS run_id
FROM joined;

CREATE UNIQUE INDEX by_hand_key ON by_hand (organization_id, square_customer_id);
CREATE INDEX by_hand_last_booking ON by_hand (last_booking_at);
CREATE INDEX by_hand_first_booking ON by_hand (first_booking_at);
CREATE INDEX by_hand_segment ON by_hand (customer_segment);
CREATE INDEX by_hand_revenue ON by_hand (total_revenue_cents);
CREATE INDEX by_hand_referrer ON by_hand (is_referrer);

COMMIT;
