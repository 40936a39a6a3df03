"""What the client counts, and what it says in the log. Of the client, standard library only.

Invariant: a line of the log holds counts, statuses and classes of errors; never a value of an event, nor the key.
"""

from __future__ import annotations

import logging
import threading
import time

#: What the server says of the events of a batch.
ANSWERED = ("accepted", "repeated", "conflicts", "quarantined", "ignored")
#: Why events were dropped.
DROPPED = ("refused", "overflowed", "malformed", "discarded")
#: A remark about one thing is made once in so many seconds.
REMARK_S = 60.0
_MOST_REMARKS = 200
_log = logging.getLogger("dayfold.client")


class Books:
    """Counts and remarks, from whatever thread."""

    def __init__(self) -> None:
        # A signal may interrupt whoever holds it, and track in turn.
        self._lock = threading.RLock()
        self._counts = dict.fromkeys(("sent", *ANSWERED, *DROPPED), 0)
        self._remarked: dict[str, float] = {}

    def count(self, what: str, by: int = 1) -> None:
        """Add to a count."""
        with self._lock:
            self._counts[what] += by

    def counts(self) -> dict[str, int]:
        """All counts as they are now, and ``dropped``, their sum by reason."""
        with self._lock:
            found = dict(self._counts)
        return {**found, "dropped": sum(found[one] for one in DROPPED)}

    def remark(self, about: str, text: str, *values: object, once: bool = False) -> bool:
        """A warning, unless there was one about the same within a minute, or with ``once`` ever; whether it was given."""
        now = time.monotonic()
        with self._lock:
            last = self._remarked.get(about)
            if last is None and len(self._remarked) >= _MOST_REMARKS:
                return False
            if last is not None and (once or now - last < REMARK_S):
                return False
            self._remarked[about] = now
        _log.warning(text, *values)
        return True

    def good_news(self, text: str, *values: object) -> None:
        """What went wrong is over."""
        _log.info(text, *values)
