-- The events of the large part: the same on every engine, from whole numbers that each computes alike. In order of time.
CREATE TABLE event (
    id bigint NOT NULL,
    account text NOT NULL,
    occurred_at timestamptz NOT NULL,
    kind text NOT NULL,
    amount numeric(12, 2) NOT NULL,
    visitor text
);

INSERT INTO event
SELECT
    i,
    'account-' || lpad(account::text, 3, '0'),
    timestamptz '2025-01-01 00:00:00+00' + make_interval(secs => i * (90 * 86400000000 / $rows) / 1e6),
    (ARRAY['view', 'click', 'purchase', 'signup'])[1 + ((i * 3266489917 % 4294967296) >> 16) % 4],
    ((((i * 668265263 % 4294967296) >> 8) % 1000000)::numeric / 100)::numeric(12, 2),
    'visitor-' || lpad((account * 20000 + ((i * 2246822519 % 4294967296) >> 8) % 20000)::text, 8, '0')
FROM (
    SELECT i, ((i * 2654435761 % 4294967296) >> 8) % 500 AS account
    FROM generate_series(0::bigint, $rows - 1) AS t (i)
) AS numbered;
