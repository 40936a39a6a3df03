-- The rollup without a Distinct, by hand. make_timestamp(epoch_us(…)) is the UTC day at a tenth of the cost of
-- occurred_at::date, which asks the time zone tables for every row. The indexes are made after the rows are there: half the
-- price of keeping them up during the insert. The unique one takes two NULL accounts of a day as equal; UNIQUE (account, day)
-- would not, and costs more.
BEGIN;

CREATE TABLE event_daily (
    account text,
    day date NOT NULL,
    events bigint,
    purchases bigint,
    revenue decimal(38, 2),
    biggest decimal(12, 2),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    run_id bigint NOT NULL
);

INSERT INTO event_daily
SELECT
    account,
    make_timestamp(epoch_us(occurred_at))::date AS day,
    count(*),
    count(*) FILTER (WHERE kind = 'purchase'),
    sum(amount),
    max(amount),
    now(),
    now(),
    1
FROM event
GROUP BY account, day;

CREATE UNIQUE INDEX event_daily_key ON event_daily ((account IS NULL), coalesce(account, ''), day);
CREATE INDEX event_daily_day ON event_daily (day);

COMMIT;
