"""What a definition's numbers depend on, as one short text. Definitions floor, pure."""

from __future__ import annotations

import hashlib
import json

from dayfold.define.rollup import RollupDef


def identity(rollup: RollupDef) -> dict[str, object]:
    """Everything that, when edited, changes stored rows. Index, lookback and words do not."""
    # What a profile makes of other columns it stores; a rollup computes it when it is read.
    made = {name: metric.identity() for name, metric in sorted(rollup.computed.items())}
    return {
        **({"made": made} if rollup.is_profile else {}),
        "table": rollup.table,
        "key": list(rollup.key),
        "day_column": rollup.day_column,
        "grain": rollup.grain,
        "since": str(rollup.since) if rollup.since else None,
        "metrics": {name: metric.identity() for name, metric in sorted(rollup.measured.items())},
    }


def fingerprint(rollup: RollupDef) -> str:
    """A definition's fingerprint: equal definitions have equal ones, on every machine and engine.

    >>> from dayfold.define import rollup as written
    >>> from dayfold.define.metric import Count
    >>> from dayfold.define.source import Table
    >>> class Signups(written.Rollup):
    ...     total = Count(Table("user"), at="created_at")
    >>> len(fingerprint(written.definition(Signups)[0]))
    16
    """
    return digest(identity(rollup))


def digest(words: dict[str, object]) -> str:
    """A short text that is the same for equal words only."""
    text = json.dumps(words, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
