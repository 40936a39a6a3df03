"""The metrics of a creator app, from three tables and an advertising API: revenue, posts, what posts earned, ads.

The tables tell their changes by triggers (`dayfold track install`). The API is asked day by day, as `ADS_URL` names it.
"""

import json
import os
from urllib.error import HTTPError
from urllib.request import urlopen

from dayfold import Count, Formula, Gauge, Increase, NotReady, Ratio, Rollup, Sum, Table, source

revenue = Table("daily_revenue", changes="trigger")
post = Table("marketing_post", changes="trigger")
snapshot = Table("post_snapshot", changes="trigger")


@source(
    columns={
        "campaign": "text", "channel": "text", "spend": "numeric(12,2)", "fee": "numeric(12,2)",
        "impressions": "bigint", "clicks": "bigint", "conversions": "bigint",
    },
    since="2026-01-01",
)  # fmt: skip
def ad_report(day):
    """What ads cost and brought on one day; the network has it two days later, and corrects it on the third."""
    address = os.environ.get("ADS_URL")
    if not address:
        raise NotReady("ADS_URL does not say where the reports are")
    try:
        with urlopen(f"{address}/reports/{day}", timeout=30) as response:
            return json.load(response)
    except HTTPError as error:
        if error.code == 404:
            raise NotReady("the report comes after two days") from None
        raise


class RevenueDaily(Rollup):
    """Subscriptions and money, by the store that they come through."""

    key = "source"

    mrr = Gauge(revenue, "mrr", at="measured_at")
    active_subscribers = Gauge(revenue, "active_subscribers", at="measured_at")
    new_users = Sum(revenue, "new_users", at="measured_at")
    churned_subscribers = Sum(revenue, "churned_subscribers", at="measured_at")
    gross_revenue = Sum(revenue, "gross_revenue", at="measured_at")
    net_revenue = Sum(revenue, "gross_revenue - store_fee", at="measured_at")


class PostsDaily(Rollup):
    """Marketing posts as they are made and posted."""

    key = ("platform", "category", "campaign", "status", "spiciness")

    posts_created = Count(post, at="created_at")
    posts_by_platform = Count(post, at="created_at")
    posts_posted = Count(post, at="posted_at", where="status = 'posted'")


class EngagementDaily(Rollup):
    """What posts earned: the daily growth of counters that the platforms only ever show as totals."""

    key = ("platform", "category", "campaign", "spiciness")

    post_views = Increase(snapshot, "views", per="post_id", at="observed_at")
    post_likes = Increase(snapshot, "likes", per="post_id", at="observed_at")
    post_comments = Increase(snapshot, "comments", per="post_id", at="observed_at")
    post_shares = Increase(snapshot, "shares", per="post_id", at="observed_at")
    avg_engagement_rate = Formula("(post_likes + post_comments + post_shares) / post_views")


class AdsDaily(Rollup):
    """What ads cost and brought, by campaign and channel. The cost is the spend and the network's fee."""

    key = ("campaign", "channel")

    ad_spend = Sum(ad_report, "spend")
    ad_cost = Sum(ad_report, "spend + fee")
    ad_impressions = Sum(ad_report, "impressions")
    ad_clicks = Sum(ad_report, "clicks")
    ad_conversions = Sum(ad_report, "conversions")
    cost_per_conversion = Ratio("ad_cost", "ad_conversions")
