"""Settings: `HASHSEAL_…` variables over a TOML file (`HASHSEAL_CONFIG`) over defaults.

Only `main` reads them; everybody else gets values. Secrets have no default.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from hashseal_core.errors import ConfigurationInvalid

PREFIX = "HASHSEAL_"
_OID = r"^[0-2](\.(0|[1-9][0-9]*))+$"
_EXAMPLE_ARC = "1.3.6.1.4.1.32473"  # for examples and documentation (RFC 5612)
CONFIG = f"{PREFIX}CONFIG"
_NAME = 48
_GATEWAY = f"{PREFIX}GATEWAY_"
_CLIENT = {f"{PREFIX}{name}" for name in ("SANDBOX_DIR", "URL", "TOKEN", "PASSWORD")}


def _data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "hashseal-server"


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:_NAME] or "replica"


class Role(StrEnum):
    """What a process may be: signing API, RFC 3161, OCSP and lists, background work."""

    API = "api"
    TSA = "tsa"
    STATUS = "status"
    WORKER = "worker"


KeyPurpose = Literal["ca", "ocsp", "tsu", "seal", "raw", "audit"]


class Settings(BaseSettings):
    """What an operator may set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Field(
        default_factory=_data_dir,
        description="folder of keys, secret, audit checkpoints and SQLite; default: the user's own",
    )
    database_url: str | None = Field(
        default=None,
        description="`postgresql://user@host/name`; without it SQLite in the data folder",
    )
    public_url: str = Field(
        default="http://127.0.0.1:8000",
        description="address of OCSP, CRLs and issuer certificates, written into certificates",
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=1, le=65535, description="port to listen on")
    organisation: str = Field(
        default="Hashseal Test Operator",
        description="operator's name in the authority's certificates",
    )
    country: str = Field(default="CH", pattern="^[A-Z]{2}$", description="operator's country")
    test: bool = Field(default=True, description="certificates say TEST")
    root: Literal["online", "offline"] = Field(
        default="online", description="`offline`: the root's key is used in ceremonies only"
    )
    log_format: Literal["json", "text"] = Field(default="json", description="`json` or `text`")
    certificate_policy: str | None = Field(
        default=None, pattern=_OID, description="policy OID of certificates; needed unless `test`"
    )
    timestamp_policy: str | None = Field(
        default=None,
        pattern=_OID,
        description="policy OID of timestamps; needed unless `test`; with `timestamp_urls` the one "
        "that is asked for and must be stated, any if not set",
    )
    raw_policy: str | None = Field(
        default=None,
        pattern=_OID,
        description="policy OID of certificates whose keys sign any digest, other than "
        "`certificate_policy`; needed with `raw_signing` unless `test`",
    )
    timestamp_urls: tuple[str, ...] = Field(
        default=(),
        description="timestamp authorities (RFC 3161) in the order in which they are asked; "
        "without them the service's own",
    )
    timestamp_trust_anchors: Path | None = Field(
        default=None,
        description="certificates (PEM) in one of which the chain of each timestamp must end",
    )
    timestamp_authentication_files: dict[str, Path] = Field(
        default_factory=dict,
        description="for an address of `timestamp_urls`, the file with `basic user:password` or "
        "`bearer token`",
    )
    clock: Literal["system", "kernel", "ntp"] | None = Field(
        default=None,
        description="who says that the clock is right: `kernel` (an NTP daemon keeps it; the "
        "default unless `test`), `ntp` (servers are asked), `system` (nobody; default of `test`)",
    )
    ntp_servers: tuple[str, ...] = Field(
        default=(),
        max_length=16,
        description='servers for `clock = "ntp"`, `host` or `host:port`; most must agree',
    )
    timestamping_units: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="how many units may be in use: each process that timestamps owns one, and has "
        "one made when none is free",
    )

    seal_fonts: tuple[Path, ...] = Field(
        default=(),
        max_length=8,
        description="font files for characters of names that the fonts inside do not have",
    )
    workers: int = Field(default=1, ge=1, le=256, description="processes of `run`")
    roles: frozenset[Role] = Field(
        default=frozenset(Role),
        description="what `run` does: `api`, `tsa`, `status`, `worker`; all by default",
    )
    requests_per_minute: int = Field(
        default=6000, ge=0, description="of one token, over all replicas; 0 is no limit"
    )
    access_tokens_per_minute: int = Field(
        default=60,
        ge=0,
        description="that one OAuth2 client is given, over all replicas; 0 is no limit",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="networks of the proxies in front, as CIDR; only their X-Forwarded-For says "
        "where a request comes from",
    )
    token_key_files: tuple[Path, ...] = Field(
        default=(),
        description="keys under which hashes of tokens are kept, 32 octets or more, newest first; "
        "without them the data folder's secret",
    )
    access_token_seconds: int = Field(
        default=900, ge=60, le=86_400, description="for how long an OAuth2 access token is good"
    )
    wrong_secrets_per_minute: int = Field(
        default=60,
        ge=0,
        description="with one token, and with so many tokens, from one network in one process, "
        "before it is refused for the rest of the minute; 0 is no limit",
    )
    replica: str = Field(
        default_factory=_host,
        pattern=rf"^[A-Za-z0-9._-]{{1,{_NAME}}}$",
        description="name of this replica in logs and background work; default: the host's name",
    )
    idempotency_days: int = Field(
        default=30, ge=30, description="how long answers are kept under their idempotency keys"
    )
    live_status_per_second: int = Field(
        default=50,
        ge=1,
        description="OCSP responses that one process signs on the spot: with a nonce, or `unknown`",
    )

    outbound_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="networks that are not public and that the service may call, as CIDR",
    )
    outbound_ca_file: Path | None = Field(
        default=None,
        description="certificates (PEM) that outbound TLS trusts; without it the system's",
    )
    events_days: int = Field(
        default=90, ge=7, description="how long events and what became of their webhooks are kept"
    )
    webhook_http: bool | None = Field(
        default=None,
        description="webhooks may have addresses without TLS; default: only with `test`",
    )
    traces_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s@]+$",
        description="OTLP/HTTP address for OpenTelemetry traces; without it none are made",
    )
    raw_signing: bool = Field(
        default=False,
        description="the CSC method `signatures/signHash`: credentials that are made for it sign "
        "any digest that a caller sends",
    )
    keystore: Literal["software", "pkcs11"] = Field(
        default="software",
        description="where keys are: `software` for tests, `pkcs11` behind signer processes",
    )
    pkcs11_module: Path | None = Field(
        default=None, description="library of the token's maker; for `hashseal-server signer`"
    )
    pkcs11_tokens: dict[KeyPurpose, str] = Field(
        default_factory=dict,
        description="label of the token for each purpose: `ca`, `ocsp`, `tsu`, `seal`, `audit`, "
        "and `raw` with `raw_signing`",
    )
    pkcs11_pin_files: dict[KeyPurpose, Path] = Field(
        default_factory=dict,
        description="file with the user's PIN, for each purpose that a signer serves",
    )
    customer_keys: Literal["token", "wrapped"] = Field(
        default="token", description="customers' keys: in the token, or wrapped under its key"
    )
    signer_processes: int = Field(
        default=2,
        ge=1,
        le=64,
        description="processes of `signer run`; each has one session with each of its tokens",
    )
    signer_folder: Path | None = Field(
        default=None, description="folder of the signers' sockets; by default in the data folder"
    )
    signer_group: str | None = Field(
        default=None, description="group of other users whose processes may call the signers"
    )
    authorisation_key_file: Path | None = Field(
        default=None,
        description="key of authorisations, 32 octets or more; for `api` and signers only",
    )

    @model_validator(mode="after")
    def _require_policies(self) -> Self:
        """What a policy promises is the operator's to say: only a test authority has a default."""
        stamped = self.timestamp_policy or self.timestamp_urls
        if not self.test and not (self.certificate_policy and stamped):
            raise ValueError("set certificate_policy and timestamp_policy, or test = true")
        if self.raw_signing and not (self.test or self.raw_policy):
            raise ValueError("set raw_policy with raw_signing, or test = true")
        certificate, _, raw = self.policies
        if raw == certificate:
            raise ValueError("raw_policy must be another than certificate_policy")
        return self

    @model_validator(mode="after")
    def _require_anchors(self) -> Self:
        """Another authority's timestamps are worth what their anchor is worth."""
        if self.timestamp_urls and self.timestamp_trust_anchors is None:
            raise ValueError("timestamp_urls need timestamp_trust_anchors")
        if strange := self.timestamp_authentication_files.keys() - set(self.timestamp_urls):
            named = ", ".join(sorted(strange))
            raise ValueError(
                f"timestamp_authentication_files names what is not in timestamp_urls: {named}"
            )
        return self

    @model_validator(mode="after")
    def _require_evidence(self) -> Self:
        """Outside tests nobody may state a time that nobody vouches for (EN 319 421, 7.7.2)."""
        if self.clock == "system" and not self.test:
            raise ValueError('clock = "system" is for test = true; use "kernel" or "ntp"')
        if (self.clock == "ntp") != bool(self.ntp_servers):
            raise ValueError('clock = "ntp" and ntp_servers go together')
        return self

    @property
    def evidence(self) -> Literal["system", "kernel", "ntp"]:
        """Who says that the clock is right."""
        return self.clock or ("system" if self.test else "kernel")

    @property
    def webhooks_over_http(self) -> bool:
        """Webhooks may have addresses without TLS."""
        return self.test if self.webhook_http is None else self.webhook_http

    @property
    def policies(self) -> tuple[str, str, str]:
        """Policy of certificates, of timestamps, of raw credentials' certificates; dotted."""
        return (
            self.certificate_policy or f"{_EXAMPLE_ARC}.1.1",
            self.timestamp_policy or f"{_EXAMPLE_ARC}.1.2",
            self.raw_policy or f"{_EXAMPLE_ARC}.1.4",
        )

    @property
    def database(self) -> str:
        """SQLAlchemy URL: the one that was set, or SQLite in the data folder."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'hashseal.db'}"

    @property
    def signers(self) -> Path:
        """The folder of the signers' sockets."""
        return self.signer_folder or self.data_dir / "signers"

    @property
    def work_database(self) -> str:
        """Where background work keeps its state: the same PostgreSQL, or a second SQLite file."""
        if self.database.startswith("sqlite"):
            return f"sqlite:///{self.data_dir / 'work.db'}"
        return self.database

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then the file."""
        del dotenv_settings, file_secret_settings
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if path := os.environ.get(CONFIG):
            sources.append(TomlConfigSettingsSource(settings_cls, Path(path)))
        return tuple(sources)


def load(**given: object) -> Settings:
    """The settings of this process; what is given comes before variables and file.

    Raises:
        ConfigurationInvalid: the file is missing or a value is wrong; all faults are named.
    """
    path = os.environ.get(CONFIG)
    if path and not Path(path).is_file():
        raise ConfigurationInvalid(f"{CONFIG} names a file that is not there", field=CONFIG)
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigurationInvalid(faults) from error
    except ValueError as error:
        raise ConfigurationInvalid("the settings file is not valid TOML", field=CONFIG) from error


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """`HASHSEAL_…` variables that mean nothing to the service."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG}
    return sorted(
        name
        for name in environment
        if name.startswith(PREFIX) and not name.startswith(_GATEWAY) and name not in known | _CLIENT
    )
