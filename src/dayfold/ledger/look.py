"""The one small read that every request waits for: how rollups stand, and whom secrets let in. Ledger floor.

Invariant: all of a look is of one snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from dayfold.ledger.ledger import Ledger
from dayfold.ledger.sessions import Guest
from dayfold.ledger.tokens import Bearer, Limits
from dayfold.ledger.versions import Standing
from dayfold.plan.access import Scope

# One statement, so that it is one snapshot and one way to the database and back.
_LOOK = (
    "select 'rollup' as what, rollup as id, version as a, revision as b, null as name, null as kind, null as scope, null as origin, "
    "null as limits "
    "from dayfold__rollups union all "
    "select 'token', digest, cast(floor(extract(epoch from expires_at)) as bigint), 0, name, kind, scope, id, limits "
    "from dayfold__tokens where digest = any(:tokens::text[]) and revoked_at is null and "
    "(expires_at is null or expires_at > :now::timestamptz) union all "
    "select 'guest', digest, cast(floor(extract(epoch from expires_at)) as bigint), 0, username, kind, scope, origin, null "
    "from dayfold__sessions as s where digest = any(:guests::text[]) and expires_at > :now::timestamptz and "
    "(origin <> 'password' or exists (select 1 from dayfold__users as u where u.name = s.username and "
    "u.changed_at <= s.created_at))"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look saw.

    Attributes:
        standings: Each rollup's version and revision, by name.
        bearers: Whom the asked digests of tokens let in; one that is not known, or has expired or was revoked, lets nobody in.
        guests: The same of the digests of browsers' sessions: where one is not known or has ended, or its user went or changed.
        until: Whole seconds since 1970 up to which time changes nothing of it; None where it never does.
    """

    standings: dict[str, Standing]
    bearers: dict[str, Bearer]
    guests: dict[str, Guest]
    until: float | None

    def with_(self, later: Seen) -> Seen:
        """Both looks as one, of which nothing was committed between."""
        ends = [one.until for one in (self, later) if one.until is not None]
        return Seen(
            later.standings,
            {**self.bearers, **later.bearers},
            {**self.guests, **later.guests},
            min(ends, default=None),
        )


def look(ledger: Ledger, tokens: Collection[str], guests: Collection[str]) -> Seen:
    """How all rollups stand now, and whom digests of tokens and of sessions let in."""
    query = ledger.sql(_LOOK, tokens=list(tokens), guests=list(guests), now=ledger.clock.now())
    found = Seen({}, {}, {}, None)
    ends = []
    for what, key, a, b, name, kind, scope, origin, limits in ledger.store.peek(query):
        match what:
            case "rollup":
                found.standings[key] = Standing(int(a), int(b))
                continue
            case "token":
                found.bearers[key] = Bearer(
                    origin, name, kind, Scope.from_object(json.loads(scope)), Limits.read(limits)
                )
            case _:
                found.guests[key] = Guest(name, kind, Scope.from_object(json.loads(scope)))
        if a is not None:
            ends.append(float(a))
    return Seen(found.standings, found.bearers, found.guests, min(ends, default=None))
