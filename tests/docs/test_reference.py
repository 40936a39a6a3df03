"""Everything a person can meet is documented: commands, options, settings, errors, metrics, views, JSON fields."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

import dayfold
from dayfold import errors
from dayfold.cli import adopt, fold, move, rebuild, verify
from dayfold.days import GRAINS, STORED_GRAINS
from dayfold.define import access, alert, cohort, condition, event_types, rollup, source
from dayfold.define.metric import OVER_KEYS, Metric
from dayfold.fold import doctor
from dayfold.fold.plan import RollupPlan
from dayfold.fold.rls import PolicyStanding
from dayfold.fold.track import TableStanding
from dayfold.http import work_forms
from dayfold.http.work import work
from dayfold.jobs import alerts, rules, thresholds
from dayfold.jobs import work as jobs_work
from dayfold.ledger import coverage, jobs, runs
from dayfold.ledger.alerts import Episode
from dayfold.ledger.migrations import MIGRATIONS, TABLES, VIEWS
from dayfold.names import RESERVED
from dayfold.query import cohorts, funnels
from dayfold.query.answer import Answer, gaps
from dayfold.query.profile import ProfileAnswer
from dayfold.query.profile_standing import Lack, ProfileStanding
from dayfold.query.status import JobStatus, RollupStatus, Status
from dayfold.settings import Settings
from tests.docs.pages import DOCS, ROOT, pages, prose

REFERENCE = DOCS / "reference"
SOURCE = ROOT / "src" / "dayfold"


def named(page: str) -> set[str]:
    """The words that a page of the reference sets in code."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    return {word for span in re.findall(r"`([^`\n]+)`", text) for word in (span, *re.findall(r"[\w.-]+", span))}


def subclasses(kind: type) -> Iterator[type]:
    for one in kind.__subclasses__():
        yield one
        yield from subclasses(one)


def test_commands_and_routes_pages_are_generated() -> None:
    """The references are what the program says of itself, so no command, option, path or parameter is left out."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.TARGET.read_text(encoding="utf-8") == generate.commands(), "run: python docs/generate.py"
    assert generate.ROUTES.read_text(encoding="utf-8") == generate.routes(), "run: python docs/generate.py"


def test_every_option_has_a_help_text() -> None:
    """A command, argument or option without an explanation would be an empty cell of the reference."""
    cells = re.findall(r"^\| `[^|]+ \| (.*?) \|", (REFERENCE / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert cells
    assert not {"", "None"} & set(cells)


def settings(model: type[BaseModel], section: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        place = f"{section}{field.alias or name}"
        kind = field.annotation
        inner = get_args(kind)[1] if get_origin(kind) is dict else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings(inner, f"{place}.NAME.")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings(kind, f"{place}.")
        else:
            yield place


@pytest.mark.parametrize("setting", list(settings(Settings)))
def test_every_setting_is_documented_with_its_variable(setting: str) -> None:
    """A setting stands in the reference beside its environment variable."""
    variable = f"DAYFOLD_{setting.upper().replace('.', '__')}"
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    assert f"| `{setting}` | `{variable}` |" in text


def test_every_variable_of_the_program_is_documented() -> None:
    """No variable is read that the reference does not name."""
    code = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    assert set(re.findall(r"\bDAYFOLD_[A-Z]+\b", code)) <= named("settings.md")


ERRORS = [errors.DayfoldError, *subclasses(errors.DayfoldError)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_every_error_code_is_documented(error: type[errors.DayfoldError]) -> None:
    """Code, class and exit status stand in one line of the reference."""
    text = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    assert f"| `{error.code}` | `{error.__name__}` | {error.exit_status} |" in text


def test_error_codes_differ() -> None:
    """A code names one class."""
    assert len({error.code for error in ERRORS}) == len(ERRORS)


def problem_codes() -> set[str]:
    """The codes of definition problems: the words given as a code where the program makes one."""
    found = set()
    definitions = [path for path in SOURCE.rglob("*.py") if path.parent.name not in ("http", "jobs")]
    for path in set(definitions) - {SOURCE / "errors.py"}:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words: list[ast.expr] = []
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ("Problem", "problem", "_problem"):
                    words = node.args[:3]
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "code":
                words = [part for part in ast.walk(node.value) if isinstance(part, ast.expr)]
            found |= {
                str(word.value)
                for word in words
                if isinstance(word, ast.Constant) and re.fullmatch(r"[a-z]+(-[a-z]+)*", str(word.value))
            }
    return found


def test_every_problem_code_is_documented_and_exists() -> None:
    """The table of mistakes in definitions and the program name the same codes."""
    text = (REFERENCE / "errors.md").read_text(encoding="utf-8").partition("## Mistakes in definitions")[2]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == problem_codes()


KINDS = [kind for kind in subclasses(Metric) if kind.__name__ in dayfold.__all__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_metric_kind_is_documented_with_its_options(kind: type[Metric]) -> None:
    """A metric's row in the reference shows all of its options."""
    text = (REFERENCE / "definitions.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| `{kind.__name__}\((.*?)\)` \|", text, re.MULTILINE)
    assert len(rows) == 1
    assert set(re.findall(r"(\w+)=", rows[0])) == set(kind.OPTIONS)


def test_every_public_name_is_documented() -> None:
    """What `from dayfold import …` offers is explained somewhere."""
    text = "".join(page.read_text(encoding="utf-8") for page in pages())
    assert [name for name in dayfold.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_words_of_definitions_are_documented() -> None:
    """Attributes of a rollup, arguments of a table and a moment, grains, units, reserved names."""
    words = {
        *rollup.ATTRIBUTES, *access.ATTRIBUTES, *source.Table.OPTIONS, *inspect.signature(source.Moment).parameters,
        *(f'"{grain}"' for grain in STORED_GRAINS), *(f'unit="{unit}"' for unit in source.UNITS),
        *(f'"{word}"' for word in OVER_KEYS), *RESERVED, *(f"| `{word}` |" for word in alert.WORDS),
        *(f"`previous {period}`" for period in condition.PERIODS), *(f"| `{word}` |" for word in event_types._KINDS),
        *(f"`{word}`" for word in event_types.BUILT_IN),
    }  # fmt: skip
    text = (REFERENCE / "definitions.md").read_text(encoding="utf-8")
    assert sorted(word for word in words if word not in text) == []
    assert (
        f"| `lookback` | days before today that every fold computes again, 0 to 3660 | `{rollup.DEFAULT_LOOKBACK_DAYS}`; "
        "none where every source tells its changes |" in text
    )


def test_grains_of_a_question_are_documented() -> None:
    """Each grain that a question may have stands in the reference of its command."""
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    assert [grain for grain in GRAINS if grain not in text] == []


def views() -> dict[str, list[str]]:
    """The ledger's views and their columns, from the migrations."""
    found = {}
    for migration in MIGRATIONS:
        for statement in migration.statements:
            if made := re.match(r"CREATE VIEW (\w+) AS SELECT (.*?) FROM ", statement):
                found[made[1]] = [
                    column.rpartition(" AS ")[2].strip().rpartition(".")[2] for column in made[2].split(",")
                ]
    return found


def test_every_view_of_the_ledger_is_documented() -> None:
    """Each view with each of its columns, the states of a day and of a run, and the names of internal tables."""
    assert set(views()) == set(VIEWS)
    words = {*views(), *(column for columns in views().values() for column in columns), *TABLES}
    words |= {coverage.OPEN, coverage.FOLDED, coverage.FAILED, coverage.SEALED}
    words |= {runs.RUNNING, runs.DONE, runs.PARTIAL, runs.FAILED, runs.INTERRUPTED, *jobs.STATUSES}
    headings = re.findall(r"^## (\w+)$", (REFERENCE / "ledger.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert words - named("ledger.md") - set(headings) == set()


#: What commands make JSON of.
FORMS = (
    fold.as_object, move.as_object, rebuild.as_object, rebuild._move, adopt.as_object, verify.as_object, verify._drift,
    alerts.Alerts, alerts._episode, rules, thresholds._Pair, cohorts.CohortAnswer.said,
    funnels.FunnelAnswer.said, funnels.FunnelAnswer.as_object,
)  # fmt: skip


PROFILES = (ProfileAnswer.said, ProfileAnswer.as_object, ProfileStanding.as_object, Lack.as_object)


def test_every_field_of_json_is_documented() -> None:
    """The fields of each command's document stand in the reference."""
    kinds = (
        RollupStatus,
        JobStatus,
        Status,
        runs.RunRecord,
        doctor.Finding,
        TableStanding,
        PolicyStanding,
        alerts.RuleState,
        alerts.Tried,
        Episode,
    )
    words = {one.name for kind in kinds for one in fields(kind)}
    forms = [
        inspect.getsource(one)
        for one in (
            Answer.as_object,
            gaps,
            *PROFILES,
            RollupPlan.as_object,
            *FORMS,
        )
    ]
    words |= {*cohort.OWN_COLUMNS, *funnels.OWN_COLUMNS}
    forms += re.findall(r"write_json\((\{.*?\})\)", "".join(path.read_text() for path in (SOURCE / "cli").glob("*.py")))
    words |= {
        word for form in forms for pair in re.findall(r'"(\w+)":|found\["(\w+)"\]', form) for word in pair if word
    }
    assert words - named("json.md") == set()


def test_every_field_and_route_of_jobs_over_http_is_documented() -> None:
    """Paths, parameters, the fields of bodies and answers, and of the summaries that runs leave."""
    words = {field.alias or name for form in _forms() for name, field in form.model_fields.items()}
    words |= {parameter.name for route in work.routes for parameter in route.dependant.query_params}  # type: ignore[attr-defined]
    words |= set(
        re.findall(r'"(\w+)":', inspect.getsource(jobs_work._of_fold) + inspect.getsource(jobs_work._of_verify))
    )
    words |= set(re.findall(r'outcome.summary\["(\w+)"\]', inspect.getsource(jobs_work)))
    assert words - named("http-jobs.md") == set()
    text = (REFERENCE / "http-jobs.md").read_text(encoding="utf-8")
    assert [route.path for route in work.routes if f"{route.path}`" not in text and f"{route.path}?" not in text] == []  # type: ignore[attr-defined]


def _forms() -> list[type[BaseModel]]:
    return [one for one in vars(work_forms).values() if inspect.isclass(one) and issubclass(one, BaseModel)]


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file or folder that exists."""
    targets = [link.partition("#")[0] for link in LINK.findall(prose(page)) if "://" not in link]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []
