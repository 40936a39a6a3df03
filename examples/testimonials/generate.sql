-- Two years' worth of habits in 400 days of 200 shops, in DuckDB; the same rows on every machine and version.
-- Every number is drawn from the hash of a row's id: $shops shops, $requests requests, $days days from $first on.
--
-- What is in them: shops of very different size that grow; their local hours, so that much happens around midnight UTC;
-- a click a minute to days after the request, an approval hours to weeks after the submission; requests whose only click
-- is an event; rows without a shop; a shop that went silent (5); one day on which nothing at all happened ($down).

CREATE TEMP MACRO draw(h, n) AS ('0x' || h[1 + 6 * n : 6 + 6 * n])::bigint / 16777216.0;
CREATE TEMP MACRO seconds(x) AS to_microseconds((1000000 * (x))::bigint);
-- The service was down for a day: what would have happened then happened a day later.
CREATE TEMP MACRO up(moment) AS CASE WHEN moment >= $down::timestamptz AND moment < $down::timestamptz + to_hours(24)
    THEN moment + to_hours(24) ELSE moment END;
-- What lies after the last day has not happened yet.
CREATE TEMP MACRO past(moment) AS CASE WHEN moment < $first::timestamptz + to_hours(24 * $days) THEN moment END;

CREATE TEMP TABLE asked AS
SELECT
    id,
    shop,
    CASE WHEN draw(h, 4) < 0.002 THEN NULL ELSE shop END AS shop_id,
    up($first::timestamptz + seconds(86400 * floor($days * pow(draw(h, 1), 0.8))
        + (24 + (draw(h, 2) + draw(h, 3)) * 12 + (shop % 24) - 12)::double % 24 * 3600)) AS sent_at,
    md5('click' || id) AS c
FROM (
    SELECT id, h, 1 + floor($shops * pow(draw(h, 0), 1.6))::bigint AS shop
    FROM (SELECT i + 1 AS id, md5('request' || (i + 1)) AS h FROM range($requests) AS t (i))
);
DELETE FROM asked WHERE shop = 5 AND sent_at >= $first::timestamptz + to_hours(24 * 120);

CREATE TEMP TABLE clicked AS
SELECT
    id, shop, shop_id, sent_at,
    past(up(sent_at + seconds(60 - 21600 * ln(1 - draw(c, 1))))) AS "at",
    draw(c, 2) < 0.15 AS only_event,
    draw(c, 3) < 0.2 AS again,
    md5('submission' || id) AS h
FROM asked
WHERE draw(c, 0) < 0.42;

INSERT INTO testimonial_request
SELECT id, shop_id, sent_at, CASE WHEN NOT only_event THEN clicked."at" END
FROM asked LEFT JOIN clicked USING (id, shop_id, sent_at)
ORDER BY sent_at, id;

INSERT INTO testimonial_request_event
SELECT * FROM (
    SELECT id, 'opened' AS type, past(up(sent_at + seconds(30 - 7200 * ln(1 - draw(c, 4))))) AS "at"
    FROM asked WHERE draw(c, 0) < 0.6
    UNION ALL
    SELECT id, 'clicked', "at" FROM clicked
    UNION ALL
    SELECT id, 'clicked', past(up("at" + to_hours(26))) FROM clicked WHERE again
)
WHERE "at" IS NOT NULL
ORDER BY "at", id, type;

INSERT INTO testimonial_submission
SELECT
    row_number() OVER (ORDER BY submitted_at, id),
    shop_id,
    media_type,
    submitted_at,
    approved_at,
    published_at,
    CASE
        WHEN published_at IS NOT NULL THEN 'published'
        WHEN approved_at IS NOT NULL THEN 'approved'
        WHEN draw(p, 3) < 0.5 THEN 'rejected'
        ELSE 'pending'
    END
FROM (
    SELECT *, CASE WHEN draw(p, 1) < 0.85 THEN past(up(approved_at + seconds(600 - 43200 * ln(1 - draw(p, 2))))) END AS published_at
    FROM (
        SELECT *, CASE WHEN draw(h, 2) < 0.8 THEN past(up(submitted_at + seconds(3600 - 130000 * ln(1 - draw(h, 3))))) END AS approved_at
        FROM (
            SELECT
                id, shop_id, h,
                md5('publication' || id) AS p,
                CASE WHEN draw(h, 4) < 0.15 THEN 'video' WHEN draw(h, 4) < 0.4 THEN 'photo' ELSE 'text' END AS media_type,
                past(up("at" + seconds(120 - 900 * ln(1 - draw(h, 1))))) AS submitted_at
            FROM clicked
            WHERE draw(h, 0) < 0.7
        )
    )
)
WHERE submitted_at IS NOT NULL
ORDER BY 1;
