-- The rollup with a Distinct, by hand, in ClickHouse: the count in the row, the hashes in a table beside it, one scan for both.
CREATE TABLE event_daily (
    account Nullable(String),
    day Date32,
    events Nullable(Int64),
    purchases Nullable(Int64),
    revenue Nullable(Decimal(38, 2)),
    biggest Nullable(Decimal(12, 2)),
    visitors Nullable(Int64),
    created_at DateTime64(6, 'UTC'),
    updated_at DateTime64(6, 'UTC'),
    run_id Int64
) ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY (account, day) SETTINGS allow_nullable_key = 1;

CREATE TABLE event_daily_sets (
    account Nullable(String),
    day Date32,
    hashes Array(Int64)
) ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY (account, day) SETTINGS allow_nullable_key = 1;

CREATE TEMPORARY TABLE folded ENGINE = MergeTree ORDER BY tuple() AS
SELECT
    account,
    toDate32(occurred_at) AS day,
    count() AS events,
    countIf(kind = 'purchase') AS purchases,
    sum(CAST(amount AS Decimal(38, 2))) AS revenue,
    max(amount) AS biggest,
    arraySort(groupUniqArrayIf(
        toInt64(bitShiftRight(halfMD5(concat('0123456789abcdef0123456789abcdef', assumeNotNull(visitor))), 4)),
        visitor IS NOT NULL
    )) AS hashes
FROM event
GROUP BY account, day;

INSERT INTO event_daily
SELECT account, day, events, purchases, revenue, biggest, length(hashes), now64(6), now64(6), 1
FROM folded;

INSERT INTO event_daily_sets
SELECT account, day, arraySlice(hashes, 1, 16384)
FROM folded
WHERE notEmpty(hashes);
