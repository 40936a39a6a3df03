{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='day') }}

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
{% if is_incremental() %}
WHERE occurred_at >= (SELECT max(day) - INTERVAL 7 DAY FROM {{ this }})
{% endif %}
GROUP BY account, day
