"""What is kept of a rollup for as long as it stands as it does: worked out once for all questions. Query floor.

Equal standings have equal answers, so what these have beside their numbers is equal too: the definition, and which buckets are
covered. After a publication a hundred questions find the same new standing, and most of them ask about the same days.

Invariant: it is used only in a snapshot that has its standing.

Weakness: frames of very many buckets are worked out for each question, so that what is kept of a rollup takes some ten MB at most.
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
from dayfold.memo import Memo
from dayfold.query.cover import Cover, Frame
from dayfold.query.request import Request

#: Frames that are kept of a rollup, and the most buckets and days that one of them may have.
_MOST_FRAMES, _MOST_PARTS = 100, 1_000


@dataclass(slots=True)
class Known:
    """A rollup at one standing. Threads share it; each of its values is put in place whole."""

    version: Version
    _fit: tuple[RollupDef, list[str], list[str]] | None = None
    _history: dict[str, dt.date] | None = None
    _last: tuple[dt.date, dict[str, dt.date]] | None = None
    _lives: list[coverage.LifeCover] | None = None
    _frames: Memo[Hashable, Frame] = field(default_factory=lambda: Memo(_MOST_FRAMES))

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
            if max(len(found.spine.buckets), len(request.days)) <= _MOST_PARTS:
                self._frames.learn(kind, found)
        return found

    def edited(self, rollup: RollupDef) -> tuple[list[str], list[str]]:
        """The metrics of a definition that are not as they were folded, and its other parts that are not."""
        fit = self._fit
        if fit is None or fit[0] is not rollup:
            definition = self.version.definition
            stored = definition["metrics"]
            stored = {**stored, **definition.get("made", {})}
            kept = rollup.metrics if rollup.is_profile else rollup.measured
            found = [name for name, metric in kept.items() if stored.get(name) != metric.identity()]
            shape = {"key": list(rollup.key), "day_column": rollup.day_column, "grain": rollup.grain}
            self._fit = fit = rollup, found, [name for name, value in shape.items() if definition[name] != value]
        return fit[1:]

    def history(self, ledger: Ledger, session: Session) -> dict[str, dt.date]:
        """The first covered day of each source."""
        if self._history is None:
            self._history = coverage.first_days(ledger, session, self.version.rollup, self.version.number)
        return self._history

    def lives(self, ledger: Ledger, session: Session) -> list[coverage.LifeCover]:
        """How each source of a profile is covered."""
        if self._lives is None:
            self._lives = coverage.lives(ledger, session, self.version.rollup, self.version.number)
        return self._lives

    def last_days(self, ledger: Ledger, session: Session, today: dt.date) -> dict[str, dt.date]:
        """The last covered day of each source up to today."""
        last = self._last
        if last is None or last[0] != today:
            # Of one day only: a standing may hold for months.
            found = coverage.last_days(ledger, session, self.version.rollup, self.version.number, today)
            self._last = last = today, found
        return last[1]


def known(ledger: Ledger, session: Session, rollup: str, standing: Standing | None = None) -> Known | None:
    """A rollup as it stands in a snapshot, or None where it was never folded. ``standing``: how it does, where that was read."""
    kept = ledger.kept.get(rollup)
    if isinstance(kept, Known) and (standing or versions.standing_of(ledger, session, rollup)) == kept.standing:
        return kept
    version = versions.version_of(ledger, session, rollup) if ledger.is_there(session) else None
    if version is None:
        return None
    found = ledger.kept[rollup] = Known(version)
    return found
