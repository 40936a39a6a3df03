"""What the command line prints for people."""

from __future__ import annotations

import pytest

from dayfold.cli.output import show_table


def test_line_break_in_a_value_does_not_break_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    """A note of two lines stands in one."""
    show_table(["key", "note"], [["a", "one\ntwo"], ["b", ""]])
    assert [line.split() for line in capsys.readouterr().out.splitlines()[2:]] == [["a", "one↵two"], ["b"]]
