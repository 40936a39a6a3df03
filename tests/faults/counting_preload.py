"""What a process that is killed needs, loaded once: a fork of it begins at once."""

import psycopg_pool  # noqa: F401
import redis.cluster  # noqa: F401

import tests.faults.counting  # noqa: F401
