"""``dayfold.toml`` and the environment. Between the definitions and the engines; opens nothing.

Order: ``DAYFOLD_…`` variables, then the file or the words that a caller passes. Any text of these may read a variable
as ``${NAME}`` or ``${NAME:-default}``.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dayfold.errors import ConfigError, UsageError
from dayfold.names import listing, suggestion
from dayfold.schedule import check_zone, expression
from dayfold.settings_auth import AuthSettings

#: What a value should have been, where the validator's own words are about Python.
_EXPECTED = {
    "model_type": "expected a section with settings of its own",
    "dict_type": "expected sections, such as [databases.app]",
    "string_type": "expected a text in quotes",
    "list_type": 'expected a list of texts, such as ["one"]',
    "missing": "it is needed and not there",
}
_NAME = r"^([A-Za-z_][A-Za-z0-9_]{0,62})?$"
_PREFIX = r"^[A-Za-z0-9_.:-]{1,60}$"
_SIZE = r"^\d+(\.\d+)? ?([kKMGT]i?B)$"
_BUCKET = r"^s3://[^/?]+(/[^?]*)?(\?.*)?$"
#: What a text of each pattern is.
_TEXTS = {
    _NAME: "expected a name of letters, digits and _, or nothing",
    _PREFIX: "expected letters, digits and _ . : - (at most 60)",
    _SIZE: "expected a size such as 512MB or 2GB",
    _BUCKET: "expected an address such as s3://BUCKET/PREFIX?region=eu-north-1",
}
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class StoreSettings(BaseModel):
    """``[store]``: where rollups and the ledger live."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr = Field(
        default=SecretStr("duckdb:///dayfold.duckdb"),
        description="duckdb:///FILE, postgresql://USER@HOST/DATABASE or clickhouse://USER@HOST/DATABASE.",
    )
    # Spelled db_schema inside: pydantic models have a method called schema.
    db_schema: str | None = Field(
        default=None,
        alias="schema",
        description="The schema that tables are made in. Default: the connection's own.",
    )
    long_view: str = Field(
        default="analytics_metrics_timeseries",
        pattern=_NAME,
        description="The view over every rollup, one row for each number. Empty: none.",
    )
    table_engine: Literal["MergeTree", "ReplicatedMergeTree", "SharedMergeTree"] = Field(
        default="MergeTree",
        description="The family of ClickHouse's table engines that tables are made with; ReplicatedMergeTree in a Replicated database.",
    )
    memory_limit: str | None = Field(
        default=None,
        pattern=_SIZE,
        description="How much memory DuckDB may use, its cache included, such as 2GB. Default: four fifths of the machine's.",
    )


class LedgerSettings(BaseModel):
    """``[ledger]``: where the ledger lives, of a store in ClickHouse, which has no transactions."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr | None = Field(
        default=None,
        description="postgresql://USER@HOST/DATABASE, or duckdb:///FILE for one process. Needed where the store is in ClickHouse, and "
        "for no other: there the ledger stands beside the rows.",
    )
    db_schema: str | None = Field(
        default=None,
        alias="schema",
        description="The schema that its tables are made in. Default: the connection's own.",
    )


class DatabaseSettings(BaseModel):
    """``[databases.NAME]``: where source tables live."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr = Field(
        description="duckdb:///FILE, postgresql://USER@HOST/DATABASE or clickhouse://USER@HOST/DATABASE; it is only read."
    )


class FoldSettings(BaseModel):
    """``[fold]``: how much is done at once."""

    model_config = ConfigDict(extra="forbid")

    chunk_rows: int = Field(
        default=10_000_000,
        gt=0,
        description="Facts that one transaction of a backfill covers, in whole days.",
    )
    wait_s: float = Field(default=60, ge=0, description="Seconds to wait for another run of the same rollup.")


class QuerySettings(BaseModel):
    """``[query]``: what an answer may cost."""

    model_config = ConfigDict(extra="forbid")

    live_s: float = Field(default=5, gt=0, description="Seconds that a live answer may take; a longer one is refused.")


class VerifySettings(BaseModel):
    """``[verify]``: how long the rotation takes."""

    model_config = ConfigDict(extra="forbid")

    budget_s: float = Field(
        default=60,
        ge=0,
        description="Seconds after which `dayfold verify` begins no further days, where neither days nor --budget are given.",
    )


class ServeSettings(BaseModel):
    """``[serve]``: the HTTP server."""

    model_config = ConfigDict(extra="forbid")

    host: str | None = Field(
        default=None,
        description="The address to listen at. Default: 127.0.0.1 until there is a token or a user, then 0.0.0.0.",
    )
    port: int = Field(default=8787, ge=0, le=65535, description="The port to listen at; 0 takes a free one.")
    threads: int = Field(default=4, ge=1, le=256, description="How many questions are computed at once.")
    cache_mb: int = Field(default=64, ge=0, description="Memory for answers, in MB; 0 keeps none.")
    jobs: bool = Field(default=True, description="Whether this process runs jobs too; false: it only answers.")
    log: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="How the log is written: text on a terminal and JSON elsewhere, or always one of them.",
    )


class ScheduleSettings(BaseModel):
    """``[schedule]``: when jobs are due; ``off``: only when they are asked for."""

    model_config = ConfigDict(extra="forbid")

    fold: str = Field(default="*/5 * * * *", description="Bring rollups without a schedule of their own up to date.")
    finalize: str = Field(
        default="5 0 * * *", description="Fold, verify the days that ended, and report those that stay open."
    )
    verify: str = Field(
        default="30 3 * * *", description="Verify the least recently verified days, as long as `verify.budget_s` says."
    )
    enrich: str = Field(default="40 2 * * *", description="Apply today's lists and rules to the events of yesterday.")
    retain: str = Field(default="45 4 * * *", description="Delete what `[retain]` says of the service's own history.")
    timezone: str = Field(default="UTC", description="The zone of these schedules; days are UTC whatever it says.")

    @field_validator("fold", "finalize", "verify", "enrich", "retain")
    @classmethod
    def _is_schedule(cls, text: str) -> str:
        return _explaining(expression, text)

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, name: str) -> str:
        return _explaining(check_zone, name)


class JobsSettings(BaseModel):
    """``[jobs]``: how jobs are run."""

    model_config = ConfigDict(extra="forbid")

    attempts: int = Field(
        default=3, ge=1, le=100, description="How often a run that fails is tried before it has failed."
    )
    backoff_s: float = Field(
        default=30, ge=0, description="Seconds before the second attempt; each later one waits twice as long."
    )
    backoff_most_s: float = Field(default=3600, ge=0, description="The longest wait before an attempt.")
    heartbeat_s: float = Field(
        default=10,
        gt=0,
        le=3600,
        description="How often a run says that it goes on; one that has not for three times as long is taken for dead.",
    )
    poll_s: float = Field(
        default=5, gt=0, le=3600, description="How often the ledger is asked for what other replicas were told."
    )
    threads: int = Field(
        default=2,
        ge=1,
        le=64,
        description="How many runs go on at once in this process, of different rollups. On DuckDB: one.",
    )
    grace_s: float = Field(
        default=20, ge=0, description="How long runs may take to end a chunk after the process was told to stop."
    )


class RetainSettings(BaseModel):
    """``[retain]``: how long events and the service's own history are kept; coverage, receipts and rows always are."""

    model_config = ConfigDict(extra="forbid")

    runs_days: int = Field(
        default=400, ge=1, description="Days that runs are kept. Those that wrote what is stored always are."
    )
    audit_days: int = Field(default=400, ge=1, description="Days that notes of the audit are kept.")
    alerts_days: int = Field(
        default=400, ge=1, description="Days that closed alerts and what was sent of them are kept."
    )
    events_days: int | None = Field(
        default=None,
        ge=1,
        description="Days that raw events are kept; for ever by default. What was folded of them stays.",
    )
    flushes_days: int = Field(
        default=30, ge=1, description="Days that notes of flushed batches are kept; that each was applied stays known."
    )
    quarantine_days: int | None = Field(
        default=None, ge=1, description="Days that events are held in quarantine; for ever by default."
    )


class CollectSettings(BaseModel):
    """``[collect]``: what is read out of events as they come in, and what is taken out of them."""

    model_config = ConfigDict(extra="forbid")

    own_hosts: list[str] = Field(
        default_factory=list,
        description="Hosts of your own site, those below them too: coming from one of them is no visit from elsewhere.",
    )
    countries: Path | None = Field(
        default=None, description="A file of countries in MaxMind's format (.mmdb). Default: events have no country."
    )
    scrub_names: list[str] = Field(
        default_factory=list, description="More parameters of addresses whose values are taken out."
    )
    scrub_kept: list[str] = Field(
        default_factory=list, description="Parameters of addresses that stay, whatever their names are like."
    )
    scrub_patterns: list[str] = Field(
        default_factory=list, description="Regular expressions of values that are taken out wherever they stand."
    )
    per_minute: int = Field(
        default=100,
        ge=0,
        description="Events a minute that one visitor may send with a public key, in bursts of as many; 0 sets no limit.",
    )
    waiting_mb: int = Field(
        default=64,
        ge=1,
        description="Memory for events that wait for the log, in MB; more are refused with 429 until it has taken some.",
    )

    @field_validator("scrub_patterns")
    @classmethod
    def _are_patterns(cls, patterns: list[str]) -> list[str]:
        for number, one in enumerate(patterns, 1):
            try:
                found = re.compile(one)
            except re.error as error:
                raise ValueError(f"the regular expression {number} cannot be read: {error}") from None
            if found.search(""):
                raise ValueError(f"the regular expression {number} fits a text that has nothing in it")
        return patterns


class LiveSettings(BaseModel):
    """``[live]``: where increments of counters wait, and how they are flushed."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr | None = Field(
        default=None,
        description="redis://, rediss://, valkey://, valkeys:// or unix://; any node of a cluster. Default: the store itself.",
    )
    prefix: str = Field(
        default="dayfold",
        pattern=_PREFIX,
        description="What every key in Valkey or Redis begins with, for each application its own.",
    )
    timeout_s: float = Field(default=1, gt=0, le=60, description="Seconds that connecting, or one answer, may take.")
    wait_ms: float | None = Field(
        default=None,
        ge=0,
        le=60_000,
        description="Milliseconds that a caller waits for an answer; then its increments wait in the buffer. Default: 50, or 1000 where "
        "increments wait in the store itself.",
    )
    buffer: int = Field(
        default=100_000, ge=1, description="Increments that may wait in one process while the live store is down."
    )
    when_full: Literal["drop", "raise"] = Field(
        default="drop",
        description="drop: what finds no room is lost, counted and logged. raise: the caller gets an error.",
    )
    flush_s: float = Field(
        default=2, gt=0, le=3600, description="Seconds between two flushes of a server, or of counters.start()."
    )
    remember_days: int = Field(
        default=7,
        ge=1,
        le=366,
        description="Days that ids of increments are remembered; one with an older moment is refused.",
    )

    @property
    def patience_s(self) -> float:
        """Seconds that a caller waits for an answer: a commit takes longer than a call to a server made for it."""
        usual_ms = 1_000 if self.url is None else 50
        return (usual_ms if self.wait_ms is None else self.wait_ms) / 1000


class ExportSettings(BaseModel):
    """``[export]``: where exports are written, and how long they are there."""

    model_config = ConfigDict(extra="forbid")

    folder: Path | None = Field(
        default=None,
        description="The folder that they are written to, from that of dayfold.toml. Default: dayfold-exports beside a DuckDB "
        "store, else beside dayfold.toml.",
    )
    s3: str | None = Field(
        default=None,
        pattern=_BUCKET,
        description="Instead of a folder: s3://BUCKET/PREFIX, with ?region=… and endpoint_override=… where they are needed. "
        "Keys come from where other programs for S3 find them.",
    )
    keep_hours: float = Field(default=24, gt=0, le=8760, description="Hours after which an export's file is deleted.")
    link_minutes: float = Field(default=60, gt=0, le=10_080, description="Minutes that a link to a file is good for.")

    @model_validator(mode="after")
    def _is_one_place(self) -> ExportSettings:
        if self.folder is not None and self.s3 is not None:
            raise ValueError("expected folder or s3, got both")
        return self


class DashboardSettings(BaseModel):
    """``[dashboard]``: the pages."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(default=True, description="Whether pages are served; false: the HTTP API alone.")
    embed_in: list[str] = Field(
        default_factory=list,
        description="Origins of the sites that may show charts and pages in a frame, such as https://shop.example. Default: none may.",
    )

    @field_validator("embed_in")
    @classmethod
    def _are_origins(cls, origins: list[str]) -> list[str]:
        for one in origins:
            if not _ORIGIN.fullmatch(one):
                # The header that holds them ends a source at a space, and a directive at a semicolon.
                raise ValueError("expected origins: a scheme and a host, such as https://shop.example, without a path")
        return list(dict.fromkeys(one.lower() for one in origins))


def _explaining(check: Callable[[str], object], text: str) -> str:
    """The text, where it is a right one."""
    try:
        check(text)
    except UsageError as error:
        raise ValueError(error.message) from None
    return text


class RlsSettings(BaseModel):
    """``[rls]``: row-level policies on rollups with an owner, in a PostgreSQL store."""

    model_config = ConfigDict(extra="forbid")

    expression: str | None = Field(
        default=None,
        description="Who asks, in PostgreSQL's own SQL, such as auth.uid(): the owner whose rows are shown.",
    )
    owner_roles: list[str] = Field(default_factory=list, description="Roles that see the rows they own.")
    all_roles: list[str] = Field(default_factory=list, description="Roles that see every row.")


class ChannelSettings(BaseModel):
    """``[alerts.channels.NAME]``: where alerts are sent. ``url``, ``command`` or ``host`` says what kind of channel it is."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr | None = Field(default=None, description="http:// or https:// address that messages are posted to.")
    secret: SecretStr | None = Field(default=None, description="What messages to url are signed with.")
    command: list[str] | None = Field(
        default=None, min_length=1, description="A program and its arguments; it reads the message from standard input."
    )
    host: str | None = Field(default=None, description="The mail server.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Its port. Default: 587 with starttls, 465 with tls, 25 with none."
    )
    user: str | None = Field(default=None, description="Whom to sign in as at the mail server.")
    password: SecretStr | None = Field(default=None, description="The password of user.")
    # Spelled sender inside: `from` is a word of Python.
    sender: str | None = Field(default=None, alias="from", description="The address that mail comes from.")
    to: list[str] = Field(default_factory=list, description="The addresses that mail goes to.")
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="starttls, tls or none: how the mail server is spoken to."
    )
    timeout_s: float = Field(default=10, gt=0, le=300, description="Seconds that sending one message may take.")

    @property
    def kind(self) -> str:
        """``webhook``, ``command`` or ``smtp``."""
        return "webhook" if self.url is not None else "command" if self.command is not None else "smtp"

    @model_validator(mode="after")
    def _fits(self) -> ChannelSettings:
        """One kind, and only the words of that kind."""
        kinds = {"url": ("secret",), "command": (), "host": ("port", "user", "password", "from", "to", "tls")}
        given = {self.__class__.model_fields[name].alias or name for name in self.model_fields_set}
        said = [name for name in kinds if name in given]
        if len(said) != 1:
            raise ValueError(f"expected one of {listing(kinds)}, got {listing(said)}")
        amiss = sorted(given - {said[0], "timeout_s", *kinds[said[0]]})
        if amiss:
            raise ValueError(f"{listing(amiss)} does not go with {said[0]}")
        if self.url is not None:
            _check_address(self.url.get_secret_value())
        if self.host is not None:
            missing = [name for name in ("from", "to") if name not in given]
            if missing:
                raise ValueError(f"a mail channel needs {' and '.join(missing)}")
            if (self.user is None) != (self.password is None):
                raise ValueError("user and password belong together")
        return self


def _check_address(url: str) -> None:
    """Refuse what no message can be posted to."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        fits = False
    if not fits or any(letter <= " " or letter > "~" for letter in url):
        raise ValueError("url is http://HOST/… or https://HOST/…, without a user or password in it")


class RuleSettings(BaseModel):
    """``[alerts.rules.NAME]``: an alert rule, with the words of an ``Alert`` in ``metrics.py``."""

    model_config = ConfigDict(extra="forbid")

    when: Any = Field(default=None, description='A condition on metrics of one rollup, such as "mrr < 1000".')
    job_failed: Any = Field(
        default=None, description="true, a job's name or a list: a run failed after its last attempt."
    )
    drift_above: Any = Field(
        default=None, description='Cells, or a share such as "1%": a verification found more drift.'
    )
    stale_hours: Any = Field(
        default=None, description="Hours: a rollup was not folded, or a day not settled, for longer."
    )
    left_open: Any = Field(
        default=None, description="true: the last finalize left days open or failed that are so still."
    )
    held_above: Any = Field(default=None, description="A number: more events than that are held in quarantine.")
    unaccounted: Any = Field(
        default=None, description="true: what was added to a counter is neither applied, pending nor quarantined."
    )
    check_failed: Any = Field(
        default=None, description="true, a check's name or a list: it did not pass when it last ran."
    )
    over: Any = Field(
        default=None, description="week, month, quarter or year: the condition is about that period so far, with today."
    )
    rollup: Any = Field(default=None, description="The rollup that is watched.")
    where: Any = Field(default=None, description="Values of key columns that the condition is about.")
    by: Any = Field(default=None, description="Key columns; every value has episodes of its own.")
    to: Any = Field(default=None, description="The channels that are told.")


class AlertsSettings(BaseModel):
    """``[alerts]``: rules, and where their messages go."""

    model_config = ConfigDict(extra="forbid")

    channels: dict[str, ChannelSettings] = Field(default_factory=dict)
    rules: dict[str, RuleSettings] = Field(default_factory=dict)
    attempts: int = Field(default=10, ge=1, le=100, description="How often one message is tried before it is given up.")

    def words(self) -> dict[str, dict[str, Any]]:
        """The rules as they were written."""
        return {name: one.model_dump(exclude_unset=True) for name, one in self.rules.items()}


class ErrorsSettings(BaseModel):
    """``[errors]``: where errors that nobody foresaw are reported."""

    model_config = ConfigDict(extra="forbid")

    sentry_dsn: SecretStr | None = Field(default=None, description="The address of a Sentry project.")
    otlp_endpoint: SecretStr | None = Field(
        default=None,
        description="The address of an OpenTelemetry collector (OTLP over HTTP), such as http://HOST:4318.",
    )


class Settings(BaseSettings):
    """All settings of one application."""

    model_config = SettingsConfigDict(
        env_prefix="DAYFOLD_", env_nested_delimiter="__", extra="forbid", env_ignore_empty=True
    )

    store: StoreSettings = StoreSettings()
    ledger: LedgerSettings = LedgerSettings()
    databases: dict[str, DatabaseSettings] = Field(default_factory=dict)
    fold: FoldSettings = FoldSettings()
    query: QuerySettings = QuerySettings()
    verify: VerifySettings = VerifySettings()
    serve: ServeSettings = ServeSettings()
    auth: AuthSettings = AuthSettings()
    rls: RlsSettings = RlsSettings()
    alerts: AlertsSettings = AlertsSettings()
    errors: ErrorsSettings = ErrorsSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    jobs: JobsSettings = JobsSettings()
    retain: RetainSettings = RetainSettings()
    collect: CollectSettings = CollectSettings()
    live: LiveSettings = LiveSettings()
    export: ExportSettings = ExportSettings()
    dashboard: DashboardSettings = DashboardSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over the file, which is passed in."""
        return env_settings, init_settings


def load(config: str | Path | Mapping[str, Any] | None, base: Path | None = None) -> Settings:
    """The settings of a file (or of the words in a mapping) and the environment.

    Relative DuckDB files are taken from ``base``, the folder of the definitions.

    Raises:
        ConfigError: naming the setting, what was expected and, for an unknown one, the nearest known.

    >>> load({"store": {"url": "duckdb:///x.duckdb"}}).store.url.get_secret_value()
    'duckdb:///x.duckdb'
    """
    words: Mapping[str, Any]
    origin = "the configuration"
    if isinstance(config, Mapping):
        words = config
    else:
        path = Path(config) if config is not None else (base or Path()) / "dayfold.toml"
        origin = str(path)
        words = {} if config is None and not path.exists() else _read(path)
    _check_variables()
    try:
        settings = Settings(**_expanded(dict(words), origin, ()))
    except ValidationError as error:
        raise _explained(error, origin) from None
    return settings


def digest(folder: Path) -> str:
    """A short text that is the same for the same ``dayfold.toml`` of a folder only; empty where there is none.

    >>> digest(Path("/nowhere"))
    ''
    """
    path = folder / "dayfold.toml"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except PermissionError:
        raise ConfigError(f"The configuration file {path} may not be read.") from None
    except OSError:
        raise ConfigError(
            f"There is no configuration file {path}.", hint="Run `dayfold init` for a commented one."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _expanded(value: Any, origin: str, place: tuple[str, ...]) -> Any:
    """Values with their ``${NAME}`` filled in."""
    if isinstance(value, dict):
        return {name: _expanded(part, origin, (*place, name)) for name, part in value.items()}
    if isinstance(value, list):
        return [_expanded(part, origin, place) for part in value]
    if not isinstance(value, str):
        return value

    def fill(found: re.Match[str]) -> str:
        name, default = found.groups()
        if name in os.environ:
            return os.environ[name]
        if default is not None:
            return default
        raise ConfigError(
            f"{origin}: {'.'.join(place)} reads the variable {name}, which is not set.",
            hint=f"Set it, or give a default: ${{{name}:-value}}",
        )

    return _REFERENCE.sub(fill, value)


def _check_variables() -> None:
    """A misspelt variable is an error: without it, a fold would write into another store than was meant."""
    known = [f"DAYFOLD_{name.upper()}__" for name in Settings.model_fields]
    meant = {
        f"DAYFOLD_{section.upper()}_{name.upper()}": f"DAYFOLD_{section.upper()}__{name.upper()}"
        for section in Settings.model_fields
        for name in _known([section])
    }
    for name in sorted(os.environ):
        if name in meant or f"{name}__" in known:
            right = meant.get(name, f"{name}__…")
            raise ConfigError(f"The variable {name} sets nothing.", hint=f"Sections end with two '_': {right}")
        section = "".join(name.partition("__")[:2])
        if name.startswith("DAYFOLD_") and section.endswith("__") and section not in known:
            raise ConfigError(
                f"The variable {name} sets nothing{suggestion(section, known)}.",
                hint=f"Variables of settings begin with: {listing(known)}",
            )


def _explained(error: ValidationError, origin: str) -> ConfigError:
    """The first mistake in words; values are left out, they may be secrets."""
    first = error.errors(include_url=False, include_input=False)[0]
    names = [str(part) for part in first["loc"]]
    place = ".".join(names)
    variable = "DAYFOLD_" + "__".join(names).upper()
    if variable in os.environ:
        origin = f"the variable {variable}"
    if first["type"] == "extra_forbidden":
        known = _known(names[:-1])
        return ConfigError(
            f"{origin}: there is no setting '{place}'{suggestion(names[-1], known)}.",
            hint=f"Settings: {listing(known)}",
        )
    said = _EXPECTED.get(first["type"], first["msg"].removeprefix("Value error, "))
    if first["type"] == "string_pattern_mismatch":
        said = _TEXTS[first["ctx"]["pattern"]]
    return ConfigError(f"{origin}: {place}: {said}.")


def _known(section: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    names = iter(section)
    for name in names:
        found = model.model_fields.get(name)
        kind: Any = found.annotation if found else None
        if get_origin(kind) is dict:
            # The next name is the reader's own.
            next(names, None)
            kind = get_args(kind)[1]
        if not isinstance(kind, type) or not issubclass(kind, BaseModel):
            return []
        model = kind
    return [field.alias or name for name, field in model.model_fields.items()]
