-- The tables as the application has them. One spelling that both engines read.
DROP TABLE IF EXISTS daily_revenue;
DROP TABLE IF EXISTS marketing_post;
DROP TABLE IF EXISTS post_snapshot;

CREATE TABLE daily_revenue (
    id bigint PRIMARY KEY,
    source text,
    measured_at timestamptz NOT NULL,
    mrr numeric(12,2) NOT NULL,
    active_subscribers bigint NOT NULL,
    new_users bigint NOT NULL,
    churned_subscribers bigint NOT NULL,
    gross_revenue numeric(12,2) NOT NULL,
    store_fee numeric(12,2) NOT NULL
);

CREATE TABLE marketing_post (
    id bigint PRIMARY KEY,
    platform text NOT NULL,
    category text NOT NULL,
    campaign text,
    status text NOT NULL,
    spiciness bigint,
    created_at timestamptz NOT NULL,
    posted_at timestamptz
);

CREATE TABLE post_snapshot (
    id bigint PRIMARY KEY,
    post_id bigint NOT NULL,
    platform text NOT NULL,
    category text NOT NULL,
    campaign text,
    spiciness bigint,
    observed_at timestamptz NOT NULL,
    views bigint NOT NULL,
    likes bigint NOT NULL,
    comments bigint NOT NULL,
    shares bigint NOT NULL
);
