"""The event log: its tables, and the one way that events enter it. Ledger floor.

Ids stand in a table of their own, written in the events' transaction, so that an id is unique for as long as its event is kept, however
the events themselves are divided.

Invariant: an id is accepted once. The same id with the same payload is a repetition, which is as good as the first; with another
payload it is a conflict, and the first stands.

Ids that are new, as nearly all are, are written without asking whether they are known: the key of their table refuses them, and only
then those of the batch are looked up, one by one through the key. What a batch costs does not grow with the log.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from sqlglot import exp

from dayfold.define.events import COLUMNS, TABLE
from dayfold.define.types import DATE, INT, TEXT, UUID, Type
from dayfold.engines.base import Session, normal_type
from dayfold.errors import Conflict, StoreAltered
from dayfold.ledger.ledger import Ledger
from dayfold.plan.shape import Column, quoted
from dayfold.plan.sql import Statement, Values, column, table

if TYPE_CHECKING:
    import pyarrow as pa

#: The table of the ids.
IDS = "dayfold__event_ids"
#: Of an event's payload: 64 bits of a digest of all that its sender decided.
DIGEST = Column("digest", INT)
_IDS = (Column("id", UUID), Column("day", DATE), DIGEST)
#: The digest of an event that was erased: whoever sends it again, with whatever payload, repeats it.
ERASED = -(2**63)
#: Ids that are looked up at once: DuckDB goes through the key for so few.
_LOOKED_UP = 500
#: How often a batch is tried again where many write at once, and for how long at most it waits before each try but the first two.
_TRIES, _PAUSE_S = 100, 0.2
#: What the view of attribution shows of each event.
VIEW = "dayfold_attribution"
ATTRIBUTION = (
    "id", "occurred_at", "event_type", "actor_type", "actor_id", "anonymous_id", "session_id", "channel", "utm_source", "utm_medium",
    "utm_campaign", "utm_term", "utm_content", "click_id", "landing_page", "referrer", "referrer_class", "referrer_name",
    "first_source", "first_medium", "first_campaign", "last_source", "last_medium", "last_campaign", "device_type", "browser", "os",
    "country", "is_bot",
)  # fmt: skip
#: Columns with an index in PostgreSQL, each followed by the time; DuckDB finds ranges by the bounds of its blocks.
_INDEXED = ("event_type", "actor_id", "anonymous_id", "session_id", "utm_campaign", "referrer")


class Outcome(IntEnum):
    """What became of an event."""

    ACCEPTED = 0
    REPEATED = 1
    CONFLICT = 2


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of each event of a batch, in its order."""

    outcomes: list[Outcome]

    def count(self, outcome: Outcome) -> int:
        """How many events had it."""
        return self.outcomes.count(outcome)


def columns(entities: Mapping[str, Type]) -> list[Column]:
    """The columns of the log: those of every event, then those of the project."""
    return [Column(name, type_) for name, type_ in {**COLUMNS, **entities}.items()]


def exists(ledger: Ledger) -> bool:
    """Whether there is a log; once there, it stays."""
    return ledger.keeps(TABLE)


def ensure(ledger: Ledger, entities: Mapping[str, Type]) -> None:
    """The log is there, with a column for each entity; one that is not declared any more stays.

    Raises:
        StoreAltered: where a column has another type than is declared.
    """

    def is_there() -> bool:
        with ledger.store.transaction(read_only=True) as session:
            return not _missing(ledger, session, entities) and VIEW in ledger.store.stored_columns(session, [VIEW])

    ledger.make_once(is_there, lambda: _make(ledger, entities))


def _missing(ledger: Ledger, session: Session, entities: Mapping[str, Type]) -> list[Column]:
    """The columns that the log does not have yet."""
    found = ledger.store.stored_columns(session, [TABLE]).get(TABLE, {})
    wanted = columns(entities)
    dialect = ledger.store.dialect
    wrong = [one for one in wanted if one.name in found and found[one.name] != normal_type(dialect, one.type)]
    if wrong:
        names = ", ".join(f"{one.name} ({found[one.name]})" for one in wrong)
        raise StoreAltered(
            f"The event log of {ledger.store.address} has columns of other types than are declared: {names}.",
            hint="Declare them as they are, or move the events to a new store.",
        )
    return [one for one in wanted if one.name not in found]


def _make(ledger: Ledger, entities: Mapping[str, Type]) -> None:
    dialect, schema = ledger.store.dialect, ledger.store.schema
    name = f"{quoted(schema)}.{quoted(TABLE)}"
    with ledger.store.transaction() as session:
        missing = _missing(ledger, session, entities)
        is_new = len(missing) == len(columns(entities))
        if is_new:
            session.make(TABLE, missing, identity=("id",), day="occurred_at", is_log=True)
        else:
            session.add_columns(TABLE, missing)
        if VIEW not in ledger.store.stored_columns(session, [VIEW]):
            parts = ", ".join(quoted(one) for one in ATTRIBUTION)
            session.execute(f"CREATE VIEW {quoted(schema)}.{quoted(VIEW)} AS SELECT {parts} FROM {name}")
        if dialect.name == "postgres":
            indexed = [*(_INDEXED if is_new else ()), *(one.name for one in missing if one.name in entities)]
            if is_new:
                session.execute(f"CREATE INDEX ON {name} ({quoted('occurred_at')})")
            for one_name in indexed:
                session.execute(f"CREATE INDEX ON {name} ({quoted(one_name)}, {quoted('occurred_at')})")


def append(
    ledger: Ledger,
    batch: pa.Table,
    entities: Mapping[str, Type],
    also: Callable[[Session, Appended], None] | None = None,
) -> Appended:
    """Every event of a batch is in the log, once, and durable.

    Args:
        ledger: Of the store that the log stands in.
        batch: The columns of the log and ``digest``, in any order.
        entities: The columns of the project, which `ensure` has made.
        also: Called in the same transaction, once all is written, with what became of the events; again where that has to be
            tried again.
    """
    import pyarrow as pa

    ids, digests = batch["id"].to_pylist(), batch[DIGEST.name].to_pylist()
    places = {one: place for place, one in reversed(list(enumerate(ids)))}
    #: The payload that stands for each id of the batch that was there before.
    known: dict[str, int] = {}
    for turn in range(_TRIES):
        new = sorted(place for one, place in places.items() if one not in known)
        found = _outcomes(ids, digests, places, known)
        try:
            if new or also is not None:
                # The type is said: of no new event at all, as of a batch that is sent again, none can be guessed.
                fresh = batch if len(new) == len(ids) else batch.take(pa.array(new, pa.int64()))
                _write(ledger, fresh, entities, found, also)
            return found
        except Conflict as error:
            refused = error
        if turn > 0:
            # It was nobody's id: many write at once, and one of them at a time gets through.
            time.sleep(random.random() * _PAUSE_S)
        known |= _known(ledger, [ids[place] for place in new])
    raise refused


def _outcomes(
    ids: Sequence[str], digests: Sequence[int], places: Mapping[str, int], known: Mapping[str, int]
) -> Appended:
    if not known and len(places) == len(ids):
        return Appended([Outcome.ACCEPTED] * len(ids))
    return Appended(
        [
            Outcome.ACCEPTED if one not in known and places[one] == place
            else Outcome.REPEATED if known.get(one, digests[places[one]]) in (digests[place], ERASED)
            else Outcome.CONFLICT
            for place, one in enumerate(ids)
        ]
    )  # fmt: skip


def _write(
    ledger: Ledger,
    events: pa.Table,
    entities: Mapping[str, Type],
    found: Appended,
    also: Callable[[Session, Appended], None] | None,
) -> None:
    """Events with ids that nobody has are in the log. Raises Conflict where somebody has one; nothing is written then."""
    import pyarrow as pa

    with ledger.store.transaction() as session:
        if events.num_rows:
            days = events["occurred_at"].cast(pa.timestamp("us")).cast(pa.date32())
            ids = pa.table([events["id"], days, events[DIGEST.name]], [one.name for one in _IDS])
            # In one order, so that two that write the same ids wait for each other and not both.
            session.append(IDS, _IDS, ids.sort_by("id"))
            log = columns(entities)
            session.append(TABLE, log, events.select([one.name for one in log]))
        if also is not None:
            also(session, found)


def _known(ledger: Ledger, ids: Sequence[str]) -> dict[str, int]:
    """The payloads of those ids that are in the log."""
    found: dict[str, int] = {}
    with ledger.store.transaction(read_only=True) as session:
        for start in range(0, len(ids), _LOOKED_UP):
            values = Values()
            wanted = [values.bind(one, "uuid") for one in ids[start : start + _LOOKED_UP]]
            query = exp.select(ledger.home.dialect.cast(column("id"), TEXT), column(DIGEST.name))
            query = query.from_(table(IDS, ledger.home.schema))
            query = query.where(exp.In(this=column("id"), expressions=wanted))
            found |= dict(session.rows(Statement(query, values)))
    return found
