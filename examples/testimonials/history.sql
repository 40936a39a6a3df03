-- A bad week: what happens to old rows in a real application, and what home-made rollups get wrong.
-- Plain INSERT, UPDATE and DELETE, read by both engines. Ids above 900,000,000 are new.

-- Late: requests of a phone that was offline for 300 days, and submissions imported from an old account.
INSERT INTO testimonial_request (id, shop_id, sent_at, clicked_at) VALUES
    (900000001, 1, '2025-03-11 08:15:00+00', '2025-03-11 09:00:00+00'),
    (900000002, 1, '2025-03-11 23:59:59.999999+00', NULL),
    (900000003, 5, '2025-12-01 12:00:00+00', NULL);
INSERT INTO testimonial_submission (id, shop_id, media_type, submitted_at, approved_at, published_at, status) VALUES
    (900000001, 2, 'video', '2025-01-05 00:00:00+00', '2025-01-06 10:00:00+00', '2025-02-01 00:00:00+00', 'published'),
    (900000002, 3, 'photo', '2025-02-14 17:30:00+00', NULL, NULL, 'pending');

-- Older than anything before it: the history now starts on 2024-12-30.
INSERT INTO testimonial_request (id, shop_id, sent_at, clicked_at) VALUES
    (900000004, 4, '2024-12-30 07:00:00+00', NULL);

-- Moved to another day: an import had read local times as UTC.
UPDATE testimonial_request SET sent_at = sent_at + INTERVAL '9 hours' WHERE id BETWEEN 1000 AND 1100;
UPDATE testimonial_submission SET approved_at = approved_at - INTERVAL '3 days' WHERE id % 400 = 7 AND approved_at IS NOT NULL;

-- Moved to another key: shop 8 was merged into shop 7, and rows without a shop found theirs.
UPDATE testimonial_request SET shop_id = 7 WHERE shop_id = 8 AND sent_at >= '2025-12-01 00:00:00+00';
UPDATE testimonial_submission SET shop_id = 7 WHERE shop_id = 8 AND submitted_at >= '2025-12-01 00:00:00+00';
UPDATE testimonial_request SET shop_id = 6 WHERE shop_id IS NULL AND id % 2 = 0;

-- And the other way round: rows that lost their shop.
UPDATE testimonial_request SET shop_id = NULL WHERE id BETWEEN 2000 AND 2010;
UPDATE testimonial_submission SET shop_id = NULL WHERE id BETWEEN 500 AND 505;

-- Clicks that only the events know: one appears, one goes, one turns out to be earlier.
INSERT INTO testimonial_request_event (request_id, type, "at") VALUES
    (900000002, 'clicked', '2025-03-13 06:00:00+00'),
    (900000002, 'opened', '2025-03-12 06:00:00+00');
DELETE FROM testimonial_request_event WHERE type = 'clicked' AND request_id % 150 = 11;
UPDATE testimonial_request_event SET "at" = "at" - INTERVAL '2 days' WHERE type = 'clicked' AND request_id % 500 = 3;

-- An event changes what it is, without a moment of its own being touched.
UPDATE testimonial_request_event SET type = 'clicked' WHERE type = 'opened' AND request_id % 700 = 5;

-- A click time that was wrong: the first event counts from now on.
UPDATE testimonial_request SET clicked_at = NULL WHERE id % 900 = 4;

-- Moderation: a video was a photo, approvals withdrawn, submissions published at last.
UPDATE testimonial_submission SET media_type = 'photo' WHERE media_type = 'video' AND id % 300 = 2;
UPDATE testimonial_submission SET approved_at = NULL, published_at = NULL, status = 'rejected' WHERE id % 350 = 9;
UPDATE testimonial_submission SET published_at = '2026-02-04 22:00:00+00', status = 'published'
    WHERE status = 'approved' AND id % 40 = 1;

-- Deleted: some rows, all rows of one shop on one day, and a whole shop that left.
DELETE FROM testimonial_request WHERE id % 1000 = 17;
DELETE FROM testimonial_submission WHERE id % 800 = 21;
DELETE FROM testimonial_submission WHERE shop_id = 2
    AND submitted_at >= '2025-11-11 00:00:00+00' AND submitted_at < '2025-11-12 00:00:00+00';
DELETE FROM testimonial_request WHERE shop_id = 2
    AND sent_at >= '2025-11-11 00:00:00+00' AND sent_at < '2025-11-12 00:00:00+00';
DELETE FROM testimonial_request WHERE shop_id = 9;
DELETE FROM testimonial_submission WHERE shop_id = 9;

-- Touched, but the same as before: nothing to fold.
UPDATE testimonial_submission SET status = status WHERE shop_id = 3;
