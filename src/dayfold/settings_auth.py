"""``[auth]``: who may come in over HTTP, as settings. Between the definitions and the engines, under `dayfold.settings`.

What the settings mean, and whether they fit together, is checked where they are used (`dayfold.http.opening`).
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError


class ClaimsSettings(BaseModel):
    """``[auth.jwt.claims]``: where a JWT says what its bearer sees."""

    model_config = ConfigDict(extra="forbid")

    rollups: str | None = Field(
        default=None, description="The claim with a list of rollups. Default: none; all rollups are seen."
    )
    rows: dict[str, str] | None = Field(
        default=None,
        description='For each key column the claim with its value or list of values: { shop_id = "shop" }. Needed; {} limits no rows.',
    )
    access: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description='For each access its parameters, each with the claim of its value: { Brand = { brand_id = "brand" } }.',
    )
    grants: str | None = Field(
        default=None,
        description='The claim with the accesses of this very bearer: {"Brand": {"brand_id": "b7"}}, at least one. Default: none is read.',
    )


class JwtSettings(BaseModel):
    """``[auth.jwt]``: signed JSON Web Tokens of one's own product, for embedding."""

    model_config = ConfigDict(extra="forbid")

    secret: SecretStr | None = Field(
        default=None, description="The secret shared with the product, for HS256 and the like."
    )
    public_key: str | None = Field(
        default=None, description="The product's public key: PEM text, or a file in the folder of dayfold.toml."
    )
    jwks_url: str | None = Field(default=None, description="Where the product publishes its public keys.")
    algorithms: list[str] = Field(
        default_factory=list, description='The algorithms that are accepted, such as ["RS256"].'
    )
    audience: str | None = Field(default=None, description="What the claim aud has to name.")
    issuer: str | None = Field(default=None, description="What the claim iss has to be. Default: not looked at.")
    leeway_s: float = Field(default=30, ge=0, le=600, description="Seconds that clocks may differ by.")
    max_lifetime_s: float | None = Field(
        default=None, gt=0, description="The longest time from iat to exp that is accepted, in seconds. Default: any."
    )
    claims: ClaimsSettings = ClaimsSettings()

    @property
    def is_on(self) -> bool:
        """Whether anything is configured."""
        return self.model_fields_set != set()


class RightSettings(BaseModel):
    """``[auth.oidc.rights.VALUE]``: what people with one value of the claim may do and see."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["read", "jobs", "admin"] = Field(description="read, jobs or admin.")
    rollups: list[str] | None = Field(default=None, description="The rollups that are seen. Default: all.")
    rows: dict[str, list[str]] = Field(
        default_factory=dict, description="For each key column the values that are seen."
    )
    row_claims: dict[str, str] = Field(
        default_factory=dict, description="For each key column the claim with the values that are seen."
    )
    access: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="For each access its parameters, each with the claim of its value."
    )


class OidcSettings(BaseModel):
    """``[auth.oidc]``: sign-in with an OpenID Connect provider."""

    model_config = ConfigDict(extra="forbid")

    issuer: str | None = Field(default=None, description="The provider's address, as its discovery document names it.")
    client_id: str | None = Field(default=None, description="What the provider calls this Dayfold.")
    client_secret: SecretStr | None = Field(default=None, description="The secret that the provider gave out with it.")
    scopes: list[str] = Field(default=["openid", "profile", "email"], description="What is asked for.")
    algorithms: list[str] = Field(default=["RS256"], description="The algorithms that an id_token may be signed with.")
    name_claim: str = Field(default="email", description="The claim that people are named by; without it, sub.")
    claim: str = Field(default="groups", description="The claim that rights go by: a text or a list of texts.")
    rights: dict[str, RightSettings] = Field(
        default_factory=dict,
        description="What each value of the claim may do and see; the first that a person has counts, nobody else comes in.",
    )

    @property
    def is_on(self) -> bool:
        """Whether anything is configured."""
        return self.model_fields_set != set()


class AuthSettings(BaseModel):
    """``[auth]``: who may come in over HTTP, and for how long what was found out about them holds."""

    model_config = ConfigDict(extra="forbid")

    cron_secret: SecretStr | None = Field(
        default=None,
        description="What outside schedulers send as Bearer to /v1/cron/…; 16 letters or more.",
    )
    secure_cookies: bool = Field(
        default=False, description="Mark cookies Secure also where the request seems to come by plain HTTP."
    )
    session_hours: float = Field(
        default=12, gt=0, le=24 * 90, description="Hours until a browser has to sign in again."
    )
    public_url: str | None = Field(
        default=None, description="The address that browsers see, such as https://metrics.example.com. OIDC needs it."
    )
    trusted_proxies: list[str] = Field(
        default=["127.0.0.1", "::1"],
        description="Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed.",
    )
    relation_s: float = Field(
        default=60,
        ge=0,
        le=60,
        description="Seconds for which the answer of an Access query is used again; 0 asks for every read.",
    )
    jwt: JwtSettings = JwtSettings()
    oidc: OidcSettings = OidcSettings()

    @field_validator("cron_secret")
    @classmethod
    def _can_be_sent(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not re.fullmatch(r"[!-~]{16,}", secret.get_secret_value()):
            raise PydanticCustomError("cron_secret", "expected 16 or more letters, digits and signs, without spaces")
        return secret
