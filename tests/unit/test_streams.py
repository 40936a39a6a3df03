"""Each piece of work writes to streams of its own, and what one does with them is not seen by the others."""

from __future__ import annotations

import datetime as dt
import io
import sys
import threading
from typing import Any

import pytest

from dayfold import source, streams
from dayfold.fold.fetch import ask

DAY = dt.date(2026, 3, 9)


def test_work_without_streams_of_its_own_writes_to_those_of_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output may be led to standard error there as anywhere."""
    with streams.routed():
        with streams.output(sys.stderr):
            print("apart")
            print("wrong", file=sys.stderr)
        print("usual")
    assert tuple(capsys.readouterr()) == ("usual\n", "apart\nwrong\n")


def test_a_stream_that_stands_in_is_that_of_the_work_that_names_it() -> None:
    """Also where output is led to errors inside of streams that were led elsewhere."""
    out, err = io.StringIO(), io.StringIO()
    with streams.routed(), streams.into(out, err):
        with streams.into(sys.stderr, sys.stdout):
            print("turned")
            print("around", file=sys.stderr)
        with streams.output(sys.stderr):
            print("apart")
        print("usual")
    assert (out.getvalue(), err.getvalue()) == ("around\nusual\n", "turned\napart\n")


def test_what_a_function_prints_takes_no_output_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    """While one is asked, and after two were asked at overlapping times."""
    begun, printed = threading.Event(), threading.Event()

    @source(columns={"spend": "bigint"}, since="2026-03-01")
    def ad_spend(day: dt.date) -> Any:
        print("asked")
        begun.set()
        assert printed.wait(60)
        return [(1,)]

    with streams.routed():
        present = sys.stdout
        thread = threading.Thread(target=ask, args=(ad_spend, DAY, DAY))
        thread.start()
        assert begun.wait(60)
        assert sys.stdout is present
        mine = io.StringIO()
        with streams.into(mine, sys.stderr):
            print("rows")
        print("usual")
        printed.set()
        thread.join()
        assert sys.stdout is present
    assert mine.getvalue() == "rows\n"
    assert tuple(capsys.readouterr()) == ("usual\n", "asked\n")
