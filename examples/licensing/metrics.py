"""The metrics of a platform that licenses creative work: what assets earn, what campaigns bring, how the platform grows.

Events come from the pages of the platform and from its servers. The platform's own tables stand in the store; they tell their changes by
triggers (`dayfold track install`).
"""

from dayfold import Access, Card, Count, Distinct, Formula, Page, Ratio, Rollup, Series, Sum, Table, Text, Top, events

# What every event may be about.
events.columns(project_id="text", ip_asset_id="text", license_id="text")

# The types that the platform knows, with what each has to say; others go to quarantine.
ABOUT = {"project_id?": "text", "ip_asset_id?": "text", "license_id?": "text"}
events.types(
    {
        "user": {
            "user_signed_up": {"role": ["creator", "brand", "admin"]},
            "user_logged_in": {},
            "user_profile_updated": {"fields?": "json"},
        },
        "asset": {
            "asset_uploaded": {**ABOUT, "format?": "text"},
            "asset_viewed": ABOUT,
            "asset_downloaded": {**ABOUT, "format?": "text"},
            "asset_approved": ABOUT,
            "asset_rejected": {**ABOUT, "reason": "text"},
        },
        "project": {
            "project_created": {**ABOUT, "title?": "text"},
            "project_started": ABOUT,
            "project_completed": ABOUT,
            "project_archived": ABOUT,
        },
        "license": {
            "license_created": {**ABOUT, "revenue_cents": "bigint"},
            "license_clicked": ABOUT,
            "license_signed": ABOUT,
            "license_renewed": {**ABOUT, "revenue_cents": "bigint"},
            "license_expired": ABOUT,
        },
        "royalty": {
            "royalty_calculated": {**ABOUT, "amount_cents": "bigint"},
            "royalty_statement_generated": {"period": "text"},
            "royalty_paid": {**ABOUT, "amount_cents": "bigint"},
        },
        "navigation": {
            "page_viewed": ABOUT,
            "page_engaged": {**ABOUT, "engagement_time": "bigint"},
            "cta_clicked": {**ABOUT, "place": "text"},
            "search_performed": {"query": "text", "results": "bigint"},
            "filter_applied": {"filter": "text", "value": "text"},
        },
        "system": {
            "email_sent": {"template": "text"},
            "webhook_delivered": {"endpoint": "text", "status": "bigint"},
            "job_completed": {"job": "text", "duration_ms?": "bigint"},
            "error_raised": {"code": "text"},
        },
    }
)

creator = Table("creators", changes="trigger")
brand = Table("brands", changes="trigger")
# The same rows under the names of both columns that an event has of its campaign.
SPEND = {"source": "source", "medium": "medium", "campaign": "campaign"}
first_spend = Table("campaign_spend", columns={f"first_{name}": own for name, own in SPEND.items()}, changes="trigger")
last_spend = Table("campaign_spend", columns={f"last_{name}": own for name, own in SPEND.items()}, changes="trigger")

WHEN = "occurred_at"
PERSON = "coalesce(actor_id, anonymous_id)"
NO_BOT = "is_bot is not true"
VIEWS = f"event_type in ('page_viewed', 'asset_viewed') and {NO_BOT}"
IMPRESSIONS = f"event_type = 'asset_viewed' and {NO_BOT}"
CLICKS = f"event_type in ('asset_downloaded', 'license_clicked') and {NO_BOT}"
CONVERSIONS = "event_type = 'license_created' and trust = 'server'"
REVENUE = "(props->>'revenue_cents')::bigint"
# A page tells at most half an hour of a view, whatever it says.
ENGAGED = "greatest(0, least(1800, (props->>'engagement_time')::bigint))"


class DailyMetrics(Rollup):
    """What happened on one day with a project, an asset or a license; what is about none of them has NULL there."""

    table = "daily_metrics"
    key = ("project_id", "ip_asset_id", "license_id")
    index = [("ip_asset_id", "day"), ("project_id", "day")]  # noqa: RUF012  (read and never changed)

    views = Count(events, at=WHEN, where=IMPRESSIONS)
    clicks = Count(events, at=WHEN, where=CLICKS)
    conversions = Count(events, at=WHEN, where=CONVERSIONS)
    revenue_cents = Sum(events, REVENUE, at=WHEN)
    unique_visitors = Distinct(events, PERSON, at=WHEN, where=VIEWS)
    engagement_time = Sum(events, ENGAGED, at=WHEN, where=f"event_type = 'page_engaged' and {NO_BOT}", trust="public")
    # What the column `metadata` holds.
    downloads = Count(events, at=WHEN, where=f"event_type = 'asset_downloaded' and {NO_BOT}", extra=True)
    license_clicks = Count(events, at=WHEN, where=f"event_type = 'license_clicked' and {NO_BOT}", extra=True)
    renewals = Count(events, at=WHEN, where="event_type = 'license_renewed'", extra=True)
    rejections = Count(events, at=WHEN, where="event_type = 'asset_rejected'", extra=True)
    royalties_cents = Sum(
        events, "(props->>'amount_cents')::bigint", at=WHEN, where="event_type = 'royalty_paid'", extra=True
    )
    conversion_rate = Ratio("conversions", "views")


class CampaignFirstTouch(Rollup):
    """What campaigns brought and cost, by what first led each visitor here."""

    key = ("first_source", "first_medium", "first_campaign")

    visitors = Distinct(events, PERSON, at=WHEN, where=VIEWS)
    sessions = Distinct(events, "session_id", at=WHEN, where=VIEWS)
    impressions = Count(events, at=WHEN, where=IMPRESSIONS)
    clicks = Count(events, at=WHEN, where=CLICKS)
    conversions = Count(events, at=WHEN, where=CONVERSIONS)
    revenue_cents = Sum(events, REVENUE, at=WHEN)
    cost_cents = Sum(first_spend, "cost_cents", at="spent_on")
    roi = Formula("(revenue_cents - cost_cents) / cost_cents")


class CampaignLastTouch(Rollup):
    """What campaigns brought and cost, by what last led each visitor here in the thirty days before."""

    key = ("last_source", "last_medium", "last_campaign")

    visitors = Distinct(events, PERSON, at=WHEN, where=VIEWS)
    sessions = Distinct(events, "session_id", at=WHEN, where=VIEWS)
    impressions = Count(events, at=WHEN, where=IMPRESSIONS)
    clicks = Count(events, at=WHEN, where=CLICKS)
    conversions = Count(events, at=WHEN, where=CONVERSIONS)
    revenue_cents = Sum(events, REVENUE, at=WHEN)
    cost_cents = Sum(last_spend, "cost_cents", at="spent_on")
    roi = Formula("(revenue_cents - cost_cents) / cost_cents")


class PlatformDaily(Rollup):
    """How the platform grows."""

    signups = Count(events, at=WHEN, where="event_type = 'user_signed_up' and trust = 'server'")
    active_users = Distinct(events, "actor_id", at=WHEN)
    new_creators = Count(creator, at="joined_at")
    new_brands = Count(brand, at="joined_at")
    visitors = Distinct(events, PERSON, at=WHEN, where=VIEWS)
    conversions = Count(events, at=WHEN, where=CONVERSIONS)
    revenue_cents = Sum(events, REVENUE, at=WHEN)


class TrafficDaily(Rollup):
    """Who looks at pages: where from, and with what."""

    key = ("referrer_class", "device_type", "browser", "is_bot")

    views = Count(events, at=WHEN, where="event_type in ('page_viewed', 'asset_viewed')")
    visitors = Distinct(events, PERSON, at=WHEN, where="event_type in ('page_viewed', 'asset_viewed')")


class PagesDaily(Rollup):
    """How often each page was viewed, and by how many."""

    key = ("page", "is_bot")

    views = Count(events, at=WHEN, where="event_type = 'page_viewed'")
    visitors = Distinct(events, PERSON, at=WHEN, where="event_type = 'page_viewed'")


class Creator(Access):
    """What a creator may see: their own assets."""

    ip_asset_id = "select id from assets where creator_id = :creator_id"


class Brand(Access):
    """What a brand may see: assets that it has an active license on, for as long as it has."""

    ip_asset_id = (
        "select ip_asset_id from licenses where brand_id = :brand_id and status = 'active' and expires_at > now()"
    )


class BrandFirstTouch(Access):
    """A brand's own campaigns, by first touch."""

    first_campaign = "select campaign from campaign_spend where brand_id = :brand_id"


class BrandLastTouch(Access):
    """A brand's own campaigns, by last touch."""

    last_campaign = "select campaign from campaign_spend where brand_id = :brand_id"


# What people look at. A creator and a brand see their own, whoever sees everything chooses whose.


class CreatorPage(Page):
    """What your assets were looked at, how that went on, and what it earned."""

    title = "Your portfolio"
    access = Creator
    parameters = {"creator_id": "text"}  # noqa: RUF012
    period = "30d"

    revenue = Card(DailyMetrics, "revenue_cents", title="Revenue, in cents", compare="previous")
    views = Card(DailyMetrics, "views", compare="previous")
    visitors = Card(DailyMetrics, "unique_visitors", compare="previous")
    clicks = Card(DailyMetrics, "clicks", compare="previous")
    licenses = Card(DailyMetrics, "conversions", title="New licenses", compare="previous")
    conversion_rate = Card(DailyMetrics, "conversion_rate", compare="previous")
    engagement = Card(DailyMetrics, "engagement_time", title="Seconds of attention", compare="previous")
    revenue_timeline = Series(DailyMetrics, "revenue_cents", title="Revenue, in cents", compare="previous")
    attention = Series(DailyMetrics, ["views", "unique_visitors", "clicks"], title="Attention")
    top_assets = Top(
        DailyMetrics, ["views", "unique_visitors", "clicks", "conversions", "revenue_cents"], by="ip_asset_id",
        title="Top assets",
    )  # fmt: skip
    top_projects = Top(DailyMetrics, ["revenue_cents", "conversions"], by="project_id", title="Projects by revenue")


class BrandCampaignPage(Page):
    """What your campaigns brought and cost, by what last led each visitor here in the thirty days before."""

    title = "Your campaigns"
    access = BrandLastTouch
    parameters = {"brand_id": "text"}  # noqa: RUF012
    period = "30d"

    roi = Card(CampaignLastTouch, "roi", title="Return on what was spent", compare="previous")
    revenue = Card(CampaignLastTouch, "revenue_cents", title="Attributed revenue, in cents", compare="previous")
    cost = Card(CampaignLastTouch, "cost_cents", title="Cost, in cents", compare="previous")
    impressions = Card(CampaignLastTouch, "impressions", compare="previous")
    clicks = Card(CampaignLastTouch, "clicks", compare="previous")
    licenses = Card(CampaignLastTouch, "conversions", title="New licenses", compare="previous")
    reading = Text(
        "The return is (revenue - cost) / cost of all days together: 0 is as much as was spent, -1 is nothing back. Where nothing was "
        "spent there is none."
    )
    money = Series(CampaignLastTouch, ["revenue_cents", "cost_cents"], title="Revenue and cost, in cents")
    campaigns = Top(
        CampaignLastTouch,
        ["revenue_cents", "cost_cents", "roi", "impressions", "clicks", "conversions", "visitors"],
        by=("last_campaign", "last_source", "last_medium"), n=50, title="Campaigns",
    )  # fmt: skip
    by_campaign = Series(CampaignLastTouch, "impressions", by="last_campaign", title="Impressions by campaign")


class BrandAssetsPage(Page):
    """How the assets do that you have an active license on."""

    title = "Your licensed assets"
    access = Brand
    parameters = {"brand_id": "text"}  # noqa: RUF012

    views = Card(DailyMetrics, "views", title="Impressions", compare="previous")
    clicks = Card(DailyMetrics, "clicks", compare="previous")
    visitors = Card(DailyMetrics, "unique_visitors", compare="previous")
    over_time = Series(DailyMetrics, "views", by="ip_asset_id", title="Impressions by asset")
    assets = Top(
        DailyMetrics,
        ["views", "clicks", "unique_visitors", "engagement_time", "conversions"],
        by="ip_asset_id",
        n=50,
        title="Assets",
    )


class PlatformPage(Page):
    """How the platform grows."""

    title = "The platform"
    period = "12m"

    revenue = Card(PlatformDaily, "revenue_cents", title="Revenue, in cents", compare="previous")
    signups = Card(PlatformDaily, "signups", title="New users", compare="previous")
    active_users = Card(PlatformDaily, "active_users", compare="previous")
    creators = Card(PlatformDaily, "new_creators", compare="previous")
    brands = Card(PlatformDaily, "new_brands", compare="previous")
    visitors = Card(PlatformDaily, "visitors", compare="previous")
    licenses = Card(PlatformDaily, "conversions", title="New licenses", compare="previous")
    revenue_growth = Series(
        PlatformDaily, "revenue_cents", grain="month", title="Revenue by month, in cents", compare="year"
    )
    people = Series(PlatformDaily, ["signups", "new_creators", "new_brands"], grain="week", title="Who joined, by week")
    campaigns = Top(
        CampaignLastTouch,
        ["revenue_cents", "cost_cents", "roi", "visitors"],
        by="last_campaign",
        title="Campaigns, by last touch",
    )
    referrers = Top(
        TrafficDaily,
        ["views", "visitors"],
        by="referrer_class",
        where={"is_bot": False},
        title="Where visitors come from",
    )
    pages = Top(PagesDaily, ["views", "visitors"], by="page", where={"is_bot": False}, title="Pages")
