"""Rollups over a profile that another one may take the place of: those that ship with this package. Definitions floor, pure."""

from __future__ import annotations

import copy
from typing import Any

from dayfold.define.metric import Measured
from dayfold.define.profile import Profile
from dayfold.define.rollup import Rollup
from dayfold.define.source import Folded


class OverProfile(Rollup):
    """A rollup whose subclasses may say ``over=``: the profile that its metrics are of, instead of the one it was written with.

    >>> from dayfold import ready
    >>> class Sessions(ready.Sessions):
    ...     key = ("shop_id", "session_id")
    >>> class SessionsDaily(ready.SessionsDaily, over=Sessions):
    ...     key = "shop_id"
    >>> SessionsDaily.sessions.source.rollup is Sessions
    True
    """

    def __init_subclass__(cls, over: type[Profile] | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if over is None:
            return
        for base in cls.__mro__:
            for name, metric in vars(base).items():
                if isinstance(metric, Measured) and isinstance(metric.source, Folded) and name not in vars(cls):
                    mine = copy.copy(metric)
                    mine.source = over.as_source()
                    setattr(cls, name, mine)
