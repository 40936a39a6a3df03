"""What a caller counts, checked: an increment as the live store takes it. Counting floor, pure."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from functools import lru_cache

from dayfold.count.live import Add
from dayfold.define.counter import BadKey, CounterDef, canonical, key_text
from dayfold.define.types import TEXT
from dayfold.errors import TooOld, UsageError
from dayfold.names import listing, suggestion

#: How far ahead of the clock an increment may lie: of a client whose clock is wrong.
AHEAD = dt.timedelta(hours=24)
#: The first year that is counted: one wrong clock must not begin the history of a counter two thousand years ago.
EARLIEST = 1970
#: Letters of an id; and bytes of a key with its owner in JSON, at most: PostgreSQL indexes no more than 2,700.
MOST_ID, MOST_KEY = 200, 2_000
Key = str | int | bool


def read(
    counter: CounterDef,
    key: Mapping[str, object],
    owner: object,
    amounts: Mapping[str, object],
    at: dt.datetime | dt.date | str | None,
    id: str | None,
    now: dt.datetime,
    remember: dt.timedelta,
) -> Add:
    """An increment, checked.

    Args:
        counter: What is added to.
        key: A value for each key column.
        owner: Whose the key is; None where that is not said.
        amounts: What is added to each total.
        at: When it happened; a time without a zone is UTC. Default: now.
        id: What tells it from any other, where it may be sent again.
        now: The present moment.
        remember: How long ids are remembered.

    Raises:
        UsageError, TooOld: with what is wrong; no value of the key is in the text.
    """
    if key.keys() != set(counter.key):
        raise UsageError(_keys_amiss(counter, key), hint=f"Key of {counter.name}: {listing(counter.key)}.")
    whole: dict[str, int] = {}
    for name, amount in amounts.items():
        if isinstance(amount, bool) or not isinstance(amount, int):
            raise UsageError(f"The amount of {name} is a whole number, got {type(amount).__name__}.")
        whole[name] = amount
    if not whole:
        raise UsageError(f"Nothing is added to {counter.name}.", hint=f"Totals: {listing(counter.totals)}.")
    if complaint := counter.amiss(whole):
        raise UsageError(complaint[0].upper() + complaint[1:])
    if owner is not None and counter.owner is None:
        raise UsageError(f"{counter.name} has no owner.", hint='Say owner = "…" in its definition, or leave it out.')
    try:
        values = tuple(canonical(name, counter.types[name], key[name]) for name in counter.key)
        whose = (
            ""
            if owner is None or not counter.has_owner
            else _json(canonical(str(counter.owner), counter.types[str(counter.owner)], owner))
        )
    except BadKey as error:
        raise UsageError(str(error)[0].upper() + str(error)[1:]) from None
    text = _key_text(*values)
    if len(text) + len(whose) > MOST_KEY // 4 and len((text + whose).encode()) > MOST_KEY:
        raise UsageError(f"The key, with its owner, is longer than {MOST_KEY:,} bytes.")
    moment = _moment(at, now)
    if moment - now > AHEAD:
        raise UsageError("at lies more than a day ahead.", hint="Send the moment at which it happened.")
    if moment.year < EARLIEST:
        raise UsageError(f"at lies before {EARLIEST}.", hint="Send the moment at which it happened.")
    if id is not None:
        given: object = id
        if not isinstance(given, str) or not 1 <= len(id) <= MOST_ID or not _is_text(id):
            raise UsageError(f"An id is a text of 1 to {MOST_ID} letters.")
        if now - moment > remember:
            raise TooOld(
                f"An increment with an id is older than ids are remembered, {remember.days} days: it may have been counted.",
                hint="Send it without its id where it surely was not. [live] remember_days, raised, holds for ids of later increments.",
            )
    return Add(counter.name, _day_text(moment.date()), text, whose, id or "", whole)


def _keys_amiss(counter: CounterDef, key: Mapping[str, object]) -> str:
    for name in key:
        if name not in counter.key:
            return f"{counter.name} has no key column '{name}'{suggestion(name, counter.key)}."
    return f"{counter.name} is counted by {listing(counter.key)}; {listing([one for one in counter.key if one not in key])} is missing."


# Typed: True and 1 are the same to a cache otherwise.
@lru_cache(maxsize=4096, typed=True)
def _key_text(*values: Key) -> str:
    return key_text(values)


def _is_text(text: str) -> bool:
    try:
        return canonical("id", TEXT, text) == text
    except BadKey:
        return False


def _json(value: Key) -> str:
    return json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=64)
def _day_text(day: dt.date) -> str:
    return day.isoformat()


def _moment(at: dt.datetime | dt.date | str | None, now: dt.datetime) -> dt.datetime:
    if at is None:
        return now
    if isinstance(at, str):
        try:
            at = dt.datetime.fromisoformat(at)
        except ValueError:
            raise UsageError("at is a moment such as 2026-03-01T10:00:00Z.") from None
    if isinstance(at, dt.datetime):
        try:
            return at.astimezone(dt.UTC) if at.tzinfo else at.replace(tzinfo=dt.UTC)
        except OverflowError:
            raise UsageError("at lies before the year 1 or after 9999 in UTC.") from None
    if isinstance(at, dt.date):
        return dt.datetime(at.year, at.month, at.day, 12, tzinfo=dt.UTC)
    raise UsageError("at is a moment, or its text.")
