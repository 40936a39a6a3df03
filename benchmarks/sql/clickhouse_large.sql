-- The events of the large part: the same on every engine, from whole numbers that each computes alike. In order of time.
CREATE TABLE event (
    id Int64,
    account String,
    occurred_at DateTime64(6, 'UTC'),
    kind String,
    amount Decimal(12, 2),
    visitor Nullable(String)
) ENGINE = MergeTree PARTITION BY toYYYYMM(occurred_at) ORDER BY (account, occurred_at);

INSERT INTO event
SELECT
    toInt64(number),
    concat('account-', leftPad(toString(account), 3, '0')),
    addMicroseconds(toDateTime64('2025-01-01 00:00:00', 6, 'UTC'), toInt64(number * intDiv(90 * 86400000000, $rows))),
    ['view', 'click', 'purchase', 'signup'][1 + bitShiftRight(number * 3266489917 % 4294967296, 16) % 4],
    toDecimal64(bitShiftRight(number * 668265263 % 4294967296, 8) % 1000000, 2) / 100,
    concat('visitor-', leftPad(toString(account * 20000 + bitShiftRight(number * 2246822519 % 4294967296, 8) % 20000), 8, '0'))
FROM (SELECT number, bitShiftRight(number * 2654435761 % 4294967296, 8) % 500 AS account FROM numbers($rows));

OPTIMIZE TABLE event FINAL;
