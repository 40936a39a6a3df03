-- The application's own tables. Nothing of the counters refers to them: a key that is deleted keeps its history.
DROP TABLE IF EXISTS api_keys;
DROP TABLE IF EXISTS api_key_quotas;
CREATE TABLE api_keys (
  id text PRIMARY KEY,
  user_id text NOT NULL
);
CREATE TABLE api_key_quotas (
  api_key_id text NOT NULL,
  user_id text NOT NULL,
  monthly_bytes bigint NOT NULL,
  since timestamptz NOT NULL
);
