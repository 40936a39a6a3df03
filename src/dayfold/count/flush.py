"""The flush: what waits in the live store is sealed, applied to the store exactly once, and dropped. Counting floor.

A batch is applied in one transaction with the note of its number, so that a flush that ends anywhere leaves either a batch that the next
one applies, or one that it only drops. Any number of flushes may run at once.

Invariant: nothing is dropped from the live store that the store does not hold: as amounts, or as a row in quarantine.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from dayfold.count.live import ADDS, STORE_EPOCH, Batch, Content, LiveStore, Standing
from dayfold.count.rows import amounts_in, rows_of, rows_of_held
from dayfold.define.counter import DAY, CounterDef
from dayfold.engines.base import undone
from dayfold.errors import RowsRefused, SourceFailed
from dayfold.ledger import counted, leases
from dayfold.ledger.counted import Applied, Epoch, Held
from dayfold.ledger.ledger import Ledger

#: Batches of one shard that are applied in one transaction.
_AT_ONCE = 16
_log = logging.getLogger("dayfold.count")
#: Called after each step of a flush with its name; tests end the process there.
Step = Callable[[str], None]


def _no_step(name: str) -> None:
    """Goes on."""


@dataclass(slots=True)
class Flushed:
    """What a flush did to one counter.

    Attributes:
        batches: That were applied; ``adds``: increments in them, where the live store tells.
        lost: What the live store is known to have lost, found by this flush; ``vanished``: shards that came back without their data.
    """

    counter: str
    batches: int = 0
    rows: int = 0
    held: int = 0
    amounts: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    vanished: int = 0

    def count(self, applied: Applied) -> None:
        """One application more."""
        self.rows += applied.rows
        self.held += applied.held
        for mine, theirs in ((self.amounts, applied.amounts), (self.repeated, applied.repeated)):
            for name, amount in theirs.items():
                mine[name] = mine.get(name, 0) + amount


class _StillHeld(Exception):
    """Undoes the replay of a row that would be held again."""


class Flusher:
    """Applies what waits in a live store to one store, whose ledger is ready."""

    def __init__(self, ledger: Ledger, live: LiveStore, step: Step = _no_step) -> None:
        self.ledger = ledger
        self.live = live
        self.step = step

    def flush(self, counter: CounterDef, done: Flushed | None = None) -> Flushed:
        """All that was acknowledged before the call is applied, or held; ``done`` is what it is added to.

        Raises:
            ConnectionFailed: where the live store or the store does not answer; what waits stays.
        """
        done = done or Flushed(counter.name)
        standings = self.live.seal(counter.name)
        self.step("sealed")
        with self.ledger.store.transaction(read_only=True) as session:
            known = counted.epochs(self.ledger, session, counter.name)
        self._note_ended(counter, standings, known, done)
        waiting = [list(one.batches) for one in standings]
        while any(waiting):
            portion = [batch for batches in waiting for batch in batches[:_AT_ONCE]]
            waiting = [batches[_AT_ONCE:] for batches in waiting]
            self._apply(counter, portion, done)
            self.step("applied")
            for batch in portion:
                self.live.drop(batch)
                self.step("dropped")
        return done

    # -- batches ---------------------------------------------------------------------------------

    def _apply(self, counter: CounterDef, batches: Sequence[Batch], done: Flushed) -> None:
        """These batches are applied, whoever did it."""
        with self.ledger.store.transaction(read_only=True) as session:
            known = counted.epochs(self.ledger, session, counter.name)
        wanted = [one for one in batches if not _is_applied(one, known)]
        if not wanted:
            return
        contents = [self.live.content(one) for one in wanted]
        self.step("read")
        rows, held = rows_of(counter, contents)
        holder = leases.holder_name()

        def fresh(known: Mapping[tuple[int, str], Epoch]) -> list[Epoch] | None:
            return _after(wanted, known)

        def also(session: object) -> None:
            for batch in wanted:
                self.live.drop_within(session, batch)  # type: ignore[arg-type]

        numbers = [(one.shard, one.epoch, one.number) for one in wanted]

        def attempt(rows: pa.Table, held: Sequence[Held]) -> Applied | None:
            return self.ledger.retried(
                lambda: counted.apply(self.ledger, counter, rows, fresh, held, also, numbers, holder)
            )

        try:
            applied = attempt(rows, held)
        except (RowsRefused, SourceFailed) as error:
            rows, refused = sifted(self.ledger, counter, rows, error)
            applied = attempt(rows, [*held, *refused])
        if applied is None:
            return
        done.batches += len(wanted)
        done.count(applied)
        self._note_missing(counter, wanted, contents, known, done)

    def replay(self, counter: CounterDef, one: Held) -> bool:
        """A held row is applied, and not held any more; False where it stays."""
        rows, still = rows_of_held(counter, one)
        if still or not rows.num_rows:
            return False

        def again() -> bool:
            with self.ledger.store.transaction() as session:
                counted.take_hold(self.ledger, session, counter)
                if not counted.release(self.ledger, session, [one.id]):
                    return False
                if counted.add(self.ledger, session, counter, rows).held:
                    # It stays as it is: held again, it would be another row.
                    raise _StillHeld
                return True

        try:
            return self.ledger.retried(again)
        except (_StillHeld, RowsRefused, SourceFailed):
            return False

    # -- what was lost ---------------------------------------------------------------------------

    def _note_ended(
        self, counter: CounterDef, standings: Sequence[Standing], known: Mapping[tuple[int, str], Epoch], done: Flushed
    ) -> None:
        """Epochs that ended without a last batch have vanished, and what clients saw of ended ones is known."""
        changes: dict[tuple[int, str], Epoch] = {}
        for one in standings:
            ending = {batch.epoch for batch in one.batches if batch.ended}
            for (shard, epoch), state in known.items():
                if (epoch == STORE_EPOCH) == self.live.is_apart:
                    # Of another live store, which was in use before this one.
                    continue
                if shard == one.shard and not state.ended and epoch not in ending and one.epoch not in ("", epoch):
                    changes[shard, epoch] = replace(state, ended=True, vanished=True)
                    done.vanished += 1
            for epoch, seen in one.seen.items():
                place = (one.shard, epoch)
                state = (
                    changes.get(place)
                    or known.get(place)
                    or Epoch(one.shard, epoch, ended=epoch not in ending, vanished=True)
                )
                if place not in known and epoch in ending:
                    state = replace(state, vanished=False)
                if seen.get(ADDS, 0) > state.seen.get(ADDS, 0):
                    changes[place] = replace(state, seen=seen)
        if changes:

            def note() -> None:
                with self.ledger.store.transaction() as session:
                    counted.take_hold(self.ledger, session, counter)
                    now = counted.epochs(self.ledger, session, counter.name)
                    for place, state in changes.items():
                        # Another flush may have applied more of it meanwhile.
                        current = now.get(place, state)
                        merged = replace(
                            current, seen=state.seen or current.seen, ended=current.ended or state.ended,
                            vanished=current.vanished or (state.vanished and not current.ended),
                        )  # fmt: skip
                        counted.note_epoch(self.ledger, session, counter.name, merged)

            self.ledger.retried(note)
        for one in standings:
            for epoch in one.seen:
                self.live.tell_seen(counter.name, one.shard, epoch, None)
        for state in changes.values():
            for name, amount in state.lost.items():
                done.lost[name] = done.lost.get(name, 0) + amount
        if done.vanished or done.lost:
            _log.error(
                "The live store has lost increments of %s: %d shards came back without their data; at least %d increments are gone",
                counter.name, done.vanished, done.lost.get(ADDS, 0),
                extra={"action": "counts-lost", "counter": counter.name, "shards": done.vanished, "adds": done.lost.get(ADDS, 0)},
            )  # fmt: skip

    def _note_missing(
        self,
        counter: CounterDef,
        batches: Sequence[Batch],
        contents: Sequence[Content],
        known: Mapping[tuple[int, str], Epoch],
        done: Flushed,
    ) -> None:
        """Where batches held less than their tallies, the log says so at once; `Conservation` says it for good."""
        for batch, content in zip(batches, contents, strict=True):
            before = known.get((batch.shard, batch.epoch))
            if not batch.accepted or batch.number != (before.number if before else 0) + 1:
                continue
            held = amounts_in(counter, content)
            claimed = before.accepted if before else {}
            missing = {
                name: amount - claimed.get(name, 0) - held.get(name, 0)
                for name, amount in batch.accepted.items()
                if name != ADDS and amount - claimed.get(name, 0) != held.get(name, 0)
            }
            for name, amount in missing.items():
                done.lost[name] = done.lost.get(name, 0) + amount
            if missing:
                _log.error(
                    "A batch of %s held other amounts than were accepted, in %s", counter.name, ", ".join(missing),
                    extra={"action": "counts-differ", "counter": counter.name},
                )  # fmt: skip


def _is_applied(batch: Batch, known: Mapping[tuple[int, str], Epoch]) -> bool:
    state = known.get((batch.shard, batch.epoch))
    return state is not None and (batch.number <= state.number)


def _after(batches: Sequence[Batch], known: Mapping[tuple[int, str], Epoch]) -> list[Epoch] | None:
    """What is known once these batches are applied; None where one of them was meanwhile."""
    if any(_is_applied(one, known) for one in batches):
        return None
    found: dict[tuple[int, str], Epoch] = {}
    for one in batches:
        place = (one.shard, one.epoch)
        state = found.get(place) or known.get(place) or Epoch(one.shard, one.epoch)
        found[place] = replace(
            state, number=one.number, accepted=one.accepted or state.accepted, ended=state.ended or one.ended,
            vanished=state.vanished and not one.ended,
        )  # fmt: skip
    return list(found.values())


def _rejected(counter: CounterDef, row: pa.Table, why: Exception) -> Held:
    """The one row of a table, as it is held."""
    [values] = row.to_pylist()
    key = json.dumps([values[name] for name in counter.key], separators=(",", ":"), ensure_ascii=False)
    owner = values.get(str(counter.owner)) if counter.has_owner else None
    amounts = {name: int(values[name]) for name in counter.totals if values[name] is not None}
    return Held(
        counted.REJECTED, str(getattr(why, "message", why)), values[DAY].isoformat(), key,
        None if owner is None else json.dumps(owner, ensure_ascii=False), amounts, named=values[counted.ID] or "",
    )  # fmt: skip


def sifted(ledger: Ledger, counter: CounterDef, rows: pa.Table, error: Exception) -> tuple[pa.Table, list[Held]]:
    """Of rows that were refused together, those that the database takes, and those that it does not, each by itself.

    Halves are tried and undone, so that one row among many costs a few tries; nothing is written.
    """
    held: list[Held] = []
    taken: list[pa.Table] = []

    def sift(part: pa.Table, why: Exception | None) -> None:
        if why is None:
            taken.append(part)
        elif part.num_rows == 1:
            held.append(_rejected(counter, part, why))
        else:
            half = part.num_rows // 2
            for piece in (part.slice(0, half), part.slice(half)):
                sift(piece, _refusal(ledger, counter, piece))

    sift(rows, error)
    return pa.concat_tables(taken) if taken else rows.slice(0, 0), held


def _refusal(ledger: Ledger, counter: CounterDef, rows: pa.Table) -> Exception | None:
    """Why the database does not take some rows, tried and undone."""

    def attempt() -> None:
        with undone(ledger.store) as session:
            counted.add(ledger, session, counter, rows)

    try:
        ledger.retried(attempt)
    except (RowsRefused, SourceFailed) as error:
        return error
    return None
