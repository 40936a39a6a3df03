"""A live store in the store itself, for users without Valkey or Redis. Counting floor.

Increments are rows of a table until the next flush takes them. All that are sent at once are one transaction, so that an increment is
acknowledged when it would survive kill -9; applying them deletes them in the same transaction.

Weakness: while the store is down nothing can be counted but into the buffer of the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pyarrow as pa

from dayfold.count.live import STORE_EPOCH, Batch, Call, Content, Durability, Reply, Standing, Tallies
from dayfold.define.types import TEXT
from dayfold.engines.base import Session
from dayfold.errors import Conflict, ConnectionFailed, DayfoldError
from dayfold.ledger import counted
from dayfold.ledger.counted import ADDS
from dayfold.ledger.ledger import Ledger
from dayfold.plan.shape import Column

#: There is one shard.
_SHARD = 0
_COLUMNS = tuple(Column(name, TEXT) for name in ("counter", "chunk", "id", "body"))


class Embedded:
    """A live store in a ledger's own database, whose ledger is ready."""

    is_apart = False
    is_one = True
    shards = 1

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def prepare(self) -> None:
        """The tables that increments wait in are there."""
        self.ledger.ready()

    @property
    def address(self) -> str:
        """That of the store."""
        return self.ledger.store.address

    def send(self, client: str, calls: Sequence[Call]) -> list[Reply | Exception]:
        """Make some calls, all in one transaction."""
        try:
            return list(self.ledger.retried(lambda: self._send(client, calls)))
        except DayfoldError as error:
            return [error] * len(calls)

    def _send(self, client: str, calls: Sequence[Call]) -> list[Reply]:
        replies: list[Reply] = []
        rows: list[tuple[str, str, str | None, str]] = []
        adders: dict[str, tuple[int, dict[str, int]]] = {}
        with self.ledger.store.transaction() as session:
            for call in calls:
                made, tallies = adders.get(call.counter) or self._adder(session, client, call.counter)
                if made >= call.number:
                    replies.append(Reply("again", STORE_EPOCH, {}, tallies))
                    continue
                chunk = f"{client} {call.number}"
                for add in call.adds:
                    rows.append(
                        (call.counter, chunk, add.id or None, body_of(add.day, add.key, add.owner, add.amounts.items()))
                    )
                    tallies[ADDS] = tallies.get(ADDS, 0) + 1
                    for name, amount in add.amounts.items():
                        tallies[name] = tallies.get(name, 0) + amount
                adders[call.counter] = (call.number, tallies)
                replies.append(Reply("ok", STORE_EPOCH, {}, tallies))
            if rows:
                columns = [pa.array(list(values), pa.string()) for values in zip(*rows, strict=True)]
                session.append("dayfold__adds", _COLUMNS, pa.table(columns, [one.name for one in _COLUMNS]))
            for counter, (number, tallies) in adders.items():
                self._note_adder(session, client, counter, number, tallies)
        return replies

    def _adder(self, session: Session, client: str, counter: str) -> tuple[int, dict[str, int]]:
        """The last call of a client to a counter, and all that it has added."""
        query = self.ledger.sql(
            "select calls, amounts from dayfold__adders where counter = :counter and client = :client",
            counter=counter,
            client=client,
        )
        found = session.rows(query)
        return (int(found[0][0]), json.loads(found[0][1])) if found else (0, {})

    def _note_adder(self, session: Session, client: str, counter: str, number: int, tallies: Tallies) -> None:
        session.execute(
            self.ledger.sql(
                "insert into dayfold__adders as a (counter, client, calls, amounts, seen_at) values (:counter, :client, :calls, "
                ":amounts, :now::timestamptz) on conflict (counter, client) do update set calls = excluded.calls, "
                "amounts = excluded.amounts, seen_at = excluded.seen_at",
                counter=counter, client=client, calls=number, amounts=json.dumps(dict(tallies)), now=self.ledger.clock.now(),
            )
        )  # fmt: skip

    # -- batches ---------------------------------------------------------------------------------

    def seal(self, counter: str) -> list[Standing | ConnectionFailed]:
        """What waits, as one batch of all that is there now."""
        with self.ledger.store.transaction(read_only=True) as session:
            accepted = self._accepted(session, counter)
            query = self.ledger.sql(
                "select distinct chunk from dayfold__adds where counter = :counter order by 1", counter=counter
            )
            chunks = [chunk for (chunk,) in session.rows(query)]
            known = counted.epochs(self.ledger, session, counter).get((_SHARD, STORE_EPOCH))
        number = known.number + 1 if known else 1
        # What it holds and what was accepted by then are read in one snapshot, so nothing more is claimed of it.
        batches = [Batch(counter, _SHARD, STORE_EPOCH, number, {}, False, json.dumps(chunks))] if chunks else []
        return [Standing(counter, _SHARD, STORE_EPOCH, "", batches, accepted, {})]

    def look(self, counter: str) -> list[Standing | ConnectionFailed]:
        """What waits."""
        with self.ledger.store.transaction(read_only=True) as session:
            accepted = self._accepted(session, counter)
            query = self.ledger.sql("select body from dayfold__adds where counter = :counter", counter=counter)
            bodies = [body.encode() for (body,) in session.rows(query)]
        return [Standing(counter, _SHARD, STORE_EPOCH, "", [], accepted, {}, Content(plain=bodies))]

    def _accepted(self, session: Session, counter: str) -> dict[str, int]:
        found: dict[str, int] = {}
        query = self.ledger.sql("select amounts from dayfold__adders where counter = :counter", counter=counter)
        for (amounts,) in session.rows(query):
            for name, amount in json.loads(amounts).items():
                found[name] = found.get(name, 0) + amount
        return found

    def content(self, batch: Batch) -> Content:
        """What a batch holds."""
        query = self.ledger.sql(
            "select id, body from dayfold__adds where counter = :counter and chunk = any(:chunks::text[])",
            counter=batch.counter, chunks=json.loads(batch.line),
        )  # fmt: skip
        with self.ledger.store.transaction(read_only=True) as session:
            rows = session.rows(query)
        named = [(id_.encode(), body.encode()) for id_, body in rows if id_ is not None]
        return Content(named=named, plain=[body.encode() for id_, body in rows if id_ is None])

    def drop_within(self, session: Session, batch: Batch) -> None:
        """The rows of a batch are gone with the transaction. Raises Conflict where another flush took them."""
        chunks = json.loads(batch.line)
        query = self.ledger.sql(
            "select count(distinct chunk) from dayfold__adds where counter = :counter and chunk = any(:chunks::text[])",
            counter=batch.counter, chunks=chunks,
        )  # fmt: skip
        if session.rows(query)[0][0] != len(chunks):
            raise Conflict("Another flush has taken this batch.")
        gone = "delete from dayfold__adds where counter = :counter and chunk = any(:chunks::text[])"
        session.execute(self.ledger.sql(gone, counter=batch.counter, chunks=chunks))

    def drop(self, batch: Batch) -> None:
        """It is gone already."""

    def tell_seen(self, counter: str, shard: int, epoch: str, tallies: Tallies) -> None:
        """An epoch never ends here."""

    def forget_seen(self, counter: str, shard: int, epoch: str, tallies: Tallies) -> None:
        """An epoch never ends here."""

    # -- the rest --------------------------------------------------------------------------------

    def durability(self) -> list[Durability]:
        """What is acknowledged was committed."""
        return [Durability(True, "increments wait in the store itself: what is acknowledged is committed")]

    def rewrite(self) -> None:
        """The store is rewritten with all else."""

    def close(self) -> None:
        """The store is closed by who opened it."""


def body_of(day: str, key: str, owner: str, amounts: Iterable[tuple[str, int]]) -> str:
    """An increment as it waits: ``[day, key, owner or null, {total: amount}]`` in JSON.

    >>> body_of("2026-01-02", '["k1"]', "", [("total", 1)])
    '["2026-01-02",["k1"],null,{"total":1}]'
    """
    inner = ",".join(f'"{name}":{amount}' for name, amount in amounts)
    return f'["{day}",{key},{owner or "null"},{{{inner}}}]'
