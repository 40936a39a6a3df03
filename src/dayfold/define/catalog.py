"""All definitions of one application, read from a file or given as classes. Definitions floor.

Reading a file runs it; the definitions themselves open nothing.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import hashlib
import importlib
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dayfold import streams
from dayfold.define import access as accesses
from dayfold.define import check as checking
from dayfold.define import counter as counting
from dayfold.define.access import Access, AccessDef
from dayfold.define.alert import Alert, AlertDef, Written, checked, unknown_channels, written
from dayfold.define.beside import modules_beside
from dayfold.define.check import Check, CheckDef
from dayfold.define.cohort import Cohort, CohortDef
from dayfold.define.cohort import definition as cohort_definition
from dayfold.define.counter import Counter, CounterDef, Counters
from dayfold.define.event_types import EventTypes
from dayfold.define.events import Entities, Said, said
from dayfold.define.function import FunctionSource
from dayfold.define.funnel import Funnel, FunnelDef
from dayfold.define.funnel import definition as funnel_definition
from dayfold.define.page import Page, PageDef
from dayfold.define.page import written as page_written
from dayfold.define.page_words import Known
from dayfold.define.page_words import checked as page_checked
from dayfold.define.profile import Profile
from dayfold.define.rollup import Rollup, RollupDef, definition
from dayfold.define.source import Folded, Place, Table
from dayfold.define.study import Study
from dayfold.errors import ConfigError, DefinitionError, Problem, UnknownName
from dayfold.names import listing, nearest, suggestion, way_back


@dataclass(frozen=True)
class Origin:
    """The file that definitions were read from.

    Attributes:
        fingerprint: Of its text and that of the modules beside it that it imports: the same for the same definitions only.
        modules: The names of those modules.
    """

    path: Path
    fingerprint: str
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """The rollups, access and alert rules and checks of an application, by name, and what is wrong with them so far.

    Attributes:
        counters: Those of the rollups that are counters.
        entities: The columns that its events have beside their own.
        event_types: The types of events that it declares.
        cohorts, funnels: Questions about the entities of its profiles.
        pages: What people look at.
    """

    rollups: dict[str, RollupDef]
    problems: tuple[Problem, ...] = ()
    accesses: dict[str, AccessDef] = field(default_factory=dict)
    alerts: dict[str, AlertDef] = field(default_factory=dict)
    origin: Origin | None = None
    entities: Entities = field(default_factory=Entities)
    event_types: EventTypes = field(default_factory=EventTypes)
    counters: Counters = field(default_factory=Counters)
    checks: dict[str, CheckDef] = field(default_factory=dict)
    cohorts: dict[str, CohortDef] = field(default_factory=dict)
    funnels: dict[str, FunnelDef] = field(default_factory=dict)
    pages: dict[str, PageDef] = field(default_factory=dict)

    def __getitem__(self, name: str) -> RollupDef:
        for rollup in self.rollups.values():
            if name in (rollup.name, rollup.table):
                return rollup
        raise UnknownName(
            f"There is no rollup '{name}'{suggestion(name, self.rollups)}.",
            hint=f"Rollups: {listing(self.rollups)}",
        )

    def with_lowers(self, rollups: Iterable[RollupDef]) -> list[RollupDef]:
        """Rollups and all that they are folded from, each after those."""
        found: dict[str, RollupDef] = {}

        def add(rollup: RollupDef) -> None:
            for lower in self.lowers(rollup):
                if lower.name not in found:
                    add(lower)
            found.setdefault(rollup.name, rollup)

        for rollup in rollups:
            add(rollup)
        return list(found.values())

    def lowers(self, rollup: RollupDef) -> list[RollupDef]:
        """The rollups that one is folded from directly."""
        names = {one.rollup.__name__ for one in rollup.lowers}
        return [one for one in self.rollups.values() if one.name in names]

    def with_uppers(self, rollups: Iterable[RollupDef]) -> list[RollupDef]:
        """Rollups and all that is folded from them directly."""
        found = {one.name: one for one in rollups}
        for one in self.rollups.values():
            if any(lower.name in found for lower in self.lowers(one)):
                found.setdefault(one.name, one)
        return list(found.values())

    def with_rules(self, rules: Sequence[Written], channels: Iterable[str]) -> Catalog:
        """The same with the rules of the settings, and every rule's channels checked."""
        known = list(channels)
        found, problems = checked(rules, self.rollups, checks=self.checks)
        taken = {name.lower(): one.place for name, one in self.alerts.items()}
        problems += [
            Problem("duplicate-name", one.place, "", f"the alert's name '{name}' is taken by {taken[name.lower()]}.")
            for name, one in found.items()
            if name.lower() in taken
        ]
        alerts = {**self.alerts, **found}
        problems += unknown_channels(alerts.values(), known)
        ordered = sorted(dict.fromkeys([*self.problems, *problems]), key=by_place)
        return replace(self, alerts=alerts, problems=tuple(ordered))

    def check(self) -> None:
        """Raise DefinitionError with all mistakes, if there are any."""
        if self.problems:
            raise DefinitionError(self.problems)


#: What a definitions file holds.
Defined = Rollup | Access | Alert | Check | Cohort | Funnel | Page


def catalog(given: Iterable[type[Defined] | Said], problems: Sequence[Problem] = ()) -> Catalog:
    """The catalog of some classes, and of what was said of events.

    >>> catalog([]).rollups
    {}
    """
    rollups: dict[str, RollupDef] = {}
    places: dict[str, Place] = {}
    found = list(problems)
    known: dict[str, AccessDef] = {}
    rules: list[type[Alert]] = []
    statements: list[Said] = []
    counters: dict[str, CounterDef] = {}
    checks: dict[str, CheckDef] = {}
    studies: list[type[Cohort | Funnel]] = []
    pages: list[type[Page]] = []
    for cls in given:
        if isinstance(cls, Said):
            statements.append(cls)
        elif issubclass(cls, Page):
            pages.append(cls)
        elif issubclass(cls, Study):
            studies.append(cls)
        elif issubclass(cls, Alert):
            rules.append(cls)
        elif issubclass(cls, Access):
            access, mistakes = accesses.definition(cls)
            found += mistakes
            found += _name_taken(places, "class", access.name, access.place, access.name)
            known[access.name] = access
        elif issubclass(cls, Check):
            check, mistakes = checking.definition(cls)
            found += mistakes
            found += _name_taken(places, "class", check.name, check.place, check.name)
            checks[check.name] = check
        else:
            names: list[tuple[str, str]] = []
            if issubclass(cls, Counter):
                counter, mistakes = counting.definition(cls)
                rollup = counter.rollup
                names += [("counter", counter.name), ("table", counter.totals_table)]
                counters[counter.name] = counter
            else:
                rollup, mistakes = definition(cls)
            found += mistakes
            for what, name in (("class", rollup.name), ("table", rollup.table), *names):
                found += _name_taken(places, what, name, rollup.place, rollup.name)
            rollups[rollup.name] = rollup
    keys = {column for rollup in rollups.values() for column in rollup.key}
    found += [problem for access in known.values() for problem in accesses.misplaced(access, keys)]
    found += [problem for check in checks.values() for problem in checking.misplaced(check, rollups)]
    alerts, amiss = checked(map(written, rules), rollups, checks=checks)
    found += [*_unlike(rollups.values()), *_sources_amiss(rollups), *amiss]
    entities, event_types = Entities.of(statements), EventTypes.of(statements)
    found += [*entities.problems, *event_types.problems]
    for study in studies:
        found += _name_taken(places, "class", study.__name__, study._place, study.__name__)
    cohorts, funnels = _studied(studies, rollups, found)
    shown: dict[str, PageDef] = {}
    for one in pages:
        found += _name_taken(places, "class", one.__name__, one._place, one.__name__)
        page, mistakes = page_checked(page_written(one), Known(rollups, funnels, known))
        shown |= {page.name: page} if page is not None else {}
        found += mistakes
    ordered = sorted(dict.fromkeys(found), key=by_place)
    return Catalog(
        rollups,
        tuple(ordered),
        known,
        alerts,
        entities=entities,
        event_types=event_types,
        counters=Counters(counters),
        checks=checks,
        cohorts=cohorts,
        funnels=funnels,
        pages=shown,
    )


def _studied(
    studies: Iterable[type[Cohort | Funnel]], rollups: Mapping[str, RollupDef], problems: list[Problem]
) -> tuple[dict[str, CohortDef], dict[str, FunnelDef]]:
    """Cohorts and funnels by name; their mistakes are added to the others."""
    cohorts: dict[str, CohortDef] = {}
    funnels: dict[str, FunnelDef] = {}
    for cls in studies:
        if issubclass(cls, Cohort):
            cohort, mistakes = cohort_definition(cls, rollups)
            cohorts |= {cohort.name: cohort} if cohort is not None else {}
        else:
            funnel, mistakes = funnel_definition(cls, rollups)
            funnels |= {funnel.name: funnel} if funnel is not None else {}
        problems += mistakes
    return cohorts, funnels


def _name_taken(places: dict[str, Place], what: str, name: str, place: Place, subject: str) -> list[Problem]:
    """A mistake where another definition has the name already."""
    taken = places.setdefault(f"{what} {name.lower()}", place)
    if taken == place:
        return []
    return [Problem("duplicate-name", str(place), subject, f"the {what} name '{name}' is taken by {taken}.")]


def _tables(rollup: RollupDef) -> list[Table]:
    """A rollup's sources; what is none at all is a mistake that is told elsewhere."""
    named: list[object] = [*rollup.sources]
    return [one for one in named if isinstance(one, Table)]


def _unlike(rollups: Iterable[RollupDef]) -> list[Problem]:
    """Sources that are said to tell their changes in two ways."""
    found = []
    first: dict[str, Table] = {}
    for rollup in rollups:
        for source in _tables(rollup):
            other = first.setdefault(source.label, source)
            if other != source and (isinstance(source, FunctionSource) or isinstance(other, FunctionSource)):
                found.append(
                    Problem(
                        "duplicate-name", str(source.place), repr(source),
                        f"the source's name '{source.label}' is taken by {other.place}.",
                        "Give the function another name.",
                    )
                )  # fmt: skip
            elif (other.changes, other.reads) != (source.changes, source.reads):
                found.append(
                    Problem(
                        "bad-value", str(source.place), repr(source),
                        f"it tells its changes in another way than the same source in {other.place}.",
                        "Write the Table once and use it by its name, or give both the same changes=….",
                    )
                )  # fmt: skip
    return found


def _sources_amiss(rollups: Mapping[str, RollupDef]) -> list[Problem]:
    """Rollups as sources that are not of this application, or that lead back to where they came from."""
    found = []
    tables = {one.table: one for one in rollups.values()}
    edges: dict[str, list[str]] = {}
    for rollup in rollups.values():
        edges[rollup.name] = [one.rollup.__name__ for one in rollup.lowers]
        for source in _tables(rollup):
            if isinstance(source, Folded):
                if source.rollup.__name__ not in rollups:
                    found.append(
                        Problem(
                            "bad-source", str(source.place), rollup.name,
                            f"it is folded from {source.rollup.__name__}, which is none of these definitions.",
                            "Import that class into the definitions file, or give it with the others.",
                        )
                    )  # fmt: skip
            elif source.database is None and source.name in tables:
                lower = tables[source.name]
                if lower is not rollup:
                    edges[rollup.name].append(lower.name)
                    if not way_back(rollup.name, lambda one: edges.get(one, ())):
                        found.append(
                            Problem(
                                "bad-source", str(source.place), rollup.name,
                                f"the table '{source.name}' is that of the rollup {lower.name}.",
                                f"Name the rollup itself as the source: {lower.name} instead of {source!r}. Its changes "
                                "are then known.",
                            )
                        )  # fmt: skip
    for name, rollup in rollups.items():
        if path := way_back(name, lambda one: edges.get(one, ())):
            found.append(Problem("cycle", str(rollup.place), name, f"it is folded from itself: {' → '.join(path)}."))
    return found


def load(path: Path) -> Catalog:
    """The catalog of a definitions file.

    Raises:
        ConfigError: when there is no such file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except PermissionError:
        raise ConfigError(f"The definitions file {path} may not be read.") from None
    except OSError:
        raise ConfigError(
            f"There is no definitions file {path}.",
            hint="Run `dayfold init` for a commented one, or name yours with `-a FILE` or DAYFOLD_APP.",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.") from None
    module = types.ModuleType("dayfold_definitions")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    problems: list[Problem] = []
    before = set(sys.modules)
    program = ast.Module([], [])
    try:
        program = ast.parse(text, str(path))
        problems += _names_twice(program, path)
        # What a definitions file prints is for its author, and must not stand among the rows of an answer.
        with streams.output(sys.stderr):
            exec(compile(program, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        problems.append(_broken(error, path, module))
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Defined)
        and value not in (Rollup, Counter, Profile, Access, Alert, Check, Cohort, Funnel, Page)
    ]
    if not any(issubclass(one, Rollup) for one in classes) and not problems:
        problems.append(
            Problem(
                "no-rollups",
                path.name,
                "",
                "the file defines no Rollup.",
                "Run `dayfold init` for an example.",
            )
        )
    origin = _origin(path, text, sorted(set(sys.modules) - before))
    statements = [one for each in (module, *modules_beside(program, path.parent)) for one in said(vars(each))]
    return replace(catalog([*dict.fromkeys(classes), *statements], problems), origin=origin)


def load_again(known: Origin) -> Catalog:
    """The catalog of a definitions file as it is now, with the modules beside it that it imports.

    What the earlier one imported stays as it was for those who use it, and is all there is where the file has mistakes now.
    """
    earlier = {name: sys.modules.pop(name) for name in known.modules if name in sys.modules}
    found = None
    importlib.invalidate_caches()
    try:
        found = load(known.path)
    finally:
        if found is None or found.problems:
            sys.modules.update(earlier)
    return found


def has_moved(known: Origin) -> bool:
    """Whether the file that definitions were read from, or a module beside it, says something else now, or nothing."""
    try:
        text = known.path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return True
    return _origin(known.path, text, known.modules).fingerprint != known.fingerprint


def _origin(path: Path, text: str, imported: Sequence[str]) -> Origin:
    """Where definitions came from; of what they imported, the modules that lie beside them count."""
    folder = path.resolve().parent
    seal = hashlib.sha256(text.encode())
    beside = []
    for name in imported:
        file = getattr(sys.modules.get(name), "__file__", None)
        if name.partition(".")[0] == "dayfold" or not file or "site-packages" in file:
            continue
        with contextlib.suppress(OSError):
            if (found := Path(file).resolve()).is_relative_to(folder):
                seal.update(f"\0{found.relative_to(folder)}\0".encode() + found.read_bytes())
                beside.append(name)
    return Origin(path, seal.hexdigest()[:16], tuple(beside))


def _names_twice(program: ast.Module, path: Path) -> list[Problem]:
    """Classes of the file, and metrics of a class, of which a later one of the same name would hide the first."""
    found = []
    classes = [node for node in program.body if isinstance(node, ast.ClassDef)]
    bodies: list[tuple[str, Sequence[ast.stmt]]] = [("", classes), *((one.name, one.body) for one in classes)]
    for owner, nodes in bodies:
        seen: dict[str, int] = {}
        for node in nodes:
            for name in _names_given(node):
                if name in seen:
                    message = f"the name '{name}' is taken by {path.name}:{seen[name]}."
                    found.append(Problem("duplicate-name", f"{path.name}:{node.lineno}", owner or name, message))
                seen[name] = node.lineno
    return found


def _names_given(node: ast.AST) -> list[str]:
    """The names that a statement gives to a class or to the result of a call, such as a metric."""
    if isinstance(node, ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _broken(error: BaseException, path: Path, module: types.ModuleType) -> Problem:
    """What a Python error in the file means to its author."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    message = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    if isinstance(error, NameError) and error.name:
        near = nearest(error.name, [*vars(module), *vars(builtins)])
        message = f"there is no name '{error.name}'" + (f"; the nearest is '{near}'." if near else ".")
    if isinstance(error, SystemExit):
        message = "the file ends the program (SystemExit), so its definitions are not known."
    return Problem("python", f"{path.name}:{line}" if line else path.name, "", message)


def by_place(problem: Problem) -> tuple[str, int]:
    """The order in which mistakes are told: by file and line."""
    file, _, line = problem.place.rpartition(":")
    return (file, int(line)) if line.isdigit() else (problem.place, 0)
