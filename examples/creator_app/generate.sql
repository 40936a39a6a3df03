-- $days days of $posts posts from $first on, in DuckDB; the same rows on every machine and version.
-- Every number is drawn from the hash of a row's id, and levels grow by whole numbers.
--
-- What is in them: posts of very different size on three platforms, each observed twice a day for 100 days; posts without a
-- campaign or a spiciness; a campaign that ended after 120 days (campaign-5) and a store that did after 150 (partner); money
-- from no known store; counters that a platform set back to zero (every 97th post); one day without any data ($down).

CREATE TEMP MACRO draw(h, n) AS ('0x' || h[1 + 6 * n : 6 + 6 * n])::bigint / 16777216.0;
CREATE TEMP MACRO seconds(x) AS to_microseconds((1000000 * (x))::bigint);
CREATE TEMP MACRO is_down(moment) AS moment >= $down::timestamptz AND moment < $down::timestamptz + to_hours(24);
CREATE TEMP MACRO up(moment) AS CASE WHEN is_down(moment) THEN moment + to_hours(24) ELSE moment END;

INSERT INTO daily_revenue
SELECT
    100 * d + 10 * store + part,
    CASE WHEN draw(h, 0) < 0.01 THEN NULL ELSE ['app_store', 'play_store', 'web', 'partner'][store] END,
    $first::timestamptz + to_hours(24 * d + 6 + 14 * part),
    ((400000 * store + 900 * d + floor(20000 * draw(h, 1))) / 100)::numeric(12, 2),
    200 * store + 2 * d + floor(30 * draw(h, 2))::bigint,
    floor(40 * draw(h, 3))::bigint,
    floor(25 * draw(h, 4))::bigint,
    (cents / 100)::numeric(12, 2),
    (cents * [30, 15, 3, 20][store] // 100 / 100)::numeric(12, 2)
FROM (
    SELECT *, md5('revenue' || d || ',' || store || ',' || part) AS h,
        10000 + floor(90000 * draw(md5('gross' || d || ',' || store || ',' || part), 0))::bigint AS cents
    FROM range($days) AS t (d), range(1, 5) AS s (store), range(2) AS p (part)
)
WHERE NOT is_down($first::timestamptz + to_hours(24 * d)) AND NOT (store = 4 AND d >= 150);

CREATE TEMP TABLE made AS
SELECT
    *,
    CASE WHEN status = 'posted' THEN up(created_at + seconds(600 + 200000 * draw(g, 2))) END AS posted_at
FROM (
    SELECT
        i AS id, g,
        ['tiktok', 'instagram', 'youtube_shorts'][1 + floor(3 * draw(h, 0))::bigint] AS platform,
        ['recipe', 'story', 'review', 'behind the scenes'][1 + floor(4 * draw(h, 1))::bigint] AS category,
        CASE WHEN draw(h, 2) < 0.1 THEN NULL ELSE 'campaign-' || (1 + floor(8 * draw(g, 0))::bigint) END AS campaign,
        CASE WHEN draw(h, 3) < 0.74 THEN 'posted' WHEN draw(h, 3) < 0.85 THEN 'approved' WHEN draw(h, 3) < 0.94 THEN 'ready'
            ELSE 'draft' END AS status,
        CASE WHEN draw(g, 1) < 0.05 THEN NULL ELSE 1 + floor(5 * draw(g, 3))::bigint END AS spiciness,
        up($first::timestamptz + seconds(86400 * $days * draw(h, 4))) AS created_at
    FROM (SELECT i, md5('post' || i) AS h, md5('more' || i) AS g FROM range(1, $posts + 1) AS t (i))
)
WHERE campaign IS DISTINCT FROM 'campaign-5' OR created_at < $first::timestamptz + to_hours(24 * 120);

INSERT INTO marketing_post
SELECT
    id, platform, category, campaign,
    CASE WHEN posted_at >= $first::timestamptz + to_hours(24 * $days) THEN 'approved' ELSE status END,
    spiciness, created_at,
    CASE WHEN posted_at < $first::timestamptz + to_hours(24 * $days) THEN posted_at END
FROM made
ORDER BY id;

INSERT INTO post_snapshot
SELECT
    1000 * id + n, id, platform, category, campaign, spiciness, observed_at,
    views, views * 7 // 100, views // 90, views // 150
FROM (
    SELECT *, (100 + floor(20000 * pow(draw(g, 4), 3))::bigint) * m // (m + 40) + m AS views
    FROM (
        SELECT *, posted_at + to_minutes(720 * n + 1 + (37 * id + 11 * n) % 300) AS observed_at,
            CASE WHEN id % 97 = 3 AND n >= 80 THEN n - 80 ELSE n END AS m
        FROM made, range(200) AS t (n)
        WHERE posted_at IS NOT NULL
    )
)
WHERE observed_at < $first::timestamptz + to_hours(24 * $days) AND NOT is_down(observed_at)
ORDER BY observed_at, id;
