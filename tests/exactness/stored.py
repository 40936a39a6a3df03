"""What a store holds, read past the product and held against the oracle."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from tests.exactness.draws import Row
from tests.exactness.oracle import Bucket, Key, Spec, hashes, stored_cells, stored_sets
from tests.exactness.rollups import SPECS
from tests.sql import Session

#: Bookkeeping columns that are not numbers.
UNCOMPARED = {"created_at", "updated_at", "run_id", "day"}


def read_cells(session: Session, table: str, spec: Spec) -> dict[tuple[Key, Bucket], dict[str, Any]]:
    """The rollup's table as the oracle writes it; two rows for one cell are an error."""
    return _read(session, table, spec, UNCOMPARED)


def read_sets(session: Session, table: str, spec: Spec) -> dict[tuple[Key, Bucket], dict[str, list[int]]]:
    """The hashes behind every Distinct, without empty sets."""
    found = _read(session, f"{table}__sets", spec, UNCOMPARED)
    filled = {cell: {name: each for name, each in row.items() if each} for cell, row in found.items()}
    return {cell: row for cell, row in filled.items() if row}


def _read(session: Session, table: str, spec: Spec, leave_out: set[str]) -> dict[tuple[Key, Bucket], Any]:
    bucket = "day" if spec.grain == dt.timedelta(days=1) else "bucket"
    names = [name for (name,) in session.run(COLUMNS, [table])]
    selected = ", ".join(f'"{name}"' for name in names)
    cells: dict[tuple[Key, Bucket], dict[str, Any]] = {}
    for values in session.run(f"SELECT {selected} FROM {table}"):
        row = dict(zip(names, values, strict=True))
        cell = tuple(row.pop(name) for name in spec.key), row[bucket]
        assert cell not in cells, f"two rows of {table} for {cell}"
        cells[cell] = {name: value for name, value in row.items() if name not in {*leave_out, bucket}}
    return cells


COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position"


def check_stored(
    store_url: str,
    folded: Mapping[str, tuple[Mapping[str, list[Row]], dt.date]],
    specs: Mapping[str, Spec] = SPECS,
) -> None:
    """Each rollup's table and sets equal the oracle's for the rows and the day of its last fold, cell by cell."""
    with Session(store_url) as session:
        [(store_key,)] = session.run("SELECT store_key FROM dayfold__store")
        for table, (raw, today) in folded.items():
            spec = specs[table]
            assert read_cells(session, table, spec) == stored_cells(spec, raw, today), table
            expected = {
                cell: {name: hashes(values, store_key) for name, values in found.items()}
                for cell, found in stored_sets(spec, raw, today).items()
            }
            if any(measure.kind == "distinct" for measure in spec.measures().values()):
                assert read_sets(session, table, spec) == expected, table
