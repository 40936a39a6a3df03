-- The customers of a salon by hand, in PostgreSQL: the columns of `examples/salon`, one row each, with the same key and indexes. One
-- scan of each table. The rows of a customer are sorted once, by (start_at, id), for all that takes the first; what takes the last
-- sorts the few rows of its customer. Of several values that are as frequent, mode() takes the first of its order. Grouping
-- under COLLATE "C" compares bytes. $today is replaced.
BEGIN;

CREATE TABLE by_hand AS
WITH b AS (
    SELECT
        organization_id, customer_id COLLATE "C" AS customer_id, id, location_id COLLATE "C" AS location_id,
        service_id COLLATE "C" AS service_id, team_member_id COLLATE "C" AS team_member_id, duration_minutes, note, status, start_at,
        start_at AT TIME ZONE 'UTC' AS at_utc,
        status = 'ACCEPTED' AS accepted,
        status = 'ACCEPTED' AND start_at < $today::timestamptz + INTERVAL '1 day' AS visited,
        start_at < $today::timestamptz + INTERVAL '1 day' AS begun
    FROM bookings
    WHERE customer_id IS NOT NULL
),
of_bookings AS (
    SELECT
        organization_id,
        customer_id,
        min(start_at) FILTER (WHERE accepted) AS first_booking_at,
        max(start_at) FILTER (WHERE visited) AS last_booking_at,
        min(start_at) FILTER (WHERE accepted AND NOT begun) AS next_booking_at,
        (array_agg(location_id ORDER BY start_at, id) FILTER (WHERE accepted))[1] AS first_location_id,
        (array_agg(location_id ORDER BY start_at DESC, id DESC) FILTER (WHERE visited))[1] AS last_location_id,
        (array_agg(service_id ORDER BY start_at, id) FILTER (WHERE accepted AND service_id IS NOT NULL))[1]
            AS first_service_id,
        (array_agg(service_id ORDER BY start_at DESC, id DESC) FILTER (WHERE visited AND service_id IS NOT NULL))[1]
            AS last_service_id,
        count(*) AS total_bookings,
        count(*) FILTER (WHERE accepted) AS total_accepted_bookings,
        count(*) FILTER (WHERE status = 'CANCELLED') AS total_cancelled,
        count(*) FILTER (WHERE status = 'NO_SHOW') AS total_no_shows,
        count(*) FILTER (WHERE status = 'PENDING') AS total_pending,
        count(*) FILTER (WHERE begun AND start_at >= $today::timestamptz - INTERVAL '30 days') AS bookings_30d,
        count(*) FILTER (WHERE begun AND start_at >= $today::timestamptz - INTERVAL '90 days') AS bookings_90d,
        count(*) FILTER (WHERE begun AND start_at >= $today::timestamptz - INTERVAL '365 days') AS bookings_365d,
        count(*) FILTER (WHERE begun AND start_at >= $today::timestamptz - INTERVAL '90 days' AND status = 'NO_SHOW') AS no_shows_90d,
        count(*) FILTER (WHERE begun AND start_at >= $today::timestamptz - INTERVAL '90 days' AND status = 'CANCELLED')
            AS cancellations_90d,
        count(DISTINCT date_trunc('month', at_utc)) FILTER (WHERE visited) AS active_months,
        mode() WITHIN GROUP (ORDER BY location_id) FILTER (WHERE accepted) AS favourite_location_id,
        mode() WITHIN GROUP (ORDER BY service_id) FILTER (WHERE accepted) AS favourite_service_id,
        mode() WITHIN GROUP (ORDER BY team_member_id) FILTER (WHERE accepted) AS favourite_team_member_id,
        mode() WITHIN GROUP (ORDER BY extract(isodow FROM at_utc)::bigint) FILTER (WHERE accepted) AS favourite_weekday,
        mode() WITHIN GROUP (ORDER BY extract(hour FROM at_utc)::bigint) FILTER (WHERE accepted) AS favourite_hour,
        count(DISTINCT location_id) FILTER (WHERE accepted) AS locations_count,
        count(DISTINCT service_id) FILTER (WHERE accepted) AS services_count,
        count(DISTINCT team_member_id) FILTER (WHERE accepted) AS team_members_count,
        coalesce(sum(duration_minutes) FILTER (WHERE accepted), 0)::bigint AS total_booked_minutes,
        (avg(duration_minutes) FILTER (WHERE accepted))::double precision AS avg_booked_minutes,
        array_agg(note ORDER BY start_at DESC, id DESC) FILTER (WHERE note <> '') AS notes,
        max(start_at) FILTER (WHERE note <> '') AS last_note_at,
        count(*) FILTER (WHERE visited) AS visits
    FROM b
    GROUP BY organization_id, customer_id
),
of_payments AS (
    SELECT
        organization_id,
        customer_id,
        coalesce(sum(amount_cents) FILTER (WHERE status = 'COMPLETED'), 0)::bigint AS total_revenue_cents,
        count(*) FILTER (WHERE status = 'COMPLETED') AS payments_count,
        min(amount_cents) FILTER (WHERE status = 'COMPLETED') AS min_ticket_cents,
        max(amount_cents) FILTER (WHERE status = 'COMPLETED') AS max_ticket_cents,
        min(paid_at) FILTER (WHERE status = 'COMPLETED') AS first_payment_at,
        max(paid_at) FILTER (WHERE status = 'COMPLETED') AS last_payment_at,
        (array_agg(amount_cents ORDER BY paid_at DESC, id DESC) FILTER (WHERE status = 'COMPLETED' AND paid_at IS NOT NULL))[1]
            AS last_payment_cents,
        coalesce(sum(amount_cents) FILTER (WHERE status = 'REFUNDED'), 0)::bigint AS refunded_cents,
        count(*) FILTER (WHERE status = 'REFUNDED') AS refunds_count,
        count(*) FILTER (WHERE status = 'FAILED') AS failed_payments_count,
        coalesce(sum(tip_cents) FILTER (WHERE status = 'COMPLETED'), 0)::bigint AS tips_cents,
        coalesce(sum(amount_cents) FILTER (WHERE recent AND paid_at >= $today::timestamptz - INTERVAL '30 days'), 0)::bigint
            AS revenue_30d_cents,
        coalesce(sum(amount_cents) FILTER (WHERE recent AND paid_at >= $today::timestamptz - INTERVAL '90 days'), 0)::bigint
            AS revenue_90d_cents,
        coalesce(sum(amount_cents) FILTER (WHERE recent AND paid_at >= $today::timestamptz - INTERVAL '365 days'), 0)::bigint
            AS revenue_365d_cents
    FROM (
        SELECT
            organization_id, customer_id COLLATE "C" AS customer_id, id, amount_cents, tip_cents, status, paid_at,
            status = 'COMPLETED' AND paid_at < $today::timestamptz + INTERVAL '1 day' AS recent
        FROM payments
        WHERE customer_id IS NOT NULL
    ) AS p
    GROUP BY organization_id, customer_id
),
of_referrals AS (
    SELECT
        organization_id,
        customer_id COLLATE "C" AS customer_id,
        bool_or(activated_at IS NOT NULL) AS is_referrer,
        coalesce(sum(referrals_count), 0)::bigint AS referrals_count,
        (array_agg(referred_by_customer_id ORDER BY created_at, id) FILTER (WHERE referred_by_customer_id IS NOT NULL))[1]
            AS referred_by_customer_id,
        coalesce(sum(rewards_cents), 0)::bigint AS referral_rewards_cents
    FROM referral_profiles
    GROUP BY 1, 2
),
joined AS (
    SELECT
        *,
        $today::date - (first_booking_at AT TIME ZONE 'UTC')::date AS since_first,
        $today::date - (last_booking_at AT TIME ZONE 'UTC')::date AS since_last
    FROM (SELECT organization_id, id COLLATE "C" AS customer_id, created_at AS customer_created_at FROM customers) AS c
    FULL JOIN of_bookings USING (organization_id, customer_id)
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
    total_no_shows / total_bookings::double precision AS no_show_rate,
    total_cancelled / total_bookings::double precision AS cancellation_rate,
    total_accepted_bookings / total_bookings::double precision AS acceptance_rate,
    since_first::bigint AS days_since_first_booking,
    since_last::bigint AS days_since_last_booking,
    ((next_booking_at AT TIME ZONE 'UTC')::date - $today::date)::bigint AS days_until_next_booking,
    (since_first - since_last) / nullif(visits - 1, 0)::double precision AS avg_days_between_visits,
    CASE WHEN since_first >= 0 THEN visits * 30.4375::double precision / (since_first + 1) END AS visits_per_month,
    coalesce(active_months, 0) AS active_months,
    favourite_location_id,
    favourite_service_id,
    favourite_team_member_id,
    favourite_weekday,
    favourite_hour,
    coalesce(locations_count, 0) AS locations_count,
    coalesce(services_count, 0) AS services_count,
    coalesce(team_members_count, 0) AS team_members_count,
    coalesce(total_booked_minutes, 0) AS total_booked_minutes,
    avg_booked_minutes,
    coalesce(total_revenue_cents, 0) AS total_revenue_cents,
    coalesce(payments_count, 0) AS payments_count,
    total_revenue_cents / nullif(payments_count, 0)::double precision AS avg_ticket_cents,
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
    coalesce(total_revenue_cents, 0) / nullif(visits, 0)::double precision AS revenue_per_visit_cents,
    coalesce(is_referrer, false) AS is_referrer,
    coalesce(referrals_count, 0) AS referrals_count,
    referred_by_customer_id,
    coalesce(referral_rewards_cents, 0) AS referral_rewards_cents,
    to_jsonb(notes[:20]) AS booking_notes,
    coalesce(cardinality(notes), 0)::bigint AS booking_notes_count,
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
    (100 * total_bookings - 100 * total_no_shows - 50 * total_cancelled) / total_bookings::double precision AS reliability_score,
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
