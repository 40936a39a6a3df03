"""Six weeks of an upload service, drawn from one seed: the same on every machine. Standard library only."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass

#: The days that the traffic is of, both included. The last is not over.
FIRST, LAST = dt.date(2026, 1, 1), dt.date(2026, 2, 12)
#: The moment at which it ends.
NOW = dt.datetime(2026, 2, 12, 15, tzinfo=dt.UTC)
PROVIDERS = ("amber", "basalt", "cedar")
USERS, REQUESTS_PER_DAY = 5, 160
#: This one was deleted on its day: it has no row in `api_keys`; its history stays.
DELETED, DELETED_ON = "key-12", dt.date(2026, 1, 20)
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ApiKey:
    """A key of the service, whose it is, and how many bytes a month it may store."""

    id: str
    user_id: str
    monthly_bytes: int


@dataclass(frozen=True)
class Request:
    """One request; ``size`` and ``provider`` where it stored a file for the first time."""

    at: dt.datetime
    key: ApiKey
    is_good: bool
    size: int = 0
    provider: str = ""


KEYS = [ApiKey(f"key-{n:02}", f"user-{1 + n % USERS}", (2_000 + 1_000 * (n % 3)) * MEGABYTE) for n in range(1, 13)]


def requests() -> Iterator[Request]:
    """All of them, in order of time."""
    chance = random.Random(20_260_101)
    day = FIRST
    while day <= LAST:
        keys = [one for one in KEYS if one.id != DELETED or day <= DELETED_ON]
        # The first keys are busier; weekends are quiet; it grows by a hundredth a day.
        weights = [1 / (1 + place) for place in range(len(keys))]
        busy = (0.5 if day.weekday() >= 5 else 1.0) * 1.01 ** (day - FIRST).days
        begins = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
        moments = sorted(chance.randrange(86_400_000) for _ in range(int(REQUESTS_PER_DAY * busy)))
        for moment in moments:
            at = begins + dt.timedelta(milliseconds=moment)
            key = chance.choices(keys, weights)[0]
            luck, size = chance.random(), chance.randrange(1_000, 8 * MEGABYTE)
            provider = chance.choices(PROVIDERS, (6, 3, 1))[0]
            if at >= NOW:
                continue
            if luck < 0.06:
                yield Request(at, key, is_good=False)
            elif luck < 0.16:
                # A list of files, or a retry of what was stored before: a request like any other, and no new file.
                yield Request(at, key, is_good=True)
            else:
                yield Request(at, key, True, size, provider)
        day += dt.timedelta(days=1)


def some(at: dt.datetime) -> Iterator[Request]:
    """Sixty requests of one moment, of every key that is not deleted; each tenth fails."""
    for number in range(60):
        key = KEYS[number % (len(KEYS) - 1)]
        if number % 10 == 9:
            yield Request(at, key, is_good=False)
        else:
            yield Request(at, key, True, (number + 1) * MEGABYTE, PROVIDERS[number % len(PROVIDERS)])
