-- The rollup with a Distinct, by hand: the count in the row, the hashes in a table beside it. One scan, and one list of hashes a
-- bucket that gives both the set and the count: of twelve shapes tried (count(DISTINCT), grouping by visitor first, hashing
-- distinct visitors and joining, two scans, …) this is the fastest or as fast as the fastest. substr is quicker than a slice.
BEGIN;

CREATE TEMP TABLE folded AS
SELECT
    account,
    make_timestamp(epoch_us(occurred_at))::date AS day,
    count(*) AS events,
    count(*) FILTER (WHERE kind = 'purchase') AS purchases,
    sum(amount) AS revenue,
    max(amount) AS biggest,
    list_sort(list_distinct(
        list(('0x' || substr(md5('0123456789abcdef0123456789abcdef' || visitor), 1, 15))::bigint)
        FILTER (WHERE visitor IS NOT NULL)
    )) AS hashes
FROM event
GROUP BY account, day;

CREATE TABLE event_daily (
    account text,
    day date NOT NULL,
    events bigint,
    purchases bigint,
    revenue decimal(38, 2),
    biggest decimal(12, 2),
    visitors bigint,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    run_id bigint NOT NULL
);

INSERT INTO event_daily
SELECT account, day, events, purchases, revenue, biggest, coalesce(len(hashes), 0), now(), now(), 1
FROM folded;

CREATE UNIQUE INDEX event_daily_key ON event_daily ((account IS NULL), coalesce(account, ''), day);
CREATE INDEX event_daily_day ON event_daily (day);

CREATE TABLE event_daily_sets (
    account text,
    day date NOT NULL,
    hashes bigint[] NOT NULL
);

INSERT INTO event_daily_sets
SELECT account, day, hashes[:16384]
FROM folded
WHERE len(hashes) > 0;

CREATE UNIQUE INDEX event_daily_sets_key ON event_daily_sets ((account IS NULL), coalesce(account, ''), day);

DROP TABLE folded;

COMMIT;
