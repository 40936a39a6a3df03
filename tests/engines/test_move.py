"""Moves of a whole store: what is asked of it before and after has one answer, and nobody writes to what has gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engines import moving

Make = Callable[..., str]


@pytest.fixture
def places(new_duckdb: Make, new_postgres: Make) -> Callable[[str, str], str]:
    """Makes an empty place on an engine, by a name of its own."""

    def make(engine: str, name: str) -> str:
        return new_duckdb(name) if engine == "duckdb" else new_postgres()

    return make


def test_questions_are_more_than_two_hundred_of_every_kind() -> None:
    """What moves are judged by."""
    asked = moving.questions()
    assert len(asked) >= 200
    assert {verb for verb, _, _ in asked} == {
        "query", "profile", "profiles", "cohort", "funnel", "events", "event_rates", "event_report", "covered", "explain", "export",
    }  # fmt: skip


def test_a_moved_store_gives_the_same_answers(places: Callable[[str, str], str]) -> None:
    """Every question, coverage, marks that wait, receipts and what they say; there and back again."""
    engines = ("duckdb", "postgres", "duckdb")
    app = places("duckdb", "app")
    urls = [places(engine, f"store{n}") for n, engine in enumerate(engines)]
    moving.fill(urls[0], app)
    with moving.opened(urls[0], app) as dayfold:
        said, known = moving.answers(dayfold), moving.standing(dayfold)
    for here, there in zip(urls, urls[1:], strict=False):
        with moving.opened(here, app) as dayfold:
            result = dayfold.move(there)
        assert (result.status, result.resumed) == ("moved", False)
        with moving.opened(there, app) as dayfold:
            now, stands = moving.answers(dayfold), moving.standing(dayfold)
        assert moving.unlike(said, now) == []
        assert stands == known
