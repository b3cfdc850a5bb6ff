"""What accounts are told of seals and raw credentials: certificates revoked, or ending soon."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKey,
    Integer,
    Row,
    Select,
    String,
    Table,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_server.events.log import append
from hashseal_server.events.model import CERTIFICATE_EXPIRING, CREDENTIAL_REVOKED, Event
from hashseal_server.infra.db import Database, UtcDateTime, metadata, padded
from hashseal_server.pki.foreign_store import in_parts
from hashseal_server.pki.foreign_tables import foreign_certificates
from hashseal_server.pki.revocation import Revoked
from hashseal_server.pki.store import certificates, key_of
from hashseal_server.seals.raw_store import raw_credentials
from hashseal_server.seals.store import seal_certificates, seals

DAYS = (1, 7, 30)
"""Before the end of a certificate its account is told so many days ahead, once each."""
_BATCH = 100

notices = Table(
    "expiry_notice",
    metadata,
    Column("seal_id", String(32), ForeignKey("seal.id"), primary_key=True),
    Column("certificate", String(64), primary_key=True),
    Column("days", Integer, nullable=False),
    Column("told_at", UtcDateTime, nullable=False),
)
"""`certificate` is a serial number of ours or the digest of an imported one."""
_TOLD = text("""
    INSERT INTO expiry_notice (seal_id, certificate, days, told_at)
    VALUES (:seal_id, :certificate, :days, :told_at)
    ON CONFLICT (seal_id, certificate) DO UPDATE SET
        days = excluded.days, told_at = excluded.told_at
    WHERE expiry_notice.days > excluded.days
    RETURNING days
""").bindparams(bindparam("told_at", type_=UtcDateTime))


def days_ahead(left: timedelta) -> int | None:
    """Which notice is due when so much is left; None when none is."""
    if left <= timedelta(0):
        return None
    return next((days for days in DAYS if left <= timedelta(days=days)), None)


async def certificate_revoked(connection: AsyncConnection, revoked: Revoked) -> None:
    """Tell the account whose credential has or had it, in the revocation's transaction."""
    serial = key_of(revoked.serial)
    earlier = select(seal_certificates.c.seal_id).where(seal_certificates.c.serial == serial)
    owner = select(seals.c.id, seals.c.account_id, seals.c.serial).where(
        or_(seals.c.serial == serial, seals.c.id.in_(earlier))
    )
    raw = select(raw_credentials.c.id, raw_credentials.c.account_id).where(
        raw_credentials.c.serial == serial
    )
    told = [
        (row.account_id, {"seal_id": row.id, "current": row.serial == serial})
        for row in await connection.execute(owner)
    ]
    told += [
        (row.account_id, {"credential_id": row.id, "current": True})
        for row in await connection.execute(raw)
    ]
    data = {
        "serial": format(revoked.serial, "x"),
        "reason": revoked.reason,
        "revoked_at": revoked.revoked_at,
    }
    await append(
        connection,
        [
            Event(account_id, CREDENTIAL_REVOKED, revoked.revoked_at, {**which, **data})
            for account_id, which in told
        ],
    )


async def imported_revoked(
    connection: AsyncConnection, stopped: Sequence[tuple[str, str]], at: datetime
) -> None:
    """Tell the accounts whose seals have these imported certificates: digest and reason."""
    reasons = dict(stopped)
    owners = select(
        seals.c.id, seals.c.account_id, seals.c.imported, foreign_certificates.c.serial
    ).join(foreign_certificates, foreign_certificates.c.digest == seals.c.imported)
    rows = [
        row
        for part in in_parts([*reasons])
        for row in await connection.execute(owners.where(seals.c.imported.in_(padded(part))))
    ]
    await append(
        connection,
        [
            Event(
                row.account_id,
                CREDENTIAL_REVOKED,
                at,
                {
                    "seal_id": row.id,
                    "serial": row.serial,
                    "reason": reasons[row.imported],
                    "revoked_at": at,
                    "current": True,
                },
            )
            for row in sorted(rows, key=lambda row: row.id)
        ],
    )


class ExpiryWatch:
    """Who is told that a certificate ends."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def piece(self, at: datetime, _ended: str | None) -> str | None:
        """Tell accounts whose certificates end soon; a piece of background work.

        Raises:
            StorageUnavailable: later, then.
        """
        async with self._database.read() as connection:
            rows = (await connection.execute(_due(at))).all()
            raw = (await connection.execute(_raw_due(at))).all()
        for row in rows:
            await self._tell(row, at)
        for row in raw:
            await self._tell_raw(row, at)
        return "on" if _BATCH in {len(rows), len(raw)} else None

    async def _tell(self, row: Row[Any], at: datetime) -> None:
        days = days_ahead(row.not_after - at)
        if days is None:
            return
        values = {"seal_id": row.id, "certificate": row.certificate, "days": days, "told_at": at}
        data = {"seal_id": row.id, **_ending(row.number, row.not_after, days)}
        async with self._database.write() as connection:
            if (await connection.execute(_TOLD, values)).first() is not None:
                await append(connection, [Event(row.account_id, CERTIFICATE_EXPIRING, at, data)])

    async def _tell_raw(self, row: Row[Any], at: datetime) -> None:
        days = days_ahead(row.not_after - at)
        if days is None:
            return
        data = {"credential_id": row.id, **_ending(row.serial, row.not_after, days)}
        before = raw_credentials.c.told_days
        own = update(raw_credentials).where(
            raw_credentials.c.id == row.id, or_(before.is_(None), before > days)
        )
        async with self._database.write() as connection:
            if (await connection.execute(own.values(told_days=days))).rowcount:
                await append(connection, [Event(row.account_id, CERTIFICATE_EXPIRING, at, data)])


def _ending(serial: str, not_after: datetime, days: int) -> dict[str, object]:
    return {"serial": format(int(serial, 16), "x"), "valid_until": not_after, "days": days}


def _reached(not_after: ColumnElement[datetime], at: datetime) -> ColumnElement[int]:
    """The nearest mark that has come."""
    return case(*((not_after <= at + timedelta(days=days), days) for days in DAYS), else_=None)


def _due(at: datetime) -> Select[Any]:
    """Seals that end soon, are not revoked, and whose account was not told of this many days."""
    certificate = func.coalesce(seals.c.serial, seals.c.imported)
    return (
        select(
            seals.c.id,
            seals.c.account_id,
            seals.c.not_after,
            certificate.label("certificate"),
            func.coalesce(seals.c.serial, foreign_certificates.c.serial).label("number"),
        )
        .outerjoin(certificates, certificates.c.serial == seals.c.serial)
        .outerjoin(foreign_certificates, foreign_certificates.c.digest == seals.c.imported)
        .outerjoin(
            notices,
            and_(notices.c.seal_id == seals.c.id, notices.c.certificate == certificate),
        )
        .where(
            certificates.c.revoked_at.is_(None),
            foreign_certificates.c.revoked_at.is_(None),
            seals.c.not_after > at,
            seals.c.not_after <= at + timedelta(days=DAYS[-1]),
            or_(notices.c.days.is_(None), notices.c.days > _reached(seals.c.not_after, at)),
        )
        .order_by(seals.c.not_after, seals.c.id)
        .limit(_BATCH)
    )


def _raw_due(at: datetime) -> Select[Any]:
    """The same of raw credentials, each of which has one certificate in its life."""
    raw = raw_credentials.c
    return (
        select(raw.id, raw.account_id, raw.serial, raw.not_after)
        .join(certificates, certificates.c.serial == raw.serial)
        .where(
            certificates.c.revoked_at.is_(None),
            raw.not_after > at,
            raw.not_after <= at + timedelta(days=DAYS[-1]),
            or_(raw.told_days.is_(None), raw.told_days > _reached(raw.not_after, at)),
        )
        .order_by(raw.not_after, raw.id)
        .limit(_BATCH)
    )
