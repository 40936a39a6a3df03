"""Counters as they are written: what they become, and what is wrong with them."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from dayfold import Count, Counter, Ratio, Rollup, Sum, Table, Total
from dayfold.define.catalog import catalog
from dayfold.define.counter import Identity, definition
from dayfold.define.expr import ExpressionError


def messages(*classes: type[Rollup]) -> list[str]:
    """Everything wrong with some classes, each as its code and message."""
    return [f"[{one.code}] {one.message}" for one in catalog(classes).problems]


class Usage(Counter):
    """Usage."""

    key = ("api_key_id", "provider")
    owner = "user_id"
    types = MappingProxyType({"user_id": "uuid"})
    day_column = "usage_date"
    identities = ("total = good + bad",)

    total = Total()
    good = Total()
    bad = Total()
    balance = Total(negative=True)
    share = Ratio("good", "total")


def test_counter_is_a_rollup_of_its_key_and_owner() -> None:
    """Its days have the key, the owner after it, and the totals as sums of a table of ours."""
    found, problems = definition(Usage)
    assert problems == []
    assert (found.name, found.rollup.name, found.rollup.table, found.totals_table) == (
        "usage",
        "Usage",
        "usage_daily",
        "usage",
    )
    assert (found.key, found.owner, found.columns) == (
        ("api_key_id", "provider"),
        "user_id",
        ("api_key_id", "provider", "user_id"),
    )
    assert found.totals == {"total": False, "good": False, "bad": False, "balance": True}
    assert {metric.source for metric in found.rollup.measured.values()} == {found.counted}
    assert found.counted.label == "dayfold_counted_usage"


def test_counter_that_owns_its_key_has_no_column_more() -> None:
    """An owner that is a key column is none beside it."""

    class PerUser(Counter):
        key = "user_id"
        owner = "user_id"
        total = Total()

    found, problems = definition(PerUser)
    assert (problems, found.columns, found.has_owner) == ([], ("user_id",), False)


def test_counters_that_inherit_totals_have_tables_of_their_own() -> None:
    """The totals of a base are copied: two counters never write to one table."""

    class Base(Counter):
        key = "k"
        total = Total()

    class One(Base):
        pass

    class Other(Base):
        more = Total()

    assert definition(One)[0].counted.label == "dayfold_counted_one"
    assert list(definition(Other)[0].totals) == ["total", "more"]
    assert definition(Other)[0].rollup.measured["total"].source.label == "dayfold_counted_other"
    assert definition(Base)[0].rollup.measured["total"].source.label == "dayfold_counted_base"


def test_counter_is_found_by_any_of_its_names() -> None:
    """By the class, by its own name, and by those of its tables."""
    known = catalog([Usage]).counters
    assert {known.find(name).name for name in (Usage, "Usage", "usage", "usage_daily")} == {"usage"}
    assert known.find("uses") is None


def test_all_mistakes_are_told_at_once() -> None:
    """Each with the words that a counter is written with."""

    class Wrong(Counter):
        grain = "hour"
        totals_table = "wrong_daily"
        types = MappingProxyType({"kye": "text", "k": "money"})
        key = "k"
        identities = "total = goood * 2"
        total = Total(negative=3)
        facts = Count(Table("t"), at="seen_at")

    assert messages(Wrong) == [
        "[unknown-attribute] a Counter has no attribute 'grain'.",
        "[bad-expression] an identity adds up totals and whole multiples of them, got goood * 2.",
        "[duplicate-name] the totals and the days of a counter cannot share the table 'wrong_daily'.",
        "[bad-metric] 'facts' is a count; a Counter has Total() fields, and a Ratio or Formula over them.",
        "[unknown-column] types names 'kye', which is no key column.",
        "[bad-value] the key column 'k' has no type 'money'.",
        "[bad-value] negative is True or False, got 3.",
    ]


def test_counter_needs_a_key_and_a_total() -> None:
    """A counter of nothing, and one about nobody."""

    class Empty(Counter):
        pass

    assert messages(Empty) == [
        "[no-metrics] a Counter needs at least one Total().",
        "[no-key] a Counter needs a key: whom its totals are about.",
    ]


def test_names_of_two_counters_do_not_meet() -> None:
    """Neither their names nor any of their tables."""

    class Uses(Counter):
        key = "k"
        table = "usage"
        total = Total()

    assert messages(Usage, Uses)[0].startswith("[duplicate-name] the table name 'usage' is taken by")


def test_rollup_over_a_counter_is_folded_from_its_days() -> None:
    """As from any rollup."""

    class PerOwner(Rollup):
        key = "user_id"
        total = Sum(Usage, "total", at="usage_date")

    assert messages(Usage, PerOwner) == []


@pytest.mark.parametrize(
    ("text", "amounts", "holds"),
    [
        ("a = b + c", {"a": 3, "b": 1, "c": 2}, True),
        ("a = b + c", {"a": 3}, False),
        ("a - (b - c) = 2 * d", {"a": 1, "b": 2, "c": 3, "d": 1}, True),
        ("a = -b", {"a": 2**63 - 1, "b": 1 - 2**63}, True),
    ],
)
def test_identities_are_sums_of_totals(text: str, amounts: dict[str, int], holds: bool) -> None:
    """With whole multiples, brackets and signs, in numbers of any size."""
    assert Identity.read(text).holds(amounts) is holds


@pytest.mark.parametrize("text", ["a", "a = b * c", "a > b", "a = 1.5 * b", "a = b / 2"])
def test_what_is_no_identity_is_refused(text: str) -> None:
    """Only equations of sums can be checked increment by increment."""
    with pytest.raises(ExpressionError):
        Identity.read(text)


def test_amounts_are_checked_without_naming_a_value() -> None:
    """An unknown total, one beyond 64 bits, one below zero, a broken identity."""
    found, _ = definition(Usage)
    assert (
        found.amiss({"totl": 1})
        == "usage has no total 'totl'; the nearest is 'total'; it has total, good, bad, balance."
    )
    assert found.amiss({"total": 2**63, "good": 2**63}) == "the amount of total does not fit into 64 bits."
    assert (
        found.amiss({"total": -1, "good": -1})
        == "the amount of total is below zero, and it is no Total(negative=True)."
    )
    assert found.amiss({"total": 1}) == "the amounts do not meet the identity total = good + bad."
    assert found.amiss({"total": 1, "bad": 1, "balance": -5}) is None
