{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='day') }}

SELECT
    account,
    day,
    events,
    purchases,
    revenue,
    biggest,
    coalesce(len(hashes), 0) AS visitors,
    hashes[:16384] AS visitor_hashes,
    now() AS created_at,
    now() AS updated_at,
    1::bigint AS run_id
FROM (
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
    FROM main.event
    {% if is_incremental() %}
    WHERE occurred_at >= (SELECT max(day) - INTERVAL 7 DAY FROM {{ this }})
    {% endif %}
    GROUP BY account, day
) AS folded
