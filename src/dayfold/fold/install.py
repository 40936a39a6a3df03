"""Installing and removing the triggers of tables, as the definitions ask for them; for a DBA too. Fold floor."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from dayfold.engines.base import Session, Source
from dayfold.errors import DayfoldError, UnknownName, UsageError
from dayfold.fold.track import LOG, SCHEMA, TREE, Tracking, duckdb_triggers_of, fed_names
from dayfold.names import listing, suggestion
from dayfold.plan import triggers
from dayfold.plan.shape import quoted
from dayfold.plan.sql import column, statement, table
from dayfold.plan.triggers import EVENTS, Tracked, reference

_MAKE_LOG = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE SEQUENCE IF NOT EXISTS {SCHEMA}.mark_ids",
    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.marks (id BIGINT NOT NULL, rollup TEXT NOT NULL, version BIGINT NOT NULL, "
    "key TEXT, day DATE, marked_at TIMESTAMPTZ NOT NULL, reason TEXT NOT NULL)",
    f"COMMENT ON SCHEMA {SCHEMA} IS 'What changed in tables that Dayfold folds; made by dayfold track install'",
)


#: What the user who folds may do with the log, whoever made it.
_GRANT_LOG = (f"GRANT USAGE ON SCHEMA {SCHEMA} TO ", f"GRANT SELECT, DELETE ON {SCHEMA}.marks TO ")


#: How long installing waits for transactions that have written to a table.
_LOCK_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Installer:
    """Makes the triggers of an application's tables what its definitions ask for."""

    tracking: Tracking

    def statements(self, names: Sequence[str] = ()) -> list[tuple[Source, Tracked, list[str]]]:
        """What installs the triggers of some tables, or of all that should have them, as a DBA would run it."""
        found = []
        for tracked in self._named(names):
            database = self.tracking.databases.of(tracked.feeds[0].scan.source)
            if database.dialect.name == "duckdb":
                found.append((database, tracked, self._duckdb_statements(database, tracked)))
            elif database.dialect.name == "clickhouse":
                found.append((database, tracked, self._feed_statements(database, tracked)))
            else:
                found.append((database, tracked, self._postgres_statements(database, tracked)))
        return found

    def _named(self, names: Sequence[str]) -> list[Tracked]:
        tables = self.tracking.wanted(self.tracking.numbers())
        known = [one.name for one in tables]
        for name in names:
            if name not in known:
                raise UnknownName(
                    f"No definition tracks a table '{name}'{suggestion(name, known)}.",
                    hint=f"Tracked tables: {listing(known)}" if known else 'Say changes="trigger" in a Table.',
                )
        if not tables:
            raise UsageError(
                "No definition asks for triggers.", hint='Say so in a source: Table("…", changes="trigger").'
            )
        return [one for one in tables if not names or one.name in names]

    def _feed_statements(self, database: Source, tracked: Tracked) -> list[str]:
        """What notes what the table feeds, and forgets what it fed before."""
        store = self.tracking.databases.store
        home, there = store.home, fed_names(store, tracked.name)
        stamp = secrets.token_hex(4)
        found, kept = [], set()
        for rollup in sorted(tracked.rollups):
            one = Tracked(
                tracked.name, tracked.dialect, tuple(f for f in tracked.feeds if f.rollup == rollup), tracked.log
            )
            mine = [name for event in EVENTS[:3] for name in there if name.startswith(triggers.duckdb_name(one, event))]
            if len(mine) == len(EVENTS[:3]):
                kept |= set(mine)
            else:
                found += triggers.feeds(one, stamp, home.schema, home.dialect.name)
        gone = [
            exp.delete(table(triggers.FEEDS, home.schema)).where(
                exp.EQ(this=column("name"), expression=exp.Literal.string(name))
            )
            for name in there
            if name not in kept
        ]
        return [one.sql(home.dialect.name, identify=True) for one in gone] + found

    def _postgres_statements(self, database: Source, tracked: Tracked) -> list[str]:
        same = self.tracking.is_ours(database)
        schema = database.schema if same else SCHEMA
        with database.transaction(read_only=True) as session:
            [(path, user)] = session.rows(
                statement("select current_schemas(false)::text[], cast(current_user as text)")
            )
            relations = session.rows(database.dialect.statement(_RELATIONS, name=reference(tracked.name)))
        if not relations:
            raise UnknownName(f"{database.address} has no table '{tracked.name}'.")
        for name, kind in relations:
            if kind not in ("r", "p"):
                raise UsageError(
                    f"{name} is no table but a {'view' if kind in ('v', 'm') else 'foreign table'}, which has no such triggers.",
                    hint="Write it as Table(sql=…, reads=[…]) over its tables, or leave changes out.",
                )
        made = [] if same else [*_MAKE_LOG, *(text + quoted(user) for text in _GRANT_LOG)]
        made += triggers.postgres_function(tracked, schema, path, self._stamps(database, tracked))
        for name, _ in relations:
            made += triggers.postgres_triggers(tracked, schema, name)
        return made

    def _stamps(self, database: Source, tracked: Tracked) -> dict[str, str]:
        """What tells the feeding of each rollup from another: it goes on where it stands, and begins anew elsewhere."""
        self.tracking.look_again()
        fed = self.tracking.found(database, tracked).fed if self.tracking.state(tracked)[0] != "missing" else {}
        return {
            rollup: fed[rollup][1] if rollup in fed and fed[rollup][0] == mark else secrets.token_hex(4)
            for rollup, mark in tracked.rollups.items()
        }

    def _duckdb_statements(self, database: Source, tracked: Tracked) -> list[str]:
        found = []
        stamp = secrets.token_hex(4)
        there = [name for name, _ in duckdb_triggers_of(database, tracked.name)]
        kept: set[str] = set()
        for rollup in sorted(tracked.rollups):
            feeds = tuple(feed for feed in tracked.feeds if feed.rollup == rollup)
            one = Tracked(tracked.name, tracked.dialect, feeds, tracked.log)
            mine = [name for event in EVENTS[:3] for name in there if name.startswith(triggers.duckdb_name(one, event))]
            if len(mine) == len(EVENTS[:3]):
                kept |= set(mine)
            else:
                found += triggers.duckdb_triggers(one, stamp)
        gone = [f"DROP TRIGGER {quoted(name)} ON {reference(tracked.name)}" for name in there if name not in kept]
        return gone + found

    def install(self, names: Sequence[str] = ()) -> list[str]:
        """Make the triggers; each table in one transaction. The tables that have them now.

        Raises:
            StoreError: when a right is missing, with what to ask for.
        """
        done = []
        for database, tracked, texts in self.statements(names):
            with _rights(database, tracked), database.transaction() as session:
                if database.dialect.name == "postgres":
                    # Whoever writes to the table waits behind us while we wait.
                    session.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
                for text in texts:
                    session.execute(text)
                if not self.tracking.is_ours(database):
                    self._drop_outdated(session)
            done.append(tracked.name)
        self.tracking.look_again()
        return done

    def _drop_outdated(self, session: Session) -> None:
        """What earlier definitions of these rollups logged beside the source is gone: no fold reads it any more."""
        feeds = [feed for one in self.tracking.wanted(self.tracking.numbers()) for feed in one.feeds]
        for rollup in sorted({feed.rollup for feed in feeds}):
            session.execute(
                statement(
                    "delete from _log where starts_with(rollup, :begin) and not rollup = any(:tags)",
                    _log=LOG.table,
                    begin=f"{self.tracking.store_mark} {rollup} ",
                    tags=sorted({tag for feed in feeds if feed.rollup == rollup for tag in feed.tags}),
                )
            )

    def remove(self, names: Sequence[str] = ()) -> list[str]:
        """Drop our triggers from tables, and the schema of ours where nothing uses it any more."""
        done = []
        store = self.tracking.databases.store
        for database in dict.fromkeys([store, store.home, *self.tracking.databases.others.values()]):
            done += self._remove_from(database, names)
        self.tracking.look_again()
        return done

    def _remove_from(self, database: Source, names: Sequence[str]) -> list[str]:
        if database.dialect.name == "clickhouse":
            return []
        if database.dialect.name == "duckdb":
            found = duckdb_triggers_of(database)
            with database.transaction() as session:
                mine = [(name, owner) for name, owner in found if not names or owner in names]
                for name, owner in mine:
                    session.execute(f"DROP TRIGGER {quoted(name)} ON {reference(owner)}")
            return sorted({owner for _, owner in mine})
        if database.dialect.name == "clickhouse":
            # What only feeds the ledger from tables of ours has no triggers that anybody could miss.
            return []
        done: set[str] = set()
        with database.transaction() as session:
            rows = session.rows(database.dialect.statement(_OURS))
            kept = 0
            for trigger, relation, plain, _ in rows:
                if names and plain not in names and relation not in names:
                    kept += 1
                    continue
                session.execute(f"DROP TRIGGER {quoted(trigger)} ON {relation}")
                done.add(plain)
            gone = {row[3] for row in rows} - {row[3] for row in session.rows(database.dialect.statement(_OURS))}
            for function in sorted(gone):
                session.execute(f"DROP FUNCTION {function}()")
            if done and not kept and not self.tracking.is_ours(database):
                session.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        return sorted(done)


class _rights:  # reads as a phrase in the with statement
    """Says which rights the triggers of a table need, where the database refused them."""

    def __init__(self, database: Source, tracked: Tracked) -> None:
        self.database = database
        self.tracked = tracked

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: Any) -> None:
        if isinstance(error, DayfoldError) and "permission denied" in error.message:
            name = reference(self.tracked.name)
            error.hint = (
                f"Its user needs TRIGGER on {name}, and CREATE on the database for the schema {SCHEMA}. Or have a DBA run "
                f"what this prints: dayfold track install {self.tracked.name} --sql"
            )
            error.args = (error.message,)


_RELATIONS = TREE + "select cast(cast(oid as regclass) as text), cast(relkind as text) from tree order by oid"
_OURS = """
select cast(t.tgname as text), cast(cast(t.tgrelid as regclass) as text), cast(c.relname as text),
  concat(quote_ident(n.nspname), '.', quote_ident(p.proname))
from pg_trigger as t join pg_class as c on c.oid = t.tgrelid join pg_proc as p on p.oid = t.tgfoid
join pg_namespace as n on n.oid = p.pronamespace
where t.tgname in ('dayfold_insert', 'dayfold_update', 'dayfold_delete', 'dayfold_truncate') and not t.tgisinternal
"""
