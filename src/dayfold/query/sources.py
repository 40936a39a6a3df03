"""The sources of a live answer, and one snapshot of each database that it reads. Query floor."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from sqlglot import exp

from dayfold.engines.base import Session, Source
from dayfold.engines.databases import Databases
from dayfold.engines.scans import ScanFailed
from dayfold.errors import ConnectionFailed, DayfoldError, SourceFailed, StoreError, TookTooLong
from dayfold.plan.bind import BoundRollup, Scan
from dayfold.plan.sql import Statement


@dataclass(frozen=True, slots=True)
class Sources:
    """What the numbers of one rollup are computed from.

    Attributes:
        failed: Sources that cannot be read, with the reason.
        untracked: Those that should report their changes and do not at present.
        renewed: Those whose triggers are not the ones of the last fold, so that nobody told what changed in between.
        logs: For those that log their changes in a database of their own: the query for what is logged.
        entities: For these, by the tag of their marks, the select of the entities whose changed levels are logged.
    """

    databases: Databases
    rollup: BoundRollup
    failed: Mapping[str, DayfoldError] = field(default_factory=dict)
    untracked: frozenset[str] = frozenset()
    renewed: frozenset[str] = frozenset()
    logs: Mapping[str, Statement] = field(default_factory=dict)
    entities: Mapping[str, exp.Select] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The names of all sources, each once."""
        return list(dict.fromkeys(scan.label for scan in self.rollup.scans))


class Snapshots:
    """One transaction of the store, in which temporary tables can be made, and a read-only one of every other database.

    Args:
        ends_at: The moment, by the monotonic clock, at which everything inside is over; None: no limit.
    """

    def __init__(self, databases: Databases, ends_at: float | None = None) -> None:
        self.databases = databases
        self.ends_at = ends_at
        self._stack = ExitStack()
        self._sessions: dict[int, Session] = {}

    def __enter__(self) -> Snapshots:
        self._stack.__enter__()
        self.store = self._begin(self.databases.store)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def _begin(self, database: Source) -> Session:
        # PostgreSQL makes no temporary table in a read-only transaction; DuckDB does, and there a transaction that may write
        # would make the store's file.
        writes = database is self.databases.store and database.dialect.name == "postgres"
        left_s = None if self.ends_at is None else self.ends_at - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise TookTooLong("The time is over.")
        session: Session = self._stack.enter_context(database.transaction(read_only=not writes))
        if left_s is not None:
            self._stack.enter_context(session.limit(left_s))
        self._sessions[id(database)] = session
        return session

    def apart(self, scan: Scan) -> bool:
        """Whether a scan's source is in another database than the store."""
        return self.databases.of(scan.source) is not self.databases.store

    @contextmanager
    def reading(self, scan: Scan) -> Iterator[Session]:
        """The session in which a scan's source is read.

        Raises:
            ScanFailed: when what is done with it inside the block fails; every snapshot is useless then.
        """
        database = self.databases.of(scan.source)
        try:
            session = self._sessions.get(id(database)) or self._begin(database)
            with session.within(scan.source):
                yield session
        except (SourceFailed, StoreError, ConnectionFailed) as error:
            raise ScanFailed(scan, error) from error
