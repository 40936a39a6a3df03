"""Makes the long view of a store, and makes it anew when what it reads changes. Fold floor.

It is made from what the ledger knows of the stored rollups; definitions add the formulas, which nobody stores, and which levels
are carried. A comment on the view says that it is ours, and which view it is. Where a table is about to lose columns or to go,
its branches leave the view in the same transaction.

Invariant: a relation of that name which is not ours is never touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlglot import exp

from dayfold.define.catalog import Catalog
from dayfold.define.metric import Gauge
from dayfold.define.rollup import RollupDef
from dayfold.define.source import label_of
from dayfold.engines.base import Session
from dayfold.errors import DayfoldError
from dayfold.ledger import versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.longview import MARK, LongMetric, LongRollup, long_view
from dayfold.plan.shape import quoted

#: Moves when the same rollups make another view.
_LAYOUT = 1


class LongView:
    """The long view of one store, under the name that its settings give it; an empty name is no view."""

    def __init__(self, ledger: Ledger, catalog: Catalog, name: str) -> None:
        self.ledger = ledger
        self.store = ledger.store
        self.catalog = catalog
        self.name = name

    def refresh(self) -> str | None:
        """The view is that of the rollups as they are stored now. Why it is not made, where it cannot be.

        Writes nothing where it is that already.
        """
        try:
            with self.store.transaction(read_only=True) as session:
                ours = self._ours(session)
                if reason := self._taken(session, ours):
                    return reason
                if ours.keys() == self._wanted and all(
                    text.endswith(self._mark(self._rollups(session))) for text in ours.values()
                ):
                    return None
            return self.ledger.retried(self._remade)
        except DayfoldError as error:
            return f"The view {self.name} is not made: {error}"

    @property
    def _wanted(self) -> set[str]:
        """The names of the views that there should be."""
        return {self.name} if self.name else set()

    def _remade(self) -> str | None:
        with self.store.transaction() as session:
            return self.put(session)

    def put(self, session: Session) -> str | None:
        """The view as the stored rollups make it, in a transaction that may have changed them."""
        self._lock(session)
        ours = self._drop_earlier(session)
        if not self.name:
            return None
        reason = self._taken(session, ours)
        if reason is None:
            self._make(session, self._rollups(session))
        return reason

    def _taken(self, session: Session, ours: Mapping[str, str]) -> str | None:
        """Why the view cannot have its name, where somebody else's relation has it."""
        if not self.name or self.name in ours or not self.store.stored_columns(session, [self.name]):
            return None
        return (
            f"The view {self.name} is not made: the store has a table or view of that name, which Dayfold did not make. "
            'Name another one in dayfold.toml: [store] long_view = "…", or "" for none.'
        )

    def leave_out(self, session: Session, rollup: str) -> None:
        """The view reads the tables of this rollup no more, until it is put again."""
        self._lock(session)
        if self.name in self._drop_earlier(session):
            self._make(session, [one for one in self._rollups(session) if one.name != rollup])

    def _drop_earlier(self, session: Session) -> dict[str, str]:
        """Our views of other names are gone; what is there of this name, with its comment."""
        ours = self._ours(session)
        for name in ours.keys() - self._wanted:
            session.execute(f"DROP VIEW {self._placed(name)}")
        return {name: text for name, text in ours.items() if name == self.name}

    def _lock(self, session: Session) -> None:
        """Two runs never make the view at once: the second has a conflict, and is tried again."""
        # What it returns makes DuckDB write the row, though nothing of it changes.
        session.rows(self.ledger.sql("update dayfold__store set store_key = store_key returning id"))

    def _make(self, session: Session, rollups: Sequence[LongRollup]) -> None:
        # Readers' own rights and policies hold, and not those of whoever folds.
        how = " WITH (security_invoker = true)" if self.store.dialect.name == "postgres" else ""
        # Replaced and not dropped: grants on it, and views over it, stay.
        text = long_view(rollups, self.store.dialect)
        session.execute(f"CREATE OR REPLACE VIEW {self._placed(self.name)}{how} AS {text}")
        session.execute(f"COMMENT ON VIEW {self._placed(self.name)} IS '{MARK} ({self._mark(rollups)}'")

    def _placed(self, name: str) -> str:
        return f"{quoted(self.store.schema)}.{quoted(name)}"

    def _ours(self, session: Session) -> dict[str, str]:
        """The views of ours with their comments: one of an earlier name may be there."""
        return {name: text for name, text in self.store.remarks(session).items() if text.startswith(MARK)}

    def _mark(self, rollups: Sequence[LongRollup]) -> str:
        """What tells this view from that of other rollups, at the end of its comment."""
        words = [[*one.words()] for one in rollups]
        text = json.dumps([_LAYOUT, self.store.dialect.name, words], sort_keys=True)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:16]})"

    def _rollups(self, session: Session) -> list[LongRollup]:
        """The rollups whose tables are there, as they were folded."""
        known = versions.versions(self.ledger, session)
        stored = self.store.stored_columns(session, [one.table for one in known.values()])
        return [self._described(one) for one in known.values() if one.table in stored and one.has_days]

    def _described(self, version: versions.Version) -> LongRollup:
        words, defined = version.definition, self.catalog.rollups.get(version.rollup)
        metrics = {}
        for name, metric in words["metrics"].items():
            one = _metric(name, metric, words["types"], defined)
            if one is not None:
                metrics[name] = one
        computed: dict[str, exp.Expr] = {}
        for name, formula in (defined.computed if defined else {}).items():
            if formula.expr is not None and name not in metrics:
                computed[name] = formula.expr
        return LongRollup(
            version.rollup, version.table, self.store.schema, tuple(words["key"]), words["day_column"], words["grain"],
            metrics, computed,
        )  # fmt: skip


def _metric(name: str, words: dict[str, Any], types: dict[str, str], defined: RollupDef | None) -> LongMetric | None:
    """A stored metric by the words that it was folded with; None where nothing says what its source is called."""
    label = label_of(words["source"])
    mine = defined.measured.get(name) if defined else None
    if mine is not None and mine.source.as_words() == words["source"]:
        label = mine.source.label
    if label is None:
        return None
    kind = types[f"{name}__sum" if words["kind"] == "avg" else name]
    is_float = kind == "float" or words["kind"] == "avg"
    is_number = is_float or kind == "integer" or kind.startswith("decimal")
    carry = isinstance(mine, Gauge) and mine.carry
    return LongMetric(name, words["kind"], label, is_number, is_float, carry)
