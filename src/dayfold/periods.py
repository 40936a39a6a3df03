"""Words for ranges of days that move with the present. Ground floor; reads no clock.

Invariant: every door turns the same word into the same days.
"""

from __future__ import annotations

import datetime as dt

from dayfold.days import ONE_DAY, Days, as_day, bucket_start, shift
from dayfold.errors import UsageError
from dayfold.names import listing, suggestion

#: So many days, or months, that end with the last one.
ROLLING = ("7d", "30d", "90d", "12m")
#: The calendar's month and year so far.
SO_FAR = ("month", "year")
#: First and last day are named.
CUSTOM = "custom"
#: What a page offers, and what each is called there.
CHOICES = {"7d": "7 days", "30d": "30 days", "90d": "90 days", "12m": "12 months", CUSTOM: "Custom"}
#: Without a word.
USUAL = "30d"


def days_of(word: str, last: dt.date) -> Days:
    """The days that a word means, up to the last one.

    Raises:
        UsageError: for another word.

    >>> str(days_of("7d", dt.date(2026, 3, 8))), str(days_of("12m", dt.date(2026, 3, 8)))
    ('2026-03-02..2026-03-08', '2025-03-09..2026-03-08')
    >>> str(days_of("12m", dt.date(2024, 2, 29))), str(days_of("month", dt.date(2026, 3, 8)))
    ('2023-03-01..2024-02-29', '2026-03-01..2026-03-08')
    >>> str(days_of("12m", dt.date(2024, 2, 28)))
    '2023-03-01..2024-02-28'
    """
    if word in SO_FAR:
        return Days(bucket_start(last, word), last)
    if word not in ROLLING:
        known = (*ROLLING, *SO_FAR)
        raise UsageError(f"There is no period '{word}'{suggestion(word, known)}.", hint=f"Periods: {listing(known)}")
    if word.endswith("m"):
        is_end = (last + ONE_DAY).day == 1
        # Whole months where the last one is whole: a February that ends early, or late, is as good as any.
        return Days(
            shift(last + ONE_DAY, "month", -int(word[:-1]))
            if is_end
            else shift(last, "month", -int(word[:-1])) + ONE_DAY,
            last,
        )
    return Days(last - dt.timedelta(days=int(word[:-1]) - 1), last)


def asked_days(
    word: str | None,
    first: str | None,
    last: str | None,
    *,
    usual: str = USUAL,
    covered: dt.date | None,
    today: dt.date,
) -> tuple[str, Days]:
    """The period that a page was asked for, and its days: they end today, or where the last covered day is earlier, on that.

    ``first`` and ``last`` are of a `CUSTOM` period; one of them alone is that too, and today is its last day by default.

    Raises:
        UsageError: for another word, or a custom period without its first day; BadDate.

    >>> day = dt.date(2026, 3, 8)
    >>> asked_days("7d", None, None, covered=dt.date(2026, 3, 1), today=day)
    ('7d', Days(first=datetime.date(2026, 2, 23), last=datetime.date(2026, 3, 1)))
    >>> str(asked_days(None, "2026-01-01", "2026-01-31", covered=None, today=day)[1])
    '2026-01-01..2026-01-31'
    """
    if word is None and (first or last):
        word = CUSTOM
    if word == CUSTOM:
        if not first:
            raise UsageError("A period of one's own needs its first day.", hint="Write it as YYYY-MM-DD (UTC).")
        return CUSTOM, Days(as_day(first, today), as_day(last or "today", today))
    end = today if covered is None else min(covered, today)
    return word or usual, days_of(word or usual, end)
