"""What a page's words mean: checked against the definitions, and written as Python again. Definitions floor, pure.

Invariant: what `as_python` writes, read again, is a page of the same words.
"""

from __future__ import annotations

import datetime as dt
import keyword
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dayfold.define.access import AccessDef
from dayfold.define.alert import filter_text
from dayfold.define.funnel import FunnelDef
from dayfold.define.page import ATTRIBUTES, PARTS, USUAL_ROWS, PageDef, Parameter, ParameterDef, PartDef, WrittenPage
from dayfold.define.rollup import RollupDef
from dayfold.errors import Problem
from dayfold.names import is_plain, listing, suggestion
from dayfold.periods import ROLLING, USUAL

#: Of a parameter.
TYPES = ("text", "bigint", "uuid", "date", "boolean")
#: Of a part.
GRAINS = ("day", "week", "month", "quarter", "year")
COMPARE = ("previous", "year")
MOST_PARTS, MOST_ROWS, MOST_LINES, MOST_METRICS = 60, 500, 20, 20
_TITLE, _TEXT = 200, 10_000
#: Parameters of the address of every page.
TAKEN = ("period", "from", "to", "theme", "bare", "page")


class Known:
    """The definitions that a page may name."""

    def __init__(
        self, rollups: Mapping[str, RollupDef], funnels: Mapping[str, FunnelDef], accesses: Mapping[str, AccessDef]
    ) -> None:
        self.rollups = rollups
        self.funnels = funnels
        self.accesses = accesses


def checked(page: WrittenPage, known: Known) -> tuple[PageDef | None, list[Problem]]:
    """A page's definition, None where it cannot be shown, and everything that is wrong with it."""
    reader = _Reader(page, known)
    found = reader.read()
    return (None if reader.problems else found), reader.problems


def title_of(name: str) -> str:
    """A name in words.

    >>> title_of("BrandCampaignPage"), title_of("revenue_cents"), title_of("Page")
    ('Brand campaign', 'Revenue cents', 'Page')
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+", " ", name.removesuffix("Page") or name)
    return spaced.strip().capitalize()


def value_of(type_: str, text: str) -> str:
    """A parameter's value as a filter has it.

    Raises:
        ValueError: with what was expected.

    >>> value_of("bigint", " 7 "), value_of("boolean", "True")
    ('7', 'true')
    """
    text = text.strip() if type_ != "text" else text
    try:
        match type_:
            case "bigint":
                number = int(text) if re.fullmatch(r"-?[0-9]{1,19}", text) else 2**63
                if not -(2**63) <= number < 2**63:
                    raise ValueError
                return str(number)
            case "uuid":
                return str(uuid.UUID(text))
            case "date":
                return dt.date.fromisoformat(text).isoformat() if len(text) == 10 else str(int(""))
            case "boolean":
                return {"true": "true", "1": "true", "false": "false", "0": "false"}[text.lower()]
    except (ValueError, KeyError):
        expected = {"bigint": "a whole number", "date": "a day written YYYY-MM-DD", "boolean": "true or false"}
        raise ValueError(expected.get(type_, f"a {type_}")) from None
    return text


class _Reader:
    """Reads one page and collects its mistakes."""

    def __init__(self, page: WrittenPage, known: Known) -> None:
        self.page = page
        self.known = known
        self.problems = list(page.problems)
        self.part = ""

    def problem(self, code: str, message: str, hint: str = "") -> None:
        """Keep a mistake, of the part that is looked at where there is one."""
        place = self.page.places.get(self.part, self.page.place)
        subject = f"{self.page.name}.{self.part}" if self.part else self.page.name
        self.problems.append(Problem(code, place, subject, message, hint))

    def read(self) -> PageDef:
        words = self.page.words
        for name in words:
            if name not in (*ATTRIBUTES, "parts"):
                self.problem(
                    "unknown-attribute", f"a Page has no attribute '{name}'{suggestion(str(name), ATTRIBUTES)}.",
                    f"Attributes: {listing(ATTRIBUTES)}, and parts such as Card(…); constants of your own are written in capitals.",
                )  # fmt: skip
        period = words.get("period", USUAL)
        if period not in ROLLING:
            self.problem("bad-value", f"period is one of {listing(ROLLING)}, got {period!r}.")
        access = self._access(words.get("access"))
        parts = self._parts(words.get("parts", ()))
        parameters = self._parameters(words.get("parameters", {}), access, parts)
        if access is not None:
            self._check_within(access, parts)
        title = self._text("title", words.get("title"), _TITLE) or title_of(self.page.name)
        return PageDef(
            self.page.name, self.page.place, title, self.page.description, str(period), parts, parameters, access, words
        )

    def _text(self, what: str, value: object, longest: int) -> str:
        if value is None:
            return ""
        if not isinstance(value, str) or not value.strip() or len(value) > longest or "\0" in value:
            self.problem("bad-value", f"{what} is a text of 1 to {longest:,} letters.")
            return ""
        return value

    def _access(self, name: object) -> AccessDef | None:
        if name is None:
            return None
        found = self.known.accesses.get(name) if isinstance(name, str) else None
        if found is None:
            self.problem(
                "unknown-access",
                f"access names {name!r}, which is none of these definitions{suggestion(str(name), self.known.accesses)}.",
                f"Accesses: {listing(self.known.accesses)}",
            )
        return found

    # -- parameters --------------------------------------------------------------------------------

    def _parameters(self, given: object, access: AccessDef | None, parts: Sequence[PartDef]) -> dict[str, ParameterDef]:
        of_access = _parameters_of(access)
        found = {name: ParameterDef(name, "text", None, title_of(name), None) for name in of_access}
        if not isinstance(given, Mapping):
            self.problem("bad-value", f'parameters maps names to types, such as {{"shop_id": "text"}}, got {given!r}.')
            return found
        columns = {column for part in parts for one in part.rollups for column in one.key}
        for name, one in given.items():
            words = {"type": one} if isinstance(one, str) else one
            if not isinstance(name, str) or not is_plain(name) or name in TAKEN:
                self.problem(
                    "bad-name", f"a parameter's name has letters, digits and '_', and is none of {listing(TAKEN)}; got {name!r}."
                )  # fmt: skip
            elif not isinstance(words, Mapping) or set(words) - set(Parameter.words_known):
                self.problem("bad-value", f"the parameter '{name}' is a type or a Parameter, got {one!r}.")
            elif words.get("type", "text") not in TYPES:
                self.problem(
                    "bad-value", f"the type of the parameter '{name}' is one of {listing(TYPES)}, got {words.get('type')!r}."
                )  # fmt: skip
            else:
                found[name] = self._parameter(name, words, of_access, columns, parts)
        return found

    def _parameter(
        self, name: str, words: Mapping[str, Any], of_access: Sequence[str], columns: Iterable[str],
        parts: Sequence[PartDef],
    ) -> ParameterDef:  # fmt: skip
        column = words.get("column")
        if column is None and name not in of_access:
            column = name
        if column is not None and column not in columns:
            known = sorted({*columns, *of_access})
            self.problem(
                "unknown-column",
                f"the parameter '{name}' is of '{column}', which is no key column of what the page shows"
                f"{'' if not self.page.words.get('access') else ' and no parameter of its access'}{suggestion(str(column), known)}.",
                f"Key columns and parameters: {listing(known)}",
            )
        elif column is not None:
            for part in parts:
                for rollup in part.rollups[:1]:
                    if column not in rollup.key:
                        self.part = part.name
                        self.problem(
                            "unknown-column",
                            f"the parameter '{name}' filters by '{column}', which is no key column of {rollup.name}: the part would "
                            "show the numbers of all.",
                            f"Key columns: {listing(rollup.key)}",
                        )
                        self.part = ""
        type_, default = str(words.get("type", "text")), words.get("default")
        if default is not None:
            try:
                default = value_of(type_, filter_text(default))
            except (ValueError, AttributeError) as error:
                self.problem("bad-value", f"the default of the parameter '{name}': expected {error}.")
                default = None
        title = self._text(f"the title of the parameter '{name}'", words.get("title"), _TITLE) or title_of(name)
        return ParameterDef(name, type_, column, title, default)

    def _check_within(self, access: AccessDef, parts: Sequence[PartDef]) -> None:
        """Whoever has the access sees only rollups with all columns that it limits, so that the page has no others."""
        for part in parts:
            for rollup in part.rollups:
                for column in access.queries:
                    if column not in rollup.key:
                        self.part = part.name
                        self.problem(
                            "bad-page", f"{access.name} limits '{column}', which is no key column of {rollup.name}: nobody who has "
                            "that access sees the part.",
                            f"Key columns: {listing(rollup.key)}",
                        )  # fmt: skip
                        self.part = ""

    # -- parts -------------------------------------------------------------------------------------

    def _parts(self, given: object) -> tuple[PartDef, ...]:
        if not isinstance(given, list | tuple) or not all(isinstance(one, Mapping) for one in given):
            self.problem("bad-value", f"parts is a list, got {type(given).__name__}.")
            return ()
        if not 1 <= len(given) <= MOST_PARTS:
            self.problem(
                "bad-page",
                f"a Page has 1 to {MOST_PARTS} parts, got {len(given)}.",
                'Such as: views = Card(Visits, "views")',
            )
        found, names = [], set[str]()
        for number, words in enumerate(given, 1):
            name = words.get("name")
            self.part = name if isinstance(name, str) else f"part {number}"
            if not isinstance(name, str) or not is_plain(name) or name.startswith("_") or keyword.iskeyword(name):
                self.problem("bad-name", f"a part's name has letters, digits and '_', got {name!r}.")
            elif name in ATTRIBUTES:
                self.problem("reserved-name", f"'{name}' is an attribute of a Page and no name of a part.")
            elif name in names:
                self.problem("duplicate-name", f"two parts are called '{name}'.")
            else:
                names.add(name)
            part = self._part(words)
            if part is not None:
                found.append(part)
            self.part = ""
        return tuple(found)

    def _part(self, words: Mapping[str, Any]) -> PartDef | None:
        kind = words.get("part")
        if not isinstance(kind, str) or kind not in PARTS:
            self.problem("bad-value", f"a part is one of {listing(PARTS)}, got {kind!r}.")
            return None
        for name in words:
            if name not in ("part", "name", *PARTS[kind].words_known):
                self.problem(
                    "unknown-option", f"{PARTS[kind].__name__} has no option '{name}'{suggestion(str(name), PARTS[kind].words_known)}.",
                    f"Options: {listing(PARTS[kind].words_known)}",
                )  # fmt: skip
        title = self._text("title", words.get("title"), _TITLE)
        match kind:
            case "text":
                text = self._text("text", words.get("text", ""), _TEXT)
                return PartDef(kind, self.part, title, text=text)
            case "steps":
                return self._steps(words, title)
        return self._numbers(kind, words, title)

    def _steps(self, words: Mapping[str, Any], title: str) -> PartDef | None:
        name = words.get("funnel")
        funnel = self.known.funnels.get(name) if isinstance(name, str) else None
        if funnel is None:
            self.problem(
                "unknown-funnel", f"there is no funnel {name!r}{suggestion(str(name), self.known.funnels)}.",
                f"Funnels: {listing(self.known.funnels)}",
            )  # fmt: skip
            return None
        where = self._where(funnel.profile, words.get("where", {}))
        return PartDef("steps", self.part, title or title_of(funnel.name), where=where, funnel=funnel)

    def _numbers(self, kind: str, words: Mapping[str, Any], title: str) -> PartDef | None:
        """A card, a series or a top list."""
        rollup = self._rollup(words.get("rollup"))
        if rollup is None:
            return None
        metrics = self._metrics(rollup, words.get("metric") if kind == "card" else words.get("metrics"))
        by = self._by(rollup, words.get("by", ()))
        grain, compare = words.get("grain"), words.get("compare")
        if grain is not None and grain not in GRAINS:
            self.problem("bad-value", f"grain is one of {listing(GRAINS)}, got {grain!r}.")
        if compare is not None and compare not in COMPARE:
            self.problem("bad-value", f"compare is one of {listing(COMPARE)}, got {compare!r}.")
        if kind == "card" and len(metrics) > 1:
            self.problem("bad-page", f"a Card has one metric, got {listing(metrics)}.")
        if kind == "top" and not by and "by" not in words:
            self.problem("bad-page", "a Top needs by, the key column whose values are put in order.",
                         f"Key columns: {listing(rollup.key)}")  # fmt: skip
        if kind == "series" and len(by) > 1:
            self.problem("bad-page", f"a Series is by one key column, got {listing(by)}.")
        if kind == "series" and by and len(metrics) > 1:
            self.problem("bad-page", f"a Series by {by[0]} has one metric, got {listing(metrics)}.")
        if kind == "series" and compare and (by or len(metrics) > 1):
            self.problem("bad-page", "a Series that is compared has one metric and no by.")
        most = MOST_LINES if kind == "series" else MOST_ROWS
        n = words.get("n", USUAL_ROWS)
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= most:
            self.problem("bad-value", f"n is a number from 1 to {most}, got {n!r}.")
            n = USUAL_ROWS
        if not title:
            title = ", ".join(title_of(one) for one in metrics[: 1 if kind == "top" else None])
            title += f" by {title_of(by[0]).lower()}" if by else ""
        where = self._where(rollup, words.get("where", {}))
        return PartDef(kind, self.part, title, rollup, metrics, by, where, n, grain, compare)

    def _rollup(self, name: object) -> RollupDef | None:
        days = {one.name: one for one in self.known.rollups.values() if not one.is_profile}
        for one in self.known.rollups.values():
            if name in (one.name, one.table):
                if not one.is_profile:
                    return one
                self.problem(
                    "bad-page", f"{one.name} is a profile, which has no days, and a page shows a period.",
                    "Count its entities in a rollup, such as Size(…), and show that.",
                )  # fmt: skip
                return None
        self.problem(
            "unknown-rollup", f"there is no rollup {name!r}{suggestion(str(name), days)}.", f"Rollups: {listing(days)}"
        )
        return None

    def _metrics(self, rollup: RollupDef, given: object) -> tuple[str, ...]:
        names = (given,) if isinstance(given, str) else given
        if not isinstance(names, list | tuple) or not 1 <= len(names) <= MOST_METRICS:
            self.problem("bad-value", f"a metric is a text, several are a list of 1 to {MOST_METRICS}; got {given!r}.")
            return ()
        for name in names:
            if not isinstance(name, str) or name not in rollup.metrics:
                self.problem(
                    "unknown-metric", f"{rollup.name} has no metric {name!r}{suggestion(str(name), rollup.metrics)}.",
                    f"Metrics: {listing(rollup.metrics)}",
                )  # fmt: skip
        return tuple(dict.fromkeys(map(str, names)))

    def _by(self, rollup: RollupDef, given: object) -> tuple[str, ...]:
        names = (given,) if isinstance(given, str) else given
        if not isinstance(names, list | tuple):
            self.problem("bad-value", f"by is a key column or a list of them, got {given!r}.")
            return ()
        for name in names:
            self._key(rollup, "by", name)
        return tuple(dict.fromkeys(map(str, names)))

    def _key(self, rollup: RollupDef, what: str, name: object) -> None:
        if name not in rollup.key:
            self.problem(
                "unknown-column", f"{what} names {name!r}, which is no key column of {rollup.name}{suggestion(str(name), rollup.key)}.",
                f"Key columns: {listing(rollup.key)}",
            )  # fmt: skip

    def _where(self, rollup: RollupDef, where: object) -> tuple[str, ...]:
        """Filters as the words of a question."""
        if not isinstance(where, Mapping):
            self.problem("bad-value", f'where maps key columns to values, such as {{"channel": "ios"}}, got {where!r}.')
            return ()
        found = []
        for name, value in where.items():
            self._key(rollup, "where", name)
            for one in value if isinstance(value, list | tuple) else [value]:
                if one is not None and not isinstance(one, str | int):
                    self.problem(
                        "bad-value", f"where: '{name}' is a text, a whole number, true, false or a list of these."
                    )
                    continue
                found.append(f"{name}={filter_text(one)}")
        return tuple(found)


def _parameters_of(access: AccessDef | None) -> tuple[str, ...]:
    """What an access is given; its database is not known here, and names are the same in every dialect that reads the query."""
    if access is None:
        return ()
    for dialect in ("postgres", "duckdb"):
        try:
            return access.parameters(dialect)
        except ValueError:
            continue
    return ()


# -- as Python -------------------------------------------------------------------------------------


def class_name(title: str) -> str:
    """The name of a class for a page.

    >>> class_name("Sales, by shop (EU)"), class_name("42 €"), class_name("ünder page")
    ('SalesByShopEUPage', 'SavedPage', 'NderPage')
    """
    parts = re.findall(r"[A-Za-z0-9]+", title)
    name = "".join(one[0].upper() + one[1:] for one in parts)[:50].removesuffix("Page")
    return f"{name}Page" if name and not name[0].isdigit() else "SavedPage"


def as_python(name: str, description: str, words: Mapping[str, Any]) -> str:
    """The source of a class with these words, which were checked.

    >>> print(as_python("P", "Hi.", {"title": "T", "parts": [{"part": "card", "name": "a", "rollup": "R", "metric": "m"}]}))
    from dayfold import Card, Page
    <BLANKLINE>
    <BLANKLINE>
    class P(Page):
        "Hi."
    <BLANKLINE>
        title = "T"
    <BLANKLINE>
        a = Card("R", "m")
    <BLANKLINE>
    """
    kinds = {PARTS[part["part"]].__name__ for part in words["parts"]}
    parameters = words.get("parameters", {})
    kinds |= {"Parameter"} if any(not isinstance(one, str) for one in parameters.values()) else set()
    lines = [f"from dayfold import {', '.join(sorted({'Page', *kinds}))}", "", "", f"class {name}(Page):"]
    if description:
        lines += [f"    {_literal(description)}", ""]
    head = [f"    {one} = {_literal(words[one])}" for one in ("title", "period", "access") if one in words]
    if parameters:
        inner = [f"{_literal(one)}: {_parameter(said)}" for one, said in parameters.items()]
        head.append(f"    parameters = {{{', '.join(inner)}}}  # noqa: RUF012")
    lines += [*head, ""] if head else []
    for part in words["parts"]:
        lines.append(f"    {part['name']} = {_call(PARTS[part['part']].__name__, part)}")
    return "\n".join(lines) + "\n"


def _call(name: str, part: Mapping[str, Any]) -> str:
    kind = PARTS[part["part"]]
    plain = kind.words_known[: kind.plain_words]
    said = [_literal(part[word]) for word in plain]
    said += [f"{word}={_literal(part[word])}" for word in kind.words_known if word in part and word not in plain]
    return f"{name}({', '.join(said)})"


def _parameter(said: Any) -> str:
    if isinstance(said, str):
        return _literal(said)
    words = [f"{name}={_literal(value)}" for name, value in said.items()]
    return f"Parameter({', '.join(words)})"


def _literal(value: object) -> str:
    """A value of JSON as Python source: what it says again is equal, whatever stands in a text."""
    if isinstance(value, str):
        return f'"{value}"' if value.isprintable() and not set(value) & {'"', "\\"} else ascii(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(str(key))}: {_literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if value is None or isinstance(value, bool | int):
        return repr(value)
    raise TypeError(f"{type(value).__name__} is no value of a page")
