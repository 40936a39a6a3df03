MODEL (
  name bench.event_daily,
  kind INCREMENTAL_BY_TIME_RANGE (time_column day),
  start '2025-01-01',
  end '2025-12-31',
  cron '@daily',
  grain (account, day)
);

SELECT
    account,
    make_timestamp(epoch_us(occurred_at))::date AS day,
    count(*) AS events,
    count(*) FILTER (WHERE kind = 'purchase') AS purchases,
    sum(amount) AS revenue,
    max(amount) AS biggest,
    now() AS created_at,
    now() AS updated_at,
    1::bigint AS run_id
FROM main.event
WHERE occurred_at >= @start_ts AND occurred_at <= @end_ts
GROUP BY account, day
