-- What a fold of single cells looks facts up by: the key and each moment. Without them a change costs a scan.
CREATE INDEX testimonial_request_sent ON testimonial_request (shop_id, sent_at);
CREATE INDEX testimonial_request_event_request ON testimonial_request_event (request_id);
CREATE INDEX testimonial_submission_submitted ON testimonial_submission (shop_id, submitted_at);
CREATE INDEX testimonial_submission_approved ON testimonial_submission (shop_id, approved_at);
CREATE INDEX testimonial_submission_published ON testimonial_submission (shop_id, published_at);
