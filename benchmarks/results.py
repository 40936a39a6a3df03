"""The table: lines of figures, printed and kept in RESULTS.md."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

HOW = """\
## How

- The events: 500 accounts, 90 days, in order of time; four metrics (count, filtered count, exact sum, max),
  and a Distinct of visitors in the second variant. Every contestant starts from a fresh copy.
- Hand-written SQL (`sql/`) writes the same columns and sets with the same constraints; it is timed from BEGIN
  to the end of COMMIT in a process that is already running. The ratio compares it with the seconds that
  `dayfold fold --json` reports for the fold. The two take turns.
- SQLMesh (`sqlmesh/`) and dbt (`dbt/`) run as whole processes with compiled bytecode, as Dayfold does, on the
  same columns with the expressions of the hand-written SQL, the set being a list in the row. They keep no
  unique key, no index and no table of sets, which is in their favour.
- Late rows: the same events over a year (365 days, 182,500 cells). A row is inserted into another cell each time,
  then folded by an application that is already open, clock at the end of the year; the clock of a whole process
  is set by DAYFOLD_NOW. PostgreSQL has an index on (account, occurred_at). The fixed lookback is the same rollup
  over the same table without triggers. SQLMesh has no way to notice the row: it is told the day and restates it
  for every account.
- Triggers: two tables of the same shape with a primary key, one tracked for four metrics; single updates change
  a summed column and commit one by one. Both take turns.
- `dayfold serve`: one process, asked over loopback by a client that shares the machine's two cores with it; times are
  the client's. "Computed": another key each time, so that no kept answer helps. The crowd draws from the questions of
  the dashboards (a year by day, by month and by week, the month beside the one before, the last day); every five
  seconds a row is inserted and the server folds, which makes all kept answers unreachable. `benchmarks/load` asks the
  same of any deployment.
- Counters: 1,000 keys, three totals an add. Each add is checked and offered by itself, as by a request; the time ends when the live
  store has answered for all. redis-py adds the same amounts to hashes of its own, in the same run and turn by turn. A request is an
  upload of 1,000 bytes to the example's service, sent to one with the middleware and to one without in turns. Valkey has an append-only
  file that is synced each second, and shares the machine's two cores with who measures.
- Profiles: the customers of `examples/salon`, 66 columns over their whole lives, some 11 bookings each. Hand-written SQL
  (`sql/*_salon.sql`) writes the same columns with the same key and indexes, from BEGIN to the end of COMMIT on an open connection;
  a test compares its numbers with a count in Python. Dayfold is the fold from nothing of an application that is open. The two take
  turns on fresh copies. Touched customers get a note on one booking, told by triggers; others each time.
- Pages: the retail demo, served by one process and asked over loopback. The server's time is the client's; the first overview is the first
  page that the process is asked for, three seconds after it began. Drawing is timed in the page, from its numbers to the picture, in
  Chromium on the same two cores.
- Very many events (`--only large`, and `make soak`): 500 accounts, 20,000 visitors each, 90 days, made inside each engine from whole
  numbers, so that they are the same everywhere; answers of the engines are compared. Once each: the SQL that a person would write
  (`sql/`), then `dayfold fold` as a whole process. ClickHouse is its engine of the chdb wheel in a process of its own behind its
  protocol, so times of small questions hold that process's Python; its ledger is in PostgreSQL. PostgreSQL has indexes on (account,
  occurred_at) and, BRIN, on the time; nobody configured it. A late row's cell is marked, as triggers, stamps or the event log would. The
  engine's memory is the most that its processes had at once, shared pages counted once. Bytes of a table of DuckDB are those of its
  blocks, without indexes. Events go into the log by the way that collectors use, from one process.
- Memory is the high-water mark of resident memory of the whole process, the engine's page cache included.
"""

RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True)
class Line:
    """One contestant at one piece of work."""

    work: str
    contestant: str
    best: str
    median: str
    compared: str


def seconds(work: str, contestant: str, times: list[float], compared: str = "") -> Line:
    """A line of times."""
    return Line(work, contestant, f"{min(times):.3f} s", f"{statistics.median(times):.3f} s", compared)


def missing(work: str, contestant: str, reason: str) -> Line:
    """A line for what could not be measured; the reason is cut to one line."""
    return Line(work, contestant, "–", "–", "not measured: " + " ".join(reason.split())[:300].replace("|", "/"))


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Our time as a multiple of theirs: of the best runs and of the medians."""
    best, middle = min(ours) / min(theirs), statistics.median(ours) / statistics.median(theirs)
    return f"{best:.2f} × (medians {middle:.2f} ×)"


def markdown(lines: list[Line]) -> str:
    """The lines as a Markdown table; a piece of work is named once."""
    rows = ["| work | contestant | best | median | compared |", "| --- | --- | ---: | ---: | --- |"]
    before = ""
    for line in lines:
        work = line.work if line.work != before else ""
        rows.append(f"| {work} | {line.contestant} | {line.best} | {line.median} | {line.compared} |")
        before = line.work
    return "\n".join(rows)


def write(lines: list[Line], machine: list[str]) -> None:
    """Replace RESULTS.md."""
    facts = "\n".join(f"- {fact}" for fact in machine)
    title = (
        "# Measurements\n\nWritten by `make bench`; `python -m benchmarks --help` tells how to run a part. "
        "All lines of one piece of work are of one run."
    )
    RESULTS.write_text("\n\n".join([title, facts, markdown(lines), HOW]), encoding="utf-8")


def renewed(lines: list[Line]) -> list[Line]:
    """The lines of RESULTS.md with those of some pieces of work replaced, or added at the end."""
    fresh: dict[str, list[Line]] = {}
    for line in lines:
        fresh.setdefault(line.work, []).append(line)
    found: list[Line] = []
    for line in known():
        if line.work in fresh:
            found += fresh.pop(line.work)
        elif line.work not in {one.work for one in lines}:
            found.append(line)
    return found + [line for left in fresh.values() for line in left]


def kept_facts(beginnings: tuple[str, ...]) -> list[str]:
    """The facts of RESULTS.md that begin so."""
    rows = RESULTS.read_text(encoding="utf-8").splitlines()
    return [row[2:] for row in rows if row.startswith(tuple(f"- {one}" for one in beginnings))]


def known() -> list[Line]:
    """The lines that RESULTS.md has."""
    found = []
    work = ""
    for row in RESULTS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if row.startswith("|") and len(cells) == 5 and cells[0] != "work" and not cells[0].startswith("---"):
            work = cells[0] or work
            found.append(Line(work, *cells[1:]))
    return found
