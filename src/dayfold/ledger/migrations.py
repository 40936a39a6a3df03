"""The ledger's tables, as numbered migrations and as what they add up to. Ledger floor.

A migration is never edited once released; a change is a new one. `TABLES` is what all of them together make,
and a test holds the two against each other. Views without ``__`` are for everyone; tables with it are ours.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step, in PostgreSQL's spelling; SQLGlot respells it for other engines."""

    number: int
    name: str
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        1,
        "versions, leases, coverage and runs",
        (
            "CREATE TABLE dayfold__store (id BIGINT PRIMARY KEY, version BIGINT NOT NULL, store_key TEXT NOT NULL, "
            "created_at TIMESTAMPTZ NOT NULL)",
            "CREATE TABLE dayfold__rollups (rollup TEXT PRIMARY KEY, table_name TEXT NOT NULL, version BIGINT NOT "
            "NULL, "
            "fingerprint TEXT NOT NULL, definition TEXT NOT NULL, revision BIGINT NOT NULL, building TEXT, "
            "building_definition TEXT)",
            "CREATE TABLE dayfold__sources (source TEXT PRIMARY KEY, columns TEXT NOT NULL, seen_at TIMESTAMPTZ NOT "
            "NULL)",
            "CREATE TABLE dayfold__leases (rollup TEXT PRIMARY KEY, holder TEXT NOT NULL, backend TEXT NOT NULL, "
            "acquired_at TIMESTAMPTZ NOT NULL, expires_at TIMESTAMPTZ NOT NULL)",
            "CREATE TABLE dayfold__fences (rollup TEXT PRIMARY KEY, token BIGINT NOT NULL)",
            "CREATE TABLE dayfold__coverage (rollup TEXT NOT NULL, version BIGINT NOT NULL, source TEXT NOT NULL, day "
            "DATE NOT NULL, "
            "state TEXT NOT NULL, facts BIGINT NOT NULL, folded_at TIMESTAMPTZ, run_id BIGINT NOT NULL, reason TEXT, "
            "PRIMARY KEY (rollup, version, source, day))",
            "CREATE TABLE dayfold__runs (id BIGINT PRIMARY KEY, job TEXT NOT NULL, rollup TEXT NOT NULL, version "
            "BIGINT NOT NULL, "
            "status TEXT NOT NULL, holder TEXT NOT NULL, started_at TIMESTAMPTZ NOT NULL, finished_at TIMESTAMPTZ, "
            "first_day DATE, last_day DATE, "
            "cells BIGINT NOT NULL, rows_inserted BIGINT NOT NULL, rows_updated BIGINT NOT NULL, rows_deleted BIGINT "
            "NOT NULL, error TEXT)",
            "CREATE SEQUENCE dayfold__run_ids",
            "CREATE VIEW dayfold_runs AS SELECT id, job, rollup, version, status, holder, started_at, finished_at, "
            "first_day, last_day, cells, "
            "rows_inserted, rows_updated, rows_deleted, error FROM dayfold__runs",
            "CREATE VIEW dayfold_coverage AS SELECT c.rollup, c.source, c.day, c.state, c.facts, c.folded_at, "
            "c.run_id, c.reason "
            "FROM dayfold__coverage AS c JOIN dayfold__rollups AS r ON r.rollup = c.rollup AND r.version = c.version",
        ),
    ),
    Migration(
        2,
        "stale marks, cursors, verifications and receipts",
        (
            "CREATE SEQUENCE dayfold__mark_ids",
            "CREATE TABLE dayfold__marks (id BIGINT NOT NULL, rollup TEXT NOT NULL, version BIGINT NOT NULL, key TEXT, "
            "day DATE, marked_at TIMESTAMPTZ NOT NULL, reason TEXT NOT NULL)",
            "CREATE TABLE dayfold__cursors (rollup TEXT NOT NULL, version BIGINT NOT NULL, source TEXT NOT NULL, "
            "position TIMESTAMPTZ, reached TIMESTAMPTZ NOT NULL, waiting TEXT NOT NULL, PRIMARY KEY (rollup, version, source))",
            "CREATE TABLE dayfold__tracked (rollup TEXT NOT NULL, version BIGINT NOT NULL, source TEXT NOT NULL, "
            "stamp TEXT NOT NULL, PRIMARY KEY (rollup, version, source))",
            "CREATE TABLE dayfold__verifications (rollup TEXT NOT NULL, version BIGINT NOT NULL, day DATE NOT NULL, "
            "verified_at TIMESTAMPTZ NOT NULL, run_id BIGINT NOT NULL, cells BIGINT NOT NULL, drifted BIGINT NOT NULL, "
            "PRIMARY KEY (rollup, version, day))",
            "CREATE TABLE dayfold__receipts (rollup TEXT NOT NULL, version BIGINT NOT NULL, day DATE NOT NULL, "
            "stored BIGINT NOT NULL, digest TEXT NOT NULL, run_id BIGINT NOT NULL, recorded_at TIMESTAMPTZ NOT NULL, "
            "origin TEXT NOT NULL, PRIMARY KEY (rollup, version, day))",
            "CREATE VIEW dayfold_stale AS SELECT m.id, m.rollup, m.key, m.day, m.marked_at, m.reason FROM dayfold__marks "
            "AS m JOIN dayfold__rollups AS r ON r.rollup = m.rollup AND r.version = m.version",
            "CREATE VIEW dayfold_verifications AS SELECT v.rollup, v.day, v.verified_at, v.run_id, v.cells, v.drifted "
            "FROM dayfold__verifications AS v JOIN dayfold__rollups AS r ON r.rollup = v.rollup AND r.version = v.version",
        ),
    ),
    Migration(
        3,
        "jobs, access, alerts and days fetched from functions",
        (
            "CREATE TABLE dayfold__jobs (job TEXT PRIMARY KEY, is_enabled BOOLEAN NOT NULL, schedule TEXT NOT NULL, due_at TIMESTAMPTZ, "
            "since DATE NOT NULL, turn BIGINT NOT NULL, changed_at TIMESTAMPTZ NOT NULL, seen_at TIMESTAMPTZ NOT NULL)",
            "CREATE TABLE dayfold__job_runs (id BIGINT PRIMARY KEY, job TEXT NOT NULL, cause TEXT NOT NULL, due_at TIMESTAMPTZ, "
            "attempt BIGINT NOT NULL, request TEXT NOT NULL, asked_by TEXT NOT NULL, status TEXT NOT NULL, holder TEXT, backend TEXT, "
            "asked_at TIMESTAMPTZ NOT NULL, not_before TIMESTAMPTZ, started_at TIMESTAMPTZ, beats_until TIMESTAMPTZ, "
            "finished_at TIMESTAMPTZ, stop_asked BOOLEAN NOT NULL, progress TEXT, summary TEXT, error TEXT)",
            "CREATE TABLE dayfold__tokens (id TEXT PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL, "
            "scope TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL, created_by TEXT NOT NULL, expires_at TIMESTAMPTZ, "
            "revoked_at TIMESTAMPTZ)",
            "CREATE TABLE dayfold__users (name TEXT PRIMARY KEY, password TEXT NOT NULL, kind TEXT NOT NULL, scope TEXT NOT NULL, "
            "created_at TIMESTAMPTZ NOT NULL, changed_at TIMESTAMPTZ NOT NULL)",
            "CREATE TABLE dayfold__sessions (digest TEXT PRIMARY KEY, origin TEXT NOT NULL, username TEXT NOT NULL, kind TEXT NOT NULL, "
            "scope TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL, expires_at TIMESTAMPTZ NOT NULL)",
            "CREATE TABLE dayfold__links (digest TEXT PRIMARY KEY, expires_at TIMESTAMPTZ NOT NULL)",
            "CREATE TABLE dayfold__tries (subject TEXT NOT NULL, tried_at TIMESTAMPTZ NOT NULL)",
            "CREATE SEQUENCE dayfold__audit_ids",
            "CREATE TABLE dayfold__audit (id BIGINT PRIMARY KEY, noted_at TIMESTAMPTZ NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, "
            "target TEXT, outcome TEXT NOT NULL)",
            "CREATE SEQUENCE dayfold__alert_ids",
            "CREATE TABLE dayfold__alerts (id BIGINT PRIMARY KEY, rule TEXT NOT NULL, subject TEXT NOT NULL, episode BIGINT NOT NULL, "
            "opened_at TIMESTAMPTZ NOT NULL, closed_at TIMESTAMPTZ, message TEXT NOT NULL, details TEXT NOT NULL, "
            "seen_at TIMESTAMPTZ NOT NULL, UNIQUE (rule, subject, episode))",
            "CREATE TABLE dayfold__deliveries (id BIGINT PRIMARY KEY, alert_id BIGINT NOT NULL, channel TEXT NOT NULL, "
            "event TEXT NOT NULL, body TEXT NOT NULL, attempts BIGINT NOT NULL, next_at TIMESTAMPTZ, delivered_at TIMESTAMPTZ, error TEXT)",
            "CREATE VIEW dayfold_job_runs AS SELECT id, job, cause, due_at, attempt, status, asked_by, asked_at, started_at, "
            "finished_at, error FROM dayfold__job_runs",
            "CREATE VIEW dayfold_audit AS SELECT id, noted_at, actor, action, target, outcome FROM dayfold__audit",
            "CREATE VIEW dayfold_alerts AS SELECT id, rule, subject, opened_at, closed_at, message FROM dayfold__alerts",
            "CREATE TABLE dayfold__fetches (source TEXT NOT NULL, day DATE NOT NULL, state TEXT NOT NULL, reason TEXT, "
            "held BIGINT, asked_on DATE NOT NULL, PRIMARY KEY (source, day))",
            "CREATE TABLE dayfold__removed (rollup TEXT NOT NULL, revision BIGINT NOT NULL)",
        ),
    ),
    Migration(
        4,
        "events: their ids, their visitors, what was held back, what was taken",
        (
            "CREATE TABLE dayfold__event_ids (id UUID PRIMARY KEY, day DATE NOT NULL, digest BIGINT NOT NULL)",
            "CREATE TABLE dayfold__quarantine (id UUID PRIMARY KEY, event_id UUID NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, "
            "event_type TEXT NOT NULL, trust TEXT NOT NULL, actor_id TEXT, anonymous_id TEXT, occurred_at TIMESTAMPTZ NOT NULL, "
            "received_at TIMESTAMPTZ NOT NULL, body TEXT NOT NULL)",
            "CREATE TABLE dayfold__intake (day DATE NOT NULL, outcome TEXT NOT NULL, writer TEXT NOT NULL, events BIGINT NOT NULL, "
            "PRIMARY KEY (day, outcome, writer))",
            "CREATE TABLE dayfold__journals (name TEXT PRIMARY KEY, position BIGINT NOT NULL)",
            "CREATE TABLE dayfold__exports (id TEXT PRIMARY KEY, asked TEXT NOT NULL, scope TEXT NOT NULL, owner TEXT NOT NULL, "
            "asked_by TEXT NOT NULL, holds TEXT NOT NULL, run_id BIGINT, asked_at TIMESTAMPTZ NOT NULL, finished_at TIMESTAMPTZ, "
            "expires_at TIMESTAMPTZ, file TEXT NOT NULL, size_bytes BIGINT, row_count BIGINT, remarks TEXT)",
            "CREATE TABLE dayfold__salts (day DATE PRIMARY KEY, salt TEXT NOT NULL)",
            "ALTER TABLE dayfold__tokens ADD COLUMN limits TEXT",
            "CREATE TABLE dayfold__erasures (id BIGINT PRIMARY KEY, asked_at TIMESTAMPTZ NOT NULL, asked_by TEXT NOT NULL, "
            "state TEXT NOT NULL, request TEXT, certificate TEXT, finished_at TIMESTAMPTZ)",
            "CREATE VIEW dayfold_intake AS SELECT day, outcome, CAST(sum(events) AS BIGINT) AS events FROM dayfold__intake GROUP BY "
            "day, outcome",
            "CREATE VIEW dayfold_quarantine AS SELECT id, event_id, reason, detail, event_type, occurred_at, received_at FROM "
            "dayfold__quarantine",
            # Not unique: whoever writes at the same time writes beside, and reading takes it together.
            "CREATE TABLE dayfold__touches (visitor UUID NOT NULL, touched_at BIGINT NOT NULL, seen_until BIGINT NOT NULL, "
            "session_id TEXT, is_touch BOOLEAN NOT NULL, is_campaign BOOLEAN NOT NULL, "
            "channel TEXT, source TEXT, medium TEXT, campaign TEXT, landing_page TEXT)",
            "CREATE INDEX dayfold__touches_visitor ON dayfold__touches (visitor)",
            "CREATE TABLE dayfold__aliases (visitor UUID NOT NULL, anonymous_id TEXT NOT NULL, actor_id TEXT NOT NULL, "
            "linked_at BIGINT NOT NULL)",
            "CREATE INDEX dayfold__aliases_visitor ON dayfold__aliases (visitor)",
            "CREATE INDEX dayfold__aliases_actor ON dayfold__aliases (actor_id)",
        ),
    ),
    Migration(
        5,
        "counters: their epochs, their ids, what waits in this store, what was held back, what was applied",
        (
            "CREATE TABLE dayfold__live (counter TEXT NOT NULL, shard BIGINT NOT NULL, epoch TEXT NOT NULL, number BIGINT NOT NULL, "
            "accepted TEXT NOT NULL, seen TEXT NOT NULL, ended BOOLEAN NOT NULL, vanished BOOLEAN NOT NULL, "
            "noted_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (counter, shard, epoch))",
            "CREATE TABLE dayfold__tallies (counter TEXT NOT NULL, what TEXT NOT NULL, amounts TEXT NOT NULL, PRIMARY KEY (counter, what))",
            "CREATE TABLE dayfold__count_ids (counter TEXT NOT NULL, id TEXT NOT NULL, noted_at TIMESTAMPTZ NOT NULL, "
            "PRIMARY KEY (counter, id))",
            "CREATE TABLE dayfold__held_counts (id TEXT PRIMARY KEY, counter TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, "
            "day TEXT NOT NULL, key TEXT NOT NULL, owner TEXT, amounts TEXT NOT NULL, held_at TIMESTAMPTZ NOT NULL)",
            "CREATE TABLE dayfold__flushes (id TEXT PRIMARY KEY, counter TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL, "
            "holder TEXT NOT NULL, batches TEXT NOT NULL, row_count BIGINT NOT NULL, first_day DATE, last_day DATE, "
            "amounts TEXT NOT NULL, repeated TEXT NOT NULL, held BIGINT NOT NULL)",
            # Not unique: only what is added while a server without Valkey waits for its next flush stands here.
            "CREATE TABLE dayfold__adds (counter TEXT NOT NULL, chunk TEXT NOT NULL, id TEXT, body TEXT NOT NULL)",
            "CREATE TABLE dayfold__adders (counter TEXT NOT NULL, client TEXT NOT NULL, calls BIGINT NOT NULL, amounts TEXT NOT NULL, "
            "seen_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (counter, client))",
            "CREATE VIEW dayfold_flushes AS SELECT id, counter, applied_at, holder, batches, row_count, first_day, last_day, amounts, "
            "repeated, held FROM dayfold__flushes",
            "CREATE VIEW dayfold_held_counts AS SELECT id, counter, reason, detail, day, held_at FROM dayfold__held_counts",
        ),
    ),
    Migration(
        6,
        "profiles: the day that their rows are as of; checks: the verdicts of user-defined sanity checks",
        (
            "ALTER TABLE dayfold__coverage ADD COLUMN as_of DATE",
            "CREATE TABLE dayfold__checks (name TEXT NOT NULL, turn BIGINT NOT NULL, severity TEXT NOT NULL, verdict TEXT NOT NULL, "
            "reason TEXT, offending BIGINT, left_value TEXT, right_value TEXT, checked_at TIMESTAMPTZ NOT NULL, "
            "took_ms BIGINT NOT NULL, run_id BIGINT, digest TEXT NOT NULL, seen TEXT NOT NULL, PRIMARY KEY (name, turn))",
            "CREATE VIEW dayfold_checks AS SELECT c.name, c.severity, c.verdict, c.reason, c.offending, c.left_value, c.right_value, "
            "c.checked_at, c.took_ms, c.run_id FROM dayfold__checks AS c JOIN (SELECT name, max(turn) AS turn FROM dayfold__checks "
            "GROUP BY name) AS l ON l.name = c.name AND l.turn = c.turn",
        ),
    ),
    Migration(
        7,
        "pages that people saved",
        (
            "CREATE TABLE dayfold__pages (id TEXT PRIMARY KEY, title TEXT NOT NULL, owner TEXT NOT NULL, shared BOOLEAN NOT NULL, "
            "description TEXT NOT NULL, words TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL, updated_at TIMESTAMPTZ NOT NULL)",
        ),
    ),
    Migration(
        8,
        "moves: where the store came from and goes to, and how far that is",
        (
            "CREATE TABLE dayfold__moves (name TEXT PRIMARY KEY, state TEXT NOT NULL, mark TEXT NOT NULL, place TEXT NOT NULL, "
            "portions BIGINT NOT NULL, row_count BIGINT NOT NULL, noted_at TIMESTAMPTZ NOT NULL)",
        ),
    ),
)
VERSION = MIGRATIONS[-1].number

#: The views that are documented and for everyone.
VIEWS = (
    "dayfold_runs",
    "dayfold_coverage",
    "dayfold_stale",
    "dayfold_verifications",
    "dayfold_job_runs",
    "dayfold_audit",
    "dayfold_alerts",
    "dayfold_intake",
    "dayfold_quarantine",
    "dayfold_flushes",
    "dayfold_held_counts",
    "dayfold_checks",
)

#: Where numbers of runs, marks, audit notes and alerts come from.
SEQUENCES = ("dayfold__run_ids", "dayfold__mark_ids", "dayfold__audit_ids", "dayfold__alert_ids")

#: What the migrations add up to: table, then column and type as PostgreSQL names it.
TABLES: dict[str, dict[str, str]] = {
    "dayfold__store": {"id": "bigint", "version": "bigint", "store_key": "text", "created_at": "timestamptz"},
    "dayfold__rollups": {
        "rollup": "text", "table_name": "text", "version": "bigint", "fingerprint": "text", "definition": "text",
        "revision": "bigint", "building": "text", "building_definition": "text",
    },
    "dayfold__sources": {"source": "text", "columns": "text", "seen_at": "timestamptz"},
    "dayfold__leases": {"rollup": "text", "holder": "text", "backend": "text", "acquired_at": "timestamptz", "expires_at": "timestamptz"},
    "dayfold__fences": {"rollup": "text", "token": "bigint"},
    "dayfold__coverage": {
        "rollup": "text", "version": "bigint", "source": "text", "day": "date", "state": "text", "facts": "bigint",
        "folded_at": "timestamptz", "run_id": "bigint", "reason": "text", "as_of": "date",
    },
    "dayfold__runs": {
        "id": "bigint", "job": "text", "rollup": "text", "version": "bigint", "status": "text", "holder": "text",
        "started_at": "timestamptz", "finished_at": "timestamptz", "first_day": "date", "last_day": "date", "cells": "bigint",
        "rows_inserted": "bigint", "rows_updated": "bigint", "rows_deleted": "bigint", "error": "text",
    },
    "dayfold__marks": {
        "id": "bigint", "rollup": "text", "version": "bigint", "key": "text", "day": "date", "marked_at": "timestamptz",
        "reason": "text",
    },
    "dayfold__cursors": {
        "rollup": "text", "version": "bigint", "source": "text", "position": "timestamptz", "reached": "timestamptz",
        "waiting": "text",
    },
    "dayfold__tracked": {"rollup": "text", "version": "bigint", "source": "text", "stamp": "text"},
    "dayfold__verifications": {
        "rollup": "text", "version": "bigint", "day": "date", "verified_at": "timestamptz", "run_id": "bigint",
        "cells": "bigint", "drifted": "bigint",
    },
    "dayfold__receipts": {
        "rollup": "text", "version": "bigint", "day": "date", "stored": "bigint", "digest": "text", "run_id": "bigint",
        "recorded_at": "timestamptz", "origin": "text",
    },
    "dayfold__jobs": {
        "job": "text", "is_enabled": "boolean", "schedule": "text", "due_at": "timestamptz", "since": "date", "turn": "bigint",
        "changed_at": "timestamptz", "seen_at": "timestamptz",
    },
    "dayfold__job_runs": {
        "id": "bigint", "job": "text", "cause": "text", "due_at": "timestamptz", "attempt": "bigint", "request": "text",
        "asked_by": "text", "status": "text", "holder": "text", "backend": "text", "asked_at": "timestamptz",
        "not_before": "timestamptz", "started_at": "timestamptz", "beats_until": "timestamptz", "finished_at": "timestamptz",
        "stop_asked": "boolean", "progress": "text", "summary": "text", "error": "text",
    },
    "dayfold__tokens": {
        "id": "text", "name": "text", "digest": "text", "kind": "text", "scope": "text", "created_at": "timestamptz",
        "created_by": "text", "expires_at": "timestamptz", "revoked_at": "timestamptz", "limits": "text",
    },
    "dayfold__users": {
        "name": "text", "password": "text", "kind": "text", "scope": "text", "created_at": "timestamptz", "changed_at": "timestamptz",
    },
    "dayfold__sessions": {
        "digest": "text", "origin": "text", "username": "text", "kind": "text", "scope": "text", "created_at": "timestamptz",
        "expires_at": "timestamptz",
    },
    "dayfold__links": {"digest": "text", "expires_at": "timestamptz"},
    "dayfold__tries": {"subject": "text", "tried_at": "timestamptz"},
    "dayfold__audit": {
        "id": "bigint", "noted_at": "timestamptz", "actor": "text", "action": "text", "target": "text", "outcome": "text",
    },
    "dayfold__alerts": {
        "id": "bigint", "rule": "text", "subject": "text", "episode": "bigint", "opened_at": "timestamptz",
        "closed_at": "timestamptz", "message": "text", "details": "text", "seen_at": "timestamptz",
    },
    "dayfold__deliveries": {
        "id": "bigint", "alert_id": "bigint", "channel": "text", "event": "text", "body": "text", "attempts": "bigint",
        "next_at": "timestamptz", "delivered_at": "timestamptz", "error": "text",
    },
    "dayfold__fetches": {
        "source": "text", "day": "date", "state": "text", "reason": "text", "held": "bigint", "asked_on": "date",
    },
    "dayfold__removed": {"rollup": "text", "revision": "bigint"},
    "dayfold__event_ids": {"id": "uuid", "day": "date", "digest": "bigint"},
    "dayfold__quarantine": {
        "id": "uuid", "event_id": "uuid", "reason": "text", "detail": "text", "event_type": "text", "trust": "text",
        "actor_id": "text", "anonymous_id": "text", "occurred_at": "timestamptz", "received_at": "timestamptz", "body": "text",
    },
    "dayfold__intake": {"day": "date", "outcome": "text", "writer": "text", "events": "bigint"},
    "dayfold__journals": {"name": "text", "position": "bigint"},
    "dayfold__exports": {
        "id": "text", "asked": "text", "scope": "text", "owner": "text", "asked_by": "text", "holds": "text", "run_id": "bigint",
        "asked_at": "timestamptz", "finished_at": "timestamptz", "expires_at": "timestamptz", "file": "text", "size_bytes": "bigint",
        "row_count": "bigint", "remarks": "text",
    },
    "dayfold__salts": {"day": "date", "salt": "text"},
    "dayfold__touches": {
        "visitor": "uuid", "touched_at": "bigint", "seen_until": "bigint", "session_id": "text", "is_touch": "boolean",
        "is_campaign": "boolean", "channel": "text", "source": "text", "medium": "text", "campaign": "text", "landing_page": "text",
    },
    "dayfold__aliases": {"visitor": "uuid", "anonymous_id": "text", "actor_id": "text", "linked_at": "bigint"},
    "dayfold__erasures": {
        "id": "bigint", "asked_at": "timestamptz", "asked_by": "text", "state": "text", "request": "text", "certificate": "text",
        "finished_at": "timestamptz",
    },
    "dayfold__live": {
        "counter": "text", "shard": "bigint", "epoch": "text", "number": "bigint", "accepted": "text", "seen": "text", "ended": "boolean",
        "vanished": "boolean", "noted_at": "timestamptz",
    },
    "dayfold__tallies": {"counter": "text", "what": "text", "amounts": "text"},
    "dayfold__count_ids": {"counter": "text", "id": "text", "noted_at": "timestamptz"},
    "dayfold__held_counts": {
        "id": "text", "counter": "text", "reason": "text", "detail": "text", "day": "text", "key": "text", "owner": "text",
        "amounts": "text", "held_at": "timestamptz",
    },
    "dayfold__flushes": {
        "id": "text", "counter": "text", "applied_at": "timestamptz", "holder": "text", "batches": "text", "row_count": "bigint",
        "first_day": "date", "last_day": "date", "amounts": "text", "repeated": "text", "held": "bigint",
    },
    "dayfold__adds": {"counter": "text", "chunk": "text", "id": "text", "body": "text"},
    "dayfold__adders": {"counter": "text", "client": "text", "calls": "bigint", "amounts": "text", "seen_at": "timestamptz"},
    "dayfold__checks": {
        "name": "text", "turn": "bigint", "severity": "text", "verdict": "text", "reason": "text", "offending": "bigint",
        "left_value": "text", "right_value": "text", "checked_at": "timestamptz", "took_ms": "bigint", "run_id": "bigint",
        "digest": "text", "seen": "text",
    },
    "dayfold__pages": {
        "id": "text", "title": "text", "owner": "text", "shared": "boolean", "description": "text", "words": "text",
        "created_at": "timestamptz", "updated_at": "timestamptz",
    },
    "dayfold__moves": {
        "name": "text", "state": "text", "mark": "text", "place": "text", "portions": "bigint", "row_count": "bigint",
        "noted_at": "timestamptz",
    },
}  # fmt: skip
