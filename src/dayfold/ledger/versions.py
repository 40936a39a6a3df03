"""Which definition of a rollup its rows were folded with, and which is being built. Ledger floor.

Readers see the rows of ``version``; a new definition is built aside under ``version + 1`` and becomes the
version in the transaction that publishes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Version:
    """A rollup as the store has it.

    Attributes:
        number: Counts definitions from 1 on.
        revision: Moves with every chunk that is published: equal revisions have equal answers.
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


def versions(ledger: Ledger, session: Session) -> dict[str, Version]:
    """All rollups of the store, by name."""
    query = ledger.sql(
        "select rollup, table_name, version, fingerprint, definition, revision, building, "
        "building_definition from dayfold__rollups order "
        "by rollup"
    )
    return {
        row[0]: Version(
            row[0],
            row[1],
            int(row[2]),
            row[3],
            json.loads(row[4]),
            int(row[5]),
            row[6],
            json.loads(row[7])["table"] if row[7] else None,
        )
        for row in session.rows(query)
    }


def register(
    ledger: Ledger, session: Session, rollup: str, table: str, fingerprint: str, definition: dict[str, Any]
) -> None:
    """A rollup folded for the first time."""
    session.execute(
        ledger.sql(
            "insert into dayfold__rollups (rollup, table_name, version, fingerprint, definition, revision) "
            "values (:rollup, :table_name, 1, :fingerprint, :definition, 0)",
            rollup=rollup,
            table_name=table,
            fingerprint=fingerprint,
            definition=json.dumps(definition, sort_keys=True),
        )
    )
    session.execute(ledger.sql("insert into dayfold__fences (rollup, token) values (:rollup, 0)", rollup=rollup))


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
    forget = "delete from dayfold__coverage where rollup = :rollup and version > :number"
    session.execute(ledger.sql(forget, rollup=version.rollup, number=version.number))


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
    forget = "delete from dayfold__coverage where rollup = :rollup and version <= :number"
    session.execute(ledger.sql(forget, rollup=version.rollup, number=version.number))


def abandon_build(ledger: Ledger, session: Session, version: Version) -> None:
    """The old definition is wanted again: what was built of the other is forgotten."""
    session.execute(
        ledger.sql(
            "update dayfold__rollups set building = null, building_definition = null where rollup = :rollup",
            rollup=version.rollup,
        )
    )
    forget = "delete from dayfold__coverage where rollup = :rollup and version > :number"
    session.execute(ledger.sql(forget, rollup=version.rollup, number=version.number))


def bump_revision(ledger: Ledger, session: Session, rollup: str) -> None:
    """Readers' answers about this rollup may have changed."""
    session.execute(
        ledger.sql("update dayfold__rollups set revision = revision + 1 where rollup = :rollup", rollup=rollup)
    )
