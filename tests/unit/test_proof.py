"""What verify is asked for, and that its SQL shares nothing with the fold's that could be wrong on both sides."""

from __future__ import annotations

import ast
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from dayfold.cli.verify import as_object, line
from dayfold.days import Days
from dayfold.errors import UsageError
from dayfold.fold.chosen import choice
from dayfold.fold.drifts import Drift
from dayfold.fold.verify import VerifyResult
from dayfold.plan import differences, proof
from dayfold.plan.dialect import DUCKDB, POSTGRES
from dayfold.plan.sql import Statement, Values

TODAY = dt.date(2026, 3, 12)
#: What decides the fold's rows, and is therefore not used to prove them.
OF_THE_FOLD = {
    "scan", "publish", "moments", "common_filter", "parts", "within", "bucket", "compute", "combine", "filled",
    "within_days", "bind_moment",
}  # fmt: skip


@pytest.mark.parametrize("module", [proof, differences], ids=["proof", "differences"])
def test_the_proof_uses_nothing_that_decides_the_rows_of_the_fold(module: Any) -> None:
    """Neither the fold's modules nor what its scans have compiled: only relations and dialects are taken from them."""
    tree = ast.parse(Path(str(module.__file__)).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"dayfold.plan.scan", "dayfold.plan.publish", "dayfold.plan.moments"}
    of_scans = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "scan"
    }
    assert of_scans <= {"dialect", "relation", "source"}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & OF_THE_FOLD


def choose(**words: Any) -> Any:
    given: dict[str, Any] = {"from_": None, "to": None, "sample": None, "budget_s": None, **words}
    return choice(**given, default_budget_s=60, today=TODAY)


def test_a_rotation_has_a_budget_and_a_range_has_none() -> None:
    """What is asked for by name is done whole, unless a budget is named too."""
    assert choose().budget_s == 60
    assert choose(sample=2).budget_s is None
    ranged = choose(from_="-2d", to="yesterday")
    assert (ranged.days, ranged.budget_s) == (Days(dt.date(2026, 3, 10), dt.date(2026, 3, 11)), None)
    assert choose(from_="-2d", to="today", budget_s=5).budget_s == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"from_": "today"}, "A range has two ends; 'to' is missing.\n  Give both --from and --to, or neither."),
        ({"to": "today"}, "A range has two ends; 'from' is missing.\n  Give both --from and --to, or neither."),
        (
            {"from_": "today", "to": "today", "sample": 1},
            "A range and a sample were given.\n  Give --from and --to, or --sample.",
        ),
        ({"sample": 0}, "A sample is of at least 1 day, got 0."),
        ({"budget_s": -1}, "A budget is 0 seconds or more, got -1."),
    ],
)
def test_words_that_do_not_fit_are_refused(words: dict[str, Any], message: str) -> None:
    """Before anything is read."""
    with pytest.raises(UsageError) as caught:
        choose(**words)
    assert str(caught.value) == message


def test_the_listed_days_have_their_first_microsecond() -> None:
    """Days are joined, never computed from a moment; on both engines the list is one relation."""
    for dialect in (DUCKDB, POSTGRES):
        values = Values()
        listed = proof.listed_days([Days(TODAY, TODAY)], dialect, values)
        text, bound = Statement(listed, values).render(dialect.name)
        assert "GENERATE_SERIES" in text.upper()
        assert bound == [TODAY, TODAY]


def test_a_drift_is_one_line_with_its_place_its_values_and_its_class() -> None:
    """As a person reads it, and as a program does."""
    drift = Drift(
        "Sales", "source has fewer facts", {"shop": None}, TODAY, None, "mean", "sum", 1234, None, healed=True
    )
    assert line(drift) == ("2026-03-12 shop=NULL mean (sum): stored 1,234, actual – [source has fewer facts; healed]")
    result = VerifyResult("Sales", drifted=1, drifts=[drift])
    assert not result.is_proved
    assert as_object(result)["drifts"] == [
        {
            "reason": "source has fewer facts", "day": TODAY, "key": {"shop": None}, "metric": "mean", "stored": 1234,
            "actual": None, "healed": True, "part": "sum",
        }
    ]  # fmt: skip
