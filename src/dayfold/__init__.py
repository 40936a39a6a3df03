"""Dayfold folds tables into daily metric tables that are exact. The public names, nothing else."""

from dayfold.app import Dayfold
from dayfold.define.metric import Avg, Count, Distinct, Formula, Gauge, Max, Min, Ratio, Sum
from dayfold.define.rollup import Rollup
from dayfold.define.source import Moment, Table

__all__ = ["Avg", "Count", "Dayfold", "Distinct", "Formula", "Gauge", "Max", "Min", "Moment", "Ratio", "Rollup", "Sum", "Table"]
__version__ = "0.1.0"
