"""When a job is due: cron expressions in a zone. Ground floor, pure; definitions, settings and jobs read schedules here.

Invariant: all arithmetic is of instants; what a zone's clocks do is left to cronsim, which follows Debian's cron. A time of day
that a clock change skips is due right after the gap, once; one that it repeats is due the first time only. ``*/5`` and the
like follow the time that really passes.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from dataclasses import dataclass

from dayfold.errors import UsageError
from dayfold.names import suggestion

#: What is written for a job that runs only when it is asked for.
OFF = "off"
EXPECTED = 'a cron expression of five fields such as "*/5 * * * *", a time of day such as "01:00", or "off"'
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def expression(text: object) -> str | None:
    """The cron expression that a text means; None for ``off``.

    Raises:
        UsageError: where it means none.

    >>> expression("01:00"), expression("*/5 * * * *"), expression("off")
    ('0 1 * * *', '*/5 * * * *', None)
    """
    if not isinstance(text, str):
        raise UsageError(f"expected {EXPECTED}")
    words = " ".join(text.split())
    if words == OFF:
        return None
    if time := _TIME.fullmatch(words):
        return f"{int(time[2])} {int(time[1])} * * *"
    if len(words.split()) != 5:
        raise UsageError(f"expected {EXPECTED}")
    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(words, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    except CronSimError as error:
        raise UsageError(f"expected {EXPECTED}; cron says: {error}") from None
    except StopIteration:
        raise UsageError(f"expected {EXPECTED}; this one is never due") from None
    return words


def check_zone(name: object) -> str:
    """The name of a time zone. Raises UsageError, with the nearest one.

    >>> check_zone("Europe/London")
    'Europe/London'
    """
    known = zoneinfo.available_timezones()
    if isinstance(name, str) and name in known:
        return name
    near = suggestion(name, known) if isinstance(name, str) else ""
    raise UsageError(f"expected a time zone such as Europe/London{near}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due: a schedule as it was written, and the zone whose clocks it goes by.

    >>> Schedule("01:00", "Europe/London").after(dt.datetime(2026, 7, 1, tzinfo=dt.UTC))
    datetime.datetime(2026, 7, 2, 0, 0, tzinfo=datetime.timezone.utc)
    """

    text: str
    zone: str = "UTC"

    def after(self, moment: dt.datetime) -> dt.datetime | None:
        """The first due moment after another one, in UTC; None where it is never due."""
        words = expression(self.text)
        if words is None:
            return None
        from cronsim import CronSim

        zone = dt.UTC if self.zone == "UTC" else zoneinfo.ZoneInfo(self.zone)
        for found in CronSim(words, moment.astimezone(zone)):
            due = found.astimezone(dt.UTC)
            # In an hour that a zone's clocks repeat, cron's next time of day may have been the first time round.
            if due > moment:
                return due
        return None

    def __str__(self) -> str:
        return f"{self.text} {self.zone}"
