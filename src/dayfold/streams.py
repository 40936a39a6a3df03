"""Standard output and standard error of each piece of work that one process does at once. The ground.

A process that runs one command has the two streams that Python gave it. One that runs several at once, for several people, routes
each write to the streams of the work that it comes from.

Invariant: inside `routed`, nothing swaps `sys.stdout` or `sys.stderr`, which would take the output of all works with it.

Weakness: a thread that a piece of work starts does not inherit its streams, and writes to those of the process.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO, cast

#: Output and errors of the present work; None where they are those of the process.
_present: ContextVar[tuple[TextIO, TextIO] | None] = ContextVar("streams", default=None)


class _Routed:
    """Stands in for a stream of the process, and is that of whichever work looks at it."""

    def __init__(self, place: int, usual: TextIO) -> None:
        self._place = place
        self._usual = usual

    def __getattr__(self, name: str) -> Any:
        present = _present.get()
        return getattr(present[self._place] if present else self._usual, name)


@contextmanager
def routed() -> Iterator[None]:
    """Inside, `into` gives each piece of work streams of its own."""
    usual = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Routed(place, one)) for place, one in enumerate(usual))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = usual


@contextmanager
def into(out: TextIO, err: TextIO) -> Iterator[None]:
    """Inside, what this piece of work writes goes there; needs `routed` around it."""
    token = _present.set((_own(out), _own(err)))
    try:
        yield
    finally:
        _present.reset(token)


def _own(stream: TextIO) -> TextIO:
    """The stream that one stands in for just now; any other is itself."""
    while isinstance(stream, _Routed):
        present = _present.get()
        stream = present[stream._place] if present else stream._usual
    return stream


@contextmanager
def output(to: TextIO) -> Iterator[None]:
    r"""Inside, standard output of this piece of work is another stream.

    >>> import io
    >>> kept = io.StringIO()
    >>> with output(kept):
    ...     print("apart")
    >>> kept.getvalue()
    'apart\n'
    """
    if isinstance(sys.stdout, _Routed):
        with into(to, sys.stderr):
            yield
    else:
        with contextlib.redirect_stdout(to):
            yield
