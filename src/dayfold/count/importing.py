"""Import: what home-made counters in Redis hold is drained into a counter, once. Counting floor.

Such counters are keys of one day, ``daily:{date}:…:metrics``, whose hash, or whose single number, holds what was counted. A pattern says
which part of a key is what. A key is renamed before it is read, so that what is counted meanwhile goes into a new one; it is deleted once
its amounts are in the store, and its name tells whether they are.

Invariant: a key is applied once, however often the import is run or ended.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dayfold.count.flush import sifting
from dayfold.count.live import Content
from dayfold.count.rows import rows_of
from dayfold.define.counter import MOST, BadKey, CounterDef, canonical
from dayfold.define.types import BOOL, INT
from dayfold.errors import UsageError
from dayfold.ledger import counted, counting
from dayfold.ledger.counted import IMPORTED
from dayfold.ledger.held_counts import Held
from dayfold.ledger.ledger import Ledger
from dayfold.names import listing, suggestion

#: What a key that is being imported begins with.
TAKEN = "dayfold:taken:"
#: Keys that are read at once.
_PORTION = 500
_WHOLE = re.compile(rb"-?[0-9]{1,30}")
_PART = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


@dataclass(slots=True)
class Imported:
    """What an import did, or would do.

    Attributes:
        keys: That fit the pattern; ``rows``: keys and days that were added to.
        left: Keys that fit the pattern and were not taken, by why; no key is named.
    """

    keys: int = 0
    rows: int = 0
    held: int = 0
    amounts: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    def leave(self, why: str) -> None:
        """One key stays."""
        self.left[why] = self.left.get(why, 0) + 1


class Layout:
    """The pattern of old keys: ``daily:{date}:{api_key_id}:metrics``.

    ``{date}`` is the day; every other name in braces a key column or the owner; ``{total}`` the total that a single number is of.

    >>> Layout("daily:{date}:{k}:metrics", ("k",), None, {}).matcher.match("daily:2026-01-02:k1:metrics")["k"]
    'k1'
    """

    def __init__(self, pattern: str, key: tuple[str, ...], owner: str | None, fields: Mapping[str, str]) -> None:
        names = _PART.findall(pattern)
        known = ("date", "total", *key, *([owner] if owner else []))
        for name in names:
            if name not in known:
                raise UsageError(
                    f"The pattern has '{{{name}}}', which is no part of a key{suggestion(name, known)}.",
                    hint=f"Parts: {listing(known)}.",
                )
        if missing := [name for name in ("date", *key) if name not in names]:
            raise UsageError(
                f"The pattern lacks {listing([f'{{{one}}}' for one in missing])}.",
                hint='Such as: "daily:{date}:{api_key_id}:metrics".',
            )
        if len(set(names)) < len(names):
            raise UsageError("The pattern has a part twice.")
        self.fields = fields
        parts = _PART.split(pattern)
        # The last part of a key may hold anything; the others end at the text that follows them.
        self.matcher = re.compile(
            "".join(re.escape(one) if place % 2 == 0 else f"(?P<{one}>.+?)" for place, one in enumerate(parts)) + r"\Z",
            re.DOTALL,
        )
        self.glob = "".join(
            re.sub(r"([\\*?\[\]])", r"\\\1", one) if place % 2 == 0 else "*" for place, one in enumerate(parts)
        )


class Importer:
    """Drains old keys of one Redis or Valkey into a counter whose tables are there.

    Args:
        client: Of redis-py, of one server, whose answers are bytes.
    """

    def __init__(self, ledger: Ledger, client: Any, counter: CounterDef, layout: Layout) -> None:
        self.ledger = ledger
        self.client = client
        self.counter = counter
        self.layout = layout

    def run(self, *, dry_run: bool, progress: Callable[[int], None] = lambda done: None) -> Imported:
        """Every key that fits the pattern is in the counter, and gone; with ``dry_run`` they are only read."""
        found = Imported()
        for names in self._portions(self.layout.glob if dry_run else TAKEN + "*"):
            self._take(names, found, dry_run=dry_run)
            progress(found.keys)
        if not dry_run:
            for names in self._portions(self.layout.glob):
                taken = [one for one in (self._rename(name, found) for name in names) if one is not None]
                self._take(taken, found, dry_run=False)
                progress(found.keys)
        return found

    def _portions(self, glob: str) -> Iterator[list[bytes]]:
        portion: list[bytes] = []
        for name in self.client.scan_iter(match=glob, count=1_000):
            portion.append(name)
            if len(portion) == _PORTION:
                yield portion
                portion = []
        if portion:
            yield portion

    def _rename(self, name: bytes, found: Imported) -> bytes | None:
        """A key under a name of its own, which tells one import of it from the next; None where it is none of the pattern's."""
        from redis.exceptions import ResponseError

        if name.startswith(TAKEN.encode()) or self._parts(name) is None:
            return None
        fresh = f"{TAKEN}{secrets.token_hex(8)}:".encode() + name
        try:
            with self.client.pipeline(transaction=True) as both:
                # Home-made keys often expire; what is taken must not.
                both.rename(name, fresh).persist(fresh).execute()
        except ResponseError:
            found.leave("it was gone before it was taken")
            return None
        return fresh

    def _give_back(self, name: bytes, old: bytes) -> None:
        """A key that cannot be imported has the name that it had, unless there is a new one of that by now."""
        if name != old:
            self.client.renamenx(name, old)

    def _parts(self, name: bytes) -> dict[str, str] | None:
        try:
            match = self.layout.matcher.match(name.decode())
        except UnicodeDecodeError:
            return None
        return match.groupdict() if match else None

    def _take(self, names: list[bytes], found: Imported, *, dry_run: bool) -> None:
        """These keys are applied in one transaction, and deleted."""
        named: list[tuple[bytes, bytes]] = []
        done: list[bytes] = []
        for name in names:
            token, old = b"", name
            if name.startswith(TAKEN.encode()):
                token, _, old = name.removeprefix(TAKEN.encode()).partition(b":")
            parts = self._parts(old)
            if parts is None:
                continue
            found.keys += 1
            body = self._body(name, parts, found)
            if body is None:
                self._give_back(name, old)
            else:
                named.append((b"import " + token, body))
                done.append(name)
        if not named:
            return
        if dry_run:
            for _, body in named:
                for total, amount in json.loads(body)[3].items():
                    found.amounts[total] = found.amounts.get(total, 0) + amount
            return
        applied = self._apply(named)
        found.rows += applied.rows
        found.held += applied.held
        for total, amount in applied.amounts.items():
            found.amounts[total] = found.amounts.get(total, 0) + amount
        self.client.delete(*done)

    def _apply(self, named: list[tuple[bytes, bytes]]) -> counting.Applied:
        rows, held = rows_of(self.counter, [Content(named=named)])
        came: dict[str, int] = {}
        for _, body in named:
            for total, amount in json.loads(body)[3].items():
                came[total] = came.get(total, 0) + amount

        def attempt(rows: Any, held: Sequence[Held]) -> counting.Applied:
            def note(session: Any) -> None:
                counted.add_tally(self.ledger, session, self.counter.name, IMPORTED, came)

            def once() -> counting.Applied | None:
                return counting.apply(self.ledger, self.counter, rows, lambda known: [], held, note, holder="import")

            return self.ledger.retried(once) or counting.Applied()

        return sifting(self.ledger, self.counter, rows, held, attempt) or counting.Applied()

    def _body(self, name: bytes, parts: Mapping[str, str], found: Imported) -> bytes | None:
        """What a key holds, as an increment; None where it stays, and why is counted."""
        try:
            day = dt.date.fromisoformat(parts["date"]).isoformat()
            key = [self._value(one, parts[one]) for one in self.counter.key]
            owner = str(self.counter.owner)
            whose = self._value(owner, parts[owner]) if self.counter.has_owner and owner in parts else None
        except (ValueError, BadKey):
            found.leave("its date, or a part of its key, is none")
            return None
        kind = self.client.type(name)
        if kind == b"hash":
            values = {field.decode(errors="replace"): value for field, value in self.client.hgetall(name).items()}
        elif kind == b"string" and "total" in parts:
            values = {parts["total"]: self.client.get(name)}
        else:
            found.leave("it is neither a hash, nor the number of one {total}")
            return None
        amounts: dict[str, int] = {}
        for field_name, value in values.items():
            total = self.layout.fields.get(field_name, field_name)
            if not total:
                continue
            if total not in self.counter.totals:
                found.leave(
                    "it has a field that is no total: name it with --field OLD=TOTAL, or leave it out with --field OLD="
                )
                return None
            if not _WHOLE.fullmatch(value):
                found.leave("it holds something that is no whole number")
                return None
            amount = int(value)
            if not -MOST <= amount <= MOST:
                found.leave("it holds a number beyond 64 bits")
                return None
            amounts[total] = amounts.get(total, 0) + amount
        if not amounts:
            found.leave("it holds no total")
            return None
        return json.dumps([day, key, whose, amounts], ensure_ascii=False).encode()

    def _value(self, name: str | None, text: str) -> object:
        type_ = self.counter.types[str(name)]
        value: object = text
        if type_ == INT:
            value = int(text)
        elif type_ == BOOL:
            value = {"true": True, "false": False, "1": True, "0": False}.get(text, text)
        return canonical(str(name), type_, value)
