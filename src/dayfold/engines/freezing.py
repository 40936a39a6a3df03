"""Tables that nobody writes to: triggers refuse it, in every process and of any version of this program. Engines floor.

A statement that changes such a table fails, and nothing else of the database does. In PostgreSQL it fails as a missing right would,
which the triggers on an application's own tables take for a log that is gone: the application's statement goes on.

Weakness: in DuckDB a statement that changes no row is let through, and one with ON CONFLICT, which no table with triggers takes,
fails with words of DuckDB's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp

from dayfold.plan.shape import quoted

#: What names of ours begin with here; those of triggers that mark cells begin otherwise.
PREFIX = "frozen_dayfold"
#: What the engines' errors begin with.
_MARK = "dayfold: "
_EVENTS = {"insert": "NEW TABLE AS n", "update": "OLD TABLE AS n NEW TABLE AS m", "delete": "OLD TABLE AS n"}


def told(text: str) -> str | None:
    """Why a table is frozen, from the text of an engine's error; None for any other error.

    >>> told("Invalid Input Error: dayfold: The store moves."), told("disk full")
    ('The store moves.', None)
    """
    _, mark, why = text.removeprefix("Invalid Input Error: ").partition(_MARK)
    return (why.splitlines() or [""])[0] if mark and _ == "" else None


def duckdb(schema: str, names: Sequence[str], found: Iterable[tuple[str, str]], why: str | None) -> list[str]:
    """The statements that freeze tables, or let them be written to again; ``found``: the triggers that do it now, with their tables."""
    texts = [f"DROP TRIGGER {quoted(trigger)} ON {_placed(schema, name)}" for trigger, name in found if name in names]
    if why is None:
        return texts
    fail = f"SELECT error({_literal(_MARK + why)}) FROM n"
    return texts + [
        f"CREATE TRIGGER {quoted(f'{PREFIX}_{event}_{name}')} AFTER {event.upper()} ON {_placed(schema, name)} REFERENCING {seen} "
        f"FOR EACH STATEMENT INSERT INTO {_placed(schema, 'dayfold__moves')} (name) {fail}"
        for name in names
        for event, seen in _EVENTS.items()
    ]


def postgres(schema: str, names: Sequence[str], why: str | None) -> list[str]:
    """The statements that freeze tables, or let them be written to again."""
    function = _placed(schema, PREFIX)
    if why is None:
        gone = [f"DROP TRIGGER IF EXISTS {PREFIX} ON {_placed(schema, name)}" for name in names]
        return [*gone, f"DROP FUNCTION IF EXISTS {function}()"]
    body = f"BEGIN RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = {_literal(_MARK + why)}; END"
    return [
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {_literal(body)}",
        *(
            f"CREATE OR REPLACE TRIGGER {PREFIX} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {_placed(schema, name)} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            for name in names
        ),
    ]


def _placed(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}"


def _literal(text: str) -> str:
    return exp.Literal.string(text).sql("postgres")
