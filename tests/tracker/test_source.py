"""What is served is small, and is the source."""

from __future__ import annotations

import gzip
import re

from dayfold.collect import tracker

SOURCE = "".join(part.read_text(encoding="utf-8") for part in tracker.PARTS)


def test_both_forms_fit_in_four_kilobytes() -> None:
    """4,000 bytes, compressed as a server compresses: what a page pays for being counted."""
    for served in (tracker.tracker_source(), tracker.tracker_module()):
        assert len(gzip.compress(served, 9)) <= 4000


def test_both_forms_are_one_code() -> None:
    """The script and the module differ in their wrapping alone."""
    script = tracker.tracker_source().removeprefix(b"(()=>{").removesuffix(b"})();")
    assert tracker.tracker_module() == script + b"export{createTracker};"


def test_no_comment_is_served() -> None:
    """Comments stand on lines of their own, so that taking those out takes all of them."""
    served = re.sub(r'"[^"\n]*"|`[^`\n]*`', "", tracker.tracker_source().decode())
    assert re.search(r"//|/\*", served.replace("/\\/*$/", "")) is None
    assert "export" not in SOURCE.replace("exports", "")


def test_source_keeps_to_what_the_squeezing_reads() -> None:
    """A statement ends with a sign, never with a word alone, so that a line can follow on the same one."""
    for line in SOURCE.splitlines():
        code = line.strip()
        if code and not code.startswith(("//", "/*", "*")):
            assert code[-1] in ";{}()[],=>:?&|", code
            assert code.count("`") % 2 == 0, code
            assert code.count('"') % 2 == 0, code
            assert "'" not in code.replace("'s ", ""), code
