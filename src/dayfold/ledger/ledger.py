"""The ledger of one store: made, migrated and checked here; its parts are beside it. Ledger floor.

Invariant: progress is recorded in the transaction that writes the rows it speaks of.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from sqlglot import exp

from dayfold.clock import Clock
from dayfold.define.types import Kind, Type
from dayfold.engines.base import Session, Store, normal_type
from dayfold.errors import Conflict, StoreAltered, StoreIncomplete, StoreMoved, StoreNewer, StoreNotMigrated
from dayfold.ledger.migrations import MIGRATIONS, SEQUENCES, TABLES, VERSION, VIEWS
from dayfold.plan.sql import Constant, Statement, Values, identifier, statement, table

#: How long a run waits for another one that makes the same tables: a transaction of some milliseconds.
_MAKING_TRIES = 10
_MAKING_PAUSE_SECONDS = 0.1
#: Under this name stands where a store goes; the store is ``MOVING`` there, or has ``MOVED``.
AWAY, MOVING, MOVED = "to", "moving", "moved"
Result = TypeVar("Result")
_NAMES = (*TABLES, *VIEWS, *SEQUENCES)


class Ledger:
    """The record that a store keeps beside its rows."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        #: Where the ledger's own tables are: the store, unless that is in two databases.
        self.home = store.home
        self.clock = clock
        self._key: str | None = None
        self._compared = False
        #: Tables of ours, beside the ledger's own, that the store was seen to have.
        self._kept: set[str] = set()
        self._remembered: dict[str, str] = {}
        #: The columns of rollups' tables, by version: a table keeps them for as long as its version stands.
        self.types: dict[tuple[str, int, str], Mapping[str, Type]] = {}
        #: What the query floor has worked out of rollups as they stand, by rollup.
        self.kept: dict[str, object] = {}

    def sql(self, text: str, **values: Any) -> Statement:
        """A statement of ours in the spelling that the engines share, its tables in the store's schema.

        Most are constant and only have their parameters numbered; SQLGlot builds those that take ``_parts``.
        """
        if not any(name.startswith("_") for name in values):
            numbered, names = _numbered(text, self.home.schema)
            return Constant(exp.null(), Values(values), text=numbered, names=names)
        one = statement(text, **values)
        for node in one.tree.find_all(exp.Table):
            if node.name in _NAMES and not node.db:
                node.replace(_placed(node, self.home.schema))
        return one

    def place(self, name: str) -> exp.Table:
        """A table of ours, in the schema that it is in."""
        return table(name, self.home.schema if name in TABLES else self.store.schema)

    def version(self, session: Session) -> int | None:
        """The number of the last migration, or None where there is no ledger."""
        found = self.store.stored_columns(session, ["dayfold__store"])
        return self._stored_version(session) if found else None

    def _stored_version(self, session: Session) -> int:
        return int(session.rows(self.sql("select version from dayfold__store"))[0][0])

    def exists(self) -> bool:
        """Whether the store has a ledger."""
        with self.store.transaction(read_only=True) as session:
            return self.version(session) is not None

    def ready(self) -> None:
        """A ledger of this program's version is there, that may be written to: made in an empty store, checked in any other.

        Raises:
            StoreNewer, StoreNotMigrated, StoreAltered: with what differs and what to do.
            StoreIncomplete, StoreMoved: where a move has not filled it yet, or has taken it elsewhere.
        """
        with self.store.transaction(read_only=True) as session:
            if self._compared and self._stored_version(session) == VERSION:
                self.check_stays(session)
                return
            found = self.store.stored_columns(session, [*TABLES, *VIEWS])
            if "dayfold__store" in found:
                self._compare(self._stored_version(session), found)
                self.check_stays(session)
                self._compared = True
                return
        self.make_once(self.exists, self.migrate)

    def check_stays(self, session: Session) -> None:
        """Raise StoreMoved where the store goes, or went, elsewhere."""
        for state, place in session.rows(
            self.sql("select state, place from dayfold__moves where name = :name", name=AWAY)
        ):
            raise StoreMoved(moved_words(self.store.address, state, place), hint=MOVED_HINTS[state])

    def is_there(self, session: Session) -> bool:
        """Whether there is a ledger, which then is of this program's version. Its tables are compared once in a process.

        Raises:
            StoreNewer, StoreNotMigrated, StoreAltered: with what differs and what to do.
        """
        if self._compared and self._stored_version(session) == VERSION:
            return True
        version = self.version(session)
        if version is None:
            return False
        self.check(session, version)
        self._compared = True
        return True

    def keeps(self, name: str) -> bool:
        """Whether a table that is made when it is first needed is there; once there, it stays."""
        if name not in self._kept:
            with self.store.transaction(read_only=True) as session:
                if not self.store.stored_columns(session, [name]):
                    return False
            self._kept.add(name)
        return True

    def make_once(self, is_there: Callable[[], bool], make: Callable[[], object]) -> bool:
        """Make what is not there yet, and say whether this call did: another run's making is as good."""
        for _ in range(_MAKING_TRIES):
            if is_there():
                return False
            try:
                make()
                return True
            except Conflict as error:
                refused = error
            time.sleep(_MAKING_PAUSE_SECONDS)
        if not is_there():
            raise refused
        return False

    def retried(self, work: Callable[[], Result]) -> Result:
        """What a transaction gives, tried again where another one was quicker."""
        for _ in range(_MAKING_TRIES - 1):
            try:
                return work()
            except Conflict:
                time.sleep(_MAKING_PAUSE_SECONDS)
        return work()

    def check(self, session: Session, version: int) -> None:
        """Refuse a ledger that this program does not know."""
        self._compare(version, self.store.stored_columns(session, [*TABLES, *VIEWS]))

    def _compare(self, version: int, found: Mapping[str, dict[str, str]]) -> None:
        if version < 0:
            raise StoreIncomplete(
                f"The store {self.store.address} is being filled by a move, and is not whole yet.",
                hint="Run the same `dayfold move` again; it goes on where it was. If that move was given up, drop what it made.",
            )
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
        if differences := self._differences(found):
            raise StoreAltered(
                f"The ledger of {self.store.address} is not as Dayfold makes it: {'; '.join(differences)}.",
                hint="Undo the change by hand, or restore the store from a backup.",
            )

    def _differences(self, found: Mapping[str, dict[str, str]]) -> list[str]:
        """How the ledger's tables differ from what the migrations make."""
        differences = []
        for name, columns in TABLES.items():
            expected = {column: _spelled(self.home, type_) for column, type_ in columns.items()}
            have = found.get(name)
            if have is None:
                differences.append(f"the table {name} is missing")
            elif have != expected:
                wrong = [c for c in {**expected, **have} if have.get(c) != expected.get(c)]
                differences.append(f"the table {name} differs in {', '.join(wrong) or 'the order of its columns'}")
        return differences + [f"the view {name} is missing" for name in VIEWS if name not in found]

    def migrate(self) -> list[str]:
        """Apply the migrations that are missing, in one transaction; the names of those applied."""
        with self.store.transaction() as session:
            version = self.version(session)
            if version is not None and version >= VERSION:
                self.check(session, version)
            missing = [migration for migration in MIGRATIONS if migration.number > (version or 0)]
            if version is None:
                self.store.make_schema(session)
            for migration in missing:
                for text in migration.statements:
                    session.execute(self.sql(text))
            if version is None:
                session.execute(
                    self.sql(
                        "insert into dayfold__store (id, version, store_key, created_at) values (1, :version, :key, "
                        ":now::timestamptz)",
                        version=VERSION,
                        key=secrets.token_hex(16),
                        now=self.clock.now(),
                    )
                )
            elif missing:
                session.execute(self.sql("update dayfold__store set version = :version", version=VERSION))
        return [f"{migration.number}: {migration.name}" for migration in missing]

    def store_key(self, session: Session) -> str:
        """The secret that hashes of distinct values are made with."""
        if self._key is None:
            self._key = str(session.rows(self.sql("select store_key from dayfold__store"))[0][0])
        return self._key

    def remember_sources(self, sources: Mapping[str, Mapping[str, Type]]) -> None:
        """Keep the sources' columns, for the day one cannot be asked. Writes only what is new."""
        texts = {source: _dumped(columns) for source, columns in sources.items()}
        if self._remembered.items() >= texts.items():
            return
        self.make_once(lambda: self._known_sources().items() >= texts.items(), lambda: self._keep_sources(texts))
        self._remembered |= texts

    def _known_sources(self) -> dict[str, str]:
        with self.store.transaction(read_only=True) as session:
            return dict(session.rows(self.sql("select source, columns from dayfold__sources")))

    def _keep_sources(self, texts: Mapping[str, str]) -> None:
        known = self._known_sources()
        update = "update dayfold__sources set columns = :columns, seen_at = :now::timestamptz where source = :source"
        insert = "insert into dayfold__sources (source, columns, seen_at) values (:source, :columns, :now::timestamptz)"
        with self.store.transaction() as session:
            for source, text in texts.items():
                if known.get(source) != text:
                    query = update if source in known else insert
                    session.execute(self.sql(query, source=source, columns=text, now=self.clock.now()))

    def remembered_source(self, source: str) -> dict[str, Type] | None:
        """A source's columns as they were last seen, or None where it was never read."""
        with self.store.transaction(read_only=True) as session:
            if self.version(session) is None:
                return None
            query = "select columns from dayfold__sources where source = :source"
            known = session.rows(self.sql(query, source=source))
        if not known:
            return None
        return {name: Type(Kind(kind), precision, scale) for name, kind, precision, scale in json.loads(known[0][0])}


#: What to do about a store that is written to no more, by how it stands.
MOVED_HINTS = {
    MOVING: "What stands in it can be read meanwhile. To go on: dayfold move --to URL. To stay: dayfold move --abandon.",
    MOVED: "Name that one in dayfold.toml: [store] url. What stands in the old one can still be read.",
}


def moved_words(address: str, state: str, place: str) -> str:
    """What whoever writes to a store is told that goes, or went, elsewhere."""
    if state == MOVING:
        return f"The store {address} is being moved to {place}, and is not written to meanwhile."
    return f"The store {address} was moved to {place}, and is not written to any more."


def _dumped(columns: Mapping[str, Type]) -> str:
    return json.dumps([[name, type_.kind, type_.precision, type_.scale] for name, type_ in columns.items()])


_TABLE = re.compile(rf"\b({'|'.join(sorted(_NAMES, key=len, reverse=True))})\b(?!')")
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


@lru_cache(maxsize=256)
def _numbered(text: str, schema: str) -> tuple[str, tuple[str, ...]]:
    """A constant text with its tables placed and ``:names`` as ``$1``, ``$2`` …, and the names in that order."""
    order: dict[str, int] = {}
    placed = _TABLE.sub(lambda found: f"{identifier(schema).sql()}.{found[1]}", text)
    numbered = _PARAMETER.sub(lambda found: f"${order.setdefault(found[1], len(order) + 1)}", placed)
    return numbered, tuple(order)


def _placed(node: exp.Table, schema: str) -> exp.Expr:
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
    "boolean": Type(Kind.BOOL),
    "uuid": Type(Kind.UUID),
}
