"""A table's rows are in another store, and are compared there with the original, cell by cell. Fold floor.

Rows travel in portions, as Arrow. A portion and the note that it is there are one transaction, so that a copy goes on where it ended.
Both sides are compared in the same words: numbers and moments in one type, JSON without its spelling, sets as their hashes.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import TYPE_CHECKING

from dayfold.define.types import Kind
from dayfold.errors import CopyDiffers
from dayfold.fold.move_tables import Moved
from dayfold.ledger import moves
from dayfold.ledger.ledger import Ledger
from dayfold.ledger.moves import Part
from dayfold.names import listing
from dayfold.plan.portions import Portions, Row, size_of, spans
from dayfold.plan.shape import Column

if TYPE_CHECKING:
    import pyarrow as pa

#: Called after each portion with how many rows it had.
Told = Callable[[int], None]
#: Digits of the longest number that a JSON text may hold and is told apart to the last of them.
_EXACT = Context(prec=100_000, Emax=999_999_999, Emin=-999_999_999)


@dataclass(slots=True)
class Copier:
    """Copies tables of one store into another, for one move.

    Attributes:
        mark: The move's.
        rows_at_once: So many rows in a portion, whatever a table's columns are.
    """

    here: Ledger
    there: Ledger
    mark: str
    stop: Callable[[], None]
    rows_at_once: int | None = None
    _known: dict[str, list[tuple[Row | None, Row | None]]] = field(default_factory=dict)

    def copy(self, moved: Moved, part: Part | None, told: Told) -> Part:
        """All rows of a table are in the other store, from the portion on that comes next."""
        if part is None:
            moved.make(self.there)
            part = Part(moved.name, moves.BEGUN, 0, 0, self.rows_at_once or size_of(moved.columns))
        told(part.rows)
        if part.state != moves.BEGUN:
            return part
        source, target = moved.portions(self.here), moved.portions(self.there)
        parts = self._spans(moved, part.size)
        for number in range(part.portions, len(parts)):
            self.stop()
            with self.here.store.transaction(read_only=True) as session:
                rows = moved.session(session).arrow(source.portion(*parts[number]), source.read)
            is_whole = number + 1 == len(parts) and moved.finish is None
            state = moves.COPIED if is_whole else moves.BEGUN
            part = Part(part.name, state, number + 1, part.rows + rows.num_rows, part.size)
            self._put(moved, list(target.columns), rows, part)
            told(rows.num_rows)
        return self._finish(moved, part)

    def _put(self, moved: Moved, columns: list[Column], rows: pa.Table, part: Part) -> None:
        """A portion is there, with the note that it is."""
        with self.there.store.transaction() as session:
            if rows.num_rows:
                session.append(moved.name, columns, rows)
            moves.note(self.there, session, self.mark, part)

    def _finish(self, moved: Moved, part: Part) -> Part:
        """A table has its indexes, and all rows of the original. DuckDB makes no index over rows that its own transaction has written."""
        part = Part(part.name, moves.COPIED, part.portions, part.rows, part.size)
        if moved.finish is None:
            return part
        with self.there.store.transaction() as session:
            moved.finish(self.there, session)
            moves.note(self.there, session, self.mark, part)
        return part

    def _spans(self, moved: Moved, size: int) -> list[tuple[Row | None, Row | None]]:
        """A table's portions, none of an empty one; the original stays as it is, and so do they."""
        if moved.name not in self._known:
            source = moved.portions(self.here)
            with self.here.store.transaction(read_only=True) as session:
                mine = moved.session(session)
                [(rows,)] = mine.rows(source.count())
                found = mine.arrow(source.ends(size), source.edges) if rows > size else None
            columns = [found[one.name].to_pylist() for one in source.edges] if found is not None else []
            self._known[moved.name] = spans(list(zip(*columns, strict=True))) if rows else []
        return self._known[moved.name]

    def compare(self, moved: Moved, part: Part, told: Told) -> None:
        """Every cell of a table is that of the original. Raises CopyDiffers, naming a day and the columns."""
        if part.state in (moves.SAME, moves.DONE):
            told(part.rows)
            return
        sides = moved.portions(self.here), moved.portions(self.there)
        parts = self._spans(moved, part.size)
        # What an empty original has a copy of is looked at too.
        for span in parts or [(None, None)]:
            self.stop()
            one, other = (
                self._read(ledger, moved, side, span)
                for ledger, side in zip((self.here, self.there), sides, strict=True)
            )
            if not one.equals(other):
                raise CopyDiffers(
                    f"The copy of {moved.name} in {self.there.store.address} is not the original: {difference(one, other, moved.day)}.",
                    hint="Nobody works with the copy. Give this move up (dayfold move --abandon), drop what it made, and move again; "
                    "if nobody wrote to the copy, please report it.",
                )
            told(one.num_rows)
        if len(parts) > 1:
            # What is one portion is compared again sooner than it is noted.
            with self.there.store.transaction() as session:
                moves.note(
                    self.there, session, self.mark, Part(part.name, moves.SAME, part.portions, part.rows, part.size)
                )

    def _read(self, ledger: Ledger, moved: Moved, side: Portions, span: tuple[Row | None, Row | None]) -> pa.Table:
        """A portion of one side, in the form that both are compared in."""
        with ledger.store.transaction(read_only=True) as session:
            return canonical(moved.session(session).arrow(side.portion(*span), side.read), moved)


# -- one form for both sides ---------------------------------------------------------------------------


def canonical(rows: pa.Table, moved: Moved) -> pa.Table:
    """Rows in an order and in types that say nothing of the engine that they came from."""
    import pyarrow as pa

    columns = {one.name: _plain(rows[one.name], one) for one in moved.columns}
    order = [one.name for one in moved.order]
    if not moved.is_identified:
        order += [name for name in columns if name not in order]
    return pa.table(columns).sort_by([(name, "ascending") for name in order]).combine_chunks()


def _plain(column: pa.ChunkedArray, one: Column) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    from dayfold.engines.csv import arrow_type

    match one.type.kind:
        case Kind.HASHES:
            texts = pc.binary_join(pc.cast(column, pa.list_(pa.string())), ",")
            # No set is empty: where an engine has no NULL for it, an empty one stands for it.
            return pc.if_else(pc.equal(texts, ""), None, texts).cast(pa.string())
        case Kind.JSON:
            return pa.chunked_array([_json_texts(chunk) for chunk in column.chunks] or [[]], pa.string())
        case _:
            return column.cast(arrow_type(one.type))


def _json_texts(chunk: pa.Array) -> pa.Array:
    import pyarrow as pa

    known = chunk.cast(pa.string()).dictionary_encode()
    texts = pa.array([json_value(one) for one in known.dictionary.to_pylist()], pa.string())
    return texts.take(known.indices)


def json_value(text: str) -> str:
    """The value of a JSON text, in one spelling: of a name that is there twice, the last counts.

    >>> json_value('{"b": 1.50, "a": [1e2, "x"]}') == json_value('{"a":[100,"x"],"b":1.5}')
    True
    """
    return _WRITE(_READ(text))


def _number(value: object) -> dict[str, str]:
    """A number as an object that no other value is written as: no document has such a name."""
    assert isinstance(value, Decimal)
    return {"\0": str(_EXACT.normalize(value)) if value else "0"}


#: Made once: making one takes longer than reading a document.
_READ = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal).decode
_WRITE = json.JSONEncoder(sort_keys=True, default=_number).encode


def difference(one: pa.Table, other: pa.Table, day: str | None) -> str:
    """How two portions of one table differ, in words that hold no value of a row but its day."""
    import pyarrow.compute as pc

    if one.num_rows != other.num_rows:
        found = f"it has {other.num_rows:,} rows where the original has {one.num_rows:,}"
        if day is None:
            return found
        counts = [_by_day(side, day) for side in (one, other)]
        first = min(
            (key for key in {*counts[0], *counts[1]} if counts[0].get(key) != counts[1].get(key)), key=str, default=None
        )
        return found if first is None else f"{found}, first on {first}"
    names, place = [], one.num_rows
    for name in one.column_names:
        a, b = one[name], other[name]
        same = pc.or_kleene(pc.fill_null(pc.equal(a, b), False), pc.and_(pc.is_null(a), pc.is_null(b)))
        differs = pc.index(same, False).as_py()
        if differs >= 0:
            names.append(name)
            place = min(place, differs)
    where = f" on {_day_of(one[day][place].as_py())}" if day and place < one.num_rows else ""
    return f"it differs in {listing(names)}{where}"


def _by_day(side: pa.Table, day: str) -> dict[dt.date | None, int]:
    found: dict[dt.date | None, int] = {}
    for value in side[day].to_pylist():
        key = _day_of(value)
        found[key] = found.get(key, 0) + 1
    return found


def _day_of(value: object) -> dt.date | None:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).date()
    return value if isinstance(value, dt.date) else None
