"""How a piece of work is stopped from another thread, as Ctrl-C stops a process. The ground.

The work that holds a `Stop` meets it at its next statement as a KeyboardInterrupt, once: what it does to end well, such as giving
back a lease, is not stopped again. A statement that runs is interrupted by its engine.

Weakness: Python code that executes no statement goes on to its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: What stops the present work; None where only Ctrl-C does.
_present: ContextVar[Stop | None] = ContextVar("stop", default=None)


class Stop:
    """Stops one piece of work."""

    def __init__(self) -> None:
        self.asked = False
        self._met = False
        self._lock = threading.Lock()
        self._interrupts: list[Callable[[], object]] = []

    def ask(self) -> None:
        """The work ends at its next statement; the one that runs is interrupted. Again is harmless, and interrupts again.

        An interruption between two statements is lost on most engines, so whoever has to be sure asks until the work has ended.
        """
        with self._lock:
            self.asked = True
            if not self._met:
                for interrupt in self._interrupts:
                    interrupt()

    def check(self) -> None:
        """Raise KeyboardInterrupt where the work was asked to stop and has not met that yet."""
        if self.asked and not self._met:
            with self._lock:
                self._met = True
            raise KeyboardInterrupt

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, this is what stops the work of this thread."""
        token = _present.set(self)
        try:
            yield
        finally:
            _present.reset(token)

    @contextmanager
    def _interrupting(self, interrupt: Callable[[], object]) -> Iterator[None]:
        with self._lock:
            self._interrupts.append(interrupt)
        try:
            yield
        finally:
            # An interruption that is under way ends first: afterwards the connection may be another work's.
            with self._lock:
                self._interrupts.remove(interrupt)


def check() -> None:
    """Raise KeyboardInterrupt where the present work was asked to stop.

    >>> stop = Stop()
    >>> with stop.applied():
    ...     check()
    ...     stop.ask()
    ...     try:
    ...         check()
    ...     except KeyboardInterrupt:
    ...         print("stopped")
    ...     check()
    stopped
    """
    if (stop := _present.get()) is not None:
        stop.check()


@contextmanager
def interruptible(interrupt: Callable[[], object]) -> Iterator[None]:
    """Inside, whoever stops the present work calls this to interrupt the statement that runs."""
    stop = _present.get()
    if stop is None:
        yield
        return
    stop.check()
    with stop._interrupting(interrupt):
        yield
