"""Moves: where a store's contents came from, where they go, and how far that is. Ledger floor.

A store that goes elsewhere has one row, under the name of the way out; one that is filled has a row for the way in, and one for each
part. Both ways have the mark of one move, so that nobody goes on with another one.

Invariant: while a store is filled, its ledger says a version that no program works with: the negative of its own. It is whole in the
transaction that makes it positive.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from dayfold.define.fingerprint import digest
from dayfold.define.source import Table
from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.migrations import SEQUENCES, VERSION

#: The way in; `dayfold.ledger.ledger.AWAY` is the way out.
HERE = "from"
FILLING, WHOLE = "filling", "whole"
#: How far a part is: its table is there, all its rows are, they are those of the original; or it is done with.
BEGUN, COPIED, SAME, DONE = "begun", "copied", "same", "done"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of a store: its state, the mark of the move, and the address at the other end."""

    state: str
    mark: str
    place: str


@dataclass(frozen=True, slots=True)
class Part:
    """How far one part is: portions that are there, their rows, and of how many rows a portion is."""

    name: str
    state: str
    portions: int
    rows: int
    size: int


def way(ledger: Ledger, session: Session, name: str) -> Way | None:
    """The way in or out of a store, or None where there is none; also of one whose ledger is not of this version."""
    if not ledger.store.stored_columns(session, ["dayfold__moves"]):
        return None
    query = "select state, mark, place from dayfold__moves where name = :name"
    return next((Way(*row) for row in session.rows(ledger.sql(query, name=name))), None)


def go(ledger: Ledger, session: Session, name: str, found: Way) -> None:
    """A store has this way, and no other of its kind."""
    stay(ledger, session, name)
    session.execute(
        ledger.sql(
            "insert into dayfold__moves (name, state, mark, place, portions, row_count, noted_at) values (:name, :state, :mark, "
            ":place, 0, 0, :now::timestamptz)",
            name=name, state=found.state, mark=found.mark, place=found.place, now=ledger.clock.now(),
        )
    )  # fmt: skip


def stay(ledger: Ledger, session: Session, name: str) -> None:
    """A store has no such way any more."""
    session.execute(ledger.sql("delete from dayfold__moves where name = :name", name=name))


def begin(
    ledger: Ledger, session: Session, found: Way, store_key: str, created_at: str, numbers: dict[str, int]
) -> None:
    """A new store is being filled: nobody works with it, its hashes are those of the original, and so do its numbers go on."""
    go(ledger, session, HERE, found)
    session.execute(
        ledger.sql(
            "update dayfold__store set store_key = :store_key, created_at = :created_at::timestamptz, version = :version",
            store_key=store_key, created_at=created_at, version=-VERSION,
        )
    )  # fmt: skip
    for name, number in numbers.items():
        # No engine's way to set a sequence is another's.
        session.execute(ledger.sql(f"DROP SEQUENCE {name}"))
        session.execute(ledger.sql(f"CREATE SEQUENCE {name} START WITH {int(number)}"))


def numbers(ledger: Ledger, session: Session) -> dict[str, int]:
    """The next number of each sequence, which is taken."""
    return {
        name: int(
            session.rows(ledger.sql("select nextval(:sequence)", sequence=f'"{ledger.home.schema}"."{name}"'))[0][0]
        )
        for name in SEQUENCES
    }


def end(ledger: Ledger, session: Session, found: Way) -> None:
    """A store that was filled is whole, and is worked with from now on; what was known of its parts is gone."""
    session.execute(ledger.sql("delete from dayfold__moves"))
    go(ledger, session, HERE, found)
    session.execute(ledger.sql("update dayfold__store set version = :version", version=VERSION))


def parts(ledger: Ledger, session: Session, mark: str) -> dict[str, Part]:
    """The parts that anything is known of."""
    query = (
        "select name, state, portions, row_count, place from dayfold__moves where mark = :mark and name like 'part %'"
    )
    found = [
        Part(name.removeprefix("part "), state, int(portions), int(rows), int(size))
        for name, state, portions, rows, size in session.rows(ledger.sql(query, mark=mark))
    ]
    return {one.name: one for one in found}


def note(ledger: Ledger, session: Session, mark: str, part: Part) -> None:
    """A part is so far."""
    words = {
        "name": f"part {part.name}", "state": part.state, "mark": mark, "portions": part.portions, "rows": part.rows,
        "size": str(part.size), "now": ledger.clock.now(),
    }  # fmt: skip
    session.execute(ledger.sql("delete from dayfold__moves where name = :name", name=words["name"]))
    session.execute(
        ledger.sql(
            "insert into dayfold__moves (name, state, mark, place, portions, row_count, noted_at) values (:name, :state, :mark, "
            ":size, :portions, :rows, :now::timestamptz)",
            **words,
        )
    )


#: What names sources by their labels.
_LABELLED = ("dayfold__coverage", "dayfold__cursors", "dayfold__tracked", "dayfold__sources")


def name_database(ledger: Ledger, session: Session, sources: Sequence[Table], database: str) -> None:
    """Sources that stood in the store are known as those of a named database; definitions that name it have these fingerprints."""
    words = [one.as_words() for one in sources]
    known = "select rollup, definition, building_definition from dayfold__rollups order by rollup"
    for rollup, definition, building in session.rows(ledger.sql(known)):
        fresh = [_named(text, words, database) for text in (definition, building)]
        session.execute(
            ledger.sql(
                "update dayfold__rollups set fingerprint = :fingerprint::text, definition = :definition::text, "
                "building = :building::text, building_definition = :built::text where rollup = :rollup",
                rollup=rollup, fingerprint=fresh[0][1], definition=fresh[0][0], building=fresh[1][1], built=fresh[1][0],
            )
        )  # fmt: skip
    for one in sources:
        label = Table(one.name, sql=one.sql, database=database).label
        for name in _LABELLED:
            session.execute(
                ledger.sql(f"update {name} set source = :label where source = :old", label=label, old=one.label)
            )


def _named(text: str | None, sources: Sequence[Sequence[object]], database: str) -> tuple[str | None, str | None]:
    """A definition whose sources of the store are of a named database, and its fingerprint."""
    if text is None:
        return None, None
    definition = json.loads(text)
    for metric in definition["metrics"].values():
        if metric.get("source") in sources:
            metric["source"] = [database, *metric["source"][1:]]
    return json.dumps(definition, sort_keys=True), digest(definition)


def is_fresh(ledger: Ledger, session: Session, names: list[str]) -> bool:
    """Whether none of some tables of the ledger has a row."""
    return not any(session.rows(ledger.sql(f"select 1 from {name} limit 1")) for name in names)
