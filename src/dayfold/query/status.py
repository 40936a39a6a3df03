"""How every rollup stands: coverage, rows and bytes, the last runs. Query floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from dayfold.days import LIFE
from dayfold.define.catalog import Catalog
from dayfold.define.fingerprint import identity
from dayfold.engines import owners
from dayfold.engines.base import Session
from dayfold.ledger import checks, coverage, jobs, marks, runs, versions
from dayfold.ledger.ledger import Ledger
from dayfold.plan.shape import SETS_SUFFIX
from dayfold.plan.sql import column
from dayfold.query.known import known


@dataclass(frozen=True, slots=True)
class RollupStatus:
    """How one rollup stands.

    Attributes:
        state: ``never folded``, ``up to date`` (folded today), ``behind`` (some day up to today is not folded), ``waiting``
            (a source has not all facts yet of days that are over), ``failing`` (a source failed at its last fold),
            ``edited`` or ``removed`` (from the definitions).
        days: Number of covered days by state.
        stale: Changes that were told and not folded yet; several may be of one cell.
    """

    rollup: str
    table: str
    state: str
    first_day: dt.date | None
    last_day: dt.date | None
    days: dict[str, int]
    rows: int
    size_bytes: int
    failing: list[str]
    stale: int = 0


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job of `dayfold serve` stands. ``next_run``: when it is due, null where it is stopped or has no schedule."""

    job: str
    enabled: bool
    next_run: dt.datetime | None
    last_run: dt.datetime | None
    last_status: str | None
    last_duration_s: float | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class CheckStatus:
    """How a check ended last: ``verdict`` and what follows are null where it never ran."""

    check: str
    severity: str
    of: tuple[str, ...]
    description: str
    verdict: str | None = None
    reason: str | None = None
    offending: int | None = None
    left: Decimal | None = None
    right: Decimal | None = None
    seconds: float | None = None
    checked_at: str | None = None
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """How a store stands.

    ``jobs``: those that `dayfold serve` has run or will; ``owner``: the process that serves it, where it is a DuckDB file that
    one serves.
    """

    store: str
    rollups: list[RollupStatus]
    runs: list[runs.RunRecord]
    jobs: list[JobStatus]
    owner: owners.Served | None = None
    checks: tuple[CheckStatus, ...] = ()

    def as_object(self) -> dict[str, Any]:
        """The status for JSON."""
        return asdict(self)


def status(catalog: Catalog, ledger: Ledger, today: dt.date, run_limit: int) -> Status:
    """The status of every rollup that is defined or stored."""
    ledger.store.open()
    with ledger.store.transaction(read_only=True) as session:
        version = ledger.version(session)
        if version is None:
            return Status(
                ledger.store.address,
                [_never(name, rollup.table) for name, rollup in catalog.rollups.items()],
                [],
                [],
                owners.served(ledger.store),
                _checks(catalog, {}),
            )
        ledger.check(session, version)
        known = versions.versions(ledger, session)
        names = [name for one in known.values() for name in (one.table, one.table + SETS_SUFFIX)]
        sizes = ledger.store.sizes(session, names)
        waiting = marks.counts(ledger, session)
        found = [
            _one(catalog, ledger, session, one, sizes, waiting.get(one.rollup, 0), today) for one in known.values()
        ]
        found += [_never(name, rollup.table) for name, rollup in catalog.rollups.items() if name not in known]
        latest, known_jobs = runs.latest(ledger, session, run_limit), _jobs(ledger, session)
        verdicts = _checks(catalog, checks.last(ledger, session))
        return Status(ledger.store.address, found, latest, known_jobs, owners.served(ledger.store), verdicts)


def checked(catalog: Catalog, ledger: Ledger) -> tuple[CheckStatus, ...]:
    """How every check that is defined ended last."""
    ledger.store.open()
    with ledger.store.transaction(read_only=True) as session:
        return _checks(catalog, checks.last(ledger, session) if ledger.is_there(session) else {})


def _checks(catalog: Catalog, known: Mapping[str, checks.Last]) -> tuple[CheckStatus, ...]:
    return tuple(
        CheckStatus(name, one.severity, one.of, one.description, *_ended(known.get(name)))
        for name, one in catalog.checks.items()
    )


def _ended(last: checks.Last | None) -> tuple[Any, ...]:
    if last is None:
        return ()
    one = last.verdict
    return (
        one.verdict,
        one.reason,
        one.offending,
        one.left,
        one.right,
        one.seconds,
        one.checked_at,
        one.run_id,
    )


def _jobs(ledger: Ledger, session: Session) -> list[JobStatus]:
    """Jobs as the ledger knows them; none where nothing was ever served."""
    latest = jobs.latest(ledger, session)
    found = []
    for name, state in jobs.states(ledger, session).items():
        if not state.schedule:
            # It was of a rollup that is gone, or has no schedule of its own any more.
            continue
        last = latest.get(name)
        if last is None and state.due_at is None:
            continue
        ran = (last.started_at, last.status, last.seconds, last.error) if last else (None, None, None, None)
        found.append(JobStatus(name, state.is_enabled, state.due_at if state.is_enabled else None, *ran))
    return found


@dataclass(frozen=True, slots=True)
class Unhealed:
    """Cells of a rollup that differed from their sources when they were last compared, and that nobody healed since.

    ``first``, ``last``: the days from which and to which there are some.
    """

    rollup: str
    run_id: int
    drifted: int
    first: dt.date
    last: dt.date


def unhealed(catalog: Catalog, ledger: Ledger) -> list[Unhealed]:
    """What drifted and still does, as far as verifications tell, of the rollups that are defined.

    A heal ends it, and so does a fold of all entities of a profile. A fold of days ends none of a rollup: which of its days it computed is
    not kept.
    """
    ledger.store.open()
    query = ledger.sql(
        "select v.rollup, v.run_id, cast(sum(v.drifted) as bigint), min(v.day), max(v.day) from dayfold_verifications as v "
        "where v.drifted > 0 and not exists (select 1 from dayfold__runs as r where r.rollup = v.rollup and r.id > v.run_id and "
        "r.status = 'done' and (r.job = 'heal' or (v.day = :life::date and r.first_day = :life::date "
        "and (r.job = 'fold' or r.job = 'rebuild')))) group by v.rollup, v.run_id order by v.rollup, v.run_id",
        life=LIFE,
    )
    with ledger.store.transaction(read_only=True) as session:
        rows = list(session.rows(query)) if ledger.is_there(session) else []
    return [Unhealed(*row) for row in rows if row[0] in catalog.rollups]


@dataclass(frozen=True, slots=True)
class Verified:
    """How far the rows of a rollup are verified, each day as it was last compared.

    Attributes:
        days: How many days were ever compared, with ``cells`` in all; of these ``drifted`` differed.
        newest: When the last of them was compared, ``oldest``: the one that waits longest; ISO text in UTC.
    """

    rollup: str
    days: int
    cells: int
    drifted: int
    newest: str
    oldest: str


def verified(catalog: Catalog, ledger: Ledger) -> list[Verified]:
    """How far each rollup that is defined is verified; those that never were are not there."""
    ledger.store.open()
    iso = ledger.store.dialect.piece
    query = ledger.sql(
        "select rollup, days, cells, drifted, _newest, _oldest from (select v.rollup, count(*) as days, cast(sum(v.cells) as bigint) as "
        "cells, cast(sum(v.drifted) as bigint) as drifted, max(v.verified_at) as newest, min(v.verified_at) as oldest "
        "from dayfold_verifications as v group by v.rollup) as f order by rollup",
        _newest=iso("iso_moment", _x=column("newest")), _oldest=iso("iso_moment", _x=column("oldest")),
    )  # fmt: skip
    with ledger.store.transaction(read_only=True) as session:
        rows = list(session.rows(query)) if ledger.is_there(session) else []
    return [Verified(*row) for row in rows if row[0] in catalog.rollups]


def covered(ledger: Ledger, rollup: str) -> dict[str, dict[str, list[dict[str, dt.date]]]]:
    """The days of each source of a rollup in each state, as ranges; nothing where it was never folded."""
    ledger.store.open()
    with ledger.store.transaction(read_only=True) as session:
        standing = known(ledger, session, rollup)
        ranges = coverage.ranges(ledger, session, rollup, standing.version.number) if standing else {}
    return {
        source: {
            state: [{"from": days.first, "to": days.last} for days in found] for state, found in sorted(states.items())
        }
        for source, states in sorted(ranges.items())
    }


def _never(name: str, table: str) -> RollupStatus:
    return RollupStatus(name, table, "never folded", None, None, {}, 0, 0, [])


def _one(
    catalog: Catalog,
    ledger: Ledger,
    session: Session,
    version: versions.Version,
    sizes: dict[str, tuple[int, int]],
    stale: int,
    today: dt.date,
) -> RollupStatus:
    known = coverage.coverage(ledger, session, version.rollup, version.number)
    by_day: dict[dt.date, set[str]] = {}
    for one in known:
        by_day.setdefault(one.day, set()).add(one.state)
    states = {day: _worst(found) for day, found in by_day.items()}
    counts: dict[str, int] = {}
    for state in states.values():
        counts[state] = counts.get(state, 0) + 1
    if not version.has_days:
        # A profile is covered or not; there are no days to count.
        counts = {}
    days = sorted(states) if version.has_days else []
    waiting = all(one.reason is not None for one in known if one.state == coverage.OPEN and one.day < today)
    failing = sorted({one.source for one in known if one.state == coverage.FAILED})
    lives = [] if version.has_days else coverage.lives(ledger, session, version.rollup, version.number)
    outdated = any(one.as_of not in (None, today) for one in lives)
    rows, _ = sizes.get(version.table, (0, 0))
    size = sum(sizes.get(name, (0, 0))[1] for name in (version.table, version.table + SETS_SUFFIX))
    return RollupStatus(
        version.rollup, version.table, _state(catalog, version, failing, states, today, waiting=waiting, outdated=outdated),
        days[0] if days else None, days[-1] if days else None, counts, rows, size, failing, stale,
    )  # fmt: skip


def _worst(states: set[str]) -> str:
    return next(
        state for state in (coverage.FAILED, coverage.OPEN, coverage.FOLDED, coverage.SEALED) if state in states
    )


def _state(
    catalog: Catalog,
    version: versions.Version,
    failing: list[str],
    states: dict[dt.date, str],
    today: dt.date,
    *,
    waiting: bool,
    outdated: bool,
) -> str:
    """How a rollup stands; ``outdated``: what changes with the day is of an earlier one."""
    rollup = catalog.rollups.get(version.rollup)
    if rollup is None:
        return "removed"
    words = identity(rollup)
    if {name: version.definition.get(name) for name in words} != words:
        return "edited"
    if failing:
        return "failing"
    if not version.has_days:
        return "up to date" if states and not outdated else "behind"
    if today not in states or any(state == coverage.OPEN for day, state in states.items() if day < today):
        return "waiting" if today in states and waiting else "behind"
    return "up to date"
