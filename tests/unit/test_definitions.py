"""Mistakes in definitions: every one with its place, what was expected, and the nearest known name."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from dayfold import Avg, Count, Distinct, Formula, Gauge, Max, Moment, Ratio, Rollup, Sum, Table
from dayfold.define.catalog import Catalog, catalog, load
from dayfold.define.fingerprint import fingerprint
from dayfold.define.metric import Metric
from dayfold.define.rollup import definition
from dayfold.define.types import BOOL, DATE, FLOAT, INT, JSON, TEXT, TIMESTAMP, TIMESTAMPTZ, Type, decimal
from dayfold.errors import ConfigError, DefinitionError, Problem, UnknownName
from dayfold.names import is_plain, listing, nearest, snake_case, suggestion
from dayfold.plan.bind import BoundRollup, DescribedSource, bind
from dayfold.plan.dialect import DUCKDB

MESSY = '''\
from dayfold import Avg, Count, Distinct, Formula, Gauge, Moment, Ratio, Rollup, Sum, Table

order = Table("orders", colums={"a": "b"})
both = Table("orders", sql="select 1")


class Sales(Rollup):
    """One shop's sales."""

    key = ("shop_id", "shop_id")
    grane = "day"
    grain = "week"
    lookback = -1
    since = "2026-02-30"
    index = ["shop", "net", "ratio"]
    day_column = "run_id"

    orders = Count(order, at="sold_at", wher="x = 1")
    net = Avg(order, "net", at="sold_at", scale=40)
    nothing = Sum(order, "net")
    bad = Sum(order, "net +", at="sold_at")
    zone = Count(order, at=Moment("sold_at", tz="Europe/Londn"))
    unit = Count(order, at=Moment("sold_at", unit="msec"))
    secs = Count(order, at=Moment("sold_at", unit="s", tz="UTC"))
    at_ = Count(order, at=3)
    level = Gauge(order, "net", at="sold_at", over_keys="most")
    ratio = Ratio("nett", "orders")
    one = Formula("two + 1")
    two = Formula("one + 1")
    a__b = Count(order, at="sold_at")
    shop_id = Count(order, at="sold_at")
    named = Count("orders", at="sold_at")
    either = Count(both, at="x")


class Daily(Rollup):
    buyers = Distinct(order, "customer_id", at="sold_at")


class Weekly(Rollup):
    table = "daily"
    key = 5
    buyers = Sum(Daily, "buyers", at="day")


class Empty(Rollup):
    table = "2 bad"
'''

MESSAGES = """\
DefinitionError [unknown-option] metrics.py:3 Table
  Table has no option 'colums'; the nearest is 'columns'.
  Options: name, sql, database, columns, changes, reads
DefinitionError [table-source] metrics.py:4 Table
  a Table is either a name or sql=…, expected exactly one of them.
DefinitionError [unknown-attribute] metrics.py:7 Sales
  a Rollup has no attribute 'grane'; the nearest is 'grain'.
  Attributes: table, key, day_column, grain, lookback, since, index, owner, schedule, timezone; constants of your own are written in capitals.
DefinitionError [duplicate-name] metrics.py:7 Sales
  key names a column twice: shop_id, shop_id.
DefinitionError [bad-value] metrics.py:7 Sales
  grain is one of day, hour, 15min, got 'week'.
DefinitionError [bad-value] metrics.py:7 Sales
  lookback is a number of days from 0 to 3660, got -1.
DefinitionError [bad-date] metrics.py:7 Sales
  since is a date written YYYY-MM-DD, got '2026-02-30'.
DefinitionError [unknown-column] metrics.py:7 Sales
  index names 'shop', which the table does not have; the nearest is 'shop_id'.
  Columns: shop_id, shop_id, run_id, orders, net, nothing, bad, zone, unit, secs, at_, level, ratio, one, two, a__b, shop_id, named, either
DefinitionError [bad-index] metrics.py:7 Sales
  index names 'net', which is computed when read and not stored.
DefinitionError [bad-index] metrics.py:7 Sales
  index names 'ratio', which is computed when read and not stored.
DefinitionError [reserved-name] metrics.py:7 Sales
  day_column 'run_id' is a name that Dayfold uses itself.
DefinitionError [unknown-option] metrics.py:18 Sales.orders
  Count has no option 'wher'; the nearest is 'where'.
  Options: at, where, extra
DefinitionError [bad-scale] metrics.py:19 Sales.net
  scale is a number of digits from 0 to 18, got 40.
DefinitionError [no-moment] metrics.py:20 Sales.nothing
  Sum needs at=…, the column that says when a fact counts.
DefinitionError [bad-expression] metrics.py:21 Sales.bad
  the expression: 'net +' cannot be read: near '+' at column 5.
  For anything else write the source as Table(sql="select …"), in the engine's own SQL.
DefinitionError [bad-moment] metrics.py:22 Sales.zone
  there is no time zone 'Europe/Londn'; the nearest is 'Europe/London'.
DefinitionError [bad-moment] metrics.py:23 Sales.unit
  a moment's unit is one of s, ms, iso; got 'msec'; the nearest is 'ms'.
DefinitionError [bad-moment] metrics.py:24 Sales.secs
  a number of seconds or milliseconds counts from 1970-01-01 UTC and has no tz.
DefinitionError [bad-moment] metrics.py:25 Sales.at_
  at is a column's name or a Moment, got int.
DefinitionError [bad-over-keys] metrics.py:26 Sales.level
  over_keys is one of sum, avg, min, max, refuse, got 'most'.
DefinitionError [unknown-metric] metrics.py:27 Sales.ratio
  the ratio names 'nett', which is no metric of Sales; the nearest is 'net'.
  Metrics: orders, net, nothing, bad, zone, unit, secs, at_, level, one, two, a__b, shop_id, named, either
DefinitionError [cycle] metrics.py:28 Sales.one
  the formula is computed from itself: one → two → one.
DefinitionError [cycle] metrics.py:29 Sales.two
  the formula is computed from itself: two → one → two.
DefinitionError [reserved-name] metrics.py:30 Sales.a__b
  the metric 'a__b' has a name that Dayfold uses itself.
  Reserved: bucket, created_at, day, exact, missing, run_id, updated_at, the day column, and any name with '__'.
DefinitionError [duplicate-name] metrics.py:31 Sales.shop_id
  'shop_id' is both a key column and a metric.
DefinitionError [bad-source] metrics.py:32 Sales.named
  expected a Table or a Rollup as the source of Count, got str.
DefinitionError [bad-name] metrics.py:40 Weekly
  key is a column or a tuple of columns, got 5.
DefinitionError [duplicate-name] metrics.py:40 Weekly
  the table name 'daily' is taken by metrics.py:36.
DefinitionError [summed-distinct] metrics.py:43 Weekly.buyers
  Daily.buyers is a Distinct, and Distinct values are never summed: one value may stand in several rows.
  Unite them: Distinct(Daily, "buyers", at=…). Or ask for it over a longer range or fewer keys: dayfold query Daily -m buyers --grain total
DefinitionError [bad-name] metrics.py:46 Empty
  table is a name of letters, digits and '_' (at most 63), got '2 bad'.
DefinitionError [no-metrics] metrics.py:46 Empty
  a Rollup needs at least one metric of a source, such as Count(table, at=…)."""


def loaded(folder: Path, text: str) -> Catalog:
    path = folder / "metrics.py"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Each names its line, what was expected, and the nearest known name where there is one."""
    with pytest.raises(DefinitionError) as refused:
        loaded(tmp_path, MESSY).check()
    assert str(refused.value).splitlines() == MESSAGES.splitlines()
    assert (refused.value.code, refused.value.exit_status) == ("definition", 2)


PYTHON = {
    "def f(:\n": "DefinitionError [python] metrics.py:1\n  SyntaxError: invalid syntax",
    "x = 1\ny = undefned\n": "DefinitionError [python] metrics.py:2\n  there is no name 'undefned'.",
    "from dayfold import Count, Table\n\nn = Cont(Table('x'), at='a')": (
        "DefinitionError [python] metrics.py:3\n  there is no name 'Cont'; the nearest is 'Count'."
    ),
    "\n\nraise ValueError('no')": "DefinitionError [python] metrics.py:3\n  ValueError: no",
    "import nothing_of_that_name": (
        "DefinitionError [python] metrics.py:1\n  ModuleNotFoundError: No module named 'nothing_of_that_name'"
    ),
    "import sys\nsys.exit(0)": (
        "DefinitionError [python] metrics.py:2\n"
        "  the file ends the program (SystemExit), so its definitions are not known."
    ),
    "class A:\n    pass": (
        "DefinitionError [no-rollups] metrics.py\n  the file defines no Rollup.\n  Run `dayfold init` for an example."
    ),
}


@pytest.mark.parametrize(("text", "message"), PYTHON.items(), ids=[m.splitlines()[1].strip() for m in PYTHON.values()])
def test_python_errors_are_mistakes_too(tmp_path: Path, text: str, message: str) -> None:
    """A file that Python does not run is reported like the rest, by its line and without a traceback."""
    assert [str(problem) for problem in loaded(tmp_path, text).problems] == [message]


def test_what_stands_before_a_python_error_is_checked_too(tmp_path: Path) -> None:
    """One run of the command shows as much as can be known."""
    text = "from dayfold import *\n\nclass A(Rollup):\n    n = Count(Table('t'), at='x', wher='y')\n\nboom\n"
    assert [(p.code, p.place) for p in loaded(tmp_path, text).problems] == [
        ("unknown-option", "metrics.py:4"),
        ("python", "metrics.py:6"),
    ]


TWICE = """\
from dayfold import Count, Rollup, Table

orders = Table("orders")


class Sales(Rollup):
    total = Count(orders, at="sold_at")
    total = Count(orders, at="paid_at")


class Sales(Rollup):
    total = Count(orders, at="sold_at")


class Other(Rollup):
    table = "SALES"
    dayfold__x = Count(orders, at="sold_at")


class Ours(Rollup):
    table = "dayfold__runs"
    total = Count(orders, at="sold_at")
"""


def test_a_metric_is_no_source() -> None:
    """A name of the module that a metric of the class hides is told as that, beside whatever else is wrong."""

    class Hiding(Rollup):
        sold = Count(Table("orders"), at="sold_at")
        net = Sum(sold, "net", at="sold_at")  # type: ignore[arg-type]

    [problem] = catalog([Hiding]).problems
    assert (problem.code, problem.message) == (
        "bad-source", "expected a Table or a Rollup as the source of Sum, got Count.",
    )  # fmt: skip


def test_a_name_is_given_once(tmp_path: Path) -> None:
    """Python keeps the last of two things with one name: the first would be lost without a word."""
    assert [(p.code, p.place, p.subject) for p in loaded(tmp_path, TWICE).problems] == [
        ("duplicate-name", "metrics.py:8", "Sales"),
        ("duplicate-name", "metrics.py:11", "Sales"),
        ("duplicate-name", "metrics.py:15", "Other"),
        ("reserved-name", "metrics.py:17", "Other.dayfold__x"),
        ("reserved-name", "metrics.py:20", "Ours"),
    ]


def test_what_a_file_prints_is_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Definitions may print; programs that read standard output are not disturbed by it."""
    text = "from dayfold import *\nprint('hello')\nclass A(Rollup):\n    n = Count(Table('t'), at='x')\n"
    assert loaded(tmp_path, text).problems == ()
    assert capsys.readouterr() == ("", "hello\n")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Some editors put one at the start of a file."""
    text = "\ufefffrom dayfold import *\nclass A(Rollup):\n    n = Count(Table('t'), at='x')\n"
    assert list(loaded(tmp_path, text).rollups) == ["A"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The error says how to make or to name one."""
    path = tmp_path / "metrics.py"
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value) == (
        f"There is no definitions file {path}.\n"
        "  Run `dayfold init` for a commented one, or name yours with `-a FILE` or DAYFOLD_APP."
    )
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as unreadable:
        load(path)
    assert str(unreadable.value) == f"{path} is not UTF-8 text."


class Sales(Rollup):
    """A rollup   without
    mistakes."""

    key = "shop_id"
    since = "2026-01-31"
    index = ("orders", ("day", "shop_id"))

    orders = Count(Table("orders"), at="sold_at")
    net = Sum(Table("orders"), "net", at="sold_at")
    mean = Ratio("net", "orders")
    twice = Formula("mean * 2")


def test_a_definition_without_mistakes() -> None:
    """Names have their defaults, and computed metrics follow those they are made of."""
    found, problems = definition(Sales)
    assert problems == []
    assert (found.table, found.key, found.day_column, found.slot) == ("sales", ("shop_id",), "day", "day")
    assert (found.lookback_days(), found.since, found.grain) == (7, dt.date(2026, 1, 31), "day")
    assert found.description == "A rollup without mistakes."
    assert found.index == (("orders",), ("day", "shop_id"))
    assert list(found.computed) == ["mean", "twice"]
    assert [source.label for source in found.sources] == ["orders"]


def test_metrics_are_inherited_and_may_be_replaced() -> None:
    """A base class gives its metrics; the subclass's own come instead."""

    class More(Sales):
        net = Sum(Table("orders"), "gross", at="sold_at")

    found, problems = definition(More)
    assert problems == []
    assert found.measured["net"].expr_text == "gross"
    assert list(found.metrics) == ["orders", "net", "mean", "twice"]


EXPECTED = 'expected a cron expression of five fields such as "*/5 * * * *", a time of day such as "01:00", or "off"'


@pytest.mark.parametrize(("words", "message", "hint"), [
    ({"schedule": "hourly"}, f"schedule: {EXPECTED}, got 'hourly'.", ""),
    ({"schedule": 5}, f"schedule: {EXPECTED}, got 5.", ""),
    ({"schedule": "01:00", "timezone": "Europe/Londn"},
     "timezone: expected a time zone such as Europe/London; the nearest is 'Europe/London', got 'Europe/Londn'.", ""),
    ({"timezone": "Europe/London"}, "timezone is the zone of a schedule, and there is none.", 'Add: schedule = "01:00"'),
])  # fmt: skip
def test_a_schedule_of_its_own_is_checked(words: dict[str, object], message: str, hint: str) -> None:
    """With what it could be."""
    _, [problem] = definition(type("Probe", (Sales,), words))
    assert (problem.code, problem.message, problem.hint) == ("bad-schedule", message, hint)


def test_a_schedule_changes_no_fingerprint() -> None:
    """When a rollup is folded says nothing about its numbers."""
    nightly, problems = definition(type("Sales", (Sales,), {"schedule": "01:00", "timezone": "Africa/Casablanca"}))
    assert problems == []
    assert (nightly.schedule, nightly.timezone) == ("01:00", "Africa/Casablanca")
    assert fingerprint(nightly) == fingerprint(definition(Sales)[0])


def test_rollups_are_found_by_class_and_table_name() -> None:
    """An unknown one is answered with the nearest."""
    found = catalog([Sales])
    assert found["Sales"] is found["sales"]
    with pytest.raises(UnknownName) as refused:
        found["Salse"]
    assert str(refused.value) == "There is no rollup 'Salse'; the nearest is 'Sales'.\n  Rollups: Sales"


ORDERS, VISITS, NAMELESS = (
    Table("orders"),
    Table("visits"),
    Table("stores", columns={"shop_id": "stor_id", "money": "amount +"}),
)
RENAMED = Table("stores", columns={"shop_id": "store_id", "money": "amount * 2", "Sum": "amount"})
COLUMNS: dict[str, Type] = {
    "shop_id": INT, "sold_at": TIMESTAMPTZ, "status": TEXT, "ratio": FLOAT, "free": decimal(None, None), "doc": JSON,
    "price": decimal(10, 2), "ok": BOOL,
}  # fmt: skip
STORES: dict[str, Type] = {"store_id": INT, "amount": INT, "opened": DATE}
DESCRIBED = {
    ORDERS: DescribedSource(COLUMNS, DUCKDB),
    VISITS: DescribedSource({"shop_id": TEXT, "seen_at": TIMESTAMP}, DUCKDB),
    NAMELESS: DescribedSource(STORES, DUCKDB),
    RENAMED: DescribedSource(STORES, DUCKDB),
}


def bound(**attributes: object) -> tuple[BoundRollup | None, list[Problem]]:
    """A rollup of these attributes, bound to the described tables."""
    made = type("Probe", (Rollup,), attributes)
    found, problems = definition(made)
    assert problems == []
    return bind(found, DESCRIBED, "main", DUCKDB, dt.date(2026, 1, 1))


AT = {"at": "sold_at"}
SCALE_HINT = "Say how many digits count after the point: {}(…, scale=6), or cast it with ::numeric(18,2)."
ORDERS_COLUMNS = "Columns: shop_id, sold_at, status, ratio, free, doc, price, ok"
MISSING_MOMENT = """
If the table does not keep it: Count(…, at="updated_at", where="…") with what its rows look like afterwards. A fact then counts on the day \
of its last change, and moves with every later one.
`dayfold doctor` prints the statement that adds sold_att."""
ORDERED = "integer, decimal, float, text, date, timestamp, timestamptz"
#: what it is about: (metric, code, message, hint)
UNBOUND: dict[str, tuple[Metric, str, str, str]] = {
    "an unknown moment": (Count(ORDERS, at="sold_att"), "unknown-column",
        "orders has no column 'sold_att'; the nearest is 'sold_at'.", ORDERS_COLUMNS + MISSING_MOMENT),
    "an unknown column": (Count(ORDERS, **AT, where="stat = 'x'"), "unknown-column",
        "orders has no column 'stat'; the nearest is 'status'.", ORDERS_COLUMNS),
    "a float without scale": (Sum(ORDERS, "ratio", **AT), "bad-expression",
        "the expression is a float, whose sum would not be the same from run to run.", SCALE_HINT.format("Sum")),
    "a numeric without scale": (Avg(ORDERS, "free * 2", **AT), "bad-expression",
        "the expression is a decimal without a scale, whose sum would not be the same from run to run.", SCALE_HINT.format("Avg")),
    "a sum of text": (Sum(ORDERS, "status", **AT), "bad-expression", "Sum needs a number; the expression is text.", ""),
    "the greatest JSON": (Max(ORDERS, "doc", **AT), "bad-expression",
        f"Max needs one of {ORDERED}, a decimal with its scale; the expression is json.",
        "Cast it, such as amount::numeric(18,2)."),
    "distinct decimals": (Distinct(ORDERS, "price", **AT), "bad-expression",
        "Distinct values are text, integer, uuid, boolean, date; the expression is decimal(10,2).",
        "Cast it to one of these, so that one value has one text."),
    "a level of text": (Gauge(ORDERS, "status", **AT, over_keys="max"), "bad-expression",
        "Gauge needs a number, a decimal with its scale; the expression is text.", "Say scale=… or cast it."),
    "a number as a moment": (Count(ORDERS, at="shop_id"), "bad-expression", "the moment 'shop_id' is a number.",
        'Say what it counts: Moment("shop_id", unit="s") or unit="ms", since 1970-01-01 UTC.'),
    "a zone for an instant": (Count(ORDERS, at=Moment("sold_at", tz="Europe/London")), "bad-expression",
        "the moment 'sold_at' is timestamptz; tz='Europe/London' does not apply to it.",
        "A timestamptz already names an instant, and a date is taken as the UTC day it says."),
    "a unit for an instant": (Count(ORDERS, at=Moment("sold_at", unit="s")), "bad-expression",
        "the moment 'sold_at' is timestamptz; unit='s' does not apply to it.", ""),
    "ISO for an instant": (Count(ORDERS, at=Moment("sold_at", unit="iso")), "bad-expression",
        "the moment 'sold_at' is timestamptz; unit='iso' does not apply to it.", ""),
    "a truth as a moment": (Count(ORDERS, at="ok"), "bad-expression", "the moment 'ok' is boolean.",
        "A moment is a timestamptz, timestamp, date, ISO text, or a number with Moment(…, unit='s' or 'ms')."),
    "a price as a condition": (Count(ORDERS, **AT, where="price"), "bad-expression",
        "expected a condition, but 'price' is decimal(10,2).", ""),
}  # fmt: skip


@pytest.mark.parametrize("what", UNBOUND)
def test_mistakes_that_only_the_source_shows(what: str) -> None:
    """A column that is not there, or not of the kind that a metric needs, is named with what there is."""
    metric, code, message, hint = UNBOUND[what]
    rollup, problems = bound(probe=metric, key="shop_id")
    assert rollup is None
    assert problems == [Problem(code, str(metric.place), "Probe.probe", message, hint)]


COMPUTED = {
    "a text added to a number": (Formula("largest + 1"), "largest"),
    "a number as a condition": (Formula("case when orders then 1 end"), "orders"),
}


@pytest.mark.parametrize("what", COMPUTED)
def test_formulas_fit_what_they_are_computed_from(what: str) -> None:
    """Found before anything is folded, and not when somebody asks."""
    formula, name = COMPUTED[what]
    largest = Max(ORDERS, "status", **AT)
    found, problems = bound(key="shop_id", orders=Count(ORDERS, **AT), largest=largest, computed=formula)
    assert found is None
    assert [(p.code, p.subject) for p in problems] == [("bad-expression", "Probe.computed")]
    assert name in problems[0].message


def test_a_key_has_one_type_in_all_sources() -> None:
    """Two sources that disagree about a key cannot fill one row."""
    _, problems = bound(key="shop_id", one=Count(ORDERS, at="sold_at"), two=Count(VISITS, at="seen_at"))
    assert [(p.subject, p.message, p.hint) for p in problems] == [
        (
            "Probe.two",
            "the key column 'shop_id' is integer in orders and text in visits.",
            "Cast one of them in columns={…}.",
        )
    ]


@pytest.mark.parametrize(("key", "message", "hint"), [
    ("price", "the key column 'price' is decimal(10,2); a key is text, integer, uuid, boolean, date.", "Cast it in columns={…}."),
    ("shop", "the key column 'shop': orders has no column 'shop'; the nearest is 'shop_id'.",
     f'{ORDERS_COLUMNS}\nIf the table calls it otherwise: Table("orders", columns={{"shop": "its_name"}}).'),
])  # fmt: skip
def test_a_key_that_cannot_be_one(key: str, message: str, hint: str) -> None:
    """The message says how to rename or to cast it."""
    _, problems = bound(key=key, one=Count(ORDERS, at="sold_at"))
    assert [(p.message, p.hint) for p in problems] == [(message, hint)]


def test_a_mapping_of_columns_is_checked_where_it_stands() -> None:
    """A mapped name that the table does not have is reported at the Table, with those it has."""
    _, problems = bound(one=Count(NAMELESS, at="opened"))
    assert [(p.place, p.subject, p.message) for p in problems] == [
        (
            str(NAMELESS.place),
            "Table('stores') columns['shop_id']",
            "stores has no column 'stor_id'; the nearest is 'store_id'.",
        ),
        (str(NAMELESS.place), "Table('stores') columns['money']", "'amount +' cannot be read: near '+' at column 8."),
    ]


def test_mapped_columns_are_columns() -> None:
    """Definitions use their names, in keys and in expressions, beside the table's own."""
    rollup, problems = bound(key="shop_id", one=Sum(RENAMED, 'money + "Sum"', at="opened"))
    assert problems == []
    assert rollup is not None
    assert str(rollup.scans[0].parts[0].aggregate.sql("duckdb")).count("amount") == 2


def test_a_date_has_no_hours() -> None:
    """A finer grain than a day needs a time of day."""
    _, problems = bound(grain="hour", one=Count(RENAMED, at="opened"))
    assert [(p.message, p.hint) for p in problems] == [
        (
            "'opened' is a date, which has no time of day; the grain hour needs one.",
            'Use a timestamp, or grain = "day".',
        )
    ]


def test_every_mistake_of_a_rollup_is_reported() -> None:
    """One metric's mistake does not hide the next one's."""
    _, problems = bound(
        key="shop_id", a=Count(ORDERS, at="x"), b=Sum(ORDERS, "y", at="sold_at"), c=Count(VISITS, at="seen_at")
    )
    assert [p.subject for p in problems] == ["Probe.a", "Probe.b", "Probe.c"]


@pytest.mark.parametrize(("name", "plain"), [
    ("orders", True), ("_x1", True), ("A" * 63, True), ("A" * 64, False), ("", False), ("2nd", False), ("a b", False),
    ("a-b", False), ("é", False), ("a\n", False), ("a;", False), ('a"', False),
])  # fmt: skip
def test_plain_names(name: str, plain: bool) -> None:
    """Letters, digits and '_', at most 63, in ASCII: what is a name everywhere without quotes."""
    assert is_plain(name) is plain


@pytest.mark.parametrize(("name", "table"), [
    ("SalesDaily", "sales_daily"), ("APIKeyUsage", "api_key_usage"), ("Sales2Go", "sales2_go"), ("sales", "sales"), ("A", "a"),
    ("HTTPRequests", "http_requests"), ("Sales_Daily", "sales_daily"),
])  # fmt: skip
def test_table_names(name: str, table: str) -> None:
    """A class's name in snake case, abbreviations in one piece."""
    assert snake_case(name) == table


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    """What is not alike is not suggested."""
    assert nearest("APROVED_AT", ["id", "approved_at"]) == "approved_at"
    assert nearest("x", ["id", "approved_at"]) is None
    assert nearest("x", []) is None
    assert (suggestion("idd", ["id"]), suggestion("x", ["id"])) == ("; the nearest is 'id'", "")
    assert (listing(["a", "b"]), listing([])) == ("a, b", "none")
