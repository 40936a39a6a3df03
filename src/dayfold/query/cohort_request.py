"""A question to a cohort, checked before anything is read. Query floor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from dayfold.days import Days, as_day
from dayfold.define.cohort import CUMULATIVE, OWN_COLUMNS, PER_ENTITY, CohortDef
from dayfold.errors import QueryRefused, UsageError
from dayfold.names import listing, suggestion
from dayfold.plan.access import EVERYTHING, Scope
from dayfold.plan.keys import KeyFilter, key_filters
from dayfold.query.entities import a_number, asked_of, clipped, split_columns
from dayfold.query.profile_request import ProfileRequest
from dayfold.query.request import MAX_DAYS, Request, needed_for

GRAINS = ("day", "week", "month")


@dataclass(frozen=True, slots=True)
class CohortRequest:
    """One question to a cohort.

    Attributes:
        days: The asked days of starts.
        begun: Those of them up to today; None where all are later.
        filters: Over the profile: what was asked for and what the caller may see; ``activity_filters``: what they may see of that.
        watched: The metrics of the activity whose coverage says whether it is known who was active.
        activity: The days of the activity that are looked at, as a question to it; None where there are none.
    """

    cohort: CohortDef
    days: Days
    begun: Days | None
    grain: str
    unbounded: bool
    by: tuple[str, ...]
    filters: tuple[KeyFilter, ...]
    activity_filters: tuple[KeyFilter, ...]
    periods: int | None
    watched: tuple[str, ...]
    activity: Request | None
    today: dt.date
    is_limited: bool

    @classmethod
    def parse(
        cls,
        cohort: CohortDef,
        *,
        from_: dt.date | str,
        to: dt.date | str,
        grain: str = "month",
        unbounded: bool = False,
        by: Sequence[str] = (),
        where: Sequence[str] = (),
        periods: int | None = None,
        today: dt.date,
        scope: Scope = EVERYTHING,
    ) -> CohortRequest:
        """A question from words, to a cohort that the scope sees.

        Raises:
            UnknownName, BadDate, UsageError, QueryRefused: saying what is wrong and what there is.
        """
        first, last = (as_day(day, today) for day in (from_, to))
        begun = clipped(first, last, today)
        if grain not in GRAINS:
            raise UsageError(f"grain is one of {listing(GRAINS)}, got '{grain}'{suggestion(grain, GRAINS)}.")
        if begun is not None and (today - first).days >= MAX_DAYS:
            raise QueryRefused(
                f"From {first} to today there are {(today - first).days + 1:,} days; at most {MAX_DAYS:,} are looked at at once.",
                hint="Ask for later cohorts.",
            )
        values = [f"{name}{suffix}" for name in cohort.values for suffix in ("", CUMULATIVE, PER_ENTITY)]
        watched = cohort.condition_metrics or tuple(cohort.activity.measured)
        activity = None
        if begun is not None:
            metrics = tuple(dict.fromkeys([*watched, *cohort.values]))
            activity = Request(
                cohort.activity, metrics, Days(first, today), (), scope.filters(cohort.activity), "day", None, None, None, None,
                False, today, needed_for(cohort.activity, metrics), is_limited=scope.is_limited,
            )  # fmt: skip
        return cls(
            cohort, Days(first, last), begun, grain, unbounded, split_columns(cohort.profile, by, {*OWN_COLUMNS, *values}),
            (*key_filters(cohort.profile, where), *scope.filters(cohort.profile)), scope.filters(cohort.activity),
            a_number("periods", periods), watched, activity, today, scope.is_limited,
        )  # fmt: skip

    @property
    def of_profile(self) -> ProfileRequest:
        """What it reads of the profile."""
        columns = [self.cohort.start, *self.by]
        return asked_of(self.cohort.profile, columns, self.today, is_limited=self.is_limited)
