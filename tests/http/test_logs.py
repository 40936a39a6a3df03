"""The log of a serving process: sentences and fields, and nothing that might be a row's value."""

from __future__ import annotations

import json
import logging
import sys

from dayfold.http.logs import JsonLines, Sentences

WHEN = 1773316800.125


def record(level: int = logging.INFO, **more: object) -> logging.LogRecord:
    words = {"name": "dayfold.jobs", "levelno": level, "levelname": logging.getLevelName(level), "created": WHEN}
    return logging.makeLogRecord({**words, "msg": "%s: fold of %s days", "args": ("Shops", 3), **more})


def failed() -> logging.LogRecord:
    try:
        raise ValueError("42 of anna@example.org")
    except ValueError:
        return record(logging.ERROR, exc_info=sys.exc_info())


def test_a_line_of_json_has_the_sentence_and_its_fields() -> None:
    """Fields that are not known are left out."""
    line = json.loads(JsonLines().format(record(action="fold", rollup="Shops", rows=4, run=None)))
    assert line == {
        "time": "2026-03-12T12:00:00.125+00:00", "level": "info", "logger": "dayfold.jobs", "message": "Shops: fold of 3 days",
        "action": "fold", "rollup": "Shops", "rows": 4,
    }  # fmt: skip


def test_a_sentence_is_for_a_person() -> None:
    """The level is said where it is not usual."""
    assert Sentences().format(record(rows=4)) == "2026-03-12 12:00:00 Shops: fold of 3 days"
    assert Sentences().format(record(logging.WARNING)) == "2026-03-12 12:00:00 warning: Shops: fold of 3 days"


def test_what_an_unforeseen_error_says_is_not_written() -> None:
    """It may hold values of rows; its kind and its places are written."""
    for text in (JsonLines().format(failed()), Sentences().format(failed())):
        assert "anna" not in text
        assert "ValueError" in text
        assert "test_logs.py" in text
