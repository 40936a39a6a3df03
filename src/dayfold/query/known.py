"""What is kept of a rollup for as long as it stands as it does: worked out once for all questions. Query floor.

Equal standings have equal answers, so what these have beside their numbers is equal too: the definition, and which buckets are
covered. After a publication a hundred questions find the same new standing, and most of them ask about the same days.

Invariant: it is used only in a snapshot that has its standing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable
from dataclasses import dataclass, field

from dayfold.define.rollup import RollupDef
from dayfold.engines.base import Session
from dayfold.ledger import coverage, versions
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.versions import Standing, Version
from dayfold.query.cover import Cover, Frame
from dayfold.query.request import Request

#: Questions of more kinds than this are worked out again.
_MOST_FRAMES = 500


@dataclass(slots=True)
class Known:
    """A rollup at one standing.

    Attributes:
        fitting: For some metrics the definition that was found to be the one they were folded by.
    """

    version: Version
    fitting: dict[tuple[str, ...], RollupDef] = field(default_factory=dict)
    _history: dict[str, dt.date] | None = None
    _last: dict[dt.date, dict[str, dt.date]] = field(default_factory=dict)
    _frames: dict[Hashable, Frame] = field(default_factory=dict)

    @property
    def standing(self) -> Standing:
        """How the rollup stands."""
        return Standing(self.version.number, self.version.revision)

    def frame(self, ledger: Ledger, session: Session, request: Request) -> Frame:
        """The buckets of a question and what has to be said with them."""
        # Filters and groups choose rows of a bucket, and no buckets.
        kind = (
            id(request.rollup), request.metrics, request.days, request.grain, request.tz, request.allow_missing, request.today,
            request.present, request.is_limited,
        )  # fmt: skip
        found = self._frames.get(kind)
        if found is None or found.rollup is not request.rollup:
            days = coverage.coverage(ledger, session, request.rollup.name, self.version.number, request.utc_days)
            found = Cover(request, days, self.history(ledger, session)).frame()
            if len(self._frames) >= _MOST_FRAMES:
                self._frames.clear()
            self._frames[kind] = found
        return found

    def history(self, ledger: Ledger, session: Session) -> dict[str, dt.date]:
        """The first covered day of each source."""
        if self._history is None:
            self._history = coverage.first_days(ledger, session, self.version.rollup, self.version.number)
        return self._history

    def last_days(self, ledger: Ledger, session: Session, today: dt.date) -> dict[str, dt.date]:
        """The last covered day of each source up to today."""
        if today not in self._last:
            # Of one day only: a standing may hold for months.
            self._last = {today: coverage.last_days(ledger, session, self.version.rollup, self.version.number, today)}
        return self._last[today]


def known(ledger: Ledger, session: Session, rollup: str) -> Known | None:
    """A rollup as it stands in a snapshot, or None where it was never folded."""
    kept = ledger.kept.get(rollup)
    if isinstance(kept, Known) and versions.standing_of(ledger, session, rollup) == kept.standing:
        return kept
    version = versions.version_of(ledger, session, rollup) if ledger.is_there(session) else None
    if version is None:
        return None
    found = ledger.kept[rollup] = Known(version)
    return found
