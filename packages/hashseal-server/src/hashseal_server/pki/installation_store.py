"""Requests for issuing authorities, and what a ceremony made of them, in the database."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database
from hashseal_server.pki.authorities import ROOT
from hashseal_server.pki.model import Role
from hashseal_server.pki.revocation import Revoked
from hashseal_server.pki.store import PkiStore, certificates, key_of, requests, revocation_lists


@dataclass(frozen=True, slots=True)
class Requested:
    """A request that left for a ceremony: the key it is for, and the request, DER."""

    id: str
    key: str
    der: bytes
    requested_at: datetime


@dataclass(frozen=True, slots=True)
class BroughtList:
    """A list of the root that has been checked."""

    number: int
    der: bytes
    next_update: datetime
    revoked: tuple[Revoked, ...]

    def revokes(self, serial: int) -> bool:
        """The list names this serial number."""
        return any(one.serial == serial for one in self.revoked)


@dataclass(frozen=True, slots=True)
class Brought:
    """What a ceremony made, all of it checked; certificates are DER."""

    root: bytes
    certificate: bytes
    listed: BroughtList
    label: str
    requested: Requested
    at: datetime


class InstallationStore:
    """Rows in, values out."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pki = PkiStore(database)

    async def add(self, requested: Requested) -> None:
        """Record a request before it leaves."""
        async with self._database.write() as connection:
            await connection.execute(
                requests.insert().values(
                    id=requested.id,
                    key=requested.key,
                    der=requested.der,
                    requested_at=requested.requested_at,
                )
            )
            content: dict[str, object] = {"sha256": hashlib.sha256(requested.der).hexdigest()}
            event = Event("certificate.requested", content, requested.requested_at)
            await append(connection, [event])

    async def open(self) -> list[Requested]:
        """Requests for which there is no certificate yet, oldest first."""
        statement = (
            select(requests).where(requests.c.serial.is_(None)).order_by(requests.c.requested_at)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).all()
        return [Requested(row.id, row.key, row.der, row.requested_at) for row in rows]

    async def newest_list(self, issuer: str) -> tuple[int, bytes, datetime] | None:
        """Number, DER and nextUpdate of the last list of an authority."""
        return await self._pki.newest_list(issuer)

    async def install(self, brought: Brought) -> bool:
        """Root, issuing authority and list in one transaction; False if somebody was faster."""
        issued = x509.load_der_x509_certificate(brought.certificate)
        async with self._database.write() as connection:
            done = await connection.execute(
                update(requests)
                .where(requests.c.id == brought.requested.id, requests.c.serial.is_(None))
                .values(serial=key_of(issued.serial_number))
            )
            if done.rowcount != 1:
                return False
            root = x509.load_der_x509_certificate(brought.root)
            there = select(certificates.c.serial).where(
                certificates.c.serial == key_of(root.serial_number)
            )
            if (await connection.execute(there)).first() is None:
                await _keep(connection, root, brought.root, Role.ROOT, ROOT, "", brought.at)
            await _keep(
                connection,
                issued,
                brought.certificate,
                Role.ISSUING,
                brought.label,
                brought.requested.key,
                brought.at,
            )
            await _list(connection, brought.listed, brought.at)
        return True

    async def install_list(self, brought: BroughtList, at: datetime) -> bool:
        """Publish a list and record what it revokes; False if there is a newer one."""
        async with self._database.write() as connection:
            return await _list(connection, brought, at)


async def _keep(
    connection: AsyncConnection,
    certificate: x509.Certificate,
    der: bytes,
    role: Role,
    label: str,
    key: str,
    at: datetime,
) -> None:
    await connection.execute(
        certificates.insert().values(
            serial=key_of(certificate.serial_number),
            role=role.value,
            issuer=ROOT,
            label=label,
            state="issued",
            key=key,
            planned_at=certificate.not_valid_before_utc if role is Role.ROOT else at,
            plan=json.dumps({"subject": certificate.subject.rfc4514_string()}),
            der=der,
            not_after=certificate.not_valid_after_utc,
        )
    )
    content: dict[str, object] = {
        "serial": key_of(certificate.serial_number),
        "sha256": hashlib.sha256(der).hexdigest(),
    }
    await append(connection, [Event("certificate.installed", content, at)])


async def _list(connection: AsyncConnection, brought: BroughtList, at: datetime) -> bool:
    newer = select(revocation_lists.c.der).where(
        revocation_lists.c.issuer == ROOT, revocation_lists.c.number >= brought.number
    )
    found = await connection.scalar(newer)
    if found is not None:
        return bool(found == brought.der)
    await connection.execute(
        revocation_lists.insert().values(
            issuer=ROOT, number=brought.number, der=brought.der, next_update=brought.next_update
        )
    )
    content: dict[str, object] = {
        "issuer": ROOT,
        "number": brought.number,
        "sha256": hashlib.sha256(brought.der).hexdigest(),
    }
    events = [Event("revocation-list.installed", content, at)]
    for one in brought.revoked:
        done = await connection.execute(
            update(certificates)
            .where(
                certificates.c.serial == key_of(one.serial),
                certificates.c.issuer == ROOT,
                certificates.c.state == "issued",
            )
            .values(state="revoked", revoked_at=one.revoked_at, reason=one.reason)
        )
        if done.rowcount:
            gone: dict[str, object] = {"serial": key_of(one.serial), "reason": one.reason}
            events.append(Event("certificate.revoked", gone, at))
    await append(connection, events)
    return True
