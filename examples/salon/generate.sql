-- Six years of two salons, in DuckDB; the same rows on every machine and version, counted back from $today.
-- Every number is drawn from the hash of a row's id: $customers customers, some ten bookings each.
--
-- What is in them: two organizations that share customer ids, the first with evenings that are the next day in UTC; customers
-- who come every few weeks and one day no more, one who always came (C000001), prospects who never booked, walk-ins, bookings of up to two months ahead,
-- first bookings that were cancelled, two bookings at one moment, services and team members left open, notes with quotes,
-- line ends, JSON and other scripts, refunds, payments that failed, customers whose record is gone.

CREATE TEMP MACRO draw(h, n) AS ('0x' || h[1 + 6 * n : 6 + 6 * n])::bigint / 16777216.0;
CREATE TEMP MACRO days(x) AS to_microseconds((86400000000 * (x))::bigint);

INSERT INTO locations VALUES
    (1, 'L-HARBOUR', 'Harbour'), (1, 'L-MARKET', 'Market'), (1, 'L-STATION', 'Station'),
    (2, 'L-HARBOUR', 'Old Harbour'), (2, 'L-GARDEN', 'Garden');

CREATE TEMP TABLE person AS
SELECT
    i,
    CASE WHEN i <= $customers * 3 // 5 THEN 1 ELSE 2 END AS org,
    'C' || lpad((CASE WHEN i <= $customers * 3 // 5 THEN i ELSE i - $customers * 3 // 5 END)::varchar, 6, '0') AS customer,
    $today::timestamptz - days(1 + floor(2190 * CASE i WHEN 1 THEN 1 ELSE pow(draw(h, 0), 1.2) END)) AS met,
    CASE WHEN i = 1 THEN 150 WHEN draw(h, 1) < 0.08 THEN 0 ELSE 1 + floor(-15 * ln(1 - draw(h, 2)))::bigint END AS visits,
    CASE i WHEN 1 THEN 14 ELSE 14 + 56 * draw(h, 3) END AS cadence,
    draw(h, 4) AS home,
    md5('referral' || i) AS r
FROM (SELECT i + 1 AS i, md5('customer' || (i + 1)) AS h FROM range($customers) AS t (i));

INSERT INTO customers
SELECT org, customer, met + days(draw(r, 4) / 2), met + days(draw(r, 4) / 2)
FROM person
WHERE i % 211 <> 5;

-- The n-th booking of a customer. Hours are 9 to 19 where the salon is: eight hours behind UTC, or at UTC.
CREATE TEMP TABLE wanted AS
SELECT
    i, org, customer, home, n, twin,
    date_trunc('day', met + days(cadence * (n + 0.6 * draw(h, 0))))
        + to_minutes(15 * floor(36 + 40 * draw(h, 1))::bigint) + CASE org WHEN 1 THEN to_hours(8) ELSE to_hours(0) END AS start_at,
    h,
    md5('more' || i || ' ' || n || ' ' || twin) AS m
FROM (
    SELECT *, md5('booking' || i || ' ' || n) AS h
    FROM (SELECT *, unnest(range(visits)) AS n FROM person WHERE visits > 0)
)
-- Some book two things at one moment, for the first time as well.
CROSS JOIN (VALUES (0), (1)) AS pair (twin)
WHERE (twin = 0 OR draw(h, 2) < 0.04)
    AND met + days(cadence * (n + 0.6)) < $today::timestamptz + days(60);

INSERT INTO bookings
SELECT
    row_number() OVER (ORDER BY start_at, i, n, twin),
    org,
    CASE WHEN draw(h, 3) >= 0.05 THEN customer END,
    CASE
        WHEN org = 1 THEN (['L-HARBOUR', 'L-MARKET', 'L-STATION'])[1 + ((floor(home * 3) + (draw(m, 0) < 0.15)::int) % 3)::int]
        ELSE (['L-HARBOUR', 'L-GARDEN'])[1 + ((floor(home * 2) + (draw(m, 0) < 0.15)::int) % 2)::int]
    END,
    start_at,
    CASE
        WHEN start_at < $today::timestamptz + to_hours(12) THEN
            CASE WHEN draw(m, 1) < 0.80 THEN 'ACCEPTED' WHEN draw(m, 1) < 0.92 THEN 'CANCELLED'
                WHEN draw(m, 1) < 0.98 THEN 'NO_SHOW' ELSE 'PENDING' END
        WHEN draw(m, 1) < 0.75 THEN 'ACCEPTED'
        WHEN draw(m, 1) < 0.93 THEN 'PENDING'
        ELSE 'CANCELLED'
    END,
    CASE WHEN draw(m, 2) >= 0.04 THEN 'S-' || (1 + floor(12 * pow(draw(m, 2), 2)))::bigint END,
    CASE WHEN draw(m, 3) >= 0.10 THEN 'T-' || org || floor(8 * draw(m, 3))::bigint END,
    CASE WHEN draw(m, 2) >= 0.04 THEN 15 * (2 + floor(12 * pow(draw(m, 2), 2)))::bigint END,
    CASE WHEN draw(m, 4) < CASE i WHEN 1 THEN 0.6 ELSE 0.2 END THEN ([
        'window seat', 'It''s her usual', 'asked for "cool" tones', 'naïve café ☕', '', 'patch test: {"ok": true}',
        'back\slash', 'two' || chr(10) || 'lines', '日本語のメモ', '💇🏽‍♀️ first time', 'NULL', ' leading blank', '100% off_peak'
    ])[1 + floor(13 * draw(h, 4))::bigint] END,
    least(start_at, $today::timestamptz) - days(1 + 14 * draw(h, 4)),
    least(start_at, $today::timestamptz + to_hours(12))
FROM wanted
ORDER BY 1;

-- What bookings cost, and what was bought at the counter, by some who never booked.
CREATE TEMP TABLE due AS
SELECT
    organization_id, customer_id, location_id, b.id AS n,
    start_at + to_minutes(coalesce(duration_minutes, 30) + 5) AS due_at,
    2500 + 1000 * coalesce(substr(service_id, 3)::bigint, 0) + 50 * floor(40 * draw(h, 1))::bigint AS cents,
    h
FROM (SELECT *, md5('payment' || id) AS h FROM bookings WHERE status = 'ACCEPTED') AS b
WHERE draw(h, 0) < 0.94
UNION ALL
SELECT org, customer, CASE WHEN org = 1 THEN 'L-MARKET' ELSE 'L-GARDEN' END, i, met + days(700 * draw(h, 0)), 900 + 50 * floor(60 * draw(h, 1))::bigint, h
FROM (SELECT *, md5('counter' || i) AS h FROM person)
WHERE draw(h, 2) < 0.3;

INSERT INTO payments
SELECT
    row_number() OVER (ORDER BY due_at, n, cents),
    organization_id, customer_id, location_id,
    cents,
    CASE WHEN draw(h, 3) < 0.4 THEN 100 * floor(15 * draw(h, 4))::bigint ELSE 0 END,
    CASE WHEN draw(h, 2) BETWEEN 0.29 AND 0.32 THEN 'REFUNDED' WHEN draw(h, 2) >= 0.97 THEN 'FAILED' ELSE 'COMPLETED' END,
    CASE WHEN draw(h, 2) < 0.97 THEN due_at END,
    due_at, due_at
FROM due
WHERE due_at < $today::timestamptz + to_hours(12)
ORDER BY 1;

-- Who was brought by somebody, and who brings others.
CREATE TEMP TABLE brought AS
SELECT a.i, a.org, a.customer, a.met, a.r, b.customer AS by_customer, b.i AS by_i
FROM person AS a
LEFT JOIN person AS b ON draw(a.r, 0) < 0.12 AND b.org = a.org AND a.i > 20
    AND b.i = a.i - 1 - floor(least(a.i - 1 - CASE a.org WHEN 2 THEN $customers * 3 // 5 ELSE 0 END, 19) * draw(a.r, 1))::bigint;

INSERT INTO referral_profiles
SELECT
    row_number() OVER (ORDER BY b.i),
    org, customer,
    CASE WHEN coalesce(n, 0) > 0 OR draw(r, 2) < 0.1 THEN met + days(30 * draw(r, 3)) END,
    by_customer,
    coalesce(n, 0),
    1500 * coalesce(n, 0),
    met, met
FROM brought AS b
LEFT JOIN (SELECT by_i AS i, count(*) AS n FROM brought WHERE by_i IS NOT NULL GROUP BY by_i) AS brings ON brings.i = b.i
WHERE by_customer IS NOT NULL OR n > 0 OR draw(r, 2) < 0.1
ORDER BY 1;
