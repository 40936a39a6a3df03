-- The three tables as the application has them. One spelling that both engines read.
DROP TABLE IF EXISTS testimonial_request;
DROP TABLE IF EXISTS testimonial_request_event;
DROP TABLE IF EXISTS testimonial_submission;

CREATE TABLE testimonial_request (
    id bigint PRIMARY KEY,
    shop_id bigint,
    sent_at timestamptz NOT NULL,
    clicked_at timestamptz
);

CREATE TABLE testimonial_request_event (
    request_id bigint NOT NULL,
    type text NOT NULL,
    "at" timestamptz NOT NULL
);

CREATE TABLE testimonial_submission (
    id bigint PRIMARY KEY,
    shop_id bigint,
    media_type text NOT NULL,
    submitted_at timestamptz NOT NULL,
    approved_at timestamptz,
    published_at timestamptz,
    status text NOT NULL
);
