"""What stays of a person on sealed days: their hashes leave the sets, and keys that name them name nobody. Fold floor.

A day that is not sealed is folded again from what is left of the events. A sealed day never is: its numbers stay as they were
published. A set that lost a hash has a mark in its place, so that a union over it is known to be no longer exact.

Invariant: no number of a sealed day changes, nor how many rows it has.

Weakness: a rollup that unites the reduced sets of another one, and is first folded after that, counts all that a set lost as one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from dayfold.days import Days
from dayfold.define.counter import Counted
from dayfold.define.events import EventLog
from dayfold.define.source import Folded, Own
from dayfold.define.types import Kind
from dayfold.engines.base import Session
from dayfold.ledger import marks, receipts, versions
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.persons import THEIRS, Person
from dayfold.plan.bind import BoundRollup, DistinctPart, Scan
from dayfold.plan.shape import Shape
from dayfold.plan.sql import Statement, Values, alias, column, sql

#: The columns of an event that name a person.
NAMING = ("actor_id", "anonymous_id")
#: Hashes that one statement looks for.
_AT_ONCE = 500


@dataclass(slots=True)
class Reduced:
    """What changed on sealed days, each by rollup.

    Attributes:
        sets: Sets that lost hashes; ``keys``: rows that named the person.
        unnamed: Distinct metrics that the person's names do not come through, though other values of theirs may.
        tables: Those that were written to.
    """

    sets: dict[str, int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)


def over_own(rollups: Iterable[BoundRollup]) -> list[BoundRollup]:
    """The rollups that are folded from tables of ours, and those that are folded from these; each after what it is folded from.

    Those tables are the event log and what counters have counted: they hold persons that an erasure lets go.
    """
    return _over(rollups, Own)


def over_events(rollups: Iterable[BoundRollup]) -> list[BoundRollup]:
    """The rollups that are folded from events, and those that are folded from these; each after what it is folded from."""
    return _over(rollups, EventLog)


def _over(rollups: Iterable[BoundRollup], kind: type[Own]) -> list[BoundRollup]:
    found: dict[str, BoundRollup] = {}
    for one in rollups:
        for source in one.definition.sources:
            if isinstance(source, kind) or (isinstance(source, Folded) and source.rollup.__name__ in found):
                found[one.name] = one
    return list(found.values())


def reduce(ledger: Ledger, session: Session, rollups: Sequence[BoundRollup], person: Person) -> Reduced:
    """The sealed days of rollups over events name the person no more. To be called while the person's events are there."""
    found = Reduced()
    known = versions.versions(ledger, session)
    yielding: dict[tuple[str, str], frozenset[int]] = {}
    for rollup in rollups:
        version = known.get(rollup.name)
        if version is None:
            continue
        gone = _gone(ledger, session, rollup, person, yielding, found)
        changed = _reduce_sets(ledger, session, rollup, version.number, gone, found)
        is_blurred = _blur_keys(ledger, session, rollup, version.number, person, found)
        if is_blurred or changed:
            versions.bump_revision(ledger, session, rollup.name)
        if is_blurred:
            _mark_profiles(ledger, session, rollup, rollups, known, found)
    return found


def _mark_profiles(
    ledger: Ledger, session: Session, lower: BoundRollup, rollups: Sequence[BoundRollup],
    known: Mapping[str, versions.Version], found: Reduced,
) -> None:  # fmt: skip
    """The profiles over a rollup whose keys were blurred, which have no sealed days, name the person until they are folded again."""
    for one in rollups:
        sources = [source for source in one.definition.sources if isinstance(source, Folded)]
        version = known.get(one.name)
        if version is None or not one.is_lifelong or lower.name not in {s.rollup.__name__ for s in sources}:
            continue
        for number in (version.number, *([version.number + 1] if version.building else [])):
            marks.mark(ledger, session, one.name, number, None, "a person was erased")
        found.tables.add(one.shape.name)


# -- sets ------------------------------------------------------------------------------------------


def _gone(
    ledger: Ledger,
    session: Session,
    rollup: BoundRollup,
    person: Person,
    yielding: dict[tuple[str, str], frozenset[int]],
    found: Reduced,
) -> dict[str, frozenset[int]]:
    """The hashes that each set of a rollup is to lose, by its column."""
    gone: dict[str, frozenset[int]] = {}
    salt = ledger.store_key(session)
    for scan in rollup.scans:
        for part in scan.sets:
            name = part.hashes.name
            if isinstance(scan.source, Folded):
                lower = rollup.definition.measured[name].expr_text or ""
                hashes = yielding.get((scan.source.rollup.__name__, lower)) if part.united else None
            elif isinstance(scan.source, EventLog):
                values = _yielded(ledger, session, scan, part, person)
                hashes = None if values is None else frozenset(_hash(salt, one) for one in values)
                if hashes is None:
                    found.unnamed.append(f"{rollup.name}.{name}")
            else:
                hashes = None
            if hashes:
                gone[name] = yielding[rollup.name, name] = hashes
    return gone


def _yielded(ledger: Ledger, session: Session, scan: Scan, part: DistinctPart, person: Person) -> set[str] | None:
    """What the expression of a Distinct makes of the person: their names, and its values for their events; None: no name of theirs."""
    uses = {key: value for key, value in person.bound.items() if f":{key}" in THEIRS}
    value = scan.dialect.piece("bytewise", _x=part.text)
    query = exp.select(alias(value, "value")).distinct().from_(scan.relation.copy()).where(sql(THEIRS))
    rows = session.rows(
        ledger.sql("select value from _rows as r where not value is null", _rows=query.subquery(), **uses)
    )
    values = {str(one) for (one,) in rows}
    if any(one.name in NAMING for one in part.text.find_all(exp.Column)):
        return values | set(person.names)
    return set(person.names) if values & set(person.names) else None


def _hash(salt: str, text: str) -> int:
    return int(hashlib.md5((salt + text).encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:15], 16)


def _sealed(ledger: Ledger, rollup: BoundRollup, version: int) -> exp.Expr:
    """True for rows of the rollup's sealed days."""
    days = ledger.sql(
        "select c.day from dayfold__coverage as c where c.rollup = _rollup and c.version = _version and c.state = 'sealed'",
        _rollup=exp.Literal.string(rollup.name), _version=exp.Literal.number(version),
    ).tree  # fmt: skip
    assert isinstance(days, exp.Query)
    return exp.In(this=rollup.shape.day(), query=exp.Subquery(this=days))


def _reduce_sets(
    ledger: Ledger, session: Session, rollup: BoundRollup, version: int, gone: dict[str, frozenset[int]], found: Reduced
) -> bool:
    shape = rollup.sets_shape
    if shape is None:
        return False
    total = 0
    dialect = ledger.store.dialect
    for name, hashes in gone.items():
        ordered = sorted(hashes)
        for start in range(0, len(ordered), _AT_ONCE):
            literals = [exp.Literal.number(one) for one in ordered[start : start + _AT_ONCE]]
            some = exp.cast(exp.Array(expressions=literals), "bigint[]")
            new = dialect.piece("reduced_set", _x=column(name), _gone=some)
            meets = dialect.piece("sets_meet", _x=column(name), _gone=some)
            tree = exp.Update(
                this=shape.table,
                expressions=[exp.EQ(this=column(name), expression=new)],
                where=exp.Where(this=exp.and_(meets, _sealed(ledger, rollup, version))),
            )
            total += session.execute(Statement(tree))
    if total:
        found.sets[rollup.name] = total
        found.tables.add(shape.name)
    return bool(total)


# -- keys ------------------------------------------------------------------------------------------


def _blur_keys(
    ledger: Ledger, session: Session, rollup: BoundRollup, version: int, person: Person, found: Reduced
) -> bool:
    """Rows whose key is one of the person's names have a word there that nobody has; the receipts say what the days hold now."""
    shapes = [rollup.shape, *([rollup.sets_shape] if rollup.sets_shape else [])]
    total, days = 0, set()
    for key in rollup.shape.key:
        owner = rollup.definition.owner if any(isinstance(one, Counted) for one in rollup.definition.sources) else None
        if key.name not in (*NAMING, owner) or key.type.kind is not Kind.TEXT:
            continue
        for name in person.names:
            word = f"erased-{secrets.token_hex(8)}"
            for shape in shapes:
                where = sql("_k = :name::text and _s", _k=column(key.name), _s=_sealed(ledger, rollup, version))
                day = exp.select(alias(shape.day(), "day")).distinct().from_(shape.table).where(where.copy())
                touched = {
                    one for (one,) in session.rows(ledger.sql("select * from _d as d", _d=day.subquery(), name=name))
                }
                if not touched:
                    continue
                fresh = exp.EQ(this=column(key.name), expression=sql(":word::text"))
                tree = exp.Update(this=shape.table, expressions=[fresh], where=exp.Where(this=where))
                changed = session.execute(Statement(tree, Values({"name": name, "word": word})))
                found.tables.add(shape.name)
                if shape is rollup.shape:
                    total += changed
                    days |= touched
    for day in sorted(days):
        _renew_receipt(ledger, session, rollup.shape, rollup.name, version, Days(day, day))
    if total:
        found.keys[rollup.name] = total
    return bool(total)


def _renew_receipt(ledger: Ledger, session: Session, shape: Shape, rollup: str, version: int, day: Days) -> None:
    known = receipts.receipts(ledger, session, rollup, version, day).get(day.first)
    if known is not None:
        receipts.record(
            ledger, session, shape, rollup, version, day, known.run_id, origin=known.origin,
            lasting=known.digest.startswith("md5"),
        )  # fmt: skip
