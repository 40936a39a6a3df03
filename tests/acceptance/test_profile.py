"""profile through the command line: one customer, pages, counts and files, alone and through the server that owns the file."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.acceptance.command import dayfold, succeeds
from tests.acceptance.serving import serving

METRICS = """
from dayfold import Case, Count, Max, Profile, Rollup, Sum, Table

sold = Table(
    sql="select 'c' || (n % 3) as customer, n * 100 as cents, timestamptz '2026-01-01 00:00:00Z' as at_ from range(1, 8) as t(n)"
)

class Customers(Profile):
    key = "customer"
    orders = Count(sold)
    cents = Sum(sold, "cents")
    last_at = Max(sold, "at_")
    size = Case({"big": "cents > 900"}, default="small")

class Daily(Rollup):
    orders = Count(sold, at="at_")
"""
#: What is asked, and how it ends.
ASKED = (
    (("profile", "Customers", "--key", "customer=c1"), 0),
    (("profile", "Customers", "--key", "customer=c1", "--json"), 0),
    (("profile", "Customers", "--sort", "-cents", "--limit", "2"), 0),
    (("profile", "Customers", "--where", "cents>900", "--where", "last_at>=-10d", "--columns", "customer", "-f", "csv"), 0),
    (("profile", "Customers", "--count-by", "size", "--columns", "cents"), 0),
    (("export", "profile", "Customers", "--where", "size=big", "-f", "jsonl"), 0),
    (("profile", "Customers", "--key", "customer=nobody"), 1),
    (("profile", "Customers", "--key", "customer=c1", "--sort", "cents"), 2),
    (("profile", "Daily"), 2),
    (("query", "Customers"), 2),
)  # fmt: skip


def test_profiles_are_read_alone_and_through_the_owner(tmp_path: Path) -> None:
    """Each command ends as it should, and prints the same to the byte while a server owns the file."""
    folder = tmp_path / "salon"
    folder.mkdir()
    (folder / "metrics.py").write_text(METRICS)
    (folder / "dayfold.toml").write_text('[store]\nurl = "duckdb:///dayfold.duckdb"\n')
    succeeds("fold", cwd=folder)
    alone = {words: dayfold(*words, cwd=folder) for words, _ in ASKED}
    assert {words: done.status for words, done in alone.items()} == dict(ASKED)
    [one, _, page, found, counts, lines, absent, *_] = alone.values()
    assert [line.split() for line in one.out.splitlines()[2:6]] == [
        ["customer", "c1"], ["orders", "3"], ["cents", "1,200"], ["last_at", "2026-01-01T00:00:00Z"],
    ]  # fmt: skip
    assert found.out == '"customer"\n"c1"\n'
    assert [line.split() for line in counts.out.splitlines()[2:]] == [["big", "1", "1,200"], ["small", "2", "1,600"]]
    assert lines.out.startswith(
        '{"customer":"c1","orders":3,"cents":1200,"last_at":"2026-01-01T00:00:00Z","size":"big",'
    )
    assert absent.err.startswith("Customers has no entity of this key.\n  ")
    rest = succeeds("profile", "Customers", "--sort", "-cents", "--after", page.err.split()[-1], "--json", cwd=folder)
    assert [row["customer"] for row in rest.rows] == ["c2" if "c0" in page.out else "c0"]
    succeeds("profile", "Customers", "-o", "all.parquet", cwd=folder)
    assert (folder / "all.parquet").read_bytes().startswith(b"PAR1")
    served = Path(shutil.copytree(folder, tmp_path / "served"))
    with serving(served):
        for words, _ in (ASKED[0], ASKED[5], ASKED[6]):
            assert dayfold(*words, cwd=served) == alone[words]
