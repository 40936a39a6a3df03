-- The tables as the booking system keeps them. One spelling that both engines read. No foreign keys: a customer who is
-- deleted or merged leaves rows behind, and walk-ins have no customer at all. Amounts are whole cents.
DROP TABLE IF EXISTS locations;
DROP TABLE IF EXISTS customers;
DROP TABLE IF EXISTS bookings;
DROP TABLE IF EXISTS payments;
DROP TABLE IF EXISTS referral_profiles;

CREATE TABLE locations (
    organization_id bigint NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (organization_id, id)
);

-- Each organization numbers its customers by itself, so the same id stands in several of them.
CREATE TABLE customers (
    organization_id bigint NOT NULL,
    id text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id)
);

CREATE TABLE bookings (
    id bigint PRIMARY KEY,
    organization_id bigint NOT NULL,
    customer_id text,
    location_id text NOT NULL,
    start_at timestamptz NOT NULL,
    status text NOT NULL,
    service_id text,
    team_member_id text,
    duration_minutes bigint,
    note text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- paid_at is empty until money came. The tip is on top of the amount.
CREATE TABLE payments (
    id bigint PRIMARY KEY,
    organization_id bigint NOT NULL,
    customer_id text,
    location_id text NOT NULL,
    amount_cents bigint NOT NULL,
    tip_cents bigint NOT NULL,
    status text NOT NULL,
    paid_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- A customer who takes part in the referral programme: who brought them, and, once activated, whom they bring.
CREATE TABLE referral_profiles (
    id bigint PRIMARY KEY,
    organization_id bigint NOT NULL,
    customer_id text NOT NULL,
    activated_at timestamptz,
    referred_by_customer_id text,
    referrals_count bigint NOT NULL,
    rewards_cents bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
