"""What an erasure says of itself: for machines as JSON, for people as text. Fold floor, pure.

Invariant: it holds no name and no value of a person; a name is shown by a digest that only the store's own key can make again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dayfold.ledger.persons import Person
from dayfold.names import plural

#: What no erasure reaches, wherever it is done.
ALWAYS = (
    "backups and replicas",
    "tables of your own that are sources, in this database or another",
    "what clients have not sent yet, and send later",
    "files that were exported and downloaded, and answers that others have kept",
)
SEALED = "additive numbers of sealed days: they stay as they were published"
ELSEWHERE = "memory of other processes that serve the same store: what they keep is never asked for again, and goes when they end"


@dataclass(slots=True)
class Certificate:
    """What was searched, what was done, and what was not reached.

    Attributes:
        erasure: Its number; 0 of one that was only tried.
        identifiers: For each name its ``kind``, a ``digest``, and whether it was ``given`` or found.
        searched: For each holder its name, what it holds, and the ``rows`` that were found in it.
        refolded: For each rollup that was folded after it, the cells that changed, and the error that kept some from it.
        sealed: For each rollup with sealed days the ``sets`` that lost a hash, and the rows whose ``keys`` named the person.
        rewritten: The tables, or the file, whose freed space holds nothing any more.
        not_reached: What may still hold something.
        state: ``dry run``, ``erased``, or ``done`` once all is folded and rewritten.
    """

    erasure: int
    asked_at: str
    asked_by: str
    state: str
    identifiers: list[dict[str, Any]] = field(default_factory=list)
    searched: list[dict[str, Any]] = field(default_factory=list)
    refolded: list[dict[str, Any]] = field(default_factory=list)
    sealed: list[dict[str, Any]] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    not_reached: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows were found in all holders together, sealed days among them."""
        sealed = sum(int(one["sets"]) + int(one["keys"]) for one in self.sealed)
        return sealed + sum(int(one["rows"]) for one in self.searched)

    def as_object(self) -> dict[str, Any]:
        """The certificate for JSON."""
        return asdict(self)

    @classmethod
    def of_object(cls, words: Mapping[str, Any]) -> Certificate:
        """The certificate that `as_object` gave.

        >>> one = Certificate(7, "2026-03-01T00:00:00Z", "me", "done")
        >>> Certificate.of_object(one.as_object()) == one
        True
        """
        return cls(**words)

    def text(self) -> str:
        """The certificate for a person."""
        title = "What an erasure would do" if self.state == "dry run" else f"Erasure {self.erasure}: {self.state}"
        lines = [title, f"Asked for at {self.asked_at} by {self.asked_by}.", "", "Names, by their digests:"]
        lines += [
            f"  {one['kind']} {one['digest']} ({'given' if one['given'] else 'found'})" for one in self.identifiers
        ]
        lines += ["", "Searched:"]
        lines += [f"  {one['holder']}: {plural(int(one['rows']), 'row')} ({one['holds']})" for one in self.searched]
        if not self.rows:
            lines.append("  Nothing was found.")
        lines += _listed("Folded again:", [_folded(one) for one in self.refolded])
        lines += _listed("Sealed days:", [_reduced(one) for one in self.sealed])
        lines += _listed("Rewritten:", self.rewritten)
        lines += _listed("Not reached:", self.not_reached)
        return "\n".join(lines) + "\n"


def _folded(one: Mapping[str, Any]) -> str:
    cells = f"{one['rollup']}: {plural(int(one['cells']), 'cell')}"
    return f"{cells}; {one['error']}" if one.get("error") else cells


def _reduced(one: Mapping[str, Any]) -> str:
    return f"{one['rollup']}: {plural(int(one['sets']), 'set')} reduced, {plural(int(one['keys']), 'key')} blurred"


def _listed(heading: str, lines: Sequence[str]) -> list[str]:
    return ["", heading, *(f"  {one}" for one in lines)] if lines else []


def identifiers(key: str, number: int, given: Person, person: Person) -> list[dict[str, Any]]:
    """The names of a person as a certificate shows them.

    >>> one = Person.of(["u1"], [])
    >>> [(one["kind"], len(one["digest"]), one["given"]) for one in identifiers("k", 7, one, Person.of(["u1"], ["b"]))]
    [('actor', 32, True), ('anonymous', 32, False)]
    """
    kinds = {"actor": (person.actor_ids, given.actor_ids), "anonymous": (person.anonymous_ids, given.anonymous_ids)}
    return [
        {"kind": kind, "digest": digest(key, number, kind, one), "given": one in mine}
        for kind, (names, mine) in kinds.items()
        for one in names
    ]


def digest(key: str, number: int, kind: str, name: str) -> str:
    """What stands for a name in one certificate: whoever has the store can show that a name was meant, and nobody can guess it."""
    words = f"{number} {kind} {name}".encode("utf-8", "surrogatepass")
    return hmac.new(key.encode(), words, hashlib.sha256).hexdigest()[:32]
