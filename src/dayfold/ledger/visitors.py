"""What is kept of visitors beside their events: sessions and touches, and which browsers are whose. Ledger floor.

A visitor is a browser (an anonymous id) or an actor, under a key of 128 bits that `key_of` makes. Rows are only
added: several write at the same time without waiting for one another, and reading takes together what they wrote. Moments are
microseconds since 1970-01-01 UTC.

Invariant: rows are written in the transaction of the events that they come from. A row twice says no more than once.

Weakness: what one visitor has is thinned by rewriting it, which two writers cannot do at once; one of them tries again. DuckDB takes
50 µs to find that it does not know a visitor, and 200 to find one that it knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlglot import exp

from dayfold.define.events import TABLE
from dayfold.define.types import BOOL, INT, TEXT, UUID, Type
from dayfold.engines.base import Session
from dayfold.ledger.ledger import Ledger
from dayfold.plan.shape import Column
from dayfold.plan.sql import Statement, Values, column, remembered, statement, table

if TYPE_CHECKING:
    import pyarrow as pa

TOUCHES, ALIASES = "dayfold__touches", "dayfold__aliases"
#: Visitors that are looked up at once: DuckDB goes through the index for so few, at some 50 to 170 µs each; for more it is quicker to
#: read them all.
_LOOKED_UP = 512
#: Rows that one statement writes.
_WRITTEN = 5_000
_WANTED = "dayfold_visitors__"
_KEYS = [Column("visitor", UUID)]
Read: TypeAlias = Callable[[Statement], list[tuple[Any, ...]]]


def key_of(kind: str, text: str) -> str:
    """A visitor's key, 32 hexadecimal digits: ``browser`` with an anonymous id, or ``actor``.

    >>> key_of("browser", "7") == key_of("actor", "7")
    False
    """
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=kind.encode()).hexdigest()


class TouchRow(NamedTuple):
    """A touch (``is_touch``), a session (with ``session_id``), or both: how a session began; neither beside an `AliasRow`.

    Of a session, the earliest ``touched_at`` is its beginning, the latest ``seen_until`` its end, and source, medium and campaign are those
    of its campaign, where ``is_campaign``.
    """

    visitor: str
    touched_at: int
    seen_until: int
    session_id: str | None
    is_touch: bool
    is_campaign: bool
    channel: str | None
    source: str | None
    medium: str | None
    campaign: str | None
    landing_page: str | None


class AliasRow(NamedTuple):
    """A browser was an actor from a moment on. There is a `TouchRow` of it, too: who has none there is not looked for among aliases."""

    visitor: str
    anonymous_id: str
    actor_id: str
    linked_at: int


_TOUCH_TYPES = dict(
    zip(TouchRow._fields, (UUID, INT, INT, TEXT, BOOL, BOOL, TEXT, TEXT, TEXT, TEXT, TEXT), strict=True)
)
_ALIAS_TYPES = dict(zip(AliasRow._fields, (UUID, TEXT, TEXT, INT), strict=True))
_CASTS = {UUID: "uuid", INT: "bigint", TEXT: "text", BOOL: "boolean"}


@dataclass(slots=True)
class Known:
    """What is stored of some visitors."""

    touches: list[TouchRow] = field(default_factory=list)
    aliases: list[AliasRow] = field(default_factory=list)


def read(ledger: Ledger, keys: Sequence[str], browsers: Sequence[str]) -> Known:
    """What is stored of visitors.

    Args:
        ledger: Of the store.
        keys: Of all of them.
        browsers: Keys of those that are browsers, which may be somebody's.
    """
    if len(keys) > _LOOKED_UP and ledger.home.dialect.name == "duckdb":
        with ledger.store.transaction() as session:
            return read_many(ledger, session, keys, browsers)
    found = Known()
    run = ledger.store.peek
    for some in _portions(keys):
        found.touches += _touch_rows(run(_look_up(ledger, TOUCHES, TouchRow._fields, some)))
    known = {one.visitor for one in found.touches}
    for some in _portions([one for one in browsers if one in known]):
        found.aliases += _alias_rows(run(_look_up(ledger, ALIASES, AliasRow._fields, some)))
    return found


def read_many(
    ledger: Ledger, session: Session, keys: Sequence[str], browsers: Sequence[str], before: int | None = None
) -> Known:
    """What is stored of thousands of visitors, without what began at a moment or later: by one scan instead of a thousand looks."""
    found = Known()
    session.load(_WANTED, _KEYS, _arrow(keys))
    query = f"select {', '.join(f't.{one}' for one in TouchRow._fields)} from dayfold__touches as t join _wanted as w on w.visitor = "
    query += "t.visitor"
    values = Values()
    bound = {}
    if before is not None:
        query += " where t.touched_at < _before"
        bound["_before"] = values.bind(before, "bigint")
    one = ledger.sql(query, _wanted=table(_WANTED), **bound)
    found.touches += _touch_rows(session.rows(Statement(one.tree, values)))
    session.load(_WANTED, _KEYS, _arrow(browsers))
    fields = ", ".join(f"a.{one}" for one in AliasRow._fields)
    query = f"select {fields} from dayfold__aliases as a join _wanted as w on w.visitor = a.visitor"
    found.aliases += _alias_rows(session.rows(ledger.sql(query, _wanted=table(_WANTED))))
    return found


def _arrow(keys: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    return pa.table({"visitor": pa.array(keys, pa.string())})


def _touch_rows(rows: Iterable[tuple[Any, ...]]) -> list[TouchRow]:
    return [TouchRow(row[0].hex, *row[1:]) for row in rows]


def _alias_rows(rows: Iterable[tuple[Any, ...]]) -> list[AliasRow]:
    return [AliasRow(row[0].hex, *row[1:]) for row in rows]


def _portions(keys: Sequence[str]) -> Iterable[list[str]]:
    """Keys in portions of few different lengths, so that their statements are built once; the last key fills them up."""
    for start in range(0, len(keys), _LOOKED_UP):
        some = list(keys[start : start + _LOOKED_UP])
        length = 1 << (len(some) - 1).bit_length()
        yield some + some[-1:] * (length - len(some))


def _look_up(ledger: Ledger, name: str, fields: Sequence[str], keys: Sequence[str]) -> Statement:
    def build() -> Statement:
        bound = Values()
        wanted = [bound.bind(one, "uuid") for one in keys]
        query = exp.select(*map(column, fields)).from_(table(name, ledger.home.schema))
        return Statement(query.where(exp.In(this=column("visitor"), expressions=wanted)), bound)

    return remembered((name, ledger.home.schema, len(keys)), keys, build)


def write(ledger: Ledger, session: Session, touches: Sequence[TouchRow], aliases: Sequence[AliasRow]) -> None:
    """Rows are added."""
    linked = [TouchRow(one.visitor, one.linked_at, one.linked_at, None, False, False, *[None] * 5) for one in aliases]
    _add(ledger, session, TOUCHES, _TOUCH_TYPES, [*touches, *linked])
    _add(ledger, session, ALIASES, _ALIAS_TYPES, aliases)


def _add(ledger: Ledger, session: Session, name: str, types: dict[str, Type], rows: Sequence[tuple[Any, ...]]) -> None:
    """Rows as a list for each column: 3 ms in DuckDB for a row or a hundred, where values of a statement take 40, and staging 7."""
    items = ", ".join(f"unnest(:{one}::{_CASTS[type_]}[])" for one, type_ in types.items())
    text = f"insert into {name} ({', '.join(types)}) select {items}"
    for start in range(0, len(rows), _WRITTEN):
        columns = zip(types, zip(*rows[start : start + _WRITTEN], strict=True), strict=True)
        session.execute(ledger.sql(text, **{one: list(part) for one, part in columns}))


def remove(ledger: Ledger, session: Session, visitor: str) -> None:
    """All touches and sessions of a visitor are gone; to write them anew."""
    session.execute(ledger.sql("delete from dayfold__touches where visitor = :visitor::uuid", visitor=visitor))


def remove_range(ledger: Ledger, session: Session, first: int, end: int) -> None:
    """What began in a range of moments, its end left out, is gone, to find it anew; but for sessions that went on after it."""
    query = "delete from dayfold__touches where touched_at >= :first::bigint and touched_at < :end::bigint and "
    query += "(is_touch or (not session_id is null and seen_until < :end::bigint))"
    session.execute(ledger.sql(query, first=first, end=end))


def last_event(ledger: Ledger, session_id: str, after: int, until: int, run: Read) -> int | None:
    """The last event of a session, within a range of moments, both included."""
    micros = ledger.store.dialect.piece("epoch_micros", _x=column("occurred_at"))
    values = Values()
    moment = ledger.store.dialect.piece("from_micros", _x=values.bind(after, "bigint"))
    late = ledger.store.dialect.piece("from_micros", _x=values.bind(until, "bigint"))
    query = statement(
        "select max(_micros) from _log where session_id = _id and occurred_at >= _after and occurred_at <= _until",
        values=values, _id=values.bind(session_id, "text"), _micros=micros, _log=table(TABLE, ledger.store.schema),
        _after=moment, _until=late,
    )  # fmt: skip
    [(found,)] = run(query)
    return None if found is None else int(found)


@dataclass(frozen=True, slots=True)
class Aliases:
    """Names of one person.

    Attributes:
        actor_ids: Actors: those given, and those that the given browsers were.
        anonymous_ids: Browsers: those given, and those that were a given actor.
    """

    actor_ids: tuple[str, ...]
    anonymous_ids: tuple[str, ...]


def aliases_of(
    ledger: Ledger, session: Session, actor_ids: Iterable[str] = (), anonymous_ids: Iterable[str] = ()
) -> Aliases:
    """The names that are known of somebody, in order; one step from what is given, because a browser may be several people's."""
    actors, browsers = set(actor_ids), set(anonymous_ids)
    linked = _linked(ledger, session, "anonymous_id", "actor_id", actors)
    were = _linked(ledger, session, "actor_id", "anonymous_id", browsers)
    return Aliases(tuple(sorted(actors | were)), tuple(sorted(browsers | linked)))


def _linked(ledger: Ledger, session: Session, wanted: str, given: str, ids: Iterable[str]) -> set[str]:
    query = f"select distinct {wanted} from dayfold__aliases where {given} = any(:ids::text[])"
    return {one for (one,) in session.rows(ledger.sql(query, ids=sorted(ids)))}


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased of somebody: rows of touches and sessions, of links, and under which names."""

    touches: int
    links: int
    aliases: Aliases


def erase(
    ledger: Ledger,
    session: Session,
    actor_ids: Iterable[str],
    anonymous_ids: Iterable[str],
) -> Erased:
    """Nothing is kept of some actors, of the browsers that were theirs, and of some more browsers; idempotent.

    Of a browser that was somebody else's too, their own copies of its touches stay: they are theirs.

    Args:
        ledger: Of the store.
        session: The transaction that erases; whoever keeps states of visitors in memory forgets them after it.
        actor_ids: The person's.
        anonymous_ids: Browsers of which somebody says that they are the person's.
    """
    actors, given = set(actor_ids), set(anonymous_ids)
    known = aliases_of(ledger, session, actors, given)
    browsers = sorted(given | _linked(ledger, session, "anonymous_id", "actor_id", actors))
    visitors = [key_of("actor", one) for one in sorted(actors)] + [key_of("browser", one) for one in browsers]
    touches = session.execute(
        ledger.sql("delete from dayfold__touches where visitor = any(:visitors::uuid[])", visitors=visitors)
    )
    links = session.execute(
        ledger.sql(
            "delete from dayfold__aliases where actor_id = any(:actors::text[]) or anonymous_id = any(:browsers::text[])",
            actors=sorted(actors), browsers=browsers,
        )
    )  # fmt: skip
    return Erased(touches, links, known)
