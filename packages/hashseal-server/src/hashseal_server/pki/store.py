"""Certificates, CRLs and pre-produced OCSP responses in the database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)

from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database, UtcDateTime, metadata
from hashseal_server.infra.statements import Statement, Steps
from hashseal_server.pki.model import Issued, Role
from hashseal_server.pki.revocation import Revoked

certificates = Table(
    "certificate",
    metadata,
    Column("serial", String(40), primary_key=True),
    Column("role", String(16), nullable=False, index=True),
    Column("issuer", String(16), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("key", Text, nullable=False),
    Column("planned_at", UtcDateTime, nullable=False),
    Column("plan", Text, nullable=False),
    Column("der", LargeBinary),
    Column("not_after", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("reason", String(32)),
)
revocation_lists = Table(
    "revocation_list",
    metadata,
    Column("issuer", String(16), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("der", LargeBinary, nullable=False),
    Column("next_update", UtcDateTime, nullable=False),
)
ocsp_responses = Table(
    "ocsp_response",
    metadata,
    Column("serial", String(40), ForeignKey("certificate.serial"), primary_key=True),
    Column("hash_algorithm", String(8), primary_key=True),
    Column("responder", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("produced_at", UtcDateTime, nullable=False),
    Column("next_update", UtcDateTime, nullable=False, index=True),
)
_STATES = Statement(
    """SELECT c.serial, c.state FROM {rows} JOIN certificate c ON c.serial = r.serial
       ORDER BY c.serial {for SHARE OF c}""",
    {"serial": "text"},
    answers=True,
)
_HEX = "033x"


def key_of(serial: int) -> str:
    """Serial number as it stands in the database: hexadecimal."""
    return format(serial, _HEX)


class PkiStore:
    """Rows in, values out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def plan(
        self, serial: int, role: Role, issuer: str, key: str, subject: str, at: datetime
    ) -> None:
        """Record what is about to be signed; a second use of a serial number is refused."""
        async with self._database.write() as connection:
            await connection.execute(
                certificates.insert().values(
                    serial=key_of(serial),
                    role=role.value,
                    issuer=issuer,
                    state="planned",
                    key=key,
                    planned_at=at,
                    plan=json.dumps({"subject": subject}),
                )
            )

    async def void(self, serial: int) -> None:
        """The planned certificate was not signed."""
        async with self._database.write() as connection:
            await connection.execute(
                update(certificates)
                .where(certificates.c.serial == key_of(serial), certificates.c.state == "planned")
                .values(state="void")
            )

    async def issued(self, serial: int, der: bytes, not_after: datetime, at: datetime) -> None:
        """The planned certificate is there."""
        async with self._database.write() as connection:
            await connection.execute(
                update(certificates)
                .where(certificates.c.serial == key_of(serial))
                .values(state="issued", der=der, not_after=not_after)
            )
            content: dict[str, object] = {
                "serial": key_of(serial),
                "sha256": hashlib.sha256(der).hexdigest(),
            }
            await append(connection, [Event("certificate.issued", content, at)])

    async def revoke(self, serial: int, reason: str, at: datetime) -> bool:
        """Mark as revoked; False when it was not issued or is revoked already.

        What was produced before goes in the same transaction: no replica answers from it again.
        """
        async with self._database.write() as connection:
            done = await connection.execute(
                update(certificates)
                .where(certificates.c.serial == key_of(serial), certificates.c.state == "issued")
                .values(state="revoked", revoked_at=at, reason=reason)
            )
            if done.rowcount != 1:
                return False
            await connection.execute(
                delete(ocsp_responses).where(ocsp_responses.c.serial == key_of(serial))
            )
            content: dict[str, object] = {"serial": key_of(serial), "reason": reason}
            await append(connection, [Event("certificate.revoked", content, at)])
        return True

    async def of_role(self, role: Role) -> list[Issued]:
        """Usable certificates of a role, newest first; the chain holds the certificate alone."""
        statement = (
            select(certificates)
            .where(certificates.c.role == role.value, certificates.c.state == "issued")
            .order_by(certificates.c.planned_at.desc())
        )
        async with self._database.read() as connection:
            return [_issued(row) for row in await connection.execute(statement)]

    async def find(self, serial: int) -> Issued | None:
        """A certificate that was issued, revoked or not."""
        statement = select(certificates).where(
            certificates.c.serial == key_of(serial), certificates.c.der.is_not(None)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        return _issued(row) if row else None

    async def issuer_label(self, serial: int) -> str | None:
        """Which authority issued this serial number."""
        statement = select(certificates.c.issuer).where(
            certificates.c.serial == key_of(serial), certificates.c.der.is_not(None)
        )
        async with self._database.read() as connection:
            return (await connection.execute(statement)).scalar()

    async def revoked(self, issuer: str) -> list[Revoked]:
        """Everything that this authority revoked."""
        statement = (
            select(certificates)
            .where(certificates.c.issuer == issuer, certificates.c.state == "revoked")
            .order_by(certificates.c.revoked_at)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).all()
        return [Revoked(int(row.serial, 16), row.revoked_at, row.reason) for row in rows]

    async def newest_list(self, issuer: str) -> tuple[int, bytes, datetime] | None:
        """Number, DER and nextUpdate of the last CRL."""
        statement = (
            select(revocation_lists)
            .where(revocation_lists.c.issuer == issuer)
            .order_by(revocation_lists.c.number.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        return (row.number, row.der, row.next_update) if row else None

    async def plan_list(self, issuer: str, number: int, content: bytes, at: datetime) -> None:
        """Record the TBSCertList that is about to be signed."""
        recorded: dict[str, object] = {
            "issuer": issuer,
            "number": number,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        async with self._database.write() as connection:
            await append(connection, [Event("revocation-list.planned", recorded, at)])

    async def publish(self, issuer: str, number: int, der: bytes, next_update: datetime) -> bool:
        """Keep a CRL; False when another process has just used that number."""
        async with self._database.write() as connection:
            taken = await connection.scalar(
                select(revocation_lists.c.number).where(
                    revocation_lists.c.issuer == issuer, revocation_lists.c.number >= number
                )
            )
            if taken is not None:
                return False
            await connection.execute(
                revocation_lists.insert().values(
                    issuer=issuer, number=number, der=der, next_update=next_update
                )
            )
        return True


def revoked_among(serials: Iterable[int]) -> Steps[frozenset[int]]:
    """Which of these are revoked; none becomes so before the caller's transaction ends (I11)."""
    rows = yield [(_STATES, [(key,) for key in sorted({key_of(serial) for serial in serials})])]
    return frozenset(int(serial, 16) for serial, state in rows if state == "revoked")


def _issued(row: Row[Any]) -> Issued:
    return Issued(
        serial=int(row.serial, 16),
        role=Role(row.role),
        certificate=row.der,
        key=row.key,
        chain=(row.der,),
        not_after=row.not_after,
        revoked_at=row.revoked_at,
        reason=row.reason,
    )
