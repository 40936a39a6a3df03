"""What API keys of an upload service use: requests, files and bytes, by key and by storage provider.

The service adds to the counters while it answers; see `service.py`. The table `api_key_quotas` is the application's own.
"""

from dayfold import Alert, Counter, Gauge, Ratio, Rollup, Sum, Table, Total


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


# How many bytes each key may store in a month, and since when: what was agreed on stays, and a new agreement is a new row.
quota = Table("api_key_quotas", changes="since")


class QuotaDaily(Rollup):
    """What was stored with one API key, beside its monthly quota: over a month so far, the share that is used."""

    key = ("api_key_id", "user_id")
    owner = "user_id"
    day_column = "usage_date"

    stored_bytes = Sum(ApiKeyUsage, "total_file_size", at="usage_date")
    monthly_bytes = Gauge(quota, "monthly_bytes", at="since", carry=True)
    quota_share = Ratio("stored_bytes", "monthly_bytes")


class QuotaNearlyUsed(Alert):
    """An API key has used four fifths of its monthly quota."""

    when = "quota_share >= 0.8"
    over = "month"
    by = "api_key_id"
