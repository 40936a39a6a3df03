"""Batches as rows: what stands in a live store, in columns that the database takes. Counting floor.

Whole batches are decoded and added up at once. What does not read as a row of its counter is found one by one, and held.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from dayfold.count.live import Content
from dayfold.define.counter import DAY, BadKey, CounterDef, canonical, key_text
from dayfold.define.types import BOOL, INT, TEXT, UUID, Type
from dayfold.ledger.counting import ID
from dayfold.ledger.held_counts import IDENTITY, NEGATIVE, UNKNOWN, Held

_WIDE = pa.decimal128(38, 0)
_KEY, _OWNER, _TOTAL, _AMOUNT, _HEAD = "key__", "owner__", "total__", "amount__", "head__"
_Open = list[tuple[dt.date, msgspec.Raw, str]]
_OwnedKey = tuple[dt.date, msgspec.Raw]
_Owned = list[_OwnedKey]
_Body = tuple[dt.date, msgspec.Raw, msgspec.Raw, dict[str, int]]


def rows_of(counter: CounterDef, contents: Iterable[Content]) -> tuple[pa.Table, list[Held]]:
    """The rows of some batches, each key and day once beside those with ids; and what is none of the counter's.

    Returns:
        The columns of `dayfold.ledger.counting.input_columns`; rows to hold.
    """
    parts: list[pa.Table] = []
    held: list[Held] = []
    merged = [_merged(counter, one, held) for one in contents]
    parts += [one for pair in merged for one in pair if one is not None]
    if not parts:
        return _empty(counter), held
    long = _typed(counter, pa.concat_tables(parts), held)
    plain, named = long.filter(pc.is_null(long[ID])), long.filter(pc.is_valid(long[ID]))
    # By what keys are, and not by how they are written: two texts of JSON may mean the same.
    sums = [(name, "sum") for name in counter.totals]
    owner = [(str(counter.owner), "last")] if counter.has_owner else []
    # In one thread, so that the last owner is that of the last batch.
    grouped = plain.group_by([DAY, *counter.key], use_threads=False).aggregate([*sums, *owner])
    names = [DAY, *counter.key, *counter.totals, *(name for name, _ in owner)]
    grouped = pa.table([grouped[one] for one in _aggregated(counter)], names)
    grouped = grouped.append_column(ID, pa.nulls(grouped.num_rows, pa.string()))
    return _checked(counter, pa.concat_tables([grouped.select(long.column_names), named]), held), held


def _aggregated(counter: CounterDef) -> list[str]:
    """The columns of grouped rows as Arrow calls them."""
    owner = [f"{counter.owner}_last"] if counter.has_owner else []
    return [DAY, *counter.key, *(f"{name}_sum" for name in counter.totals), *owner]


def amounts_in(counter: CounterDef, content: Content) -> dict[str, int]:
    """What a batch holds of each total, and of totals that its counter does not have; exact.

    Those of increments with ids are among them.
    """
    found: dict[str, int] = {}
    if content.amounts:
        try:
            totals = msgspec.json.decode(_array(content.amounts), type=list[tuple[msgspec.Raw, msgspec.Raw, str]])
            names = [one[2] for one in totals]
        except (msgspec.DecodeError, UnicodeDecodeError):
            names = [_total_of(one) for one in content.amounts]
        table = pa.table({_TOTAL: names, _AMOUNT: _whole(content.amounts.values())})
        for row in table.group_by(_TOTAL).aggregate([(_AMOUNT, "sum")]).to_pylist():
            found[row[_TOTAL]] = int(row[f"{_AMOUNT}_sum"])
    for body in (*(body for _, body in content.named), *content.plain):
        for name, amount in _amounts_of(body).items():
            found[name] = found.get(name, 0) + amount
    return {name: found.get(name, 0) for name in {**dict.fromkeys(counter.totals), **found}}


#: How the scripts end what they write: whatever stands before it, the totals and their amounts are as they were accepted.
_LAST_TEXT = re.compile(rb',("(?:[^"\\]|\\.)*")\]\Z')
_LAST_AMOUNTS = re.compile(rb',(\{(?:"(?:[^"\\]|\\.)*":-?\d+,?)*\})\]\Z')


def _total_of(field: bytes) -> str:
    """The total that a field is of, though it may not be readable."""
    found = _LAST_TEXT.search(field)
    return _loaded(found[1], "") if found else ""


def _amounts_of(body: bytes) -> dict[str, int]:
    """The amounts of one increment, though it may not be readable."""
    found = _LAST_AMOUNTS.search(body)
    return _loaded(found[1], {}) if found else {}


def _loaded(text: bytes, otherwise: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return otherwise


def _array(texts: Iterable[bytes]) -> bytes:
    """Texts of JSON as one array."""
    return b"[" + b",".join(texts) + b"]"


def _whole(values: Iterable[bytes]) -> pa.Array:
    """Whole numbers written out, as wide decimals: their sums do not wrap."""
    return pa.array(list(values), pa.binary()).cast(pa.string()).cast(pa.int64()).cast(_WIDE)


def _merged(counter: CounterDef, content: Content, held: list[Held]) -> tuple[pa.Table | None, pa.Table | None]:
    """The rows of one batch by day and key as they are written: those without an id, and those that came one by one."""
    plain = _amounts(counter, content, held)
    bodies = [
        *((id_.decode("utf-8", "backslashreplace"), body) for id_, body in content.named),
        *((None, body) for body in content.plain),
    ]
    return plain, _bodies(counter, bodies, held) if bodies else None


def _amounts(counter: CounterDef, content: Content, held: list[Held]) -> pa.Table | None:
    """The sums of a batch, a column for each total."""
    fields = content.amounts
    if not fields:
        return None
    table = _split_up(counter, fields)
    if table is None:
        fields, read = _readable(counter, fields, held)
        if not read:
            return None
        table = pa.table(
            {
                DAY: pa.array([one[0] for one in read], pa.date32()),
                _KEY: pa.array([bytes(one[1]) for one in read], pa.binary()).cast(pa.string()),
                _TOTAL: pa.array([one[2] for one in read], pa.string()).dictionary_encode(),
                _AMOUNT: _whole(fields.values()),
            }
        )
    nothing = pa.scalar(None, _WIDE)
    columns = {name: pc.if_else(pc.equal(table[_TOTAL], name), table[_AMOUNT], nothing) for name in counter.totals}
    wide = pa.table({DAY: table[DAY], _KEY: table[_KEY], **columns})
    wide = wide.group_by([DAY, _KEY]).aggregate([(name, "sum") for name in counter.totals])
    wide = wide.rename_columns([one.removesuffix("_sum") for one in wide.column_names])
    owners = _owners(content)
    wide = (
        wide.join(owners, [DAY, _KEY], join_type="left outer")
        if owners.num_rows
        else wide.append_column(_OWNER, pa.nulls(wide.num_rows, pa.string()))
    )
    wide = wide.append_column(ID, pa.nulls(wide.num_rows, pa.string()))
    return wide.select(_columns(counter))


def _split_up(counter: CounterDef, fields: Mapping[bytes, bytes]) -> pa.Table | None:
    """Day, key, total and amount of every field, as the contract writes them; None where one is written otherwise.

    No field is decoded: many hundred thousand of them would take most of a flush. What stands for a key is looked into later.
    """
    texts = pa.array(list(fields), pa.binary())
    amounts = _whole(fields.values())
    parts = []
    for name in counter.totals:
        end = b',"' + name.encode() + b'"]'
        mine = pc.ends_with(texts, end)
        chosen = texts.filter(mine)
        parts.append(
            pa.table(
                {
                    DAY: pc.binary_slice(chosen, 2, 12),
                    _KEY: pc.binary_slice(chosen, 14, -len(end)),
                    _TOTAL: pa.array([name], pa.string()).take(pa.array([0] * len(chosen), pa.int64())),
                    _AMOUNT: amounts.filter(mine),
                    _HEAD: pc.binary_join_element_wise(
                        pc.binary_slice(chosen, 0, 2), pc.binary_slice(chosen, 12, 15), b""
                    ),
                }
            )
        )
    table = pa.concat_tables(parts)
    if table.num_rows != len(texts) or not pc.all(pc.equal(table[_HEAD], b'["",[')).as_py():
        return None
    try:
        days, keys = table[DAY].cast(pa.string()).cast(pa.date32()), table[_KEY].cast(pa.string())
    except pa.ArrowInvalid:
        return None
    return pa.table({DAY: days, _KEY: keys, _TOTAL: table[_TOTAL].dictionary_encode(), _AMOUNT: table[_AMOUNT]})


def _columns(counter: CounterDef) -> list[str]:
    return [ID, DAY, _KEY, _OWNER, *counter.totals]


def _owners(content: Content) -> pa.Table:
    """Whose the keys of a batch are, as it was said last."""
    owners = content.owners
    try:
        _array([*owners, *owners.values()]).decode()
        owned = msgspec.json.decode(_array(owners), type=_Owned)
    except (msgspec.DecodeError, UnicodeDecodeError):
        owners = {key: whose for key, whose in owners.items() if _is_owned(key) and _is_text(whose)}
        owned = msgspec.json.decode(_array(owners), type=_Owned)
    return pa.table(
        {
            DAY: pa.array([one[0] for one in owned], pa.date32()),
            _KEY: pa.array([bytes(one[1]) for one in owned], pa.binary()).cast(pa.string()),
            _OWNER: pa.array(list(owners.values()), pa.binary()).cast(pa.string()),
        }
    )


def _is_owned(field: bytes) -> bool:
    """Whether it names a day and a key; where it does not, neither do the amounts beside it, which are held."""
    try:
        msgspec.json.decode(field, type=_OwnedKey)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return _is_text(field)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _readable(counter: CounterDef, fields: Mapping[bytes, bytes], held: list[Held]) -> tuple[dict[bytes, bytes], _Open]:
    """Those of a batch that can be read; each other one is held as it stands."""
    good: dict[bytes, bytes] = {}
    read: _Open = []
    for field, value in fields.items():
        try:
            field.decode()
            one = msgspec.json.decode(field, type=tuple[dt.date, msgspec.Raw, str])
            if one[2] not in counter.totals:
                day, key = one[0].isoformat(), bytes(one[1]).decode()
                held.append(
                    Held(
                        UNKNOWN,
                        f"the counter has no total of that name: {_named(one[2])}",
                        day,
                        key,
                        None,
                        {one[2]: int(value)},
                    )
                )
                continue
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = field.decode("utf-8", "replace")
            held.append(Held(UNKNOWN, "it is no field of the contract", "", text, None, {_total_of(field): int(value)}))
            continue
        good[field] = value
        read.append(one)
    return good, read


def _named(name: str) -> str:
    """A name that a program wrote, if it can be one."""
    return name if name.isidentifier() and len(name) <= 63 else "not a plain name"


def _bodies(counter: CounterDef, bodies: Sequence[tuple[str | None, bytes]], held: list[Held]) -> pa.Table | None:
    """Increments that came one by one, a row for each."""
    ids: Sequence[str | None]
    try:
        text = _array(body for _, body in bodies)
        text.decode()
        read = msgspec.json.decode(text, type=list[_Body])
        ids = [id_ for id_, _ in bodies]
        if not set().union(*(one[3] for one in read)) <= counter.totals.keys():
            raise msgspec.ValidationError
    except (msgspec.DecodeError, UnicodeDecodeError):
        ids, read = _readable_bodies(counter, bodies, held)
        if not read:
            return None
    try:
        amounts = pa.array([one[3] for one in read], pa.struct([(name, pa.int64()) for name in counter.totals]))
    except OverflowError:
        # Several that were held together.
        amounts = pa.array([one[3] for one in read], pa.struct([(name, _WIDE) for name in counter.totals]))
    columns = {name: amounts.field(place).cast(_WIDE) for place, name in enumerate(counter.totals)}
    owners = [None if bytes(one[2]) == b"null" else bytes(one[2]) for one in read]
    return pa.table(
        {
            ID: pa.array(ids, pa.string()),
            DAY: pa.array([one[0] for one in read], pa.date32()),
            _KEY: pa.array([bytes(one[1]) for one in read], pa.binary()).cast(pa.string()),
            _OWNER: pa.array(owners, pa.binary()).cast(pa.string()),
            **columns,
        }
    )


def _readable_bodies(
    counter: CounterDef, bodies: Sequence[tuple[str | None, bytes]], held: list[Held]
) -> tuple[list[str | None], list[_Body]]:
    ids: list[str | None] = []
    read: list[_Body] = []
    for id_, body in bodies:
        try:
            one = msgspec.json.decode(body, type=_Body)
            body.decode()
        except (msgspec.DecodeError, UnicodeDecodeError):
            held.append(
                Held(
                    UNKNOWN,
                    "it is no increment of the contract",
                    "",
                    body.decode("utf-8", "replace"),
                    None,
                    _amounts_of(body),
                    named=id_ or "",
                )
            )
            continue
        if wrong := sorted(set(one[3]) - counter.totals.keys()):
            owner = None if bytes(one[2]) == b"null" else bytes(one[2]).decode()
            detail = f"the counter has no total of that name: {', '.join(map(_named, wrong))}"
            held.append(
                Held(UNKNOWN, detail, one[0].isoformat(), bytes(one[1]).decode(), owner, one[3], named=id_ or "")
            )
            continue
        ids.append(id_)
        read.append(one)
    return ids, read


def _checked(counter: CounterDef, rows: pa.Table, held: list[Held]) -> pa.Table:
    """The rows that meet the identities, and take nothing from totals that may not be taken from; the others are held."""
    zero = pa.scalar(0, _WIDE)
    filled = {name: pc.fill_null(rows[name], zero) for name in counter.totals}
    for name, is_negative in counter.totals.items():
        if not is_negative:
            bad = pc.less(filled[name], zero)
            rows, filled = _split(counter, rows, filled, bad, NEGATIVE, f"{name} would be taken from", held)
    for one in counter.identities:
        total = None
        for name, factor in one.factors.items():
            term = pc.multiply(filled[name].cast(pa.decimal256(60, 0)), pa.scalar(factor, pa.decimal256(10, 0)))
            total = term if total is None else pc.add(total, term)
        if total is not None:
            bad = pc.not_equal(total, pa.scalar(0, total.type))
            rows, filled = _split(counter, rows, filled, bad, IDENTITY, f"it does not meet {one.text}", held)
    return rows


def _split(
    counter: CounterDef, rows: pa.Table, filled: Mapping[str, Any], bad: Any, reason: str, detail: str, held: list[Held]
) -> tuple[pa.Table, dict[str, Any]]:
    """The rows without the bad ones, which are held."""
    if not pc.any(bad).as_py():
        return rows, dict(filled)
    held += [_held(counter, row, reason, detail) for row in rows.filter(bad).to_pylist()]
    good = pc.invert(bad)
    return rows.filter(good), {name: values.filter(good) for name, values in filled.items()}


def _held(counter: CounterDef, row: Mapping[str, Any], reason: str, detail: str) -> Held:
    """A row as it is held; its key as it is written, or by its columns."""
    amounts = {name: int(row[name]) for name in counter.totals if row[name] is not None}
    if _KEY in row:
        return Held(reason, detail, row[DAY].isoformat(), row[_KEY], row[_OWNER], amounts, named=row[ID] or "")
    owner = row[str(counter.owner)] if counter.has_owner else None
    whose = None if owner is None else json.dumps(owner, ensure_ascii=False)
    return Held(
        reason,
        detail,
        row[DAY].isoformat(),
        key_text([row[one] for one in counter.key]),
        whose,
        amounts,
        named=row[ID] or "",
    )


def _typed(counter: CounterDef, rows: pa.Table, held: list[Held]) -> pa.Table:
    """The rows with a column for each part of the key; keys that are none of the counter's are held."""
    keys, owners = rows[_KEY].to_pylist(), rows[_OWNER].to_pylist()
    try:
        columns = _key_columns(counter, keys, owners)
    except (ValueError, TypeError, msgspec.DecodeError, pa.ArrowInvalid, pa.ArrowTypeError, BadKey):
        good = []
        for place, row in enumerate(rows.to_pylist()):
            try:
                _key_columns(counter, [row[_KEY]], [row[_OWNER]])
            except BadKey as error:
                held.append(_held(counter, row, UNKNOWN, str(error)))
            except (ValueError, TypeError, msgspec.DecodeError, pa.ArrowInvalid, pa.ArrowTypeError):
                held.append(_held(counter, row, UNKNOWN, "it is no key of the counter"))
            else:
                good.append(place)
        rows = rows.take(pa.array(good, pa.int64()))
        columns = _key_columns(counter, rows[_KEY].to_pylist(), rows[_OWNER].to_pylist())
    totals = {name: rows[name] for name in counter.totals}
    return pa.table({ID: rows[ID], DAY: rows[DAY], **columns, **totals})


def _key_columns(counter: CounterDef, keys: Sequence[str], owners: Sequence[str | None]) -> dict[str, pa.Array]:
    """The columns of keys and owners. Raises one of several errors where one is none of the counter's."""
    decoded = msgspec.json.decode(_array(one.encode() for one in keys), type=list[list[Any]])
    width = len(counter.key)
    if len(decoded) != len(keys) or any(len(one) != width for one in decoded):
        raise BadKey("it is no key of the counter.")
    lists = list(zip(*decoded, strict=True)) if decoded else [()] * width
    if counter.has_owner:
        texts = [b"null" if one is None else one.encode() for one in owners]
        lists.append(tuple(msgspec.json.decode(_array(texts), type=list[Any])))
    names = [*counter.key, *([str(counter.owner)] if counter.has_owner else [])]
    found = {}
    for name, values in zip(names, lists, strict=True):
        type_ = counter.types[name]
        _check(name, type_, values, may_be_none=counter.has_owner and name == counter.owner)
        kind = pa.int64() if type_ == INT else pa.bool_() if type_ == BOOL else pa.string()
        found[name] = pa.array(values, kind)
    return found


def _check(name: str, type_: Type, values: Sequence[Any], *, may_be_none: bool) -> None:
    """Raise BadKey where a value is not written as the contract says."""
    kinds = set(map(type, values)) - ({type(None)} if may_be_none else set())
    if type_ == TEXT and kinds <= {str}:
        # What JSON was decoded to is Unicode, and one NUL among many thousand texts is found at once.
        if "\0" in "".join(one for one in values if one is not None):
            raise BadKey(f"'{name}' holds a NUL.")
        return
    for one in set(values):
        if one is None and may_be_none:
            continue
        if canonical(name, type_, one) != one or (type_ == INT) != (type(one) is int):
            raise BadKey(f"'{name}' is not written as the contract says.")


def empty_row(counter: CounterDef) -> pa.Table:
    """A row of zeros, such as nobody counts."""
    schema = _empty(counter).schema
    kinds = {pa.string(): "", pa.int64(): 0, pa.bool_(): False, pa.date32(): dt.date(2000, 1, 1), _WIDE: 0}
    values = {one.name: kinds[one.type] for one in schema}
    values |= {name: str(uuid.UUID(int=0)) for name, type_ in counter.types.items() if type_ == UUID}
    return pa.Table.from_pylist([{**values, ID: None}], schema)


def _empty(counter: CounterDef) -> pa.Table:
    kinds = {
        name: pa.int64() if one == INT else pa.bool_() if one == BOOL else pa.string()
        for name, one in counter.types.items()
    }
    schema = [(ID, pa.string()), (DAY, pa.date32()), *kinds.items(), *((name, _WIDE) for name in counter.totals)]
    return pa.schema(schema).empty_table()


def rows_of_held(counter: CounterDef, one: Held) -> tuple[pa.Table, list[Held]]:
    """A held row as it would be applied now, or as it stays held."""
    owner = one.owner if one.owner is not None else "null"
    amounts = ",".join(f"{json.dumps(name)}:{amount}" for name, amount in one.amounts.items())
    body = f'["{one.day}",{one.key},{owner},{{{amounts}}}]'
    return rows_of(counter, [Content(plain=[body.encode()])])
