"""kill -9 in what keeps rollups true: marks, cursors, rebuilds, seals, prunes, triggers; and that no step is left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import dayfold
from tests.faults import (
    killed,
    shops,
    test_kills,
    test_kills_alerts,
    test_kills_jobs,
    test_kills_move,
    test_kills_privacy,
    test_kills_versions,
)
from tests.faults.conftest import do, fold, kill, spread
from tests.faults.test_kills import comparable, undisturbed
from tests.sql import run_sql

pytestmark = pytest.mark.in_turn

Store = Callable[[], str]
TRACKED = [
    ("stamp kept", 1), ("fence passed", 1), ("replaced", 2), ("marked", 2), ("entities followed", 1),
    ("receipts corrected", 1), ("marks deleted", 1), ("committed", 4), ("revision moved", 2),
]  # fmt: skip
STAMPED = [("marked", 1), ("cursor moved", 1), ("cursor moved", 2), ("marks deleted", 1), ("committed", 3)]
APART = [("taken over", 1), ("forgotten beside the source", 1), ("marks deleted", 1), ("committed", 3)]
REBUILD = [
    ("started", 1),
    ("put aside", 1),
    ("put aside", 3),
    ("committed", 4),
    ("replaced", 1),
    ("aside dropped", 2),
    ("finished", 1),
]
ADOPT = [("made", 1), ("replaced", 1), ("sealed", 1), ("receipts recorded", 1), ("finished", 1)]
REMOVE = [("leased", 1), ("tables dropped", 1), ("removed", 1), ("committed", 2)]
EDIT_AGAIN = [("build abandoned", 1)]
HEAL = [("verified", 1), ("marked", 1), ("replaced", 1), ("marks deleted", 1)]
FAILING = [("failure recorded", 1), ("coverage forgotten", 1)]


def tracked(url: str) -> object:
    return do(url, "tracked", "track")


def tracked_fold(url: str) -> object:
    return do(url, "tracked", "fold")


def stamped_fold(url: str) -> object:
    return do(url, "stamped", "fold")


def rebuilt(url: str) -> object:
    return do(url, "first", "rebuild")


def adopted(url: str) -> object:
    return do(url, "removed", "adopt")


def removed(url: str) -> object:
    return do(url, "removed", "remove")


def others_fold(url: str) -> object:
    return do(url, "removed", "fold")


def killed_fold(version: str, point: str, nth: int) -> Callable[[str], None]:
    return lambda url: kill(url, version, point, nth)


@spread(TRACKED)
def test_a_killed_fold_of_marked_cells_loses_no_mark(engine: str, new_store: Store, point: str, nth: int) -> None:
    """Triggers told what changed long ago; the next fold has it, below and above."""
    url = new_store()
    tracked(url)
    if point in ("stamp kept", "fence passed"):
        shops.change_far_back(url)
        kill(url, "tracked", point, nth)
    else:
        tracked_fold(url)
        shops.change_far_back(url)
        kill(url, "tracked", point, nth)
    tracked_fold(url)
    right = undisturbed(engine, new_store, tracked, tracked_fold, shops.change_far_back, tracked_fold)
    assert without_counts(comparable(url)) == without_counts(right)


@spread(STAMPED)
def test_a_killed_fold_behind_a_cursor_loses_no_change(engine: str, new_store: Store, point: str, nth: int) -> None:
    """Marks and the cursor's position are one transaction."""
    url = new_store()
    stamped_fold(url)
    shops.change_far_back(url)
    kill(url, "stamped", point, nth)
    stamped_fold(url)
    right = undisturbed(engine, new_store, stamped_fold, shops.change_far_back, stamped_fold)
    assert without_counts(comparable(url)) == without_counts(right)


@pytest.mark.parametrize(("point", "nth"), APART, ids=str)
def test_a_kill_between_two_databases_loses_no_mark(
    new_postgres: Store, new_duckdb: Callable[[str], str], point: str, nth: int
) -> None:
    """Marks are deleted beside the source only after the ledger has them."""
    found = []
    for name, disturbed in (("calm", False), ("disturbed", True)):
        source, store = new_postgres(), new_duckdb(name)
        shops.fill(source)
        do(store, "tracked", "track", source)
        do(store, "tracked", "fold", source)
        shops.change_far_back(source)
        if disturbed:
            kill(store, "tracked", point, nth, "fold", source)
        do(store, "tracked", "fold", source)
        assert run_sql(source, "SELECT count(*) FROM dayfold_track.marks") == [(0,)]
        found.append(comparable(store))
    assert found[0] == found[1]


@spread(REBUILD)
def test_a_killed_rebuild_shows_the_old_rows_or_the_new(engine: str, new_store: Store, point: str, nth: int) -> None:
    """Never some of each; the next run of any kind leaves nothing of it."""
    url = new_store()
    fold(url)
    shops.change_far_back(url)
    before = comparable(url)
    kill(url, "first", point, nth, "rebuild")
    right = undisturbed(engine, new_store, fold, shops.change_far_back, rebuilt)
    assert before["shops"] != right["shops"]
    assert comparable(url)["shops"] in (before["shops"], right["shops"])
    fold(url)
    assert comparable(url)["leftovers"] == []
    rebuilt(url)
    assert comparable(url) == right


@spread(ADOPT)
def test_a_killed_adoption_seals_all_or_nothing(engine: str, new_store: Store, point: str, nth: int) -> None:
    """Rows, seals and receipts are one transaction."""
    url = new_store()
    shops.legacy(url)
    kill(url, "removed", point, nth, "adopt")
    states = run_sql(url, "SELECT count(*) FROM dayfold_coverage WHERE state = 'sealed'")
    if states == [(0,)]:
        adopted(url)
    others_fold(url)
    right = undisturbed(engine, new_store, shops.legacy, adopted, others_fold)
    assert comparable(url) == right


@spread(REMOVE)
def test_a_killed_prune_leaves_all_or_nothing(engine: str, new_store: Store, point: str, nth: int) -> None:
    """The tables and what the ledger knows of them go together."""
    url = new_store()
    fold(url)
    kill(url, "removed", point, nth, "remove")
    tables = run_sql(url, "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'shops%'")
    known = run_sql(url, "SELECT rollup FROM dayfold__rollups")
    assert (len(tables), known) in ((2, [("Shops",)]), (0, []))
    if known:
        removed(url)
    assert run_sql(url, "SELECT count(*) FROM dayfold__coverage") == [(0,)]


@spread(EDIT_AGAIN)
def test_a_kill_while_an_edit_is_taken_back(engine: str, new_store: Store, point: str, nth: int) -> None:
    """The first definition again, with nothing of the other."""
    url = new_store()
    fold(url)
    kill(url, "edited", "counted", 2)
    kill(url, "first", point, nth)
    fold(url)
    assert comparable(url) == undisturbed(engine, new_store, fold)


@spread(HEAL)
def test_a_killed_heal_is_completed_by_the_next_run(engine: str, new_store: Store, point: str, nth: int) -> None:
    """What was marked is folded by the next fold; what was not is found again."""
    url = new_store()
    fold(url)
    right = comparable(url)
    run_sql(url, "UPDATE shops SET asked = asked + 5 WHERE day = DATE '2026-03-04'")
    kill(url, "first", point, nth, "heal")
    do(url, "first", "heal")
    fold(url)
    assert comparable(url)["shops"] == right["shops"]
    assert comparable(url)["marks"] == []


@spread(FAILING)
def test_a_kill_while_a_failure_or_a_lost_table_is_noted(engine: str, new_store: Store, point: str, nth: int) -> None:
    """A source that is away, and a table that somebody dropped: the next run makes both good."""
    url = new_store()
    fold(url)
    right = comparable(url)
    if point == "coverage forgotten":
        run_sql(url, "DROP TABLE shops__sets")
        kill(url, "first", point, nth)
    else:
        run_sql(url, "ALTER TABLE payment RENAME TO elsewhere")
        kill(url, "first", point, nth)
        run_sql(url, "ALTER TABLE elsewhere RENAME TO payment")
    fold(url)
    assert comparable(url) == right


@pytest.mark.parametrize("point", ["triggers installed", "triggers removed", "committed"])
def test_a_kill_around_the_triggers_leaves_them_whole(engine: str, new_store: Store, point: str) -> None:
    """Installed or not, and what changed meanwhile is found."""
    url = new_store()
    tracked(url)
    tracked_fold(url)
    kill(url, "tracked", point, 1, "untrack" if point != "triggers installed" else "track")
    shops.change_far_back(url)
    tracked(url)
    tracked_fold(url)
    right = undisturbed(engine, new_store, tracked, tracked_fold, shops.change_far_back, tracked_fold)
    assert without_counts(comparable(url)) == without_counts(right)


def without_counts(found: dict[str, object]) -> dict[str, object]:
    """Coverage without its numbers of facts, which are those of the last fold of whole days."""
    covered = [(source, day, state) for source, day, state, *_ in found["coverage"]]  # type: ignore[attr-defined]
    return {**found, "coverage": covered}


# -- functions -------------------------------------------------------------------------------------

FETCH = [
    ("fetched rows' table made", 1), ("fence added", 1), ("fetched rows replaced", 1), ("fetches recorded", 1), ("committed", 5),
    ("standing recorded", 2),
]  # fmt: skip
CORRECT = [
    ("fetched rows replaced", 1), ("fetches recorded", 1), ("marked", 1), ("committed", 2), ("standing recorded", 1),
    ("marks deleted", 1), ("committed", 5),
]  # fmt: skip
LOST = [("fetches forgotten", 1)]
FORGET = [("unread dropped", 1)]


def fetched(url: str) -> object:
    return do(url, "fetched", "fold")


def corrected(url: str) -> object:
    return do(url, "fetched and corrected", "fold")


def lose_what_was_fetched(url: str) -> None:
    [(name,)] = run_sql(url, shops.FETCHED)
    run_sql(url, f"DROP TABLE {name}")


@spread(FETCH)
def test_a_killed_fetch_is_completed_by_the_next_run(engine: str, new_store: Store, point: str, nth: int) -> None:
    """Rows, what is known of their days, and marks are one transaction; what is not ready is null all the while."""
    url = new_store()
    kill(url, "fetched", point, nth)
    fetched(url)
    assert comparable(url) == undisturbed(engine, new_store, fetched)
    assert run_sql(url, "SELECT spent FROM shops WHERE day = DATE '2026-03-18' AND NOT spent IS NULL") == []


@spread(CORRECT)
def test_a_killed_fetch_of_corrections_loses_none(engine: str, new_store: Store, point: str, nth: int) -> None:
    """A day that changed and one that became ready are folded by the next run, wherever this one ended."""
    url = new_store()
    fetched(url)
    kill(url, "fetched and corrected", point, nth)
    corrected(url)
    right = undisturbed(engine, new_store, fetched, corrected)
    assert comparable(url) == right
    assert right["marks"] == []


@spread(LOST)
def test_a_kill_while_a_lost_table_of_fetched_rows_is_made(engine: str, new_store: Store, point: str, nth: int) -> None:
    """All of its days are fetched again."""
    url = new_store()
    fetched(url)
    lose_what_was_fetched(url)
    kill(url, "fetched", point, nth)
    fetched(url)
    assert comparable(url) == undisturbed(engine, new_store, fetched)


@spread(FORGET)
def test_a_kill_while_fetched_rows_are_dropped(engine: str, new_store: Store, point: str, nth: int) -> None:
    """They go with the last rollup that reads them, in one transaction."""
    url = new_store()
    fetched(url)
    kill(url, "removed", point, nth, "remove")
    assert len(run_sql(url, shops.FETCHED)) == 1
    removed(url)
    assert run_sql(url, shops.FETCHED) == []
    assert run_sql(url, "SELECT count(*) FROM dayfold__fetches") == [(0,)]


# -- the long view ---------------------------------------------------------------------------------

VIEW = [("view made", 1), ("view made", 2), ("view made", 3)]


def the_view(url: str) -> list[tuple[object, ...]]:
    """All that the long view says, but when it was calculated."""
    names = "metric, value, CAST(dimensions AS text), day, period, source"
    return run_sql(url, f"SELECT {names} FROM board ORDER BY 1, 5, 4, 3")


@spread(VIEW)
def test_a_kill_while_the_view_is_made(
    engine: str, new_store: Store, point: str, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the old rollup's or the new one's, with the table that it reads; the next run completes it."""
    monkeypatch.setenv("DAYFOLD_STORE__LONG_VIEW", "board")
    url = new_store()
    if nth > 1:
        fold(url)
        old = the_view(url)
        # The second is made without the edited rollup, the third with it; both in the transaction that publishes it.
        kill(url, "edited", point, nth - 1)
        assert the_view(url) == old
        fold(url, "edited")
        assert {metric for metric, *_ in the_view(url)} == {"asked", "people", "least"}
    else:
        kill(url, "first", point, nth)
        fold(url)
        assert {metric for metric, *_ in the_view(url)} == {"asked", "people", "paid"}


# -- the list of the steps -------------------------------------------------------------------------

ACCESS = "one transaction with its note in the audit table, and no row of a rollup"
ACCESS_WRITERS = {
    "ledger/audit.py": ("note",),
    "ledger/pages.py": ("add", "disown", "remove", "set_shared", "update"),
    "ledger/sessions.py": ("begin", "end", "make_link", "use_link"),
    "ledger/tokens.py": ("create", "revoke"),
    "ledger/tries.py": ("count", "forgive", "write"),
    "ledger/users.py": ("_sign_out", "add", "hold", "set_password"),
}
#: Functions that write and need no point of their own, each with the reason.
NO_POINT = {
    ("engines/base.py", "try_making"): "leaves nothing behind, it undoes itself",
    ("engines/base.py", "_update"): "part of the transaction that publishes, which has points before and after",
    ("ledger/coverage.py", "seal_days"): "part of the transaction that closes days, and 'committed' follows it",
    ("fold/reshape.py", "publish_version"): "ends with 'build ended'",
    ("fold/fetch.py", "index_table"): "part of the transaction that makes the table, or of 'table finished'",
    ("fold/install.py", "_remove_from"): "is 'triggers removed'",
    ("ledger/jobs.py", "touch"): "only says when a job was last seen; the next registering says it again",
    ("ledger/alerts.py", "touch"): "only says when an episode was last looked at; the next look says it again",
    ("ledger/jobs.py", "take_turn"): "locks the job for its transaction, and what that writes has points",
    ("ledger/leases.py", "fence"): "locks the rollup for its transaction, and what that writes has points",
    ("ledger/runs.py", "begin"): "part of the transaction of 'started'",
    ("ledger/leases.py", "_push_end"): "a lease that is not renewed runs out, as after 'leased'",
    ("ledger/leases.py", "_release"): "a lease that is not given back runs out, as after 'leased'",
    ("ledger/ledger.py", "migrate"): "one transaction, and 'committed' follows it",
    ("ledger/ledger.py", "_keep_sources"): "one transaction, and 'committed' follows it",
    ("fold/install.py", "_drop_outdated"): "part of the transaction that installs, which ends at 'triggers installed'",
    ("fold/rls.py", "_run"): "one transaction a table, and 'committed' follows it",
    ("fold/rls.py", "_standing"): "a table that ends with its transaction, which is undone",
    ("fold/rls.py", "follow"): "part of the transaction that publishes a new version",
    ("fold/longview.py", "_drop_earlier"): "part of the transaction of 'view made'",
    ("fold/longview.py", "_lock"): "part of the transaction of 'view made'",
    ("ledger/versions.py", "_forget_after"): "part of 'build begun' and of 'build abandoned'",
    ("ledger/checks.py", "record"): "one transaction, and 'committed' follows it; without it the check is due again",
    ("ledger/erasures.py", "forget"): "one transaction, and 'committed' follows it",
    ("fold/erase.py", "_blur_marks"): "one transaction, and 'committed' follows it",
    ("fold/retain.py", "delete"): "one transaction, which ends at 'ids deleted'",
    **{
        ("ledger/holders.py", name): "part of 'person let go'"
        for name in ("_events", "_ids", "_quarantine", "_texts", "erase")
    },
    **{
        (
            "ledger/counting.py",
            name,
        ): "part of the transaction that applies batches, and killed around in test_kills_counters"
        for name in (
            "_add_to_counted",
            "_add_to_totals",
            "_hold_overflows",
            "_note_flush",
            "_own_earlier_days",
            "_remember_ids",
        )
    },
    ("ledger/counted.py", "note_epoch"): "part of the same, or one transaction that the next flush repeats",
    ("ledger/counted.py", "add_tally"): "part of the same, of an erasure, or of a loss that is taken note of",
    ("ledger/held_counts.py", "hold"): "part of the same",
    ("ledger/held_counts.py", "release"): "part of the transaction that replays a row",
    ("ledger/held_counts.py", "drop_held"): "part of 'person let go'",
    ("ledger/counted_proof.py", "accept_loss"): "one transaction, and 'committed' follows it",
    ("ledger/counted_proof.py", "unlike_totals"): "one transaction, and 'committed' follows it",
    ("ledger/counted.py", "forget_ids"): "one transaction, and the next job forgets what is left",
    ("ledger/counted.py", "forget_flushes"): "part of the same",
    ("ledger/counted.py", "merge_adders"): "part of the same",
    ("ledger/intake.py", "count"): "part of the transaction of events, and killed at in test_kills_collect",
    ("ledger/intake.py", "salt"): "ends with its 'make'",
    ("ledger/intake.py", "make"): "one transaction, and 'committed' follows it; nobody has the salt before",
    ("ledger/quarantine.py", "expire"): "one transaction, and 'committed' follows it",
    ("ledger/quarantine.py", "release"): "part of the transaction that brings the events into the log",
    ("ledger/visitors.py", "_add"): "part of the transaction of events, which is killed in test_kills_collect",
    ("ledger/visitors.py", "erase"): "part of the transaction of whoever erases",
    ("ledger/visitors.py", "remove_range"): "part of the transaction of whoever learns the range anew",
    **{(file, name): ACCESS for file, names in ACCESS_WRITERS.items() for name in names},
}


def writers() -> set[tuple[str, str]]:
    """Every function of the fold and the ledger that runs a statement which writes."""
    root = Path(dayfold.__file__).parent
    files = [*root.glob("fold/*.py"), *root.glob("ledger/*.py"), root / "engines/base.py"]
    return {
        (path.relative_to(root).as_posix(), node.name)
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and (calls(node, "execute") or (calls(node, "rows") and returns_rows(node)))
    }


def calls(node: ast.AST, method: str) -> bool:
    """Whether a function calls a method of this name."""
    return any(
        isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == method
        for call in ast.walk(node)
    )


def returns_rows(node: ast.AST) -> bool:
    """Whether a function has the text of a statement that returns the rows that it wrote."""
    texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return any(re.search(r"\breturning [a-z0-9_]", text) for text in texts)


def test_every_step_that_writes_has_a_point() -> None:
    """A new step without one fails here."""
    pointed = {function for _, function in killed.POINTS.values()}
    missing = {(file, name) for file, name in writers() if name not in pointed} - NO_POINT.keys()
    assert missing == set()
    assert NO_POINT.keys() <= writers()


def test_every_point_is_killed_at() -> None:
    """A point that no test kills at protects nothing."""
    lists = [
        test_kills.BACKFILL, test_kills.REFOLD, test_kills.EDIT, TRACKED, STAMPED, APART, REBUILD, ADOPT, REMOVE, EDIT_AGAIN,
        HEAL, FAILING, OTHERS, CLOSING, FETCH, CORRECT, LOST, FORGET, VIEW, *test_kills_alerts.LISTS, *test_kills_jobs.LISTS,
        *test_kills_privacy.LISTS, *test_kills_move.LISTS, *test_kills_versions.LISTS,
    ]  # fmt: skip
    used = {point for one in lists for point, _ in one} | {"triggers installed", "triggers removed"}
    assert killed.POINTS.keys() - used == set()


CLOSING = [("days closed", 1)]


@spread(CLOSING)
def test_a_kill_while_a_day_is_closed(engine: str, new_store: Store, point: str, nth: int) -> None:
    """The day that ended is folded as it was told, and the next one is open."""
    url = new_store()
    tracked(url)
    tracked_fold(url)
    shops.change_far_back(url)
    kill(url, "tracked", point, nth, "later")
    do(url, "tracked", "later")
    states = run_sql(
        url, "SELECT state, count(*) FROM dayfold_coverage WHERE day >= DATE '2026-03-20' GROUP BY state ORDER BY 1"
    )
    assert states == [("folded", 3), ("open", 3)]


OTHERS = [("older marks forgotten", 1), ("marks beyond dropped", 1)]


@spread(OTHERS)
def test_a_kill_while_marks_that_mean_nothing_are_dropped(engine: str, new_store: Store, point: str, nth: int) -> None:
    """Marks of days to come, and of triggers of another definition."""
    url = new_store()
    tracked(url)
    tracked_fold(url)
    run_sql(url, "INSERT INTO request VALUES (1, 'x', 1, TIMESTAMPTZ '2026-05-01 12:00:00+00', now())")
    kill(url, "tracked and edited" if point == "older marks forgotten" else "tracked", point, nth)
    tracked(url)
    tracked_fold(url)
    assert comparable(url)["marks"] == []
