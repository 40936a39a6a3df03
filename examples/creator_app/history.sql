-- A bad week: what happens to old rows in a real application, and what home-made rollups get wrong.
-- Plain INSERT, UPDATE and DELETE, read by both engines. Ids above 900,000,000 are new.

-- Late: a store that reports months afterwards, and posts of an account that was connected late.
INSERT INTO daily_revenue (id, source, measured_at, mrr, active_subscribers, new_users, churned_subscribers, gross_revenue, store_fee) VALUES
    (900000001, 'partner', '2025-09-01 20:00:00+00', 120.50, 12, 3, 1, 99.99, 20.00),
    (900000002, NULL, '2025-03-03 23:59:59.999999+00', 0.01, 1, 1, 0, 0.01, 0.00);
INSERT INTO marketing_post (id, platform, category, campaign, status, spiciness, created_at, posted_at) VALUES
    (900000001, 'tiktok', 'story', NULL, 'posted', NULL, '2025-02-01 00:00:00+00', '2025-02-02 00:00:00+00');
INSERT INTO post_snapshot (id, post_id, platform, category, campaign, spiciness, observed_at, views, likes, comments, shares) VALUES
    (900000001, 900000001, 'tiktok', 'story', NULL, NULL, '2025-02-02 12:00:00+00', 1000, 70, 11, 6),
    (900000002, 900000001, 'tiktok', 'story', NULL, NULL, '2025-06-02 12:00:00+00', 5000, 350, 55, 33),
    (900000003, 900000001, 'tiktok', 'story', NULL, NULL, '2025-06-03 12:00:00+00', 40, 2, 1, 0);

-- A level that is corrected late changes its own day and the next one that was observed.
UPDATE post_snapshot SET views = views + 500, likes = likes + 20 WHERE post_id % 41 = 7 AND id % 1000 IN (20, 21);
UPDATE post_snapshot SET views = views * 3 WHERE id = 900000001;

-- Money that was counted wrong, a level that was measured wrong.
UPDATE daily_revenue SET gross_revenue = gross_revenue - 12.34 WHERE id % 700 = 110;
UPDATE daily_revenue SET mrr = mrr + 1000 WHERE id % 900 = 31;

-- Moved to another day: posts that an import had dated in local time.
UPDATE marketing_post SET created_at = created_at + INTERVAL '9 hours' WHERE id % 23 = 4;
UPDATE post_snapshot SET observed_at = observed_at + INTERVAL '2 days' WHERE post_id % 53 = 11 AND id % 1000 = 199;

-- Moved to another key: a campaign is renamed, posts find a campaign or lose it, money finds its store.
UPDATE marketing_post SET campaign = 'campaign-9' WHERE campaign = 'campaign-8';
UPDATE post_snapshot SET campaign = 'campaign-9' WHERE campaign = 'campaign-8' AND observed_at >= '2025-11-01 00:00:00+00';
UPDATE marketing_post SET campaign = 'campaign-1' WHERE campaign IS NULL AND id % 3 = 0;
UPDATE post_snapshot SET campaign = NULL WHERE post_id % 61 = 5;
UPDATE daily_revenue SET source = 'web' WHERE source IS NULL AND id < 900000000 AND id % 2 = 0;
UPDATE marketing_post SET status = 'posted', posted_at = '2026-02-03 10:00:00+00' WHERE status = 'approved' AND id % 7 = 1;

-- Deleted: single rows, all levels of one post, a whole campaign, a store's whole day.
DELETE FROM post_snapshot WHERE id % 1000 = 55 AND post_id % 5 = 2;
DELETE FROM post_snapshot WHERE post_id % 71 = 9;
DELETE FROM marketing_post WHERE id % 71 = 9;
DELETE FROM marketing_post WHERE campaign = 'campaign-2';
DELETE FROM post_snapshot WHERE campaign = 'campaign-2';
DELETE FROM daily_revenue WHERE source = 'play_store' AND measured_at >= '2025-11-11 00:00:00+00' AND measured_at < '2025-11-12 00:00:00+00';

-- Touched, but the same as before: nothing to fold.
UPDATE marketing_post SET status = status WHERE platform = 'instagram';
