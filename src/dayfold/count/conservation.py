"""Conservation: what was accepted is applied, pending or quarantined, and anything else is said. Counting floor.

Every part is counted where it stands: what was accepted by the tallies of the live store, what was applied by the counter's own table,
what is pending in the batches, what is held in quarantine.

Invariant: the parts belong to one moment. They are read again where a batch was applied in between.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dayfold.count.live import STORE_EPOCH, Content, LiveStore, Standing
from dayfold.count.rows import amounts_in, rows_of
from dayfold.define.counter import DAY, CounterDef
from dayfold.engines.base import Session
from dayfold.errors import Busy, ConnectionFailed
from dayfold.ledger import counted, held_counts
from dayfold.ledger.counted import ADDS, ERASED, IMPORTED, LOST, REPEATED, Epoch
from dayfold.ledger.ledger import Ledger

Result = TypeVar("Result")
_TRIES, _PAUSE_S = 50, 0.02


@dataclass(frozen=True, slots=True)
class Conservation:
    """What became of all that was added to a counter: of each total, exact.

    Attributes:
        accepted: Acknowledged by the live store or imported, each increment with an id once.
        applied: In the counter's table, and what was there before it was erased.
        pending: In the live store.
        quarantined: Held, whole.
        vanished: Shards that came back without their data; what they held is known as far as clients saw it.
        lost: Of what was accepted, what is known to be lost and was taken note of.
        lost_adds: Increments that clients were told of and that are nowhere, at least.
        reachable: Whether every live store answered; what is pending in one that did not is not counted, and not missed.
    """

    counter: str
    accepted: Mapping[str, int]
    applied: Mapping[str, int]
    pending: Mapping[str, int]
    quarantined: Mapping[str, int]
    lost: Mapping[str, int]
    vanished: int = 0
    lost_adds: int = 0
    reachable: bool = True

    @property
    def missing(self) -> dict[str, int]:
        """What was accepted and is nowhere; below zero: what is there and was never accepted."""
        found = {
            name: amount
            - self.applied.get(name, 0)
            - self.pending.get(name, 0)
            - self.quarantined.get(name, 0)
            - self.lost.get(name, 0)
            for name, amount in self.accepted.items()
        }
        if not self.reachable:
            # What waits there was accepted, and cannot be seen.
            found = {name: amount for name, amount in found.items() if amount < 0}
        return {name: amount for name, amount in found.items() if amount}

    @property
    def holds(self) -> bool:
        """Whether accepted = applied + pending + quarantined, and nothing is known to be lost."""
        return not self.missing and not self.vanished and not self.lost_adds

    @property
    def said(self) -> str:
        """What became of what is not accounted for, in a sentence."""
        if self.holds:
            return "All that was added is accounted for."
        why = []
        if self.vanished:
            why.append(f"{self.vanished} shards of the live store came back without their data")
        if self.lost_adds:
            why.append(f"at least {self.lost_adds:,} acknowledged increments are gone")
        if missing := self.missing:
            why.append("accepted and nowhere: " + ", ".join(f"{name} {amount:,}" for name, amount in missing.items()))
        return f"Of what was added, {'; '.join(why)}."

    def as_words(self) -> dict[str, object]:
        """For JSON."""
        return {
            "counter": self.counter, "accepted": dict(self.accepted), "applied": dict(self.applied), "pending": dict(self.pending),
            "quarantined": dict(self.quarantined), "lost": dict(self.lost), "missing": self.missing, "lost_adds": self.lost_adds,
            "vanished": self.vanished, "reachable": self.reachable, "holds": self.holds,
        }  # fmt: skip


def conservation(ledger: Ledger, lives: Sequence[LiveStore], counter: CounterDef) -> Conservation:
    """The law of one counter, now. Where a live store does not answer, nothing is said of what is pending there.

    Args:
        ledger: Of the store.
        lives: Every live store that may hold something of the counter.
        counter: Whose law it is; its tables are there.

    Raises:
        Busy: where batches were applied all the time.
    """
    return _at_one_moment(ledger, lives, counter, lambda moment: moment.law)


@dataclass(frozen=True, slots=True)
class Present:
    """How a counter stands at one moment.

    Attributes:
        law: What became of all that was added.
        today: Of each total what the present day has, applied and pending; ``pending_keys``: keys that something waits for.
        top: The keys with most of the first total: their columns as the table has them, then each total, pending included.
    """

    law: Conservation
    today: Mapping[str, int]
    pending_keys: int
    top: Sequence[tuple[Sequence[object], Mapping[str, int]]]


def present(ledger: Ledger, lives: Sequence[LiveStore], counter: CounterDef, today: dt.date, keys: int) -> Present:
    """How a counter stands now. Keys that nothing was applied of yet are not among the top. Raises Busy, ConnectionFailed."""
    return _at_one_moment(ledger, lives, counter, lambda moment: _present(moment, today, keys))


def _present(moment: _Moment, today: dt.date, keys: int) -> Present:
    ledger, session, counter = moment.ledger, moment.session, moment.counter
    rows, _ = rows_of(counter, moment.contents)
    waiting: dict[tuple[object, ...], dict[str, int]] = {}
    of_today = counted.sums(ledger, session, counter, counter.counted.label, "day = :today::date", today=today)
    for row in rows.to_pylist():
        amounts = {name: int(row[name] or 0) for name in counter.totals}
        _add(waiting.setdefault(tuple(row[name] for name in counter.key), {}), amounts)
        if row[DAY] == today:
            _add(of_today, amounts)
    top = []
    for columns, amounts in counted.greatest(ledger, session, counter, keys):
        whole = dict(amounts)
        _add(whole, waiting.get(tuple(columns[: len(counter.key)]), {}))
        top.append((columns, whole))
    first = next(iter(counter.totals))
    top.sort(key=lambda one: -one[1][first])
    return Present(moment.law, {name: of_today.get(name, 0) for name in counter.totals}, len(waiting), top)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What is known of a counter in one snapshot of the store, and what waits beside it."""

    ledger: Ledger
    session: Session
    counter: CounterDef
    known: Mapping[tuple[int, str], Epoch]
    standings: Sequence[Standing]
    contents: Sequence[Content]
    reachable: bool

    @property
    def law(self) -> Conservation:
        """What became of all that was added."""
        ledger, session, counter = self.ledger, self.session, self.counter
        tallies = counted.tallies(ledger, session, counter.name)
        applied = counted.sums(ledger, session, counter, counter.counted.label)
        held = [one.amounts for one in held_counts.held_rows(ledger, session, counter.name)]
        pending: dict[str, int] = {}
        for content in self.contents:
            _add(pending, amounts_in(counter, content))
        return _law(counter, self.known, self.standings, pending, tallies, applied, held, self.reachable)


def _at_one_moment(
    ledger: Ledger, lives: Sequence[LiveStore], counter: CounterDef, read: Callable[[_Moment], Result]
) -> Result:
    """What is read of one moment: again where a batch was applied in between. Raises Busy."""
    for _ in range(_TRIES):
        before = _known(ledger, counter)
        standings, reachable = _looked(lives, counter)
        try:
            contents = list(_waiting(standings, before))
        except ConnectionFailed:
            contents, reachable = [], False
        with ledger.store.transaction(read_only=True) as session:
            known = counted.epochs(ledger, session, counter.name)
            if _numbers(known) == _numbers(before):
                found = [one for _, one in standings]
                return read(_Moment(ledger, session, counter, known, found, contents, reachable))
        time.sleep(_PAUSE_S)
    raise Busy(f"Batches of {counter.name} were applied all the time.", hint="Try again.")


def _known(ledger: Ledger, counter: CounterDef) -> dict[tuple[int, str], Epoch]:
    with ledger.store.transaction(read_only=True) as session:
        return counted.epochs(ledger, session, counter.name)


def _numbers(known: Mapping[tuple[int, str], Epoch]) -> dict[tuple[int, str], int]:
    return {place: one.number for place, one in known.items()}


def _waiting(
    standings: Iterable[tuple[LiveStore, Standing]], known: Mapping[tuple[int, str], Epoch]
) -> Iterator[Content]:
    """What is open or sealed, and not applied."""
    for live, one in standings:
        if _number(known, one.shard, one.epoch) <= one.number:
            # Else it was applied, and the live store came back as it was before that.
            yield one.open
        for batch in one.batches:
            if batch.number > _number(known, batch.shard, batch.epoch):
                content = live.content(batch)
                if content is not None:
                    yield content


def _number(known: Mapping[tuple[int, str], Epoch], shard: int, epoch: str) -> int:
    """Of the last batch of an epoch that was applied."""
    state = known.get((shard, epoch))
    # What waits in the store itself is deleted with its application.
    return state.number if state is not None and epoch != STORE_EPOCH else 0


def _looked(lives: Sequence[LiveStore], counter: CounterDef) -> tuple[list[tuple[LiveStore, Standing]], bool]:
    """What every live store has, and whether all of them answered."""
    found = [(live, one) for live in lives for one in live.look(counter.name)]
    standings = [(live, one) for live, one in found if isinstance(one, Standing)]
    return standings, len(standings) == len(found)


def pending_days(ledger: Ledger, lives: Sequence[LiveStore], counter: CounterDef) -> dict[str, int]:
    """The days that something is pending of, each with how many keys. Raises ConnectionFailed."""
    known = _known(ledger, counter)
    standings, _ = _looked(lives, counter)
    rows, _ = rows_of(counter, _waiting(standings, known))
    found: dict[str, int] = {}
    for pair in rows.group_by([DAY, *counter.key]).aggregate([]).to_pylist():
        found[pair[DAY].isoformat()] = found.get(pair[DAY].isoformat(), 0) + 1
    return dict(sorted(found.items()))


def _add(found: dict[str, int], more: Mapping[str, int], sign: int = 1) -> None:
    for name, amount in more.items():
        found[name] = found.get(name, 0) + sign * amount


def _law(
    counter: CounterDef,
    known: Mapping[tuple[int, str], Epoch],
    standings: Sequence[Standing],
    pending: Mapping[str, int],
    tallies: Mapping[str, Mapping[str, int]],
    applied: Mapping[str, int],
    held: Sequence[Mapping[str, int]],
    reachable: bool,
) -> Conservation:
    accepted: dict[str, int] = {}
    latest: dict[tuple[int, str], Mapping[str, int]] = {place: one.accepted for place, one in known.items()}
    for one in standings:
        ends = [(batch.epoch, batch.accepted) for batch in one.batches]
        for epoch, amounts in [*ends, (one.epoch, one.accepted)]:
            # One that came back as it was before knows less than the store.
            if amounts.get(ADDS, 0) > latest.get((one.shard, epoch), {}).get(ADDS, 0):
                latest[one.shard, epoch] = amounts
    lost_adds = 0
    for place, amounts in latest.items():
        state = known.get(place)
        seen = state.seen if state is not None and state.ended else {}
        lost_adds += max(seen.get(ADDS, 0) - amounts.get(ADDS, 0), 0)
        # What a client was told was accepted, whether the live store still knows of it or not.
        _add(accepted, seen if seen.get(ADDS, 0) > amounts.get(ADDS, 0) else amounts)
    _add(accepted, tallies.get(IMPORTED, {}))
    _add(accepted, tallies.get(REPEATED, {}), -1)
    whole = dict(applied)
    _add(whole, tallies.get(ERASED, {}))
    quarantined: dict[str, int] = {}
    for amounts in held:
        _add(quarantined, amounts)
    lost = tallies.get(LOST, {})
    lost_adds -= lost.get(ADDS, 0)
    names = [
        *counter.totals,
        *(name for name in (*accepted, *quarantined) if name not in counter.totals and name != ADDS),
    ]

    def of(found: Mapping[str, int]) -> dict[str, int]:
        return {name: found.get(name, 0) for name in dict.fromkeys(names)}

    return Conservation(
        counter.name, of(accepted), of(whole), of(pending), of(quarantined), of(lost), sum(one.vanished for one in known.values()),
        lost_adds, reachable,
    )  # fmt: skip
