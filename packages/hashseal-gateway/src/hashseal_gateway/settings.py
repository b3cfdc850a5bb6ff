"""Settings: `HASHSEAL_GATEWAY_…` variables over a TOML file over defaults.

The file is the one that `HASHSEAL_GATEWAY_CONFIG` names, or `gateway.toml` in the data folder. Only
`main` and the commands read them; everybody else gets values. Secrets stand in files of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from hashseal.pdf import Kind
from hashseal_core.algorithms import Level
from hashseal_core.errors import ConfigurationInvalid

PREFIX = "HASHSEAL_GATEWAY_"
CONFIG = f"{PREFIX}CONFIG"
FILE = "gateway.toml"
REFUSED = frozenset({Kind.JAVASCRIPT, Kind.LAUNCH, Kind.XFA})
_MIB = 1 << 20


def _data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "hashseal-gateway"


def file_of_settings() -> Path | None:
    """The TOML file in force, if there is one."""
    if named := os.environ.get(CONFIG):
        return Path(named)
    folder = os.environ.get(f"{PREFIX}DATA_DIR")
    usual = (Path(folder) if folder else _data_dir()) / FILE
    return usual if usual.is_file() else None


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, which may begin with 127. or localhost and be anybody's
        return False


class Settings(BaseSettings):
    """What an administrator may set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Field(
        default_factory=_data_dir,
        description="folder of the secret, SQLite, and documents under way; mode 0700",
    )
    database_url: str | None = Field(
        default=None,
        description="`postgresql://user@host/name`; without it SQLite in the data folder",
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=1, le=65535, description="port to listen on")
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s@/?#]+/?$",
        description="address of the pages as browsers see it, when a proxy with TLS is in front",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="networks of the proxies in front, as CIDR; only their X-Forwarded-For says "
        "where a try to log in comes from",
    )
    log_format: Literal["json", "text"] = Field(default="json", description="`json` or `text`")

    service_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s@]+$",
        description="address of the signing service",
    )
    service_token_file: Path | None = Field(
        default=None, description="file with the account's API token, readable by its owner only"
    )
    service_ca_file: Path | None = Field(
        default=None,
        description="certificates (PEM) that TLS to the service trusts; without it the system's",
    )
    service_timeout: int = Field(
        default=30, ge=1, le=300, description="seconds to wait for an answer of the service"
    )

    level: Level = Field(default=Level.B_LT, description="level when a caller names none")
    refuse: frozenset[Kind] = Field(
        default=REFUSED, description="findings for which a document is not signed; others are noted"
    )
    trust_anchors: Path | None = Field(
        default=None, description="certificates (PEM) in one of which verification must end"
    )

    max_upload_mib: int = Field(default=100, ge=1, le=4096, description="largest document, in MiB")
    max_batch_mib: int = Field(
        default=512, ge=1, le=65536, description="all documents of a batch together, in MiB"
    )
    max_batch_documents: int = Field(
        default=1000, ge=1, le=10_000, description="documents in a batch"
    )
    processes: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 2),
        ge=1,
        le=256,
        description="documents that are worked on at the same time; default: one for each core",
    )
    documents_at_once: int = Field(
        default=32,
        ge=1,
        le=4096,
        description="documents under way, those that wait for the service included",
    )
    documents_waiting: int = Field(
        default=64,
        ge=0,
        le=65536,
        description="more that may wait for a place before others are refused",
    )
    upload_seconds: int = Field(
        default=300, ge=1, le=86_400, description="how long an upload may take"
    )

    patience_hours: int = Field(
        default=72, ge=1, description="how long an asynchronous document waits for the service"
    )
    result_hours: int = Field(
        default=72, ge=1, description="how long a signed file is kept that nobody fetches"
    )
    delivered_minutes: int = Field(
        default=60, ge=0, description="how long a signed file is kept after it was fetched"
    )
    idempotency_days: int = Field(
        default=30, ge=1, le=30, description="how long a caller's idempotency key is remembered"
    )
    session_idle_minutes: int = Field(
        default=30, ge=1, le=1440, description="a log-in ends when it was not used for so long"
    )
    session_hours: int = Field(
        default=12, ge=1, le=720, description="a log-in ends after so long in any case"
    )
    log_days: int = Field(
        default=3650, ge=1, description="how long entries of the signing log are kept"
    )

    @model_validator(mode="after")
    def _require_plain_http_on_loopback(self) -> Self:
        """Neither token nor passwords travel in clear, but on this machine."""
        for name, url in (("service_url", self.service_url), ("public_url", self.public_url)):
            place = urlsplit(url or "")
            if place.scheme == "http" and not _is_this_machine(place.hostname or ""):
                raise ValueError(f"{name} must be https, unless it is on this machine")
        return self

    @property
    def database(self) -> str:
        """The one that was set, or SQLite in the data folder."""
        return self.database_url or f"sqlite:///{self.data_dir / 'gateway.db'}"

    @property
    def work_database(self) -> str:
        """Where durable jobs keep their state: the same PostgreSQL, or a second SQLite file."""
        return self.database_url or f"sqlite:///{self.data_dir / 'jobs.db'}"

    @property
    def max_upload(self) -> int:
        """The largest document, in octets."""
        return self.max_upload_mib * _MIB

    @property
    def max_batch(self) -> int:
        """All documents of a batch, in octets."""
        return self.max_batch_mib * _MIB

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
        if (path := file_of_settings()) is not None:
            sources.append(TomlConfigSettingsSource(settings_cls, path))
        return tuple(sources)


def load(**given: object) -> Settings:
    """The settings of this process; what is given comes before variables and file.

    Raises:
        ConfigurationInvalid: the file is missing or a value is wrong; all faults are named.
    """
    path = file_of_settings()
    if path is not None and not path.is_file():
        raise ConfigurationInvalid(f"{CONFIG} names a file that is not there", field=CONFIG)
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'settings'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise ConfigurationInvalid(faults) from error
    except ValueError as error:
        raise ConfigurationInvalid("the settings file is not valid TOML", field=CONFIG) from error


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """`HASHSEAL_GATEWAY_…` variables that mean nothing to the gateway."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
