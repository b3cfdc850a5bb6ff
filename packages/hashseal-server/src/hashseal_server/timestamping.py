"""The built-in timestamp authority, joined: clock, units, their owners, their renewal; and others'.

Part of the composition root; `main` opens it with everything else.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hashseal_core import tsp
from hashseal_core.errors import ConfigurationInvalid, HashsealError, NotFound
from hashseal_server.infra.db import Database
from hashseal_server.infra.outbound import Outbound
from hashseal_server.infra.timekeeping import discipline, elapsed, reading
from hashseal_server.infra.work import Job
from hashseal_server.keystore.folder import read_secret
from hashseal_server.keystore.port import KeyStore, Signers
from hashseal_server.pki.model import Issued
from hashseal_server.pki.service import CertificateAuthority
from hashseal_server.settings import Settings
from hashseal_server.tsa.clock import TrustedClock
from hashseal_server.tsa.custody import Custody
from hashseal_server.tsa.external import (
    ExternalTimestamps,
    RemoteAuthority,
    Trust,
    authorization,
)
from hashseal_server.tsa.path import read_anchors
from hashseal_server.tsa.service import TimestampAuthority
from hashseal_server.tsa.store import Lease, LeaseStore, Marks
from hashseal_server.tsa.timekeeper import Kernel, Servers, Source, Timekeeper
from hashseal_server.tsa.token import size_bound
from hashseal_server.web.observing import Log

RENEWED_BEFORE = timedelta(days=30)
"""How long before a key's end a unit with another key follows it."""
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class UnitState:
    """One unit, with what is recorded of its ownership; its key may be used until `ends_at`."""

    issued: Issued
    lease: Lease
    ends_at: datetime

    def state(self, at: datetime) -> str:
        """`held`, `free`, `left` (used no more, or until its owner has another), or `ended`."""
        if at >= self.ends_at:
            return "ended"
        if self.lease.left:
            return "left"
        return "held" if self.lease.held else "free"


class Timestamping:
    """Units and who has them; `authority` states times with the one of this process."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        certificates: CertificateAuthority,
        keystore: KeyStore,
        signers: Signers | None,
    ) -> None:
        self._settings = settings
        self._certificates = certificates
        self._leases = LeaseStore(database)
        source = _source(settings)
        clock = TrustedClock(reading, source.rules if source else None, elapsed=elapsed)
        self.authority = TimestampAuthority(
            keystore=keystore,
            clock=clock,
            custody=Custody(
                leases=self._leases,
                copies=Marks(settings.data_dir / "timestamping"),
                clock=clock,
                units=certificates.units,
                issue=self.issue,
                owner=f"{settings.replica}.{secrets.token_hex(6)}",
                limit=settings.timestamping_units,
            ),
            policy=settings.policies[1],
            signers=signers,
            timekeeper=Timekeeper(clock, source) if source else None,
        )

    async def token_size(self) -> int:
        """Octets that no token exceeds.

        Raises:
            ConfigurationInvalid: the service has not been initialised.
        """
        units = await self._certificates.units()
        if not units:
            raise ConfigurationInvalid("run `hashseal-server init` first")
        return size_bound(units)

    async def issue(self) -> Issued:
        """Make one more unit, with a key and a name of its own."""
        settings = self._settings
        title = "Hashseal TEST TSU" if settings.test else "Hashseal TSU"
        return await self._certificates.issue_tsu(
            f"{title} {secrets.token_hex(4)}", settings.organisation, settings.country
        )

    async def provide(self, count: int) -> None:
        """Make units until so many can be used, or as many as may be."""
        wanted = min(count, self._settings.timestamping_units)
        usable = [one for one in await self.all() if one.state(_now()) in {"held", "free"}]
        for _ in range(wanted - len(usable)):
            await self.issue()

    async def all(self) -> Sequence[UnitState]:
        """Every unit that was not revoked, newest first."""
        units = await self._certificates.units()
        leases = await self._leases.all([unit.serial for unit in units])
        return [
            UnitState(unit, leases[unit.serial], tsp.tsu_signing_period(unit.certificate)[1])
            for unit in units
        ]

    async def leave(self, serial: int) -> None:
        """Let a unit be used no more as soon as its owner has another.

        Raises:
            NotFound: there is none with that serial number, or it was left before.
        """
        known = {unit.serial for unit in await self._certificates.units()}
        if serial not in known or not await self._leases.leave(serial, _now()):
            raise NotFound("no unit in use has that serial number")

    async def withdraw(self, serial: int) -> None:
        """Take a unit from whoever has it: on return no token of it can leave any more.

        That takes the rest of its lease, some seconds: whoever sleeps now must find it over.

        Raises:
            StorageUnavailable: it may still be used.
        """
        await self._leases.withdraw(serial, _now())
        while (await self._leases.all([serial]))[serial].held:  # noqa: ASYNC110 - it is a row
            await asyncio.sleep(_LOOK_SECONDS)

    async def rotate(self, serial: int) -> Issued:
        """Make a unit with a new key in place of another, which is left.

        Raises:
            NotFound: there is none with that serial number, or it was left before.
        """
        states = {one.issued.serial: one for one in await self.all()}
        if serial not in states or states[serial].lease.left:
            raise NotFound("no unit in use has that serial number")
        successor = await self.issue()
        await self.leave(serial)
        return successor

    def job(self) -> Job:
        """The background work that lets no key come to its end in use."""
        return Job("timestamping-units", "5 47 * * * *", self.renew)

    async def renew(self, at: datetime, _ended: str | None) -> str | None:
        """Rotate one unit whose key comes to its end; a piece of background work.

        One that nobody holds is only left, unless no other could be used. Those that are held come
        first: what is made in their place lets the others be left.
        """
        states = [one for one in await self.all() if one.state(at) in {"held", "free"}]
        states.sort(key=lambda one: not one.lease.held)
        old = [one for one in states if one.ends_at - at < RENEWED_BEFORE]
        if not old:
            return None
        serial = old[0].issued.serial
        if old[0].lease.held or len(old) == len(states):
            await self.rotate(serial)
        else:
            await self.leave(serial)
        return f"{serial:x}"


def external_timestamps(
    settings: Settings,
    outbound: Outbound,
    *,
    now: Callable[[], datetime],
    log: Log | None = None,
) -> ExternalTimestamps | None:
    """The timestamp authorities that are configured; None when the service is its own.

    What cannot be used of them is told in the log.

    Raises:
        ConfigurationInvalid: an address, the anchors or a secret cannot be used.
    """
    if not settings.timestamp_urls or settings.timestamp_trust_anchors is None:
        return None

    def failed(name: str, error: HashsealError) -> None:
        if log is not None:
            log.warning("timestamp-authority", host=name, code=error.code, why=error.detail)

    return ExternalTimestamps(
        [
            RemoteAuthority(url, _secret_of(url, settings.timestamp_authentication_files))
            for url in settings.timestamp_urls
        ],
        Trust(
            read_anchors(settings.timestamp_trust_anchors, "timestamp_trust_anchors"),
            settings.timestamp_policy,
        ),
        outbound,
        now=now,
        failed=failed,
    )


def _secret_of(url: str, files: Mapping[str, Path]) -> str | None:
    """The Authorization header for this address, if a file is named for it.

    Raises:
        ConfigurationInvalid: the file is open to others, or holds something else.
    """
    path = files.get(url)
    field = "timestamp_authentication_files"
    return None if path is None else authorization(read_secret(path, field))


def _source(settings: Settings) -> Source | None:
    match settings.evidence:
        case "kernel":
            return Kernel(discipline)
        case "ntp":
            return Servers(settings.ntp_servers)
    return None


def _now() -> datetime:
    return datetime.now(UTC)
