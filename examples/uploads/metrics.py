"""What API keys of an upload service use: requests, files and bytes, by key and by storage provider.

The service adds to the counters while it answers; see `service.py`. The table `api_keys` is the application's own.
"""

from dayfold import Alert, Counter, Gauge, Ratio, Rollup, Table, Total


class ApiKeyUsage(Counter):
    """What was asked for and stored with one API key."""

    key = "api_key_id"
    owner = "user_id"
    totals_table = "api_key_usage"
    table = "api_key_usage_daily"
    day_column = "usage_date"
    index = [("user_id", "usage_date"), ("api_key_id", "usage_date")]  # noqa: RUF012  (read and never changed)
    identities = "total_requests = successful_requests + failed_requests"

    total_requests = Total()
    successful_requests = Total()
    failed_requests = Total()
    total_file_size = Total()
    total_files_uploaded = Total()
    success_rate = Ratio("successful_requests", "total_requests")


class ProviderUsage(Counter):
    """What was stored with one API key at one provider."""

    key = ("api_key_id", "provider")
    owner = "user_id"
    totals_table = "provider_usage"
    table = "provider_usage_daily"
    day_column = "usage_date"
    index = [("user_id", "usage_date"), ("api_key_id", "provider", "usage_date")]  # noqa: RUF012

    upload_count = Total()
    total_file_size = Total()


# The month so far of each key, on the days on which it grew, and nothing on the first day of the month after. Of the counted
# amounts, so that it is as fresh as they are; a key that was deleted has no quota any more.
MONTH_SO_FAR = """
with usage as (
  select api_key_id, user_id, day, date_trunc('month', cast(day as timestamp)) as month, total_file_size as bytes
  from dayfold_counted_api_key_usage
), grown as (
  select * from usage
  union all
  select distinct api_key_id, user_id, cast(month + interval '1 month' as date), month + interval '1 month', 0 from usage
)
select g.api_key_id, g.user_id, g.day as usage_date, k.monthly_bytes,
  cast(sum(g.bytes) over (partition by g.api_key_id, g.month order by g.day) as bigint) as month_bytes
from grown as g left join api_keys as k on k.id = g.api_key_id
"""
month_so_far = Table(sql=MONTH_SO_FAR)


class QuotaDaily(Rollup):
    """How much of its monthly quota each API key has used up to a day."""

    key = ("api_key_id", "user_id")
    owner = "user_id"
    day_column = "usage_date"
    # What arrives late moves the days after it, to the end of its month.
    lookback = 31

    month_bytes = Gauge(month_so_far, "month_bytes", at="usage_date", carry=True)
    monthly_bytes = Gauge(month_so_far, "monthly_bytes", at="usage_date", carry=True)
    quota_share = Ratio("month_bytes", "monthly_bytes")


class QuotaNearlyUsed(Alert):
    """An API key has used four fifths of its monthly quota."""

    when = "quota_share >= 0.8"
    by = "api_key_id"
