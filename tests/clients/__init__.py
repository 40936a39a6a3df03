"""Client libraries of others, unchanged, against the real server: only their host is set."""
