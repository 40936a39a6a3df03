"""The licensing platform on both engines: fifty days sent through the real collector, every number against a count by hand.

What the events are, what brought each visitor and what follows is counted in `tests/examples/licensing.py` from what was
sent. Late requests come after a first fold; then much of it is sent once more.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dayfold import Dayfold
from dayfold.clock import FixedClock
from dayfold.define.event_types import EventTypes
from dayfold.plan.access import Grant, Scope
from tests.acceptance.command import succeeds
from tests.acceptance.serving import served
from tests.examples.licensing import (
    BROWSER,
    CAMPAIGN,
    DAILY,
    EXAMPLE,
    EXTRAS,
    PLATFORM,
    REFERRER,
    Fact,
    Truth,
    campaign,
    daily,
    drawn,
    module,
    platform,
    truth,
)
from tests.servers import PostgresServer
from tests.sql import Session, run_sql, store_config

pytestmark = pytest.mark.in_turn

NOW = dt.datetime(2026, 2, 5, 6, tzinfo=dt.UTC)
#: The first days of the example, with the silent one among them.
COUNT = 50
FIRST, LAST = drawn.FIRST, drawn.FIRST + dt.timedelta(days=COUNT - 1)
DAYS = {FIRST + dt.timedelta(days=n) for n in range(COUNT)}
SILENT = FIRST + dt.timedelta(days=drawn.SILENT_DAY)
SCALE = 0.0015
TOUCHES = {"first": "campaign_first_touch", "last": "campaign_last_touch"}
Cell = tuple[Any, ...]


load, reads = module("load"), module("reads")
TRAFFIC = drawn.Traffic(SCALE, COUNT)
REQUESTS = list(drawn.Traffic(SCALE, COUNT))
TABLES = TRAFFIC.tables()


def application(url: str, folder: Path, **more: Any) -> Dayfold:
    """The example's definitions over a store; rights are looked up for every read."""
    config = {**store_config(url), "collect": {"own_hosts": ["license.example"]}, "auth": {"relation_s": 0}, **more}
    return Dayfold(folder / "metrics.py", config, clock=FixedClock(NOW))


@dataclass(frozen=True)
class Look:
    """The store at one moment: its rollups by table, each row by key and day; and what is true then."""

    truth: Truth
    rows: dict[str, dict[Cell, dict[str, Any]]]
    events: int
    held: dict[str, int]


@dataclass(frozen=True)
class Story:
    """The example served, and how it came there."""

    url: str
    folder: Path
    before: Look
    after: Look
    late: dict[str, Any]
    again: dict[str, Any]
    answers: list[dict[str, Any]]
    address: str
    copy: str
    tokens: dict[str, str]
    keys: dict[str, str]


KEYS = {
    "daily_metrics": (("project_id", "ip_asset_id", "license_id"), (*DAILY, *EXTRAS)),
    "campaign_first_touch": (("first_source", "first_medium", "first_campaign"), CAMPAIGN),
    "campaign_last_touch": (("last_source", "last_medium", "last_campaign"), CAMPAIGN),
    "platform_daily": ((), PLATFORM),
    "traffic_daily": (("referrer_class", "device_type", "browser", "is_bot"), ("views", "visitors")),
    "pages_daily": (("page", "is_bot"), ("views", "visitors")),
}


def look(url: str, requests: list[Any]) -> Look:
    """The rows that say something, as they are stored."""
    rows: dict[str, dict[Cell, dict[str, Any]]] = {}
    with Session(url) as session:
        for table, (key, metrics) in KEYS.items():
            names = ", ".join(f'"{one}"' for one in (*key, "day", *metrics))
            found = {}
            for row in session.run(f"SELECT {names} FROM {table}"):
                cell = tuple(row[: len(key) + 1])
                assert cell not in found
                found[cell] = dict(zip(metrics, row[len(key) + 1 :], strict=True))
            rows[table] = {cell: row for cell, row in found.items() if any(row.values())}
        [(events,)] = session.run("SELECT count(*) FROM dayfold_events")
        held = dict(session.run("SELECT reason, count(*) FROM dayfold__quarantine GROUP BY 1"))
    return Look(truth(requests), rows, events, held)


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Sent, folded, sent late, folded, sent again, folded; then served."""
    folder = tmp_path_factory.mktemp("licensing")
    with ExitStack() as stack:
        url = copied = f"duckdb:///{folder}/store.duckdb"
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = copied = stack.enter_context(server.database())
        for name in ("metrics.py", "dayfold.toml"):
            shutil.copy(EXAMPLE / name, folder)
        environment = {
            "DAYFOLD_STORE__URL": url, "DAYFOLD_SERVE__JOBS": "false", "DAYFOLD_NOW": NOW.isoformat(),
            "DAYFOLD_COLLECT__PER_MINUTE": "0", "DAYFOLD_AUTH__RELATION_S": "0",
        }  # fmt: skip
        load.fill(url, TRAFFIC)
        with application(url, folder) as app:
            app.track_install()
            app.fold()
            create = app.accounts.create_token
            keys = {
                "pages": create("pages", "public", types=load.PAGES).secret, "servers": create("servers", "track").secret,
            }  # fmt: skip
            tokens = {name: create(name, "read", accesses=[grant]).secret for name, grant in GRANTS.items()}
            tokens["platform"] = create("platform", "read").secret

        def send(requests: list[Any]) -> None:
            with served(cwd=folder, env=environment) as running:
                load.send(running.url, keys, requests, now=lambda: NOW)

        def fold() -> dict[str, Any]:
            with application(url, folder) as app:
                runs = {run.rollup: run for run in app.fold()}
            assert {run.error for run in runs.values()} == {None}
            return runs

        late = [one for one in REQUESTS if one.is_late]
        on_time = [one for one in REQUESTS if not one.is_late]
        send(on_time)
        fold()
        before = look(url, on_time)
        # Some of what servers sent and some of what pages did, each of them known, or held back, by now.
        repeated = [one for one in REQUESTS if one.key == "servers"][::3] + [
            one for one in on_time if one.key == "pages"
        ][:30]
        answers: list[dict[str, Any]] = []
        with served(cwd=folder, env=environment) as running:
            load.send(running.url, keys, late, now=lambda: NOW)
        runs = fold()
        after = look(url, REQUESTS)
        with served(cwd=folder, env=environment) as running, closing(load.Collector(running.url)) as collector:
            for one in repeated:
                shown = None if one.ahead_s is None else drawn.moment(NOW + dt.timedelta(seconds=one.ahead_s))
                answers.append(
                    collector.send(keys[one.key], one.events, sent_at=shown, headers=one.headers, is_in_log=True)
                )
        again = fold()
        if request.param == "duckdb":
            # The server is the one process that may open its file.
            copied = f"duckdb:///{folder}/copy.duckdb"
            shutil.copy(folder / "store.duckdb", folder / "copy.duckdb")
        running = stack.enter_context(served(cwd=folder, env=environment))
        yield Story(url, folder, before, after, runs, again, answers, running.url, copied, tokens, keys)


GRANTS = {
    "creator": "Creator:creator_id=c2",
    "brand": "Brand:brand_id=b1",
    "brand-campaigns": "BrandFirstTouch:brand_id=b1",
    "brand-campaigns-last": "BrandLastTouch:brand_id=b2",
}


def grouped(facts: list[Fact], key: Any) -> dict[Cell, list[Fact]]:
    found: dict[Cell, list[Fact]] = defaultdict(list)
    for fact in facts:
        found[key(fact)].append(fact)
    return found


def telling(rows: dict[Cell, dict[str, Any]]) -> dict[Cell, dict[str, Any]]:
    """The rows in which any number is not zero."""
    return {cell: row for cell, row in rows.items() if any(row.values())}


def costs() -> dict[Cell, list[int]]:
    """What each campaign cost on each day."""
    found: dict[Cell, list[int]] = defaultdict(list)
    for _, source, medium, name, day, cents in TABLES["campaign_spend"]:
        found[source, medium, name, day].append(cents)
    return found


@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_row_of_daily_metrics_is_the_count_by_hand(story: Story, moment: str) -> None:
    """By project, asset, license and day, NULL keys among them; before and after the late ones came."""
    seen: Look = getattr(story, moment)
    cells = grouped(seen.truth.facts, lambda fact: (*fact.key, fact.day))
    expected = telling({cell: daily(facts) for cell, facts in cells.items()})
    assert len(expected) > 200
    assert seen.rows["daily_metrics"] == expected


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("model", TOUCHES)
def test_every_row_of_campaigns_is_the_count_by_hand(story: Story, moment: str, model: str) -> None:
    """By the touch that each event had as it was sent, with what campaigns cost."""
    seen: Look = getattr(story, moment)
    cells = grouped(seen.truth.facts, lambda fact: (*getattr(fact, model), fact.day))
    spent = costs()
    expected = telling(
        {cell: campaign(cells.get(cell, []), spent.get(cell, [])) for cell in cells.keys() | spent.keys()}
    )
    assert len(expected) > 120
    assert seen.rows[TOUCHES[model]] == expected


@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_row_of_the_platform_is_the_count_by_hand(story: Story, moment: str) -> None:
    """Users, creators, brands, visitors and revenue, day by day."""
    seen: Look = getattr(story, moment)
    joined = {row[2].date() for name in ("creators", "brands") for row in TABLES[name]}
    days = {fact.day for fact in seen.truth.facts} | joined
    expected = telling({(day,): platform(seen.truth.facts, TABLES, {day}) for day in days})
    assert seen.rows["platform_daily"] == expected


def test_traffic_is_told_by_browser_and_referrer(story: Story) -> None:
    """Every view by the class of its referrer and by what its page was read with, programs apart; and by page."""
    views = [one for one in story.after.truth.facts if one.is_view]
    found: dict[Cell, list[int]] = defaultdict(lambda: [0, 0])
    for (kind, _, browser, is_bot, day), row in story.after.rows["traffic_daily"].items():
        found[kind, browser, is_bot, day][0] += row["views"]
    expected = {
        cell: [len(facts), 0]
        for cell, facts in grouped(
            views,
            lambda one: (REFERRER[one.referrer][0], *BROWSER[one.agent], one.day),  # type: ignore[index]
        ).items()
    }
    assert found == expected
    pages = grouped([one for one in views if one.type == "page_viewed"], lambda one: (one.page, one.is_bot, one.day))
    assert story.after.rows["pages_daily"] == {
        cell: {"views": len(facts), "visitors": len({one.person for one in facts})} for cell, facts in pages.items()
    }


def test_metadata_holds_what_is_marked_as_extra(story: Story) -> None:
    """One JSON object in each row, of the numbers that stand beside it."""
    names = ", ".join(EXTRAS)
    rows = run_sql(story.copy, f"SELECT CAST(metadata AS text), {names} FROM daily_metrics")
    assert len(rows) > 200
    assert [json.loads(text) for text, *_ in rows] == [dict(zip(EXTRAS, row[1:], strict=True)) for row in rows]
    assert sum(json.loads(text)["downloads"] for text, *_ in rows) > 10


def test_what_is_in_the_data(story: Story) -> None:
    """Each thing that a home-made version gets wrong was there, and was taken for what it is."""
    true = story.after.truth
    assert (story.after.events, len({one.day for one in true.facts})) == (len(true.facts), COUNT - 1)
    assert story.after.held == {"undeclared": true.quarantined, "conflict": true.conflicts}
    assert min(true.quarantined, true.conflicts, true.ignored, true.repeated, true.money_of_browsers) > 0
    assert SILENT not in {one.day for one in true.facts}
    dead = [one.day for one in true.facts if one.key[0] == drawn.DEAD]
    assert max(dead) <= FIRST + dt.timedelta(days=drawn.DEAD_AFTER + 40)
    assert {one.ahead_s for one in REQUESTS} == {None, 0, 86_400, -86_400}
    offline = [one for one in REQUESTS if one.is_late and one.key == "pages" and "DNT" not in one.headers]
    assert len(offline) > 1
    assert any(one.is_bot for one in true.facts)
    assert {None} < {one.key[1] for one in true.facts if one.type == "asset_viewed"}
    assert len({one.first for one in true.facts}) > 8
    several = [one for one in true.facts if one.first != one.last and one.last != ("(direct)", "(none)", None)]
    assert len(several) > 10


def test_money_of_a_browser_is_no_revenue(story: Story) -> None:
    """Views that claim money were kept; not a cent of it is in any row."""
    claims = [one for one in story.after.truth.facts if one.trust == "public" and "revenue_cents" in one.props]
    assert len(claims) == story.after.truth.money_of_browsers > 1
    total = sum(row["revenue_cents"] for row in story.after.rows["daily_metrics"].values())
    assert total == sum(one.cents for one in story.after.truth.facts)


def test_late_ones_cost_what_changed(story: Story) -> None:
    """The rows that the second fold wrote are the rows that differ."""
    for table, name in (("daily_metrics", "DailyMetrics"), ("pages_daily", "PagesDaily")):
        one, other = story.before.rows[table], story.after.rows[table]
        different = {cell for cell in one.keys() | other.keys() if one.get(cell) != other.get(cell)}
        run = story.late[name]
        assert len(different) <= run.rows_inserted + run.rows_updated + run.rows_deleted
        assert 0 < run.cells < len(other) / 2


def test_sending_again_changes_nothing(story: Story) -> None:
    """Some of what servers sent and of what pages did, once more: known every time, and no row moves."""
    assert sum(one.get("accepted", 0) for one in story.answers) == 0
    assert sum(one.get("repeated", 0) for one in story.answers) > 80
    written = {name: (run.rows_inserted, run.rows_updated, run.rows_deleted) for name, run in story.again.items()}
    assert set(written.values()) == {(0, 0, 0)}


def test_indexes_are_there(story: Story) -> None:
    """By asset and day, and by project and day."""
    query = (
        "SELECT sql FROM duckdb_indexes() WHERE table_name = 'daily_metrics'"
        if story.copy.startswith("duckdb")
        else "SELECT indexdef FROM pg_indexes WHERE tablename = 'daily_metrics'"
    )
    found = " ".join(text.replace('"', "") for (text,) in run_sql(story.copy, query))
    assert "(ip_asset_id, day)" in found
    assert "(project_id, day)" in found


# -- reads -----------------------------------------------------------------------------------------


def ask(story: Story, token: str) -> Any:
    return reads.over_http(story.address, story.tokens[token])


def of_creator(creator: str) -> set[str]:
    return {row[0] for row in TABLES["assets"] if row[1] == creator}


def of_brand(brand: str) -> set[str]:
    """The assets that a brand has an active license on."""
    return {row[1] for row in TABLES["licenses"] if row[2] == brand and row[3] == "active" and row[4] > NOW}


def within(story: Story, first: dt.date, last: dt.date, assets: set[str] | None = None) -> list[Fact]:
    return [
        one for one in story.after.truth.facts if first <= one.day <= last and (assets is None or one.key[1] in assets)
    ]


RANGES = [(FIRST, LAST), (dt.date(2025, 11, 20), dt.date(2025, 12, 12)), (SILENT, SILENT)]


def totals(facts: list[Fact]) -> dict[str, Any]:
    found = daily(facts)
    rate = found["conversions"] / found["views"] if found["views"] else None
    return {name: found[name] for name in DAILY} | {"conversion_rate": rate}


@pytest.mark.parametrize(("first", "last"), RANGES)
def test_portfolio_is_of_the_callers_assets(story: Story, first: dt.date, last: dt.date) -> None:
    """A creator's own, a brand's licensed ones, everything for the platform; a visitor of several assets counts once."""
    for token, assets in (("creator", of_creator("c2")), ("brand", of_brand("b1")), ("platform", None)):
        assert reads.portfolio(ask(story, token), first, last) == totals(within(story, first, last, assets)), token


@pytest.mark.parametrize("token", ["creator", "brand", "platform"])
def test_top_assets_and_revenue_are_those_of_the_events(story: Story, token: str) -> None:
    """Each asset with its numbers, the greatest first, and not one that is somebody else's; revenue by week adds up."""
    assets = {"creator": of_creator("c2"), "brand": of_brand("b1"), "platform": None}[token]
    rows = reads.top_assets(ask(story, token), FIRST, LAST, limit=500)
    facts = grouped(within(story, FIRST, LAST, assets), lambda one: one.key[1])
    assert [row["views"] for row in rows] == sorted((row["views"] for row in rows), reverse=True)
    found = {row["ip_asset_id"]: {name: row[name] for name in reads.TOTALS} for row in rows}
    assert found == {asset: totals(facts[asset]) for asset in found}
    assert {asset for asset, some in facts.items() if daily(some)["views"]} <= set(found)
    if assets is not None:
        assert set(found) <= assets
    weeks = reads.revenue_timeline(ask(story, token), FIRST, LAST, "week")
    assert sum(row["revenue_cents"] for row in weeks) == sum(one.cents for one in within(story, FIRST, LAST, assets))
    days = reads.revenue_timeline(ask(story, token), FIRST, LAST)
    assert {row["day"]: row["revenue_cents"] for row in days} == {
        day: sum(one.cents for one in within(story, day, day, assets)) for day in DAYS
    }


@pytest.mark.parametrize("model", TOUCHES)
@pytest.mark.parametrize(("first", "last"), RANGES)
def test_campaign_report_is_the_count_by_hand(story: Story, model: str, first: dt.date, last: dt.date) -> None:
    """Visitors and sessions once over the whole range; ROI of the sums, and none where nothing was spent."""
    found = {}
    for row in reads.campaign_report(ask(story, "platform"), first, last, model):
        roi = row.pop("roi")
        assert roi == (
            pytest.approx((row["revenue_cents"] - row["cost_cents"]) / row["cost_cents"]) if row["cost_cents"] else None
        )
        found[row.pop("source"), row.pop("medium"), row.pop("campaign")] = row
    cells = grouped(within(story, first, last), lambda one: getattr(one, model))
    spent: dict[Cell, list[int]] = defaultdict(list)
    for (*name, day), cents in costs().items():
        if first <= day <= last:
            spent[tuple(name)] += cents
    expected = telling(
        {cell: campaign(cells.get(cell, []), spent.get(cell, [])) for cell in cells.keys() | spent.keys()}
    )
    assert telling(found) == expected
    if len(expected) > 5:
        assert found["friends", "invitation", "word-of-mouth"]["cost_cents"] == 0
        assert found["billboard", "print", "offline"]["visitors"] == 0


def test_a_brand_sees_its_own_campaigns(story: Story) -> None:
    """By first touch and by last, each with an access of its own; nothing of the platform, nothing of assets."""
    mine = {row["campaign"] for row in reads.campaign_report(ask(story, "brand-campaigns"), FIRST, LAST, "first")}
    assert mine == {"spring", "launch"}
    mine = {row["campaign"] for row in reads.campaign_report(ask(story, "brand-campaigns-last"), FIRST, LAST, "last")}
    assert mine == {"brand-a", "offline"}
    for token in ("creator", "brand", "brand-campaigns"):
        with pytest.raises(reads.Refused, match="There is no rollup 'PlatformDaily'"):
            reads.growth(ask(story, token), FIRST, LAST)
    with pytest.raises(reads.Refused, match="There is no rollup 'DailyMetrics'"):
        reads.portfolio(ask(story, "brand-campaigns"), FIRST, LAST)


# -- pages -----------------------------------------------------------------------------------------

WEEKS = (dt.date(2025, 11, 20), dt.date(2025, 12, 12))


def page(story: Story, token: str, name: str, status: int = 200, **more: str) -> str:
    """A page of the example over some weeks, as a caller is shown it."""
    words = urllib.parse.urlencode({"from": str(WEEKS[0]), "to": str(WEEKS[1]), **more})
    headers = {"Authorization": f"Bearer {story.tokens[token]}"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{story.address}/pages/{name}?{words}", headers=headers), timeout=30
        ) as answer:
            assert (answer.status, status) == (200, 200)
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        assert error.code == status, error.read().decode()
        return str(error.read().decode())


def shown(text: str) -> dict[str, str | None]:
    """The cards of a page by their names: the value that a program reads, None where nothing is known."""
    cards = re.findall(r'data-part="(\w+)" data-kind="card".*?<p class="kpi">(.*?)</p>', text, re.DOTALL)
    values = {name: re.search(r'<data value="([^"]*)"', cell) for name, cell in cards}
    return {name: None if found is None else found[1] for name, found in values.items()}


def table(text: str, name: str) -> list[list[str | None]]:
    """The rows of a top list: its keys, then its numbers."""
    part = re.search(rf'data-part="{name}".*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    assert part is not None
    found: list[list[str | None]] = []
    for row in re.findall(r"<tr>(.*?)</tr>", part[1], re.DOTALL):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        values = [re.search(r'<data value="([^"]*)"', cell) for cell in cells]
        texts = [re.sub(r"<svg.*?</svg>|<[^>]*>", "", cell, flags=re.DOTALL).strip() for cell in cells]
        found.append(
            [
                value[1] if value else None if text == "\u2013" else text
                for value, text in zip(values, texts, strict=True)
            ]
        )
    return found


def test_creator_page_is_the_count_by_hand(story: Story) -> None:
    """Their own assets: every number of the cards, the list and the timeline; chosen by the platform it is the same page."""
    mine = within(story, *WEEKS, of_creator("c2"))
    true, text = totals(mine), page(story, "creator", "CreatorPage")
    cards = shown(text)
    rate = cards.pop("conversion_rate")
    assert rate is not None
    assert float(rate) == pytest.approx(true["conversion_rate"])
    names = {
        "revenue": "revenue_cents",
        "visitors": "unique_visitors",
        "licenses": "conversions",
        "engagement": "engagement_time",
    }
    assert cards == {name: str(true[names.get(name, name)]) for name in cards}
    assert len(cards) == 6
    by_asset = grouped(mine, lambda one: one.key[1])
    rows = {row[0]: row[1:] for row in table(text, "top_assets")}
    columns = ("views", "unique_visitors", "clicks", "conversions", "revenue_cents")
    assert rows == {asset: [str(totals(by_asset[asset])[name]) for name in columns] for asset in rows}
    assert rows.keys() == by_asset.keys()
    drawn = re.search(r'id="chart-revenue_timeline-data">(.*?)</script>', text)
    assert drawn is not None
    days = [WEEKS[0] + dt.timedelta(days=n) for n in range((WEEKS[1] - WEEKS[0]).days + 1)]
    known = json.loads(drawn[1])
    assert known["x"] == [str(day) for day in days]
    assert known["series"][0]["values"] == [sum(one.cents for one in mine if one.day == day) for day in days]
    assert shown(page(story, "platform", "CreatorPage", creator_id="c2")) == shown(text)
    page(story, "creator", "CreatorPage", 403, creator_id="c1")
    for token in ("brand", "brand-campaigns"):
        page(story, token, "CreatorPage", 404)


def test_brand_pages_are_the_count_by_hand(story: Story) -> None:
    """Campaigns with their return, none where nothing was spent; assets while their license is active."""
    text = page(story, "brand-campaigns-last", "BrandCampaignPage")
    spent: dict[Any, list[int]] = defaultdict(list)
    for (source, medium, name, day), cents in costs().items():
        if WEEKS[0] <= day <= WEEKS[1] and name in ("brand-a", "offline"):
            spent[name, source, medium] += cents
    cells = grouped(
        [one for one in within(story, *WEEKS) if one.last[2] in ("brand-a", "offline")],
        lambda one: (one.last[2], one.last[0], one.last[1]),
    )
    whole = campaign([one for some in cells.values() for one in some], [one for some in spent.values() for one in some])
    cards = shown(text)
    roi = cards.pop("roi")
    assert roi is not None
    assert float(roi) == pytest.approx((whole["revenue_cents"] - whole["cost_cents"]) / whole["cost_cents"])
    names = {"revenue": "revenue_cents", "cost": "cost_cents", "licenses": "conversions"}
    assert cards == {name: str(whole[names.get(name, name)]) for name in cards}
    rows = {tuple(row[:3]): row[3:] for row in table(text, "campaigns")}
    for key, numbers in rows.items():
        true = campaign(cells.get(key, []), spent.get(key, []))
        assert numbers.pop(2) == (
            None if not true["cost_cents"] else repr((true["revenue_cents"] - true["cost_cents"]) / true["cost_cents"])
        )
        order = ("revenue_cents", "cost_cents", "impressions", "clicks", "conversions", "visitors")
        assert numbers == [str(true[name]) for name in order], key
    assert rows.keys() >= {key for key, some in cells.items() if campaign(some, [])["impressions"]}
    everything = {row[0]: row[3] for row in table(page(story, "platform", "PlatformPage"), "campaigns")}
    assert everything["word-of-mouth"] is None

    assets = page(story, "brand", "BrandAssetsPage")
    mine = within(story, *WEEKS, of_brand("b1"))
    true = totals(mine)
    assert shown(assets) == {
        "views": str(true["views"]), "clicks": str(true["clicks"]), "visitors": str(true["unique_visitors"]),
    }  # fmt: skip
    assert {str(row[0]) for row in table(assets, "assets")} <= of_brand("b1")


def test_platform_page_is_the_count_by_hand(story: Story) -> None:
    """For whoever sees everything, and nobody else."""
    days = {WEEKS[0] + dt.timedelta(days=n) for n in range((WEEKS[1] - WEEKS[0]).days + 1)}
    true = platform(story.after.truth.facts, TABLES, days)
    names = {"revenue": "revenue_cents", "creators": "new_creators", "brands": "new_brands", "licenses": "conversions"}
    cards = shown(page(story, "platform", "PlatformPage"))
    assert cards == {name: str(true[names.get(name, name)]) for name in cards}
    assert len(cards) == 7
    for token in ("creator", "brand", "brand-campaigns-last"):
        page(story, token, "PlatformPage", 404)


def test_growth_is_the_count_by_hand(story: Story) -> None:
    """Month by month, each against the one before."""
    rows = reads.growth(ask(story, "platform"), FIRST, LAST)
    before = None
    for row in rows:
        start = dt.date.fromisoformat(row["day"])
        expected = platform(
            story.after.truth.facts, TABLES, {one for one in DAYS if (one.year, one.month) == (start.year, start.month)}
        )
        assert {name: row[name] for name in PLATFORM} == expected
        assert row["revenue_growth"] == (expected["revenue_cents"] / before - 1 if before else None)
        before = expected["revenue_cents"]
    assert len(rows) == 2


def test_a_brand_is_shut_out_when_its_license_ends(story: Story) -> None:
    """Between two reads, without anything being told to the server: the asset's numbers are gone, the others stay."""
    asset = max(of_brand("b4"), key=lambda one: len(within(story, FIRST, LAST, {one})))
    words = {"from_": FIRST, "to": LAST, "grain": "total", "by": ["ip_asset_id"]}
    scope = Scope.of(None, {}, [Grant.of("Brand", {"brand_id": "b4"})])
    with application(story.copy, story.folder) as app:

        def seen() -> set[str]:
            return {row["ip_asset_id"] for row in app.query("DailyMetrics", ["views"], scope=scope, **words).rows}

        def end(sql: str) -> None:
            with app.ledger.store.transaction() as session:
                session.execute(sql)

        before = seen()
        end(
            f"UPDATE licenses SET expires_at = now() - interval '1 second' WHERE brand_id = 'b4' AND ip_asset_id = '{asset}'"
        )
        after = seen()
        end("UPDATE licenses SET status = 'ended' WHERE brand_id = 'b4'")
        assert (asset in before, before - {asset}, seen()) == (True, after, set())


def test_pages_send_what_they_may_and_read_nothing(story: Story) -> None:
    """The key that stands in every page: no other type, no actor, no numbers; a token that reads sends nothing."""
    collector = load.Collector(story.address)
    for event, reason in (
        (
            {"event_type": "license_created", "properties": {"revenue_cents": 1}},
            "This key does not send 'license_created'",
        ),
        ({"event_type": "page_viewed", "actor": {"id": "u1"}}, "A public key says nothing of an actor"),
    ):
        with pytest.raises(Exception, match=reason):
            collector.send(story.keys["pages"], [event])
    with pytest.raises(Exception, match="A token of the kind 'read' sends no events"):
        collector.send(story.tokens["platform"], [{"event_type": "page_viewed"}])
    collector.close()
    with pytest.raises(reads.Refused):
        reads.portfolio(reads.over_http(story.address, story.keys["pages"]), FIRST, LAST)


def test_report_is_printed(story: Story) -> None:
    """As a table, by the command of the example."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "reads.py"), "campaigns", "--url", story.address, "--token",
         story.tokens["platform"], "--from", "2025-11-10", "--to", "2025-12-10", "--model", "first"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["source", "medium", "campaign", "visitors", "sessions", "impressions", "clicks",
                                "conversions", "revenue", "cost", "roi"]  # fmt: skip
    [billboard] = [line for line in lines if line.startswith("billboard")]
    assert billboard.split()[-1:] == ["%"]
    assert "-100.0 %" in billboard


def test_verify_proves_what_is_stored(story: Story) -> None:
    """By other SQL than the fold's."""
    with application(story.copy, story.folder) as app:
        for found in app.verify(from_="2025-12-05", to="2025-12-10"):
            assert (found.drifted, found.error) == (0, None), found.rollup


def test_definitions_are_those_of_the_platform() -> None:
    """Every type of the platform is declared, in its family; the nightly fold has three attempts and tells of the last."""
    with Dayfold(EXAMPLE / "metrics.py") as app:
        app.catalog.check()
        types: EventTypes = app.catalog.event_types
        assert {name: len(known) for name, known in types.families.items()} == {
            "user": 3, "asset": 5, "project": 4, "license": 5, "royalty": 3, "navigation": 5, "system": 4,
        }  # fmt: skip
        assert (app.settings.schedule.fold, app.settings.jobs.attempts) == ("0 2 * * *", 3)
        assert set(app.catalog.alerts) == {"jobs", "revenue"}


def test_declarations_for_the_front_end_are_those_of_the_definitions(tmp_path: Path) -> None:
    """The pages are compiled against what `dayfold events types` writes; nobody writes them again by hand."""
    written = succeeds("events", "types", "--format", "ts", "--app", EXAMPLE / "metrics.py", cwd=tmp_path).out
    assert (EXAMPLE / "web" / "events.ts").read_text() == written, "write web/events.ts anew"
