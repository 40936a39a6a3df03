"""Increases: the daily growth of cumulative levels, and changed levels that show on the next observed day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from dayfold import Count, Gauge, Increase, Rollup, Sum
from dayfold.errors import DefinitionError
from dayfold.ledger import marks
from dayfold.plan.access import Scope
from tests.engines.ground import Ground, march
from tests.sql import Session

pytestmark = pytest.mark.in_turn

DDL = "id bigint, post integer, platform text, seen timestamptz, views bigint, likes numeric(12,2), touched timestamptz"
D = dt.date


def row(
    number: int, post: int | None, day: int, views: int | None, platform: str | None = "a", **more: Any
) -> dict[str, Any]:
    found = {"id": number, "post": post, "platform": platform, "seen": march(day), "views": views, "likes": None}
    return {**found, "touched": march(1), **more}


#: Post 1 grows, has a gap, is reset, and changes its platform; post 2 stands still; NULL is a post of its own.
HISTORY = [
    row(1, 1, 1, 10),
    row(2, 1, 3, 15),
    row(3, 1, 4, 30, "b"),
    row(4, 1, 6, 4, "b"),
    row(5, 2, 2, 7),
    row(6, 2, 4, 7),
    row(7, None, 3, 5),
    row(8, None, 5, 9),
]
GROWTH = [("a", 1, 10), ("a", 2, 7), ("a", 3, 10), ("a", 4, 0), ("a", 5, 4), ("b", 4, 15), ("b", 6, 4)]


def filled(
    ground: Ground,
    rows: Sequence[dict[str, Any]] = HISTORY,
    *,
    changes: str | None = None,
    indexed: bool = False,
    **more: Any,
) -> None:
    """A table of snapshots and a folded rollup over it; its triggers are installed where it has some."""
    ground.load("snapshot", DDL, rows)
    if indexed:
        ground.source("CREATE INDEX ON snapshot (post, seen)")
    source = ground.table("snapshot", changes=changes)
    metrics = {"views": Increase(source, "views", per="post", at="seen")}
    ground.define(type("Posts", (Rollup,), {"key": "platform", **metrics, **more}))
    if changes == "trigger":
        ground.opened.track_install()
    ground.fold()


def trackable(ground: Ground) -> Ground:
    if ground.pairing.source.startswith("duckdb") and ground.pairing.source != ground.pairing.store:
        pytest.skip("DuckDB has triggers for tables of the store's own file only")
    return ground


def grown(ground: Ground) -> list[tuple[Any, ...]]:
    """Platform, day of March and growth of every stored row."""
    rows = ground.stored("SELECT platform, day, views FROM posts ORDER BY platform NULLS FIRST, day")
    return [(platform, day.day, views) for platform, day, views in rows]


def truth(ground: Ground) -> list[tuple[Any, ...]]:
    """The same in plain Python, from the rows of the source."""
    rows = ground.source("SELECT post, platform, CAST(seen AT TIME ZONE 'UTC' AS TIMESTAMP), views FROM snapshot")
    found: dict[tuple[Any, int], int] = {}
    for post in {one[0] for one in rows}:
        level = 0
        observed = [one for one in rows if one[0] == post and one[3] is not None]
        for day in sorted({one[2].date() for one in observed}):
            last = max(
                (one for one in observed if one[2].date() == day), key=lambda one: (one[2], one[3], one[1] or "")
            )
            place = (last[1], day.day)
            found[place] = found.get(place, 0) + (last[3] - level if last[3] >= level else last[3])
            level = last[3]
    return sorted(
        ((platform, day, views) for (platform, day), views in found.items()), key=lambda one: (one[0] or "", one[1])
    )


def cells_of_fold(ground: Ground) -> int:
    """Fold: how many cells were computed."""
    [run] = ground.fold()
    assert run.warnings == []
    return int(run.cells)


def in_postgres(ground: Ground, indexed: bool) -> bool:
    """Whether the source gets an index from entities to moments; DuckDB uses none."""
    if indexed and ground.pairing.source.startswith("duckdb"):
        pytest.skip("an index of DuckDB leads to no range of moments")
    return indexed


# -- what it is ------------------------------------------------------------------------------------


@pytest.mark.parametrize("indexed", [False, True])
def test_growth_is_the_level_less_that_of_the_day_before_it(ground: Ground, indexed: bool) -> None:
    """Gaps are crossed, a reset starts from zero, growth goes to the key of the day's last row, NULL is an entity."""
    filled(ground, indexed=in_postgres(ground, indexed))
    assert grown(ground) == GROWTH == truth(ground)
    assert ground.fold_written() == 0


def test_days_and_keys_add_up(ground: Ground) -> None:
    """A week is the sum of its days; a covered day without an observation is zero."""
    filled(ground)
    assert [one["views"] for one in ground.ask("Posts", "views", first=1, last=8)] == [10, 7, 10, 15, 4, 4, 0, 0]
    assert ground.ask("Posts", "views", first=1, last=8, grain="total")[0]["views"] == 50
    [a, b] = ground.ask("Posts", "views", first=1, last=8, grain="total", by=["platform"])
    assert (a["views"], b["views"]) == (31, 19)


def test_level_of_a_day_is_its_last_and_greatest(ground: Ground) -> None:
    """The latest moment counts; of several at that moment the greatest level, and of these the greatest key."""
    rows = [
        row(1, 1, 1, 50, seen=march(1, 9)),
        row(2, 1, 1, 20, seen=march(1, 10)),
        row(3, 1, 1, 30, "b", seen=march(1, 10)),
        row(4, 1, 1, 30, "c", seen=march(1, 10)),
        row(5, 1, 1, 30, None, seen=march(1, 10)),
        row(6, 1, 1, 25, "z", seen=march(1, 10)),
        row(7, 1, 2, 31),
        row(8, 1, 2, None, "z", seen=march(2, 20)),
    ]
    filled(ground, rows)
    assert grown(ground) == [("a", 2, 1), ("c", 1, 30)] == truth(ground)


def test_levels_before_history_count(ground: Ground) -> None:
    """What was observed before ``since`` is where the first day grows from."""
    filled(ground, since=D(2026, 3, 4))
    assert grown(ground) == [one for one in GROWTH if one[1] >= 4]


@pytest.mark.parametrize("indexed", [False, True])
def test_several_levels_and_filters_at_once(ground: Ground, indexed: bool) -> None:
    """Each level has its own observations: a NULL is none, nor is what its filter leaves out; decimals stay exact."""
    ground.load(
        "snapshot",
        DDL,
        [
            row(1, 1, 1, 10, likes=Decimal("1.10")),
            row(2, 1, 2, 20, "b", likes=None),
            row(3, 1, 3, None, "c", likes=Decimal("1.30")),
            row(4, 1, 4, 26, likes=Decimal("0.25")),
        ],
    )
    if in_postgres(ground, indexed):
        ground.source("CREATE INDEX ON snapshot (post, seen)")
    snapshot = ground.table("snapshot")

    class Posts(Rollup):
        key = "platform"
        views = Increase(snapshot, "views", per="post", at="seen")
        likes = Increase(snapshot, "likes", per=["post"], at="seen")
        double = Increase(snapshot, "views * 2", per="post", at="seen", where="platform <> 'b'")
        rows = Count(snapshot, at="seen")

    app = ground.define(Posts)
    ground.fold()
    found = ground.stored("SELECT platform, day, views, likes, double, rows FROM posts ORDER BY day")
    assert [(key, day.day, *rest) for key, day, *rest in found] == [
        ("a", 1, 10, Decimal("1.10"), 20, 1),
        ("b", 2, 10, 0, 0, 1),
        ("c", 3, 0, Decimal("0.20"), 0, 1),
        ("a", 4, 6, Decimal("0.25"), 32, 1),
    ]
    [result] = ground.define(Posts).verify(from_="2026-03-01", to="2026-03-11")
    assert (result.error, result.drifted, app is not None) == (None, 0, True)


def test_floats_are_rounded_to_a_scale(ground: Ground) -> None:
    """A float level needs ``scale``; each level is rounded before it is compared."""
    ddl = "post bigint, seen date, level double precision"
    ground.load("meter", ddl, [{"post": 1, "seen": D(2026, 3, day), "level": day / 10} for day in (1, 2, 3)])
    meter = ground.table("meter")
    ground.define(type("Meters", (Rollup,), {"used": Increase(meter, "level", per="post", at="seen", scale=2)}))
    ground.fold()
    assert [value for (value,) in ground.stored("SELECT used FROM meters ORDER BY day")] == [Decimal("0.10")] * 3
    ground.define(type("Meters", (Rollup,), {"used": Increase(meter, "level", per="post", at="seen")}))
    with pytest.raises(DefinitionError) as error:
        ground.opened.fold()
    assert "Say how many digits count after the point: Increase(…, scale=6), or cast it with ::numeric(18,2)." in str(
        error.value
    )


@pytest.mark.parametrize("value", ["-1", "'NaN'", "'Infinity'"])
def test_what_is_no_cumulative_level_fails_the_source(ground: Ground, value: str) -> None:
    """A level below zero has no growth, nor has one that is no number: the source fails, and other sources do not."""
    ground.load(
        "meter", "post bigint, seen date, level double precision", [{"post": 1, "seen": D(2026, 3, 2), "level": 1.5}]
    )
    ground.source(f"INSERT INTO meter VALUES (1, DATE '2026-03-04', {value})")
    meter = ground.table("meter")
    ground.define(type("Meters", (Rollup,), {"used": Increase(meter, "level", per="post", at="seen", scale=2)}))
    [run] = ground.opened.fold()
    label = ground.label("meter")
    assert run.error == (
        f"{label}: 1 facts from 2026-03-02 to 2026-03-12 hold a level below zero, or one that is NaN or infinite.\n"
        "  A cumulative level is never below zero: correct them, or leave them out with where=…. A level that may be is a Gauge."
    )
    where = "level >= 0 and level < 1e9"
    ground.define(
        type("Meters", (Rollup,), {"used": Increase(meter, "level", per="post", at="seen", scale=2, where=where)})
    )
    ground.fold()
    assert ground.stored("SELECT used FROM meters") == [(Decimal("1.50"),)]


def test_mistakes_are_told(store: Ground) -> None:
    """Whose level it is has to be said, by columns that the source has, for days."""
    store.load("snapshot", DDL, HISTORY)
    snapshot = store.table("snapshot")

    class Posts(Rollup):
        grain = "hour"
        views = Increase(snapshot, "views", per="post", at="seen")

    class Others(Rollup):
        nobody = Increase(snapshot, "views", at="seen")
        typo = Increase(snapshot, "views", per="pots", at="seen")
        twice = Increase(snapshot, "views", per=["post", "post"], at="seen")
        number = Increase(snapshot, "views", per=7, at="seen")  # type: ignore[arg-type]
        moment = Increase(snapshot, "views", per="seen", at="seen")
        text = Increase(snapshot, "platform", per="post", at="seen")
        more = Increase(snapshot, "views", per="post", at="seen", carry=True)

    with pytest.raises(DefinitionError) as error:
        store.define(Posts, Others).fold()
    said = str(error.value)
    for words in (
        "Increase needs per=…, the column or columns that say whose level it is.",
        "per names a column twice: post, post.",
        "per is a column or a list of columns, got 7.",
        "Increase has no option 'carry'",
    ):
        assert words in said
    assert "Options: per, at, where, scale" in said


def test_mistakes_against_the_source_are_told(store: Ground) -> None:
    """What the columns of the source show: an unknown entity, one that is no key, a text for a level, hours."""
    store.load("snapshot", DDL, HISTORY)
    snapshot = store.table("snapshot")

    class Posts(Rollup):
        grain = "hour"
        views = Increase(snapshot, "views", per="post", at="seen")

    class Others(Rollup):
        typo = Increase(snapshot, "views", per="pots", at="seen")
        moment = Increase(snapshot, "views", per="seen", at="seen")
        text = Increase(snapshot, "platform", per="post", at="seen")

    with pytest.raises(DefinitionError) as error:
        store.define(Posts, Others).fold()
    said = str(error.value)
    for words in (
        "Increase is the growth of a day; the grain hour cuts days into parts.\n"
        '  Use grain = "day", or a Gauge of the level.',
        "per: snapshot has no column 'pots'; the nearest is 'post'.",
        "per: 'seen' is timestamptz; whose level it is, is said by text, integer, uuid, boolean, date.",
        "Increase needs a number; the expression is text.",
    ):
        assert words in said


# -- changes ---------------------------------------------------------------------------------------


CHANGES = {
    "corrected": "UPDATE snapshot SET views = 12 WHERE id = 2",
    "corrected, shown after a gap": "UPDATE snapshot SET views = 20 WHERE id = 3",
    "of NULL": "UPDATE snapshot SET views = 6 WHERE id = 7",
    "late": "INSERT INTO snapshot VALUES (20, 1, 'a', TIMESTAMPTZ '2026-03-02 08:00:00+00', 11, NULL, NULL)",
    "later that day": "INSERT INTO snapshot VALUES (21, 1, 'z', TIMESTAMPTZ '2026-03-03 20:00:00+00', 18, NULL, NULL)",
    "first of all": "INSERT INTO snapshot VALUES (22, 2, 'q', TIMESTAMPTZ '2026-03-01 08:00:00+00', 3, NULL, NULL)",
    "moved to another key": "UPDATE snapshot SET platform = 'c' WHERE id = 3",
    "moved to another day": "UPDATE snapshot SET seen = TIMESTAMPTZ '2026-03-05 12:00:00+00' WHERE id = 3",
    "no observation any more": "UPDATE snapshot SET views = NULL WHERE id = 3",
    "one again": "UPDATE snapshot SET views = 19 WHERE id = 3",
    "moved to another post": "UPDATE snapshot SET post = 2 WHERE id = 2",
    "moved to no post": "UPDATE snapshot SET post = NULL WHERE id = 2",
    "all at once": "UPDATE snapshot SET views = views + 3",
    "day's last deleted": "DELETE FROM snapshot WHERE id = 21",
    "deleted in the middle": "DELETE FROM snapshot WHERE id = 20",
    "deleted before the reset": "DELETE FROM snapshot WHERE id = 3",
    "deleted first": "DELETE FROM snapshot WHERE id = 1",
}


@pytest.mark.parametrize("indexed", [False, True])
def test_changed_level_shows_on_the_next_observed_day(ground: Ground, indexed: bool) -> None:
    """Triggers tell the day; the fold finds the entity's next one, however late it is and whatever key it has."""
    filled(trackable(ground), changes="trigger", indexed=in_postgres(ground, indexed))
    assert cells_of_fold(ground) == 0
    for change, statement in CHANGES.items():
        ground.source(statement)
        cells = cells_of_fold(ground)
        assert grown(ground) == truth(ground), change
        assert 0 < cells <= (12 if change == "all at once" else 6), change
    assert cells_of_fold(ground) == 0
    [result] = ground.opened.verify(from_="2026-03-01", to="2026-03-11")
    assert (result.error, result.drifted) == (None, 0)


def test_installing_again_loses_no_changed_level(ground: Ground) -> None:
    """What is logged and not folded stays when triggers are made once more, wherever it is logged."""
    filled(trackable(ground), changes="trigger")
    ground.source("UPDATE snapshot SET views = 12 WHERE id = 1")
    # A second rollup over the table: its triggers are made anew.
    source = ground.table("snapshot", changes="trigger")
    posts = type("Posts", (Rollup,), {"key": "platform", "views": Increase(source, "views", per="post", at="seen")})
    ground.define(posts, type("Seen", (Rollup,), {"seen_posts": Count(source, at="seen")}))
    ground.opened.track_install()
    ground.fold()
    assert grown(ground) == truth(ground)


def test_row_that_was_last_uncovers_the_one_before_it(ground: Ground) -> None:
    """With the day's last row gone its growth belongs to a key that no changed row names."""
    rows = [*HISTORY, row(9, 1, 3, 17, "z", seen=march(3, 20))]
    filled(trackable(ground), rows, changes="trigger")
    assert ("z", 3, 7) in grown(ground)
    ground.source("DELETE FROM snapshot WHERE id = 9")
    cells_of_fold(ground)
    assert grown(ground) == GROWTH


@pytest.mark.parametrize("indexed", [False, True])
def test_late_level_costs_its_own_cells_only(ground: Ground, indexed: bool) -> None:
    """Of fifty posts on forty days one level is corrected: its cell and that of the next observed day."""
    trackable(ground)
    rows = [row(n, n % 50, 1 + n // 250, 100 + n, f"p{n % 50}") for n in range(2500)]
    filled(ground, rows, changes="trigger", indexed=in_postgres(ground, indexed))
    ground.source("UPDATE snapshot SET views = 101 WHERE id = 7")
    assert cells_of_fold(ground) <= 2
    ground.source("UPDATE snapshot SET views = 1 WHERE id = 207")
    assert cells_of_fold(ground) == 2
    assert grown(ground) == truth(ground)


def test_every_rollup_over_a_source_follows_its_own_levels(ground: Ground) -> None:
    """Two rollups, two entities: both see the correction after the other was folded."""
    ground.load("snapshot", DDL, HISTORY)
    snapshot = trackable(ground).table("snapshot", changes="trigger")
    by_post = type("ByPost", (Rollup,), {"views": Increase(snapshot, "views", per="post", at="seen")})
    by_both = {
        "key": "platform",
        "views": Increase(snapshot, "views", per=["platform", "post"], at="seen"),
        "likes": Increase(snapshot, "likes", per="post", at="seen"),
    }
    app = ground.define(by_post, type("ByBoth", (Rollup,), by_both))
    app.track_install()
    ground.fold()
    ground.source("UPDATE snapshot SET views = 12, likes = 5 WHERE id = 2")
    assert [run.error for run in ground.opened.fold(["ByPost"])] == [None]
    ground.fold()
    assert [value for (value,) in ground.stored("SELECT views FROM by_post ORDER BY day")] == [10, 7, 7, 18, 4, 4]
    found = ground.stored("SELECT platform, day, views, likes FROM by_both ORDER BY platform, day")
    assert [(key, day.day, views, likes) for key, day, views, likes in found] == [
        ("a", 1, 10, 0), ("a", 2, 7, 0), ("a", 3, 7, 5), ("a", 4, 0, 0), ("a", 5, 4, 0), ("b", 4, 30, 0), ("b", 6, 4, 0),
    ]  # fmt: skip
    results = ground.opened.verify(from_="2026-03-01", to="2026-03-11")
    assert [(one.error, one.drifted) for one in results] == [(None, 0), (None, 0)]


@pytest.mark.parametrize("indexed", [False, True])
def test_stamped_rows_show_on_the_next_observed_day(ground: Ground, indexed: bool) -> None:
    """By a cursor as by triggers, but for rows that are gone."""
    filled(ground, changes="touched", indexed=in_postgres(ground, indexed))
    ground.clock.instant += dt.timedelta(hours=1)
    stamp = "touched = now() + INTERVAL '1 day'"
    ground.source(f"UPDATE snapshot SET views = 20, {stamp} WHERE id = 3")
    ground.source(f"UPDATE snapshot SET views = 6, {stamp} WHERE id = 7")
    ground.fold()
    assert grown(ground) == truth(ground) != GROWTH


def test_lookback_finds_levels_and_where_they_show(ground: Ground) -> None:
    """What changed within it shows within it, also after days on which nothing was folded."""
    filled(ground, lookback=9)
    ground.clock.instant += dt.timedelta(days=5)
    ground.insert("snapshot", [row(20, 1, 15, 9), row(21, 2, 17, 8)])
    ground.source("UPDATE snapshot SET views = 8 WHERE id = 8")
    ground.fold()
    assert [one for one in grown(ground) if one[1] >= 8] == [("a", 15, 5), ("a", 17, 1)]
    ground.insert("snapshot", [row(22, 1, 10, 5)])
    ground.fold()
    assert [one for one in grown(ground) if one[1] >= 8] == [one for one in truth(ground) if one[1] >= 8]


def test_day_marked_whole_is_followed_for_everybody(ground: Ground) -> None:
    """A day that changed as a whole shows in the next observed day of every entity, vanished ones too."""
    filled(ground, changes="touched")
    ground.source("DELETE FROM snapshot WHERE id IN (2, 7)")
    ground.source("UPDATE snapshot SET views = 8 WHERE id = 6")
    app = ground.opened
    with app.ledger.store.transaction() as session:
        app.ledger.store.make_schema(session)
        insert = (
            "insert into dayfold__marks (id, rollup, version, key, day, marked_at, reason) values "
            "(nextval(:sequence), 'Posts', 1, null, :day::date, :now::timestamptz, 'corrected')"
        )
        for day in ("2026-03-03", "2026-03-04"):
            session.execute(
                app.ledger.sql(insert, sequence=marks.sequence(app.ledger), day=day, now="2026-03-12T00:00:00Z")
            )
    assert app.query("Posts", ["views"], from_="2026-03-05", to="2026-03-05", live=True).rows[0]["views"] == 9
    ground.fold()
    assert grown(ground) == truth(ground)


# -- proof, explanation, live ----------------------------------------------------------------------


def test_verify_names_a_tampered_growth_and_heals_it(ground: Ground) -> None:
    """What somebody wrote into the table is not what the levels say."""
    filled(ground)
    ground.stored("UPDATE posts SET views = 16 WHERE platform = 'b' AND day = DATE '2026-03-04'")
    [result] = ground.opened.verify(from_="2026-03-01", to="2026-03-11")
    [drift] = result.drifts
    assert (drift.metric, drift.key, drift.day, drift.stored, drift.actual) == (
        "views",
        {"platform": "b"},
        D(2026, 3, 4),
        16,
        15,
    )
    [result] = ground.opened.verify(from_="2026-03-01", to="2026-03-11", heal=True)
    assert (result.drifted, result.healed) == (1, 1)
    assert grown(ground) == GROWTH


def test_explain_shows_the_levels_behind_a_growth(ground: Ground) -> None:
    """The last row of the day and the one that it is compared with, of every entity of the cell, and nothing else."""
    filled(ground)
    found = ground.opened.explain("Posts", "views", day="2026-03-04", where=["platform=b"])
    assert (found.value, found.present) == (15, 15)
    [evidence] = found.evidence
    assert [one["id"] for one in evidence.rows] == [2, 3]
    assert evidence.total == 2
    found = ground.opened.explain("Posts", "views", day="2026-03-04", where=["platform=a"])
    assert [one["id"] for one in found.evidence[0].rows] == [5, 6]
    found = ground.opened.explain("Posts", "views", day="2026-03-01", where=["platform=a"])
    assert [one["id"] for one in found.evidence[0].rows] == [1]


def test_a_level_of_another_key_is_not_shown_to_whoever_may_not_see_it(ground: Ground) -> None:
    """Post 1 was of another platform before; what is left out is said, and only where something is."""
    filled(ground)
    scope = Scope.of(None, {"platform": ["b"]})
    where = ["platform=b"]
    found = ground.opened.explain("Posts", "views", day="2026-03-04", where=where, scope=scope)
    [evidence] = found.evidence
    assert ([one["id"] for one in evidence.rows], evidence.total, evidence.read) == ([3], 1, True)
    assert evidence.reason == "a level before belongs to another key, and is not shown"
    assert (found.value, found.present) == (15, 15)
    [evidence] = ground.opened.explain("Posts", "views", day="2026-03-06", where=where, scope=scope).evidence
    assert ([one["id"] for one in evidence.rows], evidence.total, evidence.reason) == ([3, 4], 2, None)
    [evidence] = ground.opened.explain("Posts", "views", day="2026-03-04", where=where).evidence
    assert ([one["id"] for one in evidence.rows], evidence.reason) == ([2, 3], None)


def test_live_answers_and_explanations_follow_changed_levels(ground: Ground) -> None:
    """Before any fold: the next observed day is computed too, and said to be stale."""
    filled(trackable(ground), changes="trigger")
    ground.source("UPDATE snapshot SET views = 20 WHERE id = 3")
    ground.source("UPDATE snapshot SET views = 6 WHERE id = 7")
    live = ground.ask("Posts", "views", first=1, last=6, live=True)
    assert [one["views"] for one in live] == [10, 7, 11, 5, 3, 4]
    [b] = ground.ask("Posts", "views", first=4, last=4, live=True, where=["platform=b"])
    assert b["views"] == 5
    assert [one["views"] for one in ground.ask("Posts", "views", first=1, last=6)] == [10, 7, 10, 15, 4, 4]
    found = ground.opened.explain("Posts", "views", day="2026-03-05", where=["platform=a"])
    assert (found.value, found.present) == (4, 3)
    label = ground.label("snapshot")
    if ground.pairing.same:
        [plan] = ground.opened.plan()
        assert plan.marked == 4
    assert [one.reason for one in found.marks] == [f"an earlier level of {label} changed"]
    assert "The cell is stale: what it is made of was changed, and the next fold computes it anew." in found.why
    ground.fold()
    assert grown(ground) == truth(ground)


def test_rebuild_of_one_key_looks_at_all_keys(ground: Ground) -> None:
    """The level before may be under another key, and a row that is not the last of its day counts for none."""
    rows = [*HISTORY, row(9, 1, 3, 17, "z", seen=march(3, 20))]
    filled(ground, rows)
    ground.stored("UPDATE posts SET views = 1")
    for platform in ("a", "b", "z"):
        ground.opened.rebuild("Posts", from_="2026-03-01", to="2026-03-12", where=[f"platform={platform}"])
    assert grown(ground) == truth(ground)


def test_backfill_in_portions_looks_before_each(ground: Ground) -> None:
    """Every portion finds the level before its first day in the source."""
    ground.load("snapshot", DDL, HISTORY)
    ground.config = {**ground.config, "fold": {"chunk_rows": 1}}
    source = ground.table("snapshot")
    ground.define(
        type("Posts", (Rollup,), {"key": "platform", "views": Increase(source, "views", per="post", at="seen")})
    )
    ground.fold()
    assert grown(ground) == GROWTH


def test_edited_definition_is_built_from_all_levels(ground: Ground) -> None:
    """A new version over a tracked source, with changes while it was not folded."""
    filled(trackable(ground), changes="trigger")
    ground.source("UPDATE snapshot SET views = 20 WHERE id = 3")
    source = ground.table("snapshot", changes="trigger")
    metrics = {"views": Increase(source, "views", per="post", at="seen"), "rows": Count(source, at="seen")}
    app = ground.define(type("Posts", (Rollup,), {"key": "platform", **metrics}))
    app.track_install()
    ground.fold()
    assert grown(ground) == truth(ground)
    assert ground.stored("SELECT count(*) FROM dayfold__marks") == [(0,)]
    ground.source("UPDATE snapshot SET views = 21 WHERE id = 3")
    ground.fold()
    assert grown(ground) == truth(ground)


def test_rollups_above_and_below(ground: Ground) -> None:
    """Growth adds up in a rollup above; levels kept by a rollup below grow, and a changed one is followed."""
    ground.load("snapshot", DDL, [one for one in HISTORY if one["post"]])
    snapshot = trackable(ground).table("snapshot", changes="trigger")

    class Levels(Rollup):
        key = "post"
        level = Gauge(snapshot, "views", at="seen")

    class Growth(Rollup):
        key = "post"
        views = Increase(Levels, "level", per="post", at="day")

    class Platform(Rollup):
        views = Sum(Growth, "views", at="day")

    app = ground.define(Levels, Growth, Platform)
    app.track_install()
    ground.fold()

    def total() -> list[int]:
        return [int(views) for (views,) in ground.stored("SELECT views FROM platform ORDER BY day")]

    assert total() == [10, 7, 5, 15, 4]
    ground.source("UPDATE snapshot SET views = 12 WHERE id = 2")
    ground.fold()
    assert total() == [10, 7, 2, 18, 4]
    ground.source("DELETE FROM snapshot WHERE id = 2")
    ground.fold()
    assert total() == [10, 7, 20, 4]


def test_queries_over_tables_follow_levels(ground: Ground) -> None:
    """A source over a join: a change of either table is followed from the entities that it leads to."""
    if not ground.pairing.source.startswith("postgres"):
        pytest.skip("triggers on the tables of a query: PostgreSQL")
    ground.load("post", "id bigint, platform text", [{"id": 1, "platform": "a"}, {"id": 2, "platform": "a"}])
    ground.load("snap", "post bigint, seen timestamptz, views bigint", [
        {"post": 1, "seen": march(1), "views": 10}, {"post": 1, "seen": march(5), "views": 30},
        {"post": 2, "seen": march(2), "views": 1},
    ])  # fmt: skip
    text = "select s.post, s.seen, s.views, p.platform from snap s join post p on p.id = s.post"
    from dayfold import Table

    source = Table(sql=text, database=ground.pairing.database, changes="trigger", reads=["snap", "post"])
    posts = {"key": "platform", "views": Increase(source, "views", per="post", at="seen")}
    app = ground.define(type("Posts", (Rollup,), posts))
    app.track_install()
    ground.fold()
    ground.source("UPDATE snap SET views = 12 WHERE seen < TIMESTAMPTZ '2026-03-02 00:00:00+00'")
    ground.fold()
    assert grown(ground) == [("a", 1, 12), ("a", 2, 1), ("a", 5, 18)]
    ground.source("UPDATE post SET platform = 'b' WHERE id = 1")
    ground.fold()
    assert grown(ground) == [("a", 2, 1), ("b", 1, 12), ("b", 5, 18)]


# -- at once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("indexed", [False, True])
def test_level_that_commits_after_its_next_day_was_folded(ground: Ground, indexed: bool) -> None:
    """A transaction changes a level and stays open; another brings the next day, which is folded; then the first commits."""
    if not ground.pairing.source.startswith("postgres"):
        pytest.skip("two writers at once: PostgreSQL")
    filled(ground, [row(1, 1, 1, 10), row(2, 1, 3, 15)], changes="trigger", indexed=in_postgres(ground, indexed))
    first = Session(ground.pairing.source)
    first.run("UPDATE snapshot SET views = 12 WHERE id = 2")
    ground.insert("snapshot", [row(3, 1, 5, 30, "b")])
    ground.fold()
    assert grown(ground) == [("a", 1, 10), ("a", 3, 5), ("b", 5, 15)]
    first.__exit__(None)
    ground.fold()
    assert grown(ground) == [("a", 1, 10), ("a", 3, 2), ("b", 5, 18)]
    assert cells_of_fold(ground) == 0


def test_day_that_commits_between_two_others(ground: Ground) -> None:
    """A changed level is followed to the day that is seen; the day between, committed later, is followed by its own."""
    if not ground.pairing.source.startswith("postgres"):
        pytest.skip("two writers at once: PostgreSQL")
    filled(ground, [row(1, 1, 1, 10), row(2, 1, 5, 30, "b")], changes="trigger")
    between = Session(ground.pairing.source)
    between.insert("snapshot", [row(3, 1, 3, 18)])
    ground.source("UPDATE snapshot SET views = 12 WHERE id = 1")
    ground.fold()
    assert grown(ground) == [("a", 1, 12), ("b", 5, 18)]
    between.__exit__(None)
    ground.fold()
    assert grown(ground) == [("a", 1, 12), ("a", 3, 6), ("b", 5, 12)]


def test_doctor_names_the_index_that_levels_are_looked_up_by(ground: Ground) -> None:
    """Until it is there, with the statement for it."""
    if not ground.pairing.source.startswith("postgres"):
        pytest.skip("an index of DuckDB leads to no range of moments")
    filled(ground)

    def findings() -> list[tuple[str, str]]:
        return [(one.message, one.advice) for one in ground.opened.doctor() if "leads from post to seen" in one.message]

    assert findings() == [
        (
            "no index leads from post to seen, so every fold reads all earlier levels",
            'CREATE INDEX CONCURRENTLY ON "snapshot" ("post", "seen");',
        )
    ]
    ground.source("CREATE INDEX ON snapshot (post, seen)")
    assert [message for message, _ in findings()] == ["an index leads from post to seen"]
