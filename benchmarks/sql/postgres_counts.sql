-- The rollup without a Distinct, by hand, in PostgreSQL. Grouping under COLLATE "C" gives the same groups (the columns' own
-- collation is deterministic) and compares bytes, not letters, where the planner sorts.
BEGIN;

CREATE TABLE event_daily (
    account text,
    day date NOT NULL,
    events bigint,
    purchases bigint,
    revenue numeric,
    biggest numeric(12, 2),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    run_id bigint NOT NULL
);

INSERT INTO event_daily
SELECT
    account COLLATE "C",
    (occurred_at AT TIME ZONE 'UTC')::date AS day,
    count(*),
    count(*) FILTER (WHERE kind = 'purchase'),
    sum(amount),
    max(amount),
    now(),
    now(),
    1
FROM event
GROUP BY 1, 2;

CREATE UNIQUE INDEX event_daily_key ON event_daily (account, day) NULLS NOT DISTINCT;
CREATE INDEX event_daily_day ON event_daily (day);

COMMIT;
