-- The rollup without a Distinct, by hand, in ClickHouse: a table in the order of its key. Nothing there keeps a key unique.
CREATE TABLE event_daily (
    account Nullable(String),
    day Date32,
    events Nullable(Int64),
    purchases Nullable(Int64),
    revenue Nullable(Decimal(38, 2)),
    biggest Nullable(Decimal(12, 2)),
    created_at DateTime64(6, 'UTC'),
    updated_at DateTime64(6, 'UTC'),
    run_id Int64
) ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY (account, day) SETTINGS allow_nullable_key = 1;

INSERT INTO event_daily
SELECT
    account,
    toDate32(occurred_at) AS day,
    count(),
    countIf(kind = 'purchase'),
    sum(CAST(amount AS Decimal(38, 2))),
    max(amount),
    now64(6),
    now64(6),
    1
FROM event
GROUP BY account, day;
