"""Dayfold folds tables into daily metric tables that are exact. The public names, nothing else."""

from typing import TYPE_CHECKING, Any

from dayfold.define.access import Access
from dayfold.define.alert import Alert
from dayfold.define.function import source
from dayfold.define.metric import Avg, Count, Distinct, Formula, Gauge, Increase, Max, Min, Ratio, Sum
from dayfold.define.rollup import Rollup
from dayfold.define.source import Moment, Read, Table
from dayfold.errors import NotReady

if TYPE_CHECKING:
    from dayfold.app import Dayfold

__all__ = [
    "Access",
    "Alert",
    "Avg",
    "Count",
    "Dayfold",
    "Distinct",
    "Formula",
    "Gauge",
    "Increase",
    "Max",
    "Min",
    "Moment",
    "NotReady",
    "Ratio",
    "Read",
    "Rollup",
    "Sum",
    "Table",
    "source",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The facade is loaded when it is first asked for: definitions alone need none of its parts."""
    if name == "Dayfold":
        from dayfold.app import Dayfold

        return Dayfold
    raise AttributeError(f"module 'dayfold' has no attribute {name!r}")
