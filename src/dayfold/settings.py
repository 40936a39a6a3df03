"""``dayfold.toml`` and the environment. Between the definitions and the engines; opens nothing.

Order: ``DAYFOLD_…`` variables, then the file or the words that a caller passes. Any text of these may read a variable
as ``${NAME}`` or ``${NAME:-default}``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dayfold.errors import ConfigError
from dayfold.names import listing, suggestion

#: What a value should have been, where the validator's own words are about Python.
_EXPECTED = {
    "model_type": "expected a section with settings of its own",
    "dict_type": "expected sections, such as [databases.app]",
    "string_type": "expected a text in quotes",
    "string_pattern_mismatch": "expected a size such as 512MB or 2GB",
    "missing": "it is needed and not there",
}
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class StoreSettings(BaseModel):
    """``[store]``: where rollups and the ledger live."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr = Field(
        default=SecretStr("duckdb:///dayfold.duckdb"),
        description="duckdb:///FILE or postgresql://USER@HOST/DATABASE.",
    )
    # Spelled db_schema inside: pydantic models have a method called schema.
    db_schema: str | None = Field(
        default=None,
        alias="schema",
        description="The schema that tables are made in. Default: the connection's own.",
    )
    long_view: str = Field(
        default="analytics_metrics_timeseries",
        pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,62})?$",
        description="The view over every rollup, one row for each number. Empty: none.",
    )
    memory_limit: str | None = Field(
        default=None,
        pattern=r"^\d+(\.\d+)? ?([kKMGT]i?B)$",
        description="How much memory DuckDB may use, its cache included, such as 2GB. Default: four fifths of the machine's.",
    )


class DatabaseSettings(BaseModel):
    """``[databases.NAME]``: where source tables live."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr = Field(description="duckdb:///FILE or postgresql://USER@HOST/DATABASE; it is only read.")


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
    threads: int = Field(default=8, ge=1, le=256, description="How many questions are computed at once.")
    cache_mb: int = Field(default=64, ge=0, description="Memory for answers, in MB; 0 keeps none.")


class Settings(BaseSettings):
    """All settings of one application."""

    model_config = SettingsConfigDict(
        env_prefix="DAYFOLD_", env_nested_delimiter="__", extra="forbid", env_ignore_empty=True
    )

    store: StoreSettings = StoreSettings()
    databases: dict[str, DatabaseSettings] = Field(default_factory=dict)
    fold: FoldSettings = FoldSettings()
    query: QuerySettings = QuerySettings()
    verify: VerifySettings = VerifySettings()
    serve: ServeSettings = ServeSettings()

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
    return ConfigError(f"{origin}: {place}: {_EXPECTED.get(first['type'], first['msg'])}.")


def _known(section: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for name in section:
        if name == "databases":
            return ["url"]
        found = model.model_fields.get(name)
        if found is None or not isinstance(found.annotation, type) or not issubclass(found.annotation, BaseModel):
            return []
        model = found.annotation
    return [field.alias or name for name, field in model.model_fields.items()]
