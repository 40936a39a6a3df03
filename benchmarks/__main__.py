"""`python -m benchmarks [--quick] [--soak] [--only NAME [--keep]]`: measure, print a table, keep it in RESULTS.md.

The part `large` is run when it is asked for by name: `--only large [--events N] [--engines NAME,…]`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from benchmarks import (
    collect,
    count,
    engines,
    large,
    late,
    machine,
    measures,
    pages,
    profiles,
    results,
    serve,
    stream,
    subjects,
    triggers,
)
from benchmarks.results import Line

#: What takes an hour, and tens of gigabytes.
_ALONE = ("large",)
#: Parts that rivals take part in, and whose environments are looked at for that.
_BESIDE_RIVALS = ("duckdb", "late")
_RIVALS = ("SQLMesh's environment: ", "dbt's environment: ")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows; RESULTS.md is left alone")
    parser.add_argument("--soak", action="store_true", help="memory with 100 M events as well")
    parser.add_argument("--rounds", type=int, default=5, help="times that everything is run (default: 5)")
    parser.add_argument(
        "--events", type=int, default=100 * measures.MILLION, help="how many in the part large (default: 100 M)"
    )
    parser.add_argument(
        "--engines",
        type=lambda text: text.split(","),
        default=list(engines.ENGINES),
        help="those of the part large (default: clickhouse,duckdb,postgres)",
    )
    scale = 10 if (known := parser.parse_known_args()[0]).quick else 1
    millions = [10, 30, 100] if known.soak else [10, 30]
    ten, one = 10 * measures.MILLION // scale, measures.MILLION // scale
    works: dict[str, Callable[[], Iterator[Line]]] = {
        "duckdb": lambda: measures.backfill_duckdb(ten, known.rounds),
        "postgres": lambda: measures.backfill_postgres(one, known.rounds),
        "unchanged": lambda: measures.nothing_changed(ten, known.rounds),
        "late": lambda: late.late_rows(ten, known.rounds),
        "triggers": lambda: triggers.triggers(measures.MILLION, known.rounds),
        "serve": lambda: serve.served(scale),
        "collect": lambda: collect.collected(scale, known.soak),
        "pages": lambda: pages.paged(scale),
        "stream": lambda: stream.streamed(scale),
        "log": lambda: collect.folded(scale, known.rounds),
        "count": lambda: count.counted(scale, known.rounds),
        "profiles": lambda: profiles.profiled(scale, known.rounds),
        "large": lambda: large.large(known.events // scale, known.engines),
        "memory": lambda: measures.memory([m * measures.MILLION // scale for m in millions]),
    }
    parser.add_argument("--only", choices=works, help="one piece of work; RESULTS.md is left alone")
    parser.add_argument("--keep", action="store_true", help="with --only: its lines in RESULTS.md are replaced")
    words = parser.parse_args()
    chosen = words.only

    subjects.WORK.mkdir(exist_ok=True)
    facts = [*machine.description(), *(_rivals() if chosen in (None, *_BESIDE_RIVALS) else results.kept_facts(_RIVALS))]
    print("\n".join(facts), flush=True)
    lines = []
    for name, work in works.items():
        if chosen == name or (chosen is None and name not in _ALONE):
            for line in work():
                lines.append(line)
                print(
                    f"{line.work}: {line.contestant}: best {line.best}, median {line.median} {line.compared}",
                    flush=True,
                )
    print("\n" + results.markdown(lines))
    if not known.quick and (chosen is None or words.keep):
        results.write(lines if chosen is None else results.renewed(lines), facts)


def _rivals() -> list[str]:
    """The versions of the rivals, a line each; their environments are made where they are not there."""
    sqlmesh, dbt = _RIVALS
    return [
        sqlmesh + machine.versions_of(subjects.rival_python("sqlmesh"), ["sqlmesh", "duckdb"]),
        dbt + machine.versions_of(subjects.rival_python("dbt"), ["dbt-core", "dbt-duckdb", "duckdb"]),
    ]


if __name__ == "__main__":
    main()
