"""Rollups folded from others: a publication marks the cells above the rows that it changes. Fold floor.

Marks are made from the lower rollup's own rows, as they were before they changed and as they are after, in the
transaction that changes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from dayfold.define.source import Folded
from dayfold.engines.base import Session
from dayfold.ledger import marks
from dayfold.ledger.ledger import Ledger
from dayfold.plan.bind import BoundRollup, Scan
from dayfold.plan.cells import changed
from dayfold.plan.follow import levels_tag
from dayfold.plan.publish import CHANGES, Publication
from dayfold.plan.sql import Values, alias, both, column, table
from dayfold.plan.triggers import Parts

REASON = "{lower} was folded"
#: The rows of a publication that change what is read above.
_MOVED = "dayfold_moved__"


@dataclass(frozen=True, slots=True)
class Upper:
    """A rollup that is folded from another.

    Attributes:
        versions: Its version in the ledger, and the one that is being built.
        rollup: Its definition as it is bound now; None where it is not known, so that all its cells are marked.
    """

    name: str
    versions: tuple[int, ...]
    rollup: BoundRollup | None

    def scans(self, lower: BoundRollup) -> list[Scan]:
        """The scans of the lower rollup's rows."""
        if self.rollup is None:
            return []
        return [
            scan
            for scan in self.rollup.scans
            if isinstance(scan.source, Folded) and scan.source.rollup.__name__ == lower.name
        ]


def nobody(session: Session) -> Sequence[Upper]:
    """No rollup is folded from this one."""
    return ()


@dataclass(slots=True)
class Marker:
    """Marks the cells above one publication's rows."""

    ledger: Ledger
    session: Session
    lower: BoundRollup
    uppers: Sequence[Upper]
    _everything: set[tuple[str, int]] = field(default_factory=set)
    _narrowed: bool = False

    def before(self, publication: Publication) -> None:
        """The cells that rows which change, or go, stood for."""
        self._narrowed = self._narrow(publication)
        self._mark(publication, all_new=False)

    def _narrow(self, publication: Publication) -> bool:
        """Stage the rows of which something changes that is read above; False where every changed row is taken."""
        if publication.shape is not self.lower.shape:
            return False
        used: set[str] = set().union(*(scan.reads for upper in self.uppers for scan in upper.scans(self.lower)))
        columns = [one for one in publication.written if one.name in used]
        if not self.uppers or len(columns) == len(publication.written):
            return False
        self.session.stage(_MOVED, publication.moving(columns))
        return True

    def after(self, publication: Publication, *, all_new: bool) -> None:
        """The cells that the rows stand for now."""
        self._mark(publication, all_new=all_new)

    def _mark(self, publication: Publication, *, all_new: bool) -> None:
        reason = REASON.format(lower=self.lower.name)
        for upper in self.uppers:
            scans = upper.scans(self.lower)
            for version in upper.versions:
                if not scans:
                    if (upper.name, version) not in self._everything:
                        marks.mark(self.ledger, self.session, upper.name, version, None, reason)
                    self._everything.add((upper.name, version))
                    continue
                for scan in scans:
                    parts = [(upper.name, scan.keys)]
                    if scan.levels is not None:
                        parts.append((levels_tag(upper.name, scan), [*scan.levels.per]))
                    for name, keys in parts:
                        values = Values()
                        cells = self._cells(scan, keys, publication, values, all_new=all_new)
                        marks.mark(self.ledger, self.session, name, version, cells, reason, values)

    def _cells(self, scan: Scan, keys: Parts, publication: Publication, values: Values, *, all_new: bool) -> exp.Select:
        """The cells of an upper scan, or the entities, that the publication's rows stand for."""
        return changed(
            scan.dialect,
            keys,
            scan.moment.day,
            scan.relation.copy(),
            [_rows_of(scan, publication, values, all_new, _MOVED if self._narrowed else CHANGES)],
        )


def _rows_of(scan: Scan, publication: Publication, values: Values, all_new: bool, changes: str) -> exp.Expr:
    """True for rows of the lower rollup that a publication writes or removes."""
    if all_new:
        return publication.in_scope(values)
    same = both(
        scan.dialect.piece("equal", _x=column(one.name), _y=column(one.name, "x")) for one in publication.shape.identity
    )
    listed = exp.select(alias(exp.Literal.number(1), "one")).from_(exp.alias_(table(changes), "x", table=True))
    return exp.Exists(this=listed.where(_outer(same)))


def _outer(tree: exp.Expr) -> exp.Expr:
    """A condition whose bare columns are those of the relation around it, not those of the change set."""
    return tree.transform(
        lambda node: column(node.name, "folded__") if isinstance(node, exp.Column) and not node.table else node
    )
