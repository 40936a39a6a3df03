"""Which definition of a rollup its rows were folded with, and which is being built. Ledger floor.

Readers see the rows of ``version``; a new definition is built aside under ``version + 1`` and becomes the
version in the transaction that publishes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dayfold.days import LIFELONG
from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.migrations import VERSION
from dayfold.plan.follow import TAG

#: The tables that keep something for each version of a rollup.
_OF_VERSIONS = (
    "dayfold__coverage",
    "dayfold__marks",
    "dayfold__cursors",
    "dayfold__tracked",
    "dayfold__verifications",
    "dayfold__receipts",
)
#: True for what is kept of a rollup, the marks of its entities among it.
_ITS = "(rollup = :rollup or left(rollup, length(:tag)) = :tag)"


@dataclass(frozen=True, slots=True)
class Version:
    """A rollup as the store has it.

    Attributes:
        number: Counts definitions from 1 on.
        revision: Moves with every chunk that is published: equal revisions have equal answers, also where the rollup was
            removed in between.
        building: The fingerprint of a definition that is being built as ``number + 1``, and its ``building_table``.
    """

    rollup: str
    table: str
    number: int
    fingerprint: str
    definition: dict[str, Any]
    revision: int
    building: str | None
    building_table: str | None = None

    @property
    def has_days(self) -> bool:
        """Whether its rows are of days, and no profile's."""
        return bool(self.definition["grain"] != LIFELONG)

    @property
    def identity(self) -> tuple[str, int, str]:
        """What no other version of any rollup has."""
        return (self.rollup, self.number, self.fingerprint)


@dataclass(frozen=True, slots=True)
class Standing:
    """Which rows a rollup has at one moment: equal standings have equal answers."""

    version: int
    revision: int


def standing_of(ledger: Ledger, session: Session, rollup: str) -> Standing | None:
    """How one rollup stands; None where it was never folded, or the store is of another program's version."""
    query = ledger.sql(
        "select r.version, r.revision from dayfold__rollups as r join dayfold__store as s on s.version = :known "
        "where r.rollup = :rollup",
        known=VERSION, rollup=rollup,
    )  # fmt: skip
    return next((Standing(int(version), int(revision)) for version, revision in session.rows(query)), None)


def waiting_of(ledger: Ledger, session: Session, rollup: str) -> tuple[Standing | None, bool]:
    """How one rollup stands, as `standing_of` says, and whether any change of it may wait to be folded.

    Three parts of one statement take DuckDB half as long as a join of them.
    """
    query = ledger.sql(
        "select 0 as what, version as a, revision as b from dayfold__rollups where rollup = :rollup "
        "union all select 1, version, 0 from dayfold__store "
        "union all select 2, count(*), 0 from dayfold__marks where rollup = :rollup",
        rollup=rollup,
    )
    found = {int(what): (int(a), int(b)) for what, a, b in session.rows(query)}
    if 0 not in found or found[1][0] != VERSION:
        return None, False
    return Standing(*found[0]), found[2][0] > 0


def folded_from(version: Version) -> set[str]:
    """The tables of other rollups that a version is folded from."""
    sources = [one["source"] for one in version.definition["metrics"].values()]
    return {words[1] for words in sources if words[-1] == "rollup"}


def readers(ledger: Ledger, session: Session, staging: str) -> list[tuple[str, int]]:
    """The rollups that read a function's rows, with the versions that do: published, or being built."""
    query = ledger.sql("select rollup, version, definition, building_definition from dayfold__rollups order by rollup")
    return [
        (rollup, int(number) + place)
        for rollup, number, *definitions in session.rows(query)
        for place, text in enumerate(definitions)
        if text is not None and staging in fetched_from(json.loads(text))
    ]


def fetched_from(definition: dict[str, Any]) -> set[str]:
    """The tables of fetched rows that a definition reads."""
    sources = [one["source"] for one in definition["metrics"].values()]
    return {words[1] for words in sources if words[-1] == "function"}


def versions(ledger: Ledger, session: Session) -> dict[str, Version]:
    """All rollups of the store, by name."""
    found = (_version(row) for row in session.rows(ledger.sql(f"{_COLUMNS} order by rollup")))
    return {one.rollup: one for one in found}


def version_of(ledger: Ledger, session: Session, rollup: str) -> Version | None:
    """One rollup of the store, or None where it was never folded."""
    found = session.rows(ledger.sql(f"{_COLUMNS} where rollup = :rollup", rollup=rollup))
    return _version(found[0]) if found else None


_COLUMNS = "select rollup, table_name, version, fingerprint, definition, revision, building, building_definition from dayfold__rollups"


def _version(row: Sequence[Any]) -> Version:
    rollup, table, number, fingerprint, definition, revision, building, built = row
    built_table = json.loads(built)["table"] if built else None
    return Version(
        rollup, table, int(number), fingerprint, json.loads(definition), int(revision), building, built_table
    )


def register(
    ledger: Ledger, session: Session, rollup: str, table: str, fingerprint: str, definition: dict[str, Any]
) -> None:
    """A rollup folded for the first time; the revisions of one of this name that was removed go on."""
    session.execute(
        ledger.sql(
            "insert into dayfold__rollups (rollup, table_name, version, fingerprint, definition, revision) "
            "values (:rollup, :table_name, 1, :fingerprint, :definition, "
            "coalesce((select max(revision) + 1 from dayfold__removed where rollup = :rollup), 0))",
            rollup=rollup,
            table_name=table,
            fingerprint=fingerprint,
            definition=json.dumps(definition, sort_keys=True),
        )
    )
    session.execute(ledger.sql("insert into dayfold__fences (rollup, token) values (:rollup, 0)", rollup=rollup))


def add_fence(ledger: Ledger, session: Session, name: str) -> None:
    """What is not a rollup can be leased as one is."""
    known = ledger.sql("select 1 from dayfold__fences where rollup = :rollup", rollup=name)
    if not session.rows(known):
        session.execute(ledger.sql("insert into dayfold__fences (rollup, token) values (:rollup, 0)", rollup=name))


def pass_fence(ledger: Ledger, session: Session, rollup: str) -> None:
    """Every publication of a rollup either is seen by this transaction's successors, or sees what this one writes.

    For a rollup that is folded from another: a publication that does not know of it yet would mark nothing for it.
    """
    # DuckDB replaces a row that is returned, as a fence does; a plain update to the same value is no write that the two meet at.
    touch = "update dayfold__fences set token = token where rollup = :rollup returning token"
    session.rows(ledger.sql(touch, rollup=rollup))


def begin_build(
    ledger: Ledger, session: Session, version: Version, fingerprint: str, definition: dict[str, Any]
) -> None:
    """Note that a new definition is being built; what an abandoned one had covered is forgotten."""
    session.execute(
        ledger.sql(
            "update dayfold__rollups set building = :fingerprint, building_definition = :definition where rollup = "
            ":rollup",
            fingerprint=fingerprint,
            definition=json.dumps(definition, sort_keys=True),
            rollup=version.rollup,
        )
    )
    _forget_after(ledger, session, version)


def _forget_after(ledger: Ledger, session: Session, version: Version) -> None:
    """Nothing is known of versions later than the published one; what is built next is built from the whole history."""
    for name in _OF_VERSIONS:
        forget = f"delete from {name} where {_ITS} and version > :number"
        session.execute(ledger.sql(forget, number=version.number, **_its(version.rollup)))


def _its(rollup: str) -> dict[str, str]:
    return {"rollup": rollup, "tag": rollup + TAG}


def remove(ledger: Ledger, session: Session, rollup: str) -> None:
    """The ledger knows the rollup no more; its runs stay, and its last revision: none comes back with other rows."""
    keep = "insert into dayfold__removed (rollup, revision) select rollup, revision from dayfold__rollups where rollup = :rollup"
    session.execute(ledger.sql(keep, rollup=rollup))
    for name in (*_OF_VERSIONS, "dayfold__leases", "dayfold__fences", "dayfold__rollups"):
        session.execute(ledger.sql(f"delete from {name} where {_ITS}", **_its(rollup)))


def end_build(ledger: Ledger, session: Session, version: Version, table: str) -> None:
    """The definition that was being built is now the rollup's version."""
    session.execute(
        ledger.sql(
            "update dayfold__rollups set version = version + 1, fingerprint = building, definition = "
            "building_definition, "
            "building = null, building_definition = null, table_name = :table_name, revision = revision + 1 where "
            "rollup = :rollup",
            rollup=version.rollup,
            table_name=table,
        )
    )
    for name in _OF_VERSIONS:
        forget = f"delete from {name} where {_ITS} and version <= :number"
        session.execute(ledger.sql(forget, number=version.number, **_its(version.rollup)))


def abandon_build(ledger: Ledger, session: Session, version: Version) -> None:
    """The old definition is wanted again: what was built of the other is forgotten."""
    session.execute(
        ledger.sql(
            "update dayfold__rollups set building = null, building_definition = null where rollup = :rollup",
            rollup=version.rollup,
        )
    )
    _forget_after(ledger, session, version)


def bump_revision(ledger: Ledger, session: Session, rollup: str) -> None:
    """Readers' answers about this rollup may have changed."""
    session.execute(
        ledger.sql("update dayfold__rollups set revision = revision + 1 where rollup = :rollup", rollup=rollup)
    )
