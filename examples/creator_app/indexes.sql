-- What a fold of single cells looks facts up by, and a post its own earlier level.
CREATE INDEX daily_revenue_measured ON daily_revenue (source, measured_at);
CREATE INDEX marketing_post_created ON marketing_post (platform, category, campaign, status, spiciness, created_at);
CREATE INDEX post_snapshot_observed ON post_snapshot (platform, category, campaign, spiciness, observed_at);
CREATE INDEX post_snapshot_post ON post_snapshot (post_id, observed_at);
