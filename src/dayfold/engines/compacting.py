"""What a store of versions does for itself: versions that others have replaced go, and whole tables are written anew. Engines floor.

Readers go by one snapshot each, so a replaced version stays for `KEEP_S` after it was; a transaction that reads for longer is refused at
its end rather than answered wrongly (`dayfold.engines.pair`).

Invariant: what readers of present snapshots see is the same before, meanwhile and afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dayfold.engines.kept import note_unrevised
from dayfold.engines.writes import COMPACTED, HORIZONS, KEEP_S, PUBLISHED, WRITES
from dayfold.errors import Conflict
from dayfold.plan.shape import quoted
from dayfold.plan.versions import GONE, REVISES, STEPS, VERSIONS_PREFIX, WRITE, Kept, made_by

if TYPE_CHECKING:
    from dayfold.engines.clickhouse import ClickHouseSession
    from dayfold.engines.pair import PairSession, PairStore


def is_due(store: PairStore) -> bool:
    """Whether no process has looked for replaced versions for `KEEP_S`."""
    with store.home.transaction(read_only=True) as home:
        if not store.writes.is_made(home):
            return False
        young = f"select 1 from {HORIZONS} where noted_at > now() - {KEEP_S} * interval '1 second' limit 1"
        return not home.rows(store.writes.sql(young))


def compact(store: PairStore, keep_s: float = KEEP_S) -> list[str]:
    """Versions that were replaced longer ago than this are gone; the tables that had some."""
    # First it is known up to where they go, so that whoever reads by an older snapshot learns of it however early it ends.
    with store.transaction() as session:
        bound = 0 if session.unmade else _bound(session, keep_s)
        if not bound:
            return []
        _note_compacted(session, bound - 1)
    with store.transaction() as session:
        revised = [one for one in session.kept.values() if one.revised]
        done = [one.name for one in revised if _compacted(session, one, bound)]
        _drop_unknown(session, bound)
    return done


def _drop_unknown(session: PairSession, bound: int) -> None:
    """Tables of versions that no table has any more are gone; one that a write has made and not published yet is younger."""
    known = {one.versions for one in session.kept.values()}
    query = "SELECT name FROM system.tables WHERE database = $1 AND startsWith(name, $2)"
    for (name,) in session.raw.query(query, [session.store.schema, VERSIONS_PREFIX]):
        if name not in known and 0 < made_by(name) < bound:
            session.raw.command(f"DROP TABLE IF EXISTS {quoted(session.store.schema)}.{quoted(name)}")


def _bound(session: PairSession, keep_s: float) -> int:
    """The first write after those that were settled this long ago; 0 where none was.

    What one of them replaced was replaced before that. What a transaction that writes may need stays, however long it takes.
    """
    home, sql, settled = session.home, session.writes.sql, session.seen.settled
    now = f"insert into {HORIZONS} (last, noted_at) select :last, now() where not exists (select 1 from {HORIZONS} where last = :last)"
    home.execute(sql(now, last=settled))
    old = f"select max(last) from {HORIZONS} where noted_at <= now() - cast(:keep as bigint) * interval '1 second'"
    [(last,)] = home.rows(sql(old, keep=int(keep_s)))
    if last is None:
        return 0
    home.execute(sql(f"delete from {HORIZONS} where last < :last", last=int(last)))
    needed = f"select min(w.seen) from {WRITES} as w left join {PUBLISHED} as p on p.id = w.id where p.id is null"
    [(least,)] = home.rows(sql(needed))
    return min(int(last), settled, settled if least is None else int(least)) + 1


def _note_compacted(session: PairSession, last: int) -> None:
    """Whoever still goes by an older snapshot is refused at its end."""
    query = f"update {COMPACTED} set last = :last where id = 1 and last < :last"
    session.home.execute(session.writes.sql(query, last=last))


def _compacted(session: PairSession, kept: Kept, bound: int) -> bool:
    """Replaced versions of a table are gone, up to a write; whether there were any."""
    raw = session.raw
    place = f"{quoted(session.store.schema)}.{quoted(kept.versions)}"
    limit = bound * STEPS
    old, revises = f"{quoted(WRITE)} < {limit}", quoted(REVISES)
    if not raw.query(f"SELECT 1 FROM {place} WHERE {revises} AND {old} LIMIT 1"):
        return False
    # A deletion runs by the server's settings, where no NULL is in any list.
    ids = ", ".join(
        quoted(one) if one in kept.required else f"isNull({quoted(one)}), ifNull(toString({quoted(one)}), '')"
        for one in kept.identity
    )
    for part in _parts(raw, kept, place, f"{revises} AND {old}"):
        within = f" AND {part}" if part else ""
        revised = f"({ids}) IN (SELECT {ids} FROM {place} WHERE {revises} AND {old}{within})"
        # Parts are changed one after another, their lists may be made anew for each, and readers see some done and some not. So what
        # others are judged by stays: first the newest version of each row, and then, alone by now, those that say that there is none.
        # A row of a log that has other versions is told by its newest; another may have been there, gone and there again.
        few = f" AND {revised}" if kept.is_log else ""
        newest = f"SELECT {ids}, max({quoted(WRITE)}) FROM {place} WHERE {old}{within}{few} GROUP BY {ids}"
        raw.command(f"DELETE FROM {place} WHERE {old}{within}{few} AND ({ids}, {quoted(WRITE)}) NOT IN ({newest})")
        raw.command(f"DELETE FROM {place} WHERE {old}{within} AND {quoted(GONE)}")
        raw.command(f"ALTER TABLE {place} UPDATE {revises} = false WHERE {revises} AND {old}{within}")
    if not raw.query(f"SELECT 1 FROM {place} WHERE {revises} LIMIT 1"):
        note_unrevised(session.writes, session.home, kept)
    return True


def _parts(raw: ClickHouseSession, kept: Kept, place: str, condition: str) -> list[str]:
    """Conditions for the months in which something is to be done; one that is empty for a table without months."""
    if kept.month is None:
        return [""]
    month = f"toYYYYMM({quoted(kept.month)})"
    return [
        f"{month} = {int(one)}"
        for (one,) in raw.query(f"SELECT DISTINCT {month} FROM {place} WHERE {condition} ORDER BY 1")
    ]


def rewrite(store: PairStore, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Only what readers see stands in any file, on both sides: what was rewritten, and what may still hold more."""
    done: list[str] = []
    with store.transaction(read_only=True) as session:
        kept = [name for name in names if name in session.kept]
    for name in kept:
        _renew(store, name)
        done.append(f"the table {name}")
    at_home, missed = store.home.rewrite([name for name in names if name not in kept])
    if kept:
        missed = [*missed, "backups, other replicas and system logs of ClickHouse, until they are gone themselves"]
    return [*done, *at_home], missed


def _renew(store: PairStore, name: str) -> None:
    """A table stands in new files, with the rows that readers see; the old ones are gone."""
    for turn in range(20):
        try:
            with store.transaction() as session:
                session.renew(name)
            return
        except Conflict:
            if turn == 19:
                raise
