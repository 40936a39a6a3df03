-- The events of the large part: the same on every engine, from whole numbers that each computes alike. In order of time.
CREATE TABLE event AS
SELECT
    i AS id,
    'account-' || lpad(CAST(account AS varchar), 3, '0') AS account,
    TIMESTAMPTZ '2025-01-01 00:00:00+00' + to_microseconds(i * (90 * 86400000000 // $rows)) AS occurred_at,
    (['view', 'click', 'purchase', 'signup'])[1 + ((i * 3266489917 % 4294967296) >> 16) % 4] AS kind,
    CAST(CAST(((i * 668265263 % 4294967296) >> 8) % 1000000 AS decimal(18, 2)) / 100 AS decimal(12, 2)) AS amount,
    'visitor-' || lpad(CAST(account * 20000 + ((i * 2246822519 % 4294967296) >> 8) % 20000 AS varchar), 8, '0') AS visitor
FROM (SELECT i, ((i * 2654435761 % 4294967296) >> 8) % 500 AS account FROM range($rows) AS t (i));
