-- A bad week: what happens to old rows in a real booking system, and what home-made analytics get wrong.
-- Plain INSERT, UPDATE and DELETE, read by both engines. Ids above 900,000,000 are new.

-- Late: visits of years ago from a paper book, one older than everything of that customer, one of a customer unknown so far.
INSERT INTO bookings VALUES
    (900000001, 1, 'C000011', 'L-MARKET', $today::timestamptz - INTERVAL '2900 days', 'ACCEPTED', 'S-3', NULL, 45, 'paper', $today, $today),
    (900000002, 1, 'C000012', 'L-STATION', $today::timestamptz - INTERVAL '400 days', 'NO_SHOW', 'S-4', 'T-11', 45, NULL, $today, $today),
    (900000003, 2, 'C900001', 'L-GARDEN', $today::timestamptz - INTERVAL '900 days', 'ACCEPTED', NULL, 'T-22', NULL, NULL, $today, $today);
INSERT INTO payments VALUES
    (900000001, 1, 'C000011', 'L-MARKET', 5200, 300, 'COMPLETED', $today::timestamptz - INTERVAL '2900 days', $today, $today),
    (900000002, 2, 'C900002', 'L-GARDEN', 1900, 0, 'COMPLETED', $today::timestamptz - INTERVAL '31 days', $today, $today);

-- New: somebody's first booking right before and right at midnight, and a record without anything else.
INSERT INTO customers VALUES
    (1, 'C900003', $today::timestamptz - INTERVAL '1 day', $today),
    (1, 'C900004', $today::timestamptz - INTERVAL '1 day', $today);
INSERT INTO bookings VALUES
    (900000004, 1, 'C900003', 'L-STATION', $today::timestamptz - INTERVAL '1 microsecond', 'ACCEPTED', 'S-1', NULL, 30, NULL, $today, $today),
    (900000005, 1, 'C900003', 'L-MARKET', $today, 'ACCEPTED', 'S-2', NULL, 30, NULL, $today, $today);

-- First accepted bookings, cancelled afterwards: the customer is new on another day, or was never one.
UPDATE bookings SET status = 'CANCELLED', updated_at = $today WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY organization_id, customer_id ORDER BY start_at, id) AS place
        FROM bookings WHERE status = 'ACCEPTED' AND customer_id IS NOT NULL
    ) AS b WHERE place = 1 AND id % 25 = 3
);

-- And those that were in another place all along.
UPDATE bookings SET location_id = 'L-GARDEN', updated_at = $today WHERE organization_id = 2 AND id % 60 = 7;

-- Moved: to another day, to the next minute, to another person, to another organization.
UPDATE bookings SET start_at = start_at + INTERVAL '9 days' WHERE id % 90 = 11;
UPDATE bookings SET start_at = start_at - INTERVAL '40 days' WHERE id % 90 = 12;
UPDATE bookings SET start_at = start_at + INTERVAL '1 minute' WHERE id % 90 = 13;
UPDATE bookings SET customer_id = 'C000021' WHERE organization_id = 1 AND customer_id = 'C000022' AND id % 2 = 0;
UPDATE bookings SET organization_id = 2, location_id = 'L-HARBOUR' WHERE organization_id = 1 AND id % 500 = 17;

-- Customers who had two records: one is merged into the other, with all that refers to it.
UPDATE bookings SET customer_id = left(customer_id, 6) || '5' WHERE organization_id = 1 AND customer_id LIKE '%46';
UPDATE payments SET customer_id = left(customer_id, 6) || '5' WHERE organization_id = 1 AND customer_id LIKE '%46';
UPDATE referral_profiles SET customer_id = left(customer_id, 6) || '5' WHERE organization_id = 1 AND customer_id LIKE '%46';
UPDATE referral_profiles SET referred_by_customer_id = left(referred_by_customer_id, 6) || '5'
    WHERE organization_id = 1 AND referred_by_customer_id LIKE '%46';
DELETE FROM customers WHERE organization_id = 1 AND id LIKE '%46';

-- Walk-ins who turned out to be somebody, and bookings that lost their customer.
UPDATE bookings SET customer_id = 'C000031' WHERE organization_id = 2 AND customer_id IS NULL AND id % 9 = 4;
UPDATE bookings SET customer_id = NULL WHERE id % 300 = 19;
UPDATE payments SET customer_id = NULL WHERE id % 300 = 23;

-- Deleted: single rows, records whose bookings stay, and people of whom nothing may stay.
DELETE FROM bookings WHERE id % 120 = 41;
DELETE FROM payments WHERE id % 150 = 43;
DELETE FROM customers WHERE organization_id = 2 AND id LIKE '%52';
DELETE FROM bookings WHERE customer_id LIKE '%63';
DELETE FROM payments WHERE customer_id LIKE '%63';
DELETE FROM referral_profiles WHERE customer_id LIKE '%63';
DELETE FROM customers WHERE id LIKE '%63';

-- Money that went back after years, and money that came at last.
UPDATE payments SET status = 'REFUNDED', updated_at = $today WHERE status = 'COMPLETED' AND id % 80 = 9;
UPDATE payments SET status = 'COMPLETED', paid_at = $today::timestamptz - INTERVAL '3 days', updated_at = $today
    WHERE status = 'FAILED' AND id % 5 = 2;
UPDATE payments SET tip_cents = tip_cents + 500 WHERE id % 400 = 31;

-- Requests answered, upcoming visits called off, services and people named later, notes written and wiped.
UPDATE bookings SET status = 'ACCEPTED' WHERE status = 'PENDING' AND id % 3 = 1;
UPDATE bookings SET status = 'CANCELLED' WHERE status = 'ACCEPTED' AND start_at >= $today AND id % 10 = 3;
UPDATE bookings SET service_id = 'S-13' WHERE service_id IS NULL AND id % 3 = 2;
UPDATE bookings SET team_member_id = NULL, duration_minutes = NULL WHERE id % 200 = 29;
UPDATE bookings SET note = NULL WHERE note = 'window seat' AND id % 2 = 0;
UPDATE bookings SET note = 'prefers "quiet" – très ‘calme’' WHERE id % 250 = 37;

-- Referrals: rewarded, activated, and a second profile of one customer.
UPDATE referral_profiles SET referrals_count = referrals_count + 1, rewards_cents = rewards_cents + 1500
    WHERE activated_at IS NOT NULL AND id % 10 = 1;
UPDATE referral_profiles SET activated_at = $today WHERE activated_at IS NULL AND id % 10 = 2;
INSERT INTO referral_profiles VALUES
    (900000001, 2, 'C000014', $today::timestamptz - INTERVAL '5 days', 'C000013', 2, 3000, $today::timestamptz - INTERVAL '9 days', $today),
    (900000002, 2, 'C000014', NULL, 'C000012', 1, 1500, $today::timestamptz - INTERVAL '9 days', $today);

-- Touched, but the same as before: nothing to write.
UPDATE bookings SET note = note WHERE id % 50 = 1;
