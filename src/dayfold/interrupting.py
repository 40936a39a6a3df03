"""How a piece of work is interrupted from another thread, as Ctrl-C interrupts a process. The ground.

The work that an `Interrupt` is applied to meets it at its next statement as a KeyboardInterrupt, once: what it does to end well, such
as giving back a lease, is not interrupted again. A statement that runs is ended by its engine. A run that is told to stop between two
chunks is another matter: `dayfold.fold.fold.StopCheck`.

Weakness: Python code that executes no statement goes on to its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: What interrupts the present work; None where only Ctrl-C does.
_present: ContextVar[Interrupt | None] = ContextVar("interrupt", default=None)


class Interrupt:
    """Interrupts one piece of work."""

    def __init__(self) -> None:
        self.asked = False
        self._met = False
        self._lock = threading.Lock()
        self._endings: list[Callable[[], object]] = []

    def ask(self) -> None:
        """The work ends at its next statement; the one that runs is ended. Again is harmless, and ends it again.

        What an engine is told between two statements is lost on most engines, so whoever has to be sure asks until the work has ended.
        """
        with self._lock:
            self.asked = True
            if not self._met:
                for end in self._endings:
                    end()

    def check(self) -> None:
        """Raise KeyboardInterrupt where the work was asked to end and has not met that yet."""
        if self.asked and not self._met:
            with self._lock:
                self._met = True
            raise KeyboardInterrupt

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, this is what interrupts the work of this thread."""
        token = _present.set(self)
        try:
            yield
        finally:
            _present.reset(token)

    @contextmanager
    def _ending(self, end: Callable[[], object]) -> Iterator[None]:
        with self._lock:
            self._endings.append(end)
        try:
            yield
        finally:
            # An ending that is under way comes first: afterwards the connection may be another work's.
            with self._lock:
                self._endings.remove(end)


def check() -> None:
    """Raise KeyboardInterrupt where the present work was asked to end.

    >>> interrupt = Interrupt()
    >>> with interrupt.applied():
    ...     check()
    ...     interrupt.ask()
    ...     try:
    ...         check()
    ...     except KeyboardInterrupt:
    ...         print("interrupted")
    ...     check()
    interrupted
    """
    if (interrupt := _present.get()) is not None:
        interrupt.check()


@contextmanager
def interruptible(end: Callable[[], object]) -> Iterator[None]:
    """Inside, whoever interrupts the present work calls this to end the statement that runs."""
    interrupt = _present.get()
    if interrupt is None:
        yield
        return
    interrupt.check()
    with interrupt._ending(end):
        yield
