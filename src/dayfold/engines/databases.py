"""The store and the databases of an application, by name. Engines floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dayfold.define.source import Own, Table
from dayfold.engines.base import Source, Store


@dataclass(slots=True)
class Databases:
    """The store and the databases that sources live in, by name."""

    store: Store
    others: Mapping[str, Source]

    def of(self, source: Table) -> Source:
        """The database that a source is read from: the store, where it reaches the source itself."""
        if isinstance(source, Own) and source.is_at_home:
            return self.store.home
        if source.database is None or self.store.reaches(source.database):
            return self.store
        return self.others[source.database]

    def known(self, name: str) -> bool:
        """Whether a definition may name this database."""
        return name in self.others or self.store.reaches(name)

    @property
    def names(self) -> list[str]:
        """The names that definitions may use."""
        return sorted(self.others)

    def close(self) -> None:
        """Close them all."""
        for one in (self.store, *self.others.values()):
            one.close()
