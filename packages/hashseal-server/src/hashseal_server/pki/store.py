"""Certificates, CRLs and pre-produced OCSP responses in the database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    bindparam,
    case,
    delete,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database, UtcDateTime, metadata
from hashseal_server.infra.statements import Statement, Steps
from hashseal_server.pki.model import Issued, Planned, Role
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
    Column("label", String(16)),
    Column("invalid_since", UtcDateTime),
)
Index("ix_certificate_label", certificates.c.label, unique=True)
requests = Table(
    "certificate_request",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", Text, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("serial", String(40)),
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
_PUBLISH = text("""
    INSERT INTO revocation_list (issuer, number, der, next_update)
    VALUES (:issuer, :number, :der, :next_update) ON CONFLICT DO NOTHING
""").bindparams(bindparam("der", type_=LargeBinary), bindparam("next_update", type_=UtcDateTime))
_HEX = "033x"


def key_of(serial: int) -> str:
    """Serial number as it stands in the database: hexadecimal."""
    return format(serial, _HEX)


Tell: TypeAlias = Callable[[AsyncConnection, Revoked], Awaitable[None]]
"""What else a revocation records, in its transaction."""


async def _tell_nobody(_connection: AsyncConnection, _revoked: Revoked) -> None:
    pass


class PkiStore:
    """Rows in, values out."""

    def __init__(self, database: Database, tell: Tell = _tell_nobody) -> None:
        self._database = database
        self._tell = tell

    async def plan(self, planned: Planned) -> None:
        """Record what is about to be signed; a second use of a serial number is refused."""
        async with self._database.write() as connection:
            await connection.execute(
                certificates.insert().values(
                    serial=key_of(planned.serial),
                    role=planned.role.value,
                    issuer=planned.issuer,
                    label=planned.label,
                    state="planned",
                    key=planned.key,
                    planned_at=planned.at,
                    plan=json.dumps({"subject": planned.subject}),
                )
            )

    async def void(self, serial: int) -> None:
        """The planned certificate was not signed."""
        async with self._database.write() as connection:
            await connection.execute(
                update(certificates)
                .where(certificates.c.serial == key_of(serial), certificates.c.state == "planned")
                .values(state="void", label=None)
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

    async def revoke(self, revoked: Revoked, *, answered_by: str | None = None) -> bool:
        """Mark as revoked; False when it was not issued or is revoked already.

        What was produced before goes in the same transaction: no replica answers from it again.
        `answered_by` is the authority whose responder this is: all that it said goes.
        """
        serial = key_of(revoked.serial)
        async with self._database.write() as connection:
            done = await connection.execute(
                update(certificates)
                .where(certificates.c.serial == serial, certificates.c.state == "issued")
                .values(
                    state="revoked",
                    revoked_at=revoked.revoked_at,
                    reason=revoked.reason,
                    invalid_since=revoked.invalid_since,
                )
            )
            if done.rowcount != 1:
                return False
            gone = ocsp_responses.c.serial == serial
            if answered_by is not None:
                gone = or_(gone, ocsp_responses.c.responder == answered_by)
            await connection.execute(delete(ocsp_responses).where(gone))
            content: dict[str, object] = {"serial": serial, "reason": revoked.reason}
            if revoked.invalid_since is not None:
                content["invalid_since"] = revoked.invalid_since.isoformat()
            await append(connection, [Event("certificate.revoked", content, revoked.revoked_at)])
            await self._tell(connection, revoked)
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

    async def authorities(self) -> list[Issued]:
        """Roots, issuing authorities and responders, revoked ones too, in the order of planning.

        What was planned in the same moment comes in the order in which one needs the other.
        """
        roles = (Role.ROOT.value, Role.ISSUING.value, Role.RESPONDER.value)
        needed = case({role: place for place, role in enumerate(roles)}, value=certificates.c.role)
        statement = (
            select(certificates)
            .where(certificates.c.role.in_(roles), certificates.c.der.is_not(None))
            .order_by(
                certificates.c.planned_at, needed, certificates.c.label, certificates.c.serial
            )
        )
        async with self._database.read() as connection:
            return [_issued(row) for row in await connection.execute(statement)]

    async def labels(self) -> list[str]:
        """Every label that an authority has, or that one will have which is being made."""
        statement = select(certificates.c.label).where(certificates.c.label.is_not(None))
        old = select(certificates.c.role).where(
            certificates.c.label.is_(None),
            certificates.c.role.in_((Role.ROOT.value, Role.ISSUING.value)),
            certificates.c.state.in_(("issued", "revoked")),
        )
        async with self._database.read() as connection:
            return list(await connection.scalars(union_all(statement, old)))

    async def find(self, serial: int) -> Issued | None:
        """A certificate that was issued, revoked or not."""
        statement = select(certificates).where(
            certificates.c.serial == key_of(serial), certificates.c.der.is_not(None)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        return _issued(row) if row else None

    async def revoked(self, issuer: str) -> list[Revoked]:
        """Everything that this authority revoked."""
        statement = (
            select(certificates)
            .where(certificates.c.issuer == issuer, certificates.c.state == "revoked")
            .order_by(certificates.c.revoked_at)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).all()
        return [
            Revoked(int(row.serial, 16), row.revoked_at, row.reason, row.invalid_since)
            for row in rows
        ]

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

    async def publish(
        self, issuer: str, number: int, der: bytes, next_update: datetime, *, after: int | None
    ) -> bool:
        """Keep a CRL; False if the newest is no longer the one numbered `after`, or none if None.

        Whoever keeps the next one at the same time waits at that row.
        """
        lists = select(revocation_lists.c.number).where(revocation_lists.c.issuer == issuer)
        newer = lists if after is None else lists.where(revocation_lists.c.number > after)
        async with self._database.write() as connection:
            if after is not None:
                await connection.execute(
                    lists.where(revocation_lists.c.number == after).with_for_update()
                )
            if (await connection.execute(newer.limit(1))).first() is not None:
                return False
            done = await connection.execute(
                _PUBLISH,
                {"issuer": issuer, "number": number, "der": der, "next_update": next_update},
            )
            return done.rowcount == 1


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
        issuer=row.issuer,
        label=row.label or "",
    )
