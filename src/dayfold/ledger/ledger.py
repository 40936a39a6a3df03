"""The ledger of one store: made, migrated and checked here; its parts are beside it. Ledger floor.

Invariant: progress is recorded in the transaction that writes the rows it speaks of.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from sqlglot import exp

from dayfold.clock import Clock
from dayfold.define.types import Kind, Type
from dayfold.engines.base import Session, Store, normal_type
from dayfold.errors import StoreAltered, StoreError, StoreNewer, StoreNotMigrated
from dayfold.ledger.migrations import MIGRATIONS, TABLES, VERSION
from dayfold.plan.sql import Statement, statement, table

_NAMES = (*TABLES, "dayfold__run_ids", "dayfold_runs", "dayfold_coverage")


class Ledger:
    """The record that a store keeps beside its rows."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self._key: str | None = None

    def sql(self, text: str, **values: Any) -> Statement:
        """A statement of ours in PostgreSQL's spelling, its tables in the store's schema."""
        one = statement(text, **values)
        for node in one.tree.find_all(exp.Table):
            if node.name in _NAMES and not node.db:
                node.replace(_placed(node, self.store.schema))
        return one

    def version(self, session: Session) -> int | None:
        """The number of the last migration, or None where there is no ledger."""
        if "dayfold__store" not in self.store.stored_columns(session, ["dayfold__store"]):
            return None
        return int(session.rows(self.sql("select version from dayfold__store"))[0][0])

    def exists(self) -> bool:
        """Whether the store has a ledger."""
        with self.store.transaction(read_only=True) as session:
            return self.version(session) is not None

    def ready(self) -> None:
        """A ledger of this program's version is there: made in an empty store, checked in any other.

        Raises:
            StoreNewer, StoreNotMigrated, StoreAltered: with what differs and what to do.
        """
        with self.store.transaction(read_only=True) as session:
            version = self.version(session)
            if version is not None:
                self.check(session, version)
        if version is None:
            try:
                self.migrate()
            except StoreError:
                # Another process may have made it in the same moment; what counts is that it is there.
                if not self.exists():
                    raise

    def check(self, session: Session, version: int) -> None:
        """Refuse a ledger that this program does not know."""
        if version > VERSION:
            raise StoreNewer(
                f"The store {self.store.address} is of version {version}; this program knows versions up to {VERSION}.",
                hint="Install the newer Dayfold that made it.",
            )
        if version < VERSION:
            raise StoreNotMigrated(
                f"The store {self.store.address} is of version {version}; this program needs version {VERSION}.",
                hint="Run: dayfold migrate",
            )
        if differences := self.differences(session):
            raise StoreAltered(
                f"The ledger of {self.store.address} is not as Dayfold makes it: {'; '.join(differences)}.",
                hint="Undo the change by hand, or restore the store from a backup.",
            )

    def differences(self, session: Session) -> list[str]:
        """How the ledger's tables differ from what the migrations make."""
        found = self.store.stored_columns(session, list(TABLES))
        differences = []
        for name, columns in TABLES.items():
            expected = {column: _spelled(self.store, type_) for column, type_ in columns.items()}
            have = found.get(name)
            if have is None:
                differences.append(f"the table {name} is missing")
            elif have != expected:
                wrong = [c for c in {**expected, **have} if have.get(c) != expected.get(c)]
                differences.append(
                    f"the table {name} differs in {', '.join(wrong) or 'the order of its columns'}"
                )
        return differences

    def migrate(self) -> list[str]:
        """Apply the migrations that are missing, in one transaction; the names of those applied."""
        with self.store.transaction() as session:
            version = self.version(session)
            if version is not None and version > VERSION:
                self.check(session, version)
            missing = [migration for migration in MIGRATIONS if migration.number > (version or 0)]
            for migration in missing:
                for text in migration.statements:
                    session.execute(self.sql(text))
            if version is None:
                session.execute(
                    self.sql(
                        "insert into dayfold__store (id, version, store_key, created_at) values (1, :version, :key, :now::timestamptz)",
                        version=VERSION,
                        key=secrets.token_hex(16),
                        now=self.clock.now(),
                    )  # fmt: skip
                )
            elif missing:
                session.execute(self.sql("update dayfold__store set version = :version", version=VERSION))
        return [f"{migration.number}: {migration.name}" for migration in missing]

    def store_key(self, session: Session) -> str:
        """The secret that hashes of distinct values are made with."""
        if self._key is None:
            self._key = str(session.rows(self.sql("select store_key from dayfold__store"))[0][0])
        return self._key

    def remember_source(self, session: Session, source: str, columns: dict[str, Type]) -> None:
        """Keep a source's columns, for the day it cannot be asked."""
        text = json.dumps(
            [[name, type_.kind, type_.precision, type_.scale] for name, type_ in columns.items()]
        )
        known = session.rows(
            self.sql("select columns from dayfold__sources where source = :source", source=source)
        )
        if known and known[0][0] == text:
            return
        query = (
            "update dayfold__sources set columns = :columns, seen_at = :now::timestamptz where source = :source"
            if known
            else "insert into dayfold__sources (source, columns, seen_at) values (:source, :columns, :now::timestamptz)"
        )
        session.execute(self.sql(query, source=source, columns=text, now=self.clock.now()))

    def remembered_source(self, session: Session, source: str) -> dict[str, Type] | None:
        """A source's columns as they were last seen."""
        known = session.rows(
            self.sql("select columns from dayfold__sources where source = :source", source=source)
        )
        if not known:
            return None
        return {
            name: Type(Kind(kind), precision, scale)
            for name, kind, precision, scale in json.loads(known[0][0])
        }


def _placed(node: exp.Table, schema: str) -> exp.Table:
    fresh = table(node.name, schema)
    if node.args.get("alias"):
        return exp.alias_(fresh, node.alias, table=True)
    return fresh


def _spelled(store: Store, type_: str) -> str:
    return normal_type(store.dialect, _LOGICAL[type_])


_LOGICAL = {
    "text": Type(Kind.TEXT),
    "bigint": Type(Kind.INT),
    "timestamptz": Type(Kind.TIMESTAMPTZ),
    "date": Type(Kind.DATE),
}
