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
import pyarrow.compute as pc

from dayfold.count.live import MANY, STORE_EPOCH, Batch, Content, LiveStore, Standing
from dayfold.count.rows import amounts_in, empty_row, rows_of, rows_of_held
from dayfold.define.counter import DAY, CounterDef, key_text
from dayfold.engines.base import undone
from dayfold.errors import Conflict, ConnectionFailed, RowsRefused, SourceFailed, StoreError, StoreExhausted
from dayfold.ledger import counted, counting, held_counts, leases
from dayfold.ledger.counted import ADDS, Epoch
from dayfold.ledger.counting import Applied
from dayfold.ledger.held_counts import Held
from dayfold.ledger.ledger import Ledger

#: Batches of one shard that are applied in one transaction.
_AT_ONCE = 16
#: How often what is sealed is looked at again, where other flushes were in between.
_ROUNDS = 10
_log = logging.getLogger("dayfold.count")
#: Called after each step of a flush with its name; tests end the process there.
Step = Callable[[str], None]


class _StillHeld(Exception):
    """A row is held again; nothing was written."""


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


class Flusher:
    """Applies what waits in a live store to one store, whose ledger is ready."""

    def __init__(self, ledger: Ledger, live: LiveStore, step: Step = _no_step) -> None:
        self.ledger = ledger
        self.live = live
        self.step = step

    def flush(self, counter: CounterDef, done: Flushed | None = None) -> Flushed:
        """All that was acknowledged before the call is applied, or held; ``done`` is what it is added to.

        Raises:
            ConnectionFailed: where the live store, a part of it, or the store does not answer; what waits there stays.
        """
        done = done or Flushed(counter.name)
        for _ in range(_ROUNDS):
            if self._round(counter, done):
                break
        return done

    def _round(self, counter: CounterDef, done: Flushed) -> bool:
        """What is sealed is applied; whether that is all that there was."""
        # Before anything is sealed: where the store is down, nothing is; and what it knows is not of a time after that.
        known = self._known(counter)
        found = self.live.seal(counter.name)
        self.step("sealed")
        standings = [one for one in found if isinstance(one, Standing)]
        self._note_ended(counter, standings, known, done)
        waiting = [list(one.batches) for one in standings]
        is_all = not any(len(batches) >= MANY for batches in waiting)
        while any(waiting):
            portion = [batch for batches in waiting for batch in batches[:_AT_ONCE]]
            waiting = [batches[_AT_ONCE:] for batches in waiting]
            applied = self._apply(counter, portion, done)
            self.step("applied")
            for batch in applied:
                self.live.drop(batch)
                self.step("dropped")
            is_all = is_all and len(applied) == len(portion)
        for one in found:
            if isinstance(one, ConnectionFailed):
                raise one
        return is_all

    def _known(self, counter: CounterDef) -> dict[tuple[int, str], Epoch]:
        with self.ledger.store.transaction(read_only=True) as session:
            return counted.epochs(self.ledger, session, counter.name)

    # -- batches ---------------------------------------------------------------------------------

    def _apply(self, counter: CounterDef, batches: Sequence[Batch], done: Flushed) -> list[Batch]:
        """Those of these batches that are applied now, whoever did it: all, but for what is gone and was not."""
        while True:
            known = self._known(counter)
            applied = [one for one in batches if _is_applied(one, known)]
            wanted, contents = self._read([one for one in batches if not _is_applied(one, known)])
            if not wanted:
                # In the store itself a batch is a number only: another flush may have used it for less.
                return applied if self.live.is_apart else []
            self.step("read")
            if self._add(counter, wanted, contents, known, done):
                return applied + wanted
            # Another flush has applied some of them. The others are looked at again: none is dropped because of its neighbour.

    def _read(self, batches: Sequence[Batch]) -> tuple[list[Batch], list[Content]]:
        """Batches with what they hold; where one is gone, nothing of its epoch that came after it."""
        found: list[Batch] = []
        contents: list[Content] = []
        gone: set[tuple[int, str]] = set()
        for one in batches:
            content = self.live.content(one) if (one.shard, one.epoch) not in gone else None
            if content is None:
                gone.add((one.shard, one.epoch))
            else:
                found.append(one)
                contents.append(content)
        return found, contents

    def _add(
        self,
        counter: CounterDef,
        wanted: Sequence[Batch],
        contents: Sequence[Content],
        known: Mapping[tuple[int, str], Epoch],
        done: Flushed,
    ) -> bool:
        """These batches are applied together; False where another flush has applied one of them."""
        rows, held = rows_of(counter, contents)
        holder = leases.holder_name()
        noted: list[Epoch] = []

        def fresh(known: Mapping[tuple[int, str], Epoch]) -> list[Epoch] | None:
            noted[:] = _after(wanted, known) or []
            return noted or None

        def also(session: object) -> None:
            for batch in wanted:
                self.live.drop_within(session, batch)  # type: ignore[arg-type]

        numbers = [(one.shard, one.epoch, one.number) for one in wanted]

        def attempt(rows: pa.Table, held: Sequence[Held]) -> Applied | None:
            return self.ledger.retried(
                lambda: counting.apply(self.ledger, counter, rows, fresh, held, also, numbers, holder)
            )

        applied = sifting(self.ledger, counter, rows, held, attempt)
        if applied is None:
            return False
        done.batches += len(wanted)
        done.count(applied)
        if not _is_all_there(counter, wanted, known, rows, held):
            self._note_missing(counter, wanted, contents, known, done)
        self._tell_lost(counter, [one for one in noted if one.ended], 0, done)
        return True

    def replay(self, counter: CounterDef, one: Held) -> bool:
        """A held row is applied, and not held any more; False where it stays.

        Raises:
            ConnectionFailed, Conflict, StoreExhausted: where it is not the row that is at fault.
        """
        rows, still = rows_of_held(counter, one)
        if still or not rows.num_rows:
            return False

        def again() -> bool:
            with self.ledger.store.transaction() as session:
                counted.take_hold(self.ledger, session, counter)
                if not held_counts.release(self.ledger, session, [one.id]):
                    return False
                if counting.add(self.ledger, session, counter, rows).held:
                    # It stays as it is: held again, it would be another row.
                    raise _StillHeld
                return True

        try:
            return self.ledger.retried(again)
        except (Conflict, StoreExhausted):
            raise
        except (_StillHeld, StoreError, SourceFailed):
            return False

    # -- what was lost ---------------------------------------------------------------------------

    def _note_ended(
        self, counter: CounterDef, standings: Sequence[Standing], known: Mapping[tuple[int, str], Epoch], done: Flushed
    ) -> None:
        """Epochs are known when they begin; those that ended without a last batch have vanished; what clients saw of these is known.

        ``known`` is what was known before anything was sealed: an epoch of which the live store did not tell then is over.
        """
        found: dict[tuple[int, str], Epoch] = {}
        for one in standings:
            if self.live.is_apart and (one.shard, one.epoch) not in known:
                # Before anything of it is applied: it may be gone by then.
                found[one.shard, one.epoch] = Epoch(one.shard, one.epoch)
            last = {batch.epoch: batch.number for batch in one.batches if batch.ended}
            for (shard, epoch), state in known.items():
                if shard != one.shard or state.ended or (epoch == STORE_EPOCH) == self.live.is_apart:
                    # The last: of another live store, which was in use before this one.
                    continue
                is_over = epoch not in last and one.epoch not in ("", epoch)
                # A last batch whose number was used: the live store came back as it was before that.
                if is_over or last.get(epoch, state.number + 1) <= state.number:
                    found[shard, epoch] = replace(state, ended=True, vanished=True)
            for epoch, seen in one.seen.items():
                place = (one.shard, epoch)
                is_over = epoch not in last
                state = found.get(place) or known.get(place) or Epoch(one.shard, epoch, ended=is_over, vanished=is_over)
                if seen.get(ADDS, 0) > state.seen.get(ADDS, 0):
                    found[place] = replace(state, seen=seen)
        if found:
            noted = self.ledger.retried(lambda: self._note(counter, found))
            fresh = sum(one.vanished and not is_known for one, is_known in noted)
            self._tell_lost(counter, [one for one, _ in noted if one.ended], fresh, done)
        for one in standings:
            for epoch, seen in one.seen.items():
                self.live.forget_seen(counter.name, one.shard, epoch, seen)

    def _note(self, counter: CounterDef, found: Mapping[tuple[int, str], Epoch]) -> list[tuple[Epoch, bool]]:
        """This is known of epochs, beside what another flush has found meanwhile; and whether that they vanished was known."""
        noted = []
        with self.ledger.store.transaction() as session:
            counted.take_hold(self.ledger, session, counter)
            now = counted.epochs(self.ledger, session, counter.name)
            for place, state in found.items():
                current = now.get(place)
                merged = state
                if current is not None:
                    is_more = state.seen.get(ADDS, 0) > current.seen.get(ADDS, 0)
                    merged = replace(
                        current, seen=state.seen if is_more else current.seen, ended=current.ended or state.ended,
                        vanished=current.vanished or (state.vanished and not current.ended),
                    )  # fmt: skip
                if merged != current:
                    counted.note_epoch(self.ledger, session, counter.name, merged)
                    noted.append((merged, current is not None and current.vanished))
        return noted

    def _tell_lost(self, counter: CounterDef, ended: Sequence[Epoch], vanished: int, done: Flushed) -> None:
        """What is known to be lost of epochs that ended is in the log, and in what the flush tells."""
        done.vanished += vanished
        found: dict[str, int] = {}
        for one in ended:
            for name, amount in one.lost.items():
                found[name] = found.get(name, 0) + amount
        for name, amount in found.items():
            done.lost[name] = done.lost.get(name, 0) + amount
        if vanished or found:
            _log.error(
                "The live store has lost increments of %s: %d shards came back without their data; at least %d increments are gone",
                counter.name, vanished, found.get(ADDS, 0),
                extra={"action": "counts-lost", "counter": counter.name, "shards": vanished, "adds": found.get(ADDS, 0)},
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


def _is_all_there(
    counter: CounterDef,
    batches: Sequence[Batch],
    known: Mapping[tuple[int, str], Epoch],
    rows: pa.Table,
    held: Sequence[Held],
) -> bool:
    """Whether batches together hold what their tallies say: what is read of them anyway is added up, and not read again."""
    claimed: dict[str, int] = {}
    latest = {place: (one.number, one.accepted) for place, one in known.items()}
    for one in batches:
        number, before = latest.get((one.shard, one.epoch), (0, {}))
        if not one.accepted or one.number != number + 1:
            return False
        for name, amount in one.accepted.items():
            claimed[name] = claimed.get(name, 0) + amount - before.get(name, 0)
        latest[one.shard, one.epoch] = (one.number, one.accepted)
    found = {name: int(pc.sum(rows[name]).as_py() or 0) for name in counter.totals}
    for row in held:
        for name, amount in row.amounts.items():
            found[name] = found.get(name, 0) + amount
    return all(claimed.get(name, 0) == found.get(name, 0) for name in {*claimed, *found} - {ADDS})


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
    key = key_text([values[name] for name in counter.key])
    owner = values.get(str(counter.owner)) if counter.has_owner else None
    amounts = {name: int(values[name]) for name in counter.totals if values[name] is not None}
    return Held(
        held_counts.REJECTED, str(getattr(why, "message", why)), values[DAY].isoformat(), key,
        None if owner is None else json.dumps(owner, ensure_ascii=False), amounts, named=values[counting.ID] or "",
    )  # fmt: skip


def sifting(
    ledger: Ledger,
    counter: CounterDef,
    rows: pa.Table,
    held: Sequence[Held],
    attempt: Callable[[pa.Table, Sequence[Held]], Applied | None],
) -> Applied | None:
    """What an application gives, of the rows that the database takes; the others are held with those to hold anyway.

    Raises:
        StoreError, ConnectionFailed: where it is not the rows that are at fault; Conflict: also for a unique key that somebody made.
    """
    try:
        return attempt(rows, held)
    except (StoreError, SourceFailed) as error:
        if not _is_about_rows(ledger, counter, error):
            raise
        taken, refused = sifted(ledger, counter, rows, error)
    try:
        return attempt(taken, [*held, *refused])
    except (StoreError, SourceFailed) as error:
        if not _is_about_rows(ledger, counter, error):
            raise
        # Each is taken by itself, and not all are together: those stay that are taken one upon the other.
        taken, more = sifted(ledger, counter, taken, error, together=True)
    return attempt(taken, [*held, *refused, *more])


def _is_about_rows(ledger: Ledger, counter: CounterDef, error: Exception) -> bool:
    """Whether it may be the rows that were refused: where the error does not say, one of zeros is tried and undone."""
    if isinstance(error, RowsRefused | SourceFailed):
        return True
    if isinstance(error, Conflict | StoreExhausted):
        # A part of the rows would fit, and a part of them would be to blame.
        return False
    why = _refusal(ledger, counter, empty_row(counter))
    return why is None or isinstance(why, RowsRefused | SourceFailed)


def sifted(
    ledger: Ledger, counter: CounterDef, rows: pa.Table, error: Exception, *, together: bool = False
) -> tuple[pa.Table, list[Held]]:
    """Of rows that were refused together, those that the database takes, and those that it does not, each by itself.

    Halves are tried and undone, so that one row among many costs a few tries; nothing is written. ``together``: each is tried with
    those that were taken before it, which costs more.
    """
    held: list[Held] = []
    taken: list[pa.Table] = []

    def sift(part: pa.Table, why: Exception | None) -> None:
        if why is None:
            taken.append(part)
        elif isinstance(why, StoreExhausted):
            raise why
        elif part.num_rows == 1:
            held.append(_rejected(counter, part, why))
        else:
            half = part.num_rows // 2
            for piece in (part.slice(0, half), part.slice(half)):
                tried = pa.concat_tables([*taken, piece]) if together else piece
                sift(piece, _refusal(ledger, counter, tried))

    sift(rows, error)
    return pa.concat_tables(taken) if taken else rows.slice(0, 0), held


def _refusal(ledger: Ledger, counter: CounterDef, rows: pa.Table) -> Exception | None:
    """Why the database does not take some rows, tried and undone."""

    def attempt() -> None:
        with undone(ledger.store) as session:
            counting.add(ledger, session, counter, rows)
            if ledger.store.dialect.name == "postgres":
                # Else those of the end of a transaction would not be looked at.
                session.execute("SET CONSTRAINTS ALL IMMEDIATE")

    try:
        ledger.retried(attempt)
    except Conflict:
        raise
    except (StoreError, SourceFailed) as error:
        return error
    return None
