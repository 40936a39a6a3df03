"""What a live store is: where increments wait, acknowledged, until they are applied. Counting floor.

Increments of one counter are divided into shards by their key. Those that wait in a shard are its *open* batch; sealing makes it a
batch that nobody adds to any more, with a number that follows on the one before it in the same *epoch*. An epoch is one life of a
shard's data; what a restart brings back is never mixed with what comes after it.

Invariant: an increment that was answered for is in the open batch or in a sealed one until its batch was applied; and the tallies of an
epoch, kept beside, count every increment of it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from dayfold.engines.base import Session
from dayfold.errors import ConnectionFailed

#: The version of the layout of keys and of the scripts. It is a part of every key.
CONTRACT = 1
#: Shards of every counter in Valkey or Redis.
SHARDS = 16
#: The epoch of increments that wait in the store itself; it lasts as long as the store.
STORE_EPOCH = "store"
#: Batches of a shard that may be sealed and not applied before nothing more is sealed, so that a store that is down costs little.
MANY = 32
#: How many there were, and how much of each total. Whole numbers of any size.
Tallies = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Add:
    """One increment, checked.

    Attributes:
        counter: Its name.
        day: The day that it counts on, as ``YYYY-MM-DD``.
        key: The values of the key's columns, a JSON array without spaces.
        owner: Whose the key is, as a value in JSON; empty where that is not said.
        id: What tells it from any other increment of the counter; empty: it is never sent again.
        amounts: What is added to each total.
    """

    counter: str
    day: str
    key: str
    owner: str
    id: str
    amounts: Mapping[str, int]


@lru_cache(maxsize=4096)
def shard_of(key: str, shards: int = SHARDS) -> int:
    """The shard of a key: the first 32 bits of the MD5 of its JSON, modulo the number of shards.

    >>> shard_of('["k1"]')
    11
    """
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest()[:4], "big") % shards


@dataclass(slots=True)
class Call:
    """Increments of one shard that are sent together.

    Attributes:
        number: Counts the calls of one client to one shard, in the order in which they are made; one that is sent again keeps it.
        epoch: That in which it may be made, and in no other; empty: in any.
    """

    counter: str
    shard: int
    number: int
    adds: Sequence[Add]
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a call.

    Attributes:
        state: ``ok``; ``again``: it was made before, and its answer was lost; ``moved``: its epoch has ended, and nobody knows.
        refused: By place, the increments that were not added: ``repeated``, ``overflow`` or ``amount``.
        tallies: All that this epoch of the shard has accepted.
    """

    state: str
    epoch: str
    refused: Mapping[int, str]
    tallies: Tallies


@dataclass(frozen=True, slots=True)
class Batch:
    """A sealed batch; ``accepted``: the tallies of its epoch when it was sealed; ``ended``: it is the last one of it."""

    counter: str
    shard: int
    epoch: str
    number: int
    accepted: Tallies
    ended: bool
    line: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What a batch holds, as it stands in the live store.

    Attributes:
        amounts: For ``[day, key, total]`` in JSON the sum of what was added.
        owners: For ``[day, key]`` in JSON the owner that was said last, in JSON.
        named: Increments with an id, each with its id: ``[day, key, owner or null, {total: amount}]`` in JSON.
        plain: The same of increments without one, where they stand by themselves.
    """

    amounts: Mapping[bytes, bytes] = field(default_factory=dict)
    owners: Mapping[bytes, bytes] = field(default_factory=dict)
    named: Sequence[tuple[bytes, bytes]] = ()
    plain: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a shard stands.

    Attributes:
        epoch: Its present one, empty where it was never used; ``before``: the one that it followed on.
        seen: For epochs that ended, the greatest tallies that a client saw.
        open: What is not sealed, where it was asked for; it will be a batch with a greater number than ``number``.
    """

    counter: str
    shard: int
    epoch: str
    before: str
    batches: Sequence[Batch]
    accepted: Tallies
    seen: Mapping[str, Tallies]
    open: Content = field(default_factory=Content)
    number: int = 0


@dataclass(frozen=True, slots=True)
class Durability:
    """A setting of a live store and what it means for what was acknowledged."""

    is_safe: bool
    said: str
    advice: str = ""


class LiveStore(Protocol):
    """Where increments wait. Its methods may be called from any thread."""

    @property
    def address(self) -> str:
        """Where it is, without any secret."""
        ...

    @property
    def shards(self) -> int:
        """How many shards each counter has."""
        ...

    @property
    def is_apart(self) -> bool:
        """Whether it can be down while the store is up."""
        ...

    @property
    def is_one(self) -> bool:
        """Whether its shards answer, or do not, all together."""
        ...

    def prepare(self) -> None:
        """What makes the first call slow is done, whether the live store answers or not."""
        ...

    def send(self, client: str, calls: Sequence[Call]) -> list[Reply | Exception]:
        """Make some calls; each answer, or why there is none. An increment that is answered for survives as the store is set up to."""
        ...

    def seal(self, counter: str) -> list[Standing | ConnectionFailed]:
        """Every shard of a counter, after what was open is sealed, unless `MANY` batches are; or why it does not answer."""
        ...

    def look(self, counter: str) -> list[Standing | ConnectionFailed]:
        """Every shard of a counter as it is, or why it does not answer."""
        ...

    def content(self, batch: Batch) -> Content | None:
        """What a batch holds, which never changes; None where it is gone: dropped, or lost."""
        ...

    def drop_within(self, session: Session, batch: Batch) -> None:
        """Forget a batch in the transaction that applies it, where the live store stands in the same database."""
        ...

    def drop(self, batch: Batch) -> None:
        """Forget a batch that was applied. Again is harmless."""
        ...

    def tell_seen(self, counter: str, shard: int, epoch: str, tallies: Tallies) -> None:
        """A client saw these tallies last of an epoch that ended."""
        ...

    def forget_seen(self, counter: str, shard: int, epoch: str, tallies: Tallies) -> None:
        """That these were seen was taken note of."""
        ...

    def durability(self) -> list[Durability]:
        """What its settings mean for what was acknowledged. Raises ConnectionFailed."""
        ...

    def rewrite(self) -> None:
        """What was dropped leaves the files of the live store too, as far as it can be asked to. Raises ConnectionFailed."""
        ...

    def close(self) -> None:
        """Disconnect; again is harmless."""
        ...
