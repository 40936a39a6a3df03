-- The platform's own tables. What people do is in the event log.
DROP TABLE IF EXISTS creators;
DROP TABLE IF EXISTS brands;
DROP TABLE IF EXISTS assets;
DROP TABLE IF EXISTS licenses;
DROP TABLE IF EXISTS campaign_spend;
CREATE TABLE creators (id text PRIMARY KEY, name text NOT NULL, joined_at timestamptz NOT NULL);
CREATE TABLE brands (id text PRIMARY KEY, name text NOT NULL, joined_at timestamptz NOT NULL);
CREATE TABLE assets (id text PRIMARY KEY, creator_id text NOT NULL, project_id text, title text NOT NULL);
CREATE TABLE licenses (
    id text PRIMARY KEY, ip_asset_id text NOT NULL, brand_id text NOT NULL, status text NOT NULL, expires_at timestamptz NOT NULL
);
CREATE TABLE campaign_spend (
    brand_id text, source text NOT NULL, medium text NOT NULL, campaign text NOT NULL, spent_on date NOT NULL, cost_cents bigint NOT NULL
);
