"""Dayfold folds tables into daily metric tables that are exact. The public names, nothing else."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dayfold.app import Dayfold
    from dayfold.define.access import Access
    from dayfold.define.alert import Alert
    from dayfold.define.check import Check
    from dayfold.define.cohort import Cohort
    from dayfold.define.counter import Counter, Total
    from dayfold.define.events import events
    from dayfold.define.function import source
    from dayfold.define.funnel import Funnel
    from dayfold.define.lasting import Case, Collect, Exists, First, Last, Mode
    from dayfold.define.metric import Avg, Count, Distinct, Formula, Gauge, Increase, Max, Min, Ratio, Sum
    from dayfold.define.page import Card, Page, Parameter, Series, Steps, Text, Top
    from dayfold.define.profile import Profile
    from dayfold.define.rollup import Rollup
    from dayfold.define.size import Size
    from dayfold.define.source import Moment, Read, Table
    from dayfold.errors import NotReady

__all__ = [
    "Access",
    "Alert",
    "Avg",
    "Card",
    "Case",
    "Check",
    "Cohort",
    "Collect",
    "Count",
    "Counter",
    "Dayfold",
    "Distinct",
    "Exists",
    "First",
    "Formula",
    "Funnel",
    "Gauge",
    "Increase",
    "Last",
    "Max",
    "Min",
    "Mode",
    "Moment",
    "NotReady",
    "Page",
    "Parameter",
    "Profile",
    "Ratio",
    "Read",
    "Rollup",
    "Series",
    "Size",
    "Steps",
    "Sum",
    "Table",
    "Text",
    "Top",
    "Total",
    "events",
    "source",
]
__version__ = "0.1.0"

#: Where each name is made. It is loaded when it is first asked for: who only sends events loads none.
_MODULES = {
    "app": ("Dayfold",),
    "define.access": ("Access",),
    "define.alert": ("Alert",),
    "define.check": ("Check",),
    "define.cohort": ("Cohort",),
    "define.counter": ("Counter", "Total"),
    "define.events": ("events",),
    "define.function": ("source",),
    "define.funnel": ("Funnel",),
    "define.lasting": ("Case", "Collect", "Exists", "First", "Last", "Mode"),
    "define.metric": ("Avg", "Count", "Distinct", "Formula", "Gauge", "Increase", "Max", "Min", "Ratio", "Sum"),
    "define.page": ("Card", "Page", "Parameter", "Series", "Steps", "Text", "Top"),
    "define.profile": ("Profile",),
    "define.rollup": ("Rollup",),
    "define.size": ("Size",),
    "define.source": ("Moment", "Read", "Table"),
    "errors": ("NotReady",),
}


def __getattr__(name: str) -> Any:
    """A public name, from its module."""
    for module, names in _MODULES.items():
        if name in names:
            from importlib import import_module

            found = globals()[name] = getattr(import_module(f"dayfold.{module}"), name)
            return found
    raise AttributeError(f"module 'dayfold' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
