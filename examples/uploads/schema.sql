-- The application's own table. Nothing refers to it: a key that is deleted keeps its history.
DROP TABLE IF EXISTS api_keys;
CREATE TABLE api_keys (
  id text PRIMARY KEY,
  user_id text NOT NULL,
  monthly_bytes bigint NOT NULL
);
