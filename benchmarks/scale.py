"""`python -m benchmarks.scale`: what 1 M, 100 M and 10 G events a day take, computed from measured rates, as tables.

The tables are those of `docs/explanation/scale.md`; a test holds the two together. Rates are looked up in RESULTS.md by `scale.toml`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.results import Line, known
from benchmarks.subjects import HERE

DAY_S = 86_400
TB, GB = 1e12, 1e9
ENGINES = {"duckdb": "DuckDB", "postgres": "PostgreSQL", "clickhouse": "ClickHouse"}


@dataclass(frozen=True)
class Rate:
    """A number that others are computed from, and where it is from."""

    title: str
    value: float
    said: str


@dataclass(frozen=True)
class Day:
    """So many events a day, of so many keys."""

    title: str
    events: int
    keys: int


class Scale:
    """Everything that the tables are made of."""

    def __init__(self, told: dict[str, Any], lines: Sequence[Line]) -> None:
        self.days = [Day(**one) for one in told["day"]]
        self.assumed: dict[str, float] = told["assumed"]
        self.rates = {name: _rate(one, lines) for name, one in told["rate"].items()}

    def rate(self, name: str) -> float:
        return self.rates[name].value

    def peak_s(self, day: Day) -> float:
        """Events in the busiest second."""
        return day.events / DAY_S * self.assumed["peak"]

    def hashes(self, day: Day) -> float:
        """Of a cell: its visitors, as many as a set keeps."""
        return min(day.events / day.keys * self.assumed["visitors_share"], self.assumed["most_hashes"])

    def processes(self, day: Day, engine: str) -> int:
        """Collectors for the busiest second."""
        return math.ceil(self.peak_s(day) / self.rate(f"log_{engine}"))

    def batch(self, day: Day, engine: str) -> float:
        """Events of one transaction of a collector, in the average second."""
        share = day.events / DAY_S / self.processes(day, engine) * self.assumed["batch_s"]
        return max(1.0, min(share, self.assumed["most_batch"]))

    def marks(self, day: Day, engine: str) -> float:
        """A day: for each transaction and rollup, one of each key that has an event in it."""
        batch = self.batch(day, engine)
        touched = day.keys * -math.expm1(batch * math.log1p(-1 / day.keys))
        return day.events / batch * touched * self.assumed["rollups"]

    def whole_fold_s(self, day: Day, engine: str) -> float:
        """Both rollups, of all of a day's events, on two cores."""
        return sum(day.events / (self.rate(f"{kind}_{engine}") * 1e6) for kind in ("fold", "distinct"))

    def folding(self, day: Day, engine: str) -> float:
        """The share of a day that two cores are busy with folding it: each fold reads what the marked keys have of today, half a day
        on average, and with many events every key is marked."""
        marked = min(1.0, day.events / self.assumed["folds_a_day"] / day.keys)
        return self.assumed["folds_a_day"] * marked * self.whole_fold_s(day, engine) / 2 / DAY_S

    def event_bytes(self, day: Day, engine: str) -> float:
        """Of all that is kept."""
        return day.events * self.assumed["days_kept"] * self.rate(f"event_{engine}")

    def id_bytes(self, day: Day) -> float:
        return day.events * self.assumed["days_kept"] * self.rate("id_postgres")

    def rollup_bytes(self, day: Day) -> float:
        """Of all years: rows of both, and the sets, whose hashes do not compress."""
        cells = day.keys * 365 * self.assumed["years"]
        return cells * (self.assumed["rollups"] * self.rate("cell_clickhouse") + 8 * self.hashes(day))

    def machines(self, day: Day) -> tuple[int, int]:
        """Of ClickHouse: for the disk, and for folding."""
        gain = self.assumed["machine_cores"] / 2 * self.assumed["machine_gain"]
        stored = (self.event_bytes(day, "clickhouse") + self.rollup_bytes(day)) * self.assumed["replicas"]
        for_disk = math.ceil(stored / (self.assumed["machine_tb"] * TB * self.assumed["filled"]))
        return for_disk, math.ceil(self.folding(day, "clickhouse") / gain / self.assumed["busy"])


def _rate(told: dict[str, Any], lines: Sequence[Line]) -> Rate:
    work, contestant = told["line"]
    for line in lines:
        if (line.work, line.contestant) != (work, contestant):
            continue
        for column in (line.median, line.best, line.compared):
            if found := re.search(told["pattern"], column):
                return Rate(told["title"], float(found[1].replace(",", "")), f"measured: *{work}*, {contestant}")
    return Rate(told["title"], float(told["assumed"]), f"assumed: {told['why']}")


def load() -> Scale:
    """As the files are now."""
    return Scale(tomllib.loads((HERE / "scale.toml").read_text(encoding="utf-8")), known())


def tables(scale: Scale) -> dict[str, str]:
    """The tables of the page, by name."""
    return {"rates": _rates(scale), "day": _day(scale), "engines": _engines(scale), "clickhouse": _clickhouse(scale)}


def _rates(scale: Scale) -> str:
    rows = [[one.title, f"{one.value:,g}", one.said] for one in scale.rates.values()]
    return _table(["rate, on two cores", "value", "where it is from"], rows)


def _day(scale: Scale) -> str:
    return _by_day(
        scale,
        {
            "keys (assumed)": lambda day: f"{day.keys:,}",
            "events in the average second": lambda day: _few(day.events / DAY_S),
            "in the busiest second": lambda day: _few(scale.peak_s(day)),
            "events of a cell": lambda day: _few(day.events / day.keys),
            "hashes of a cell": lambda day: _few(scale.hashes(day)),
            "bytes of sets a day": lambda day: _bytes(day.keys * scale.hashes(day) * 8),
            "ids to keep": lambda day: _few(day.events * scale.assumed["days_kept"]),
        },
    )


def _engines(scale: Scale) -> str:
    rows: dict[str, Callable[[Day], str]] = {}
    for key, name in ENGINES.items():
        rows |= {
            f"{name}: collectors": lambda day, key=key: _collectors(scale.processes(day, key), key),
            f"{name}: all of a day folded once": lambda day, key=key: _time(scale.whole_fold_s(day, key)),
            f"{name}: two cores' time for folding today": lambda day, key=key: f"{scale.folding(day, key):,.2%}",
            f"{name}: events kept": lambda day, key=key: _bytes(scale.event_bytes(day, key)),
        }
    rows["DuckDB: memory of the key of ids"] = lambda day: _bytes(
        day.events * scale.assumed["days_kept"] * scale.rate("id_duckdb")
    )
    rows["PostgreSQL: ids with their index"] = lambda day: _bytes(scale.id_bytes(day))
    return _by_day(scale, rows)


def _collectors(processes: int, engine: str) -> str:
    return f"{processes:,}, and one may" if engine == "duckdb" and processes > 1 else f"{processes:,}"


def _clickhouse(scale: Scale) -> str:
    months = math.ceil(scale.assumed["years"] * 12)
    commits = 1000 / scale.rate("transaction_ms")
    return _by_day(
        scale,
        {
            "collectors": lambda day: f"{scale.processes(day, 'clickhouse'):,}",
            "parts a second, of the log": lambda day: _few(
                scale.processes(day, "clickhouse") * min(1 / scale.assumed["batch_s"], commits)
            ),
            "marks a day in the ledger": lambda day: _few(scale.marks(day, "clickhouse")),
            "rows a second in the ledger, written": lambda day: _few(
                (day.events + scale.marks(day, "clickhouse")) / DAY_S
            ),
            "ids in the ledger": lambda day: _bytes(scale.id_bytes(day)),
            "versions of today's cells at most": lambda day: _few(
                day.keys * scale.assumed["rollups"] * math.ceil(600 / (DAY_S / scale.assumed["folds_a_day"]) + 1)
            ),
            "time of folds that find one cell, a day": lambda day: _time(
                scale.assumed["folds_a_day"] * scale.assumed["rollups"] * scale.rate("late_clickhouse")
            ),
            "partitions of a rollup": lambda day: f"{months}",
            "rollups, all years": lambda day: _bytes(scale.rollup_bytes(day)),
            "machines for the disk, replicas included": lambda day: f"{scale.machines(day)[0]:,}",
            "machines for folding": lambda day: f"{scale.machines(day)[1]:,}",
        },
    )


def _by_day(scale: Scale, rows: dict[str, Callable[[Day], str]]) -> str:
    heads = ["", *(f"{one.title} events a day" for one in scale.days)]
    return _table(heads, [[title, *(said(day) for day in scale.days)] for title, said in rows.items()])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *("---:" for _ in heads[1:])] if heads[0] == "" else ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _few(number: float) -> str:
    """Three digits that count."""
    for size, word in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if number >= size:
            return f"{number / size:.3g}{word}"
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def _bytes(number: float) -> str:
    for size, word in ((TB, "TB"), (GB, "GB"), (1e6, "MB")):
        if number >= size:
            return f"{float(f'{number / size:.3g}'):,g} {word}"
    return f"{number / 1e3:.3g} kB"


def _time(seconds: float) -> str:
    for size, word in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {word}"
    return f"{seconds:.2g} s"


if __name__ == "__main__":
    for _name, _text in tables(load()).items():
        print(f"{_name}\n\n{_text}\n")
