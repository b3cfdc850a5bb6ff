"""Seals in the database; every query takes the account."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Case,
    Column,
    ForeignKey,
    LargeBinary,
    Row,
    Select,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core import der
from hashseal_core.algorithms import KeyAlgorithm, SignatureScheme
from hashseal_core.errors import SealNotFound
from hashseal_server.accounts.model import AccountId
from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database, UtcDateTime, metadata, padded
from hashseal_server.pki.foreign_store import digest_of, with_addresses
from hashseal_server.pki.foreign_tables import foreign_certificates
from hashseal_server.pki.imported import RSA_2048_ENDS_AT
from hashseal_server.pki.store import certificates, key_of
from hashseal_server.seals.model import Seal, SealId

seals = Table(
    "seal",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), ForeignKey("account.id"), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(400), nullable=False),
    Column("key_algorithm", String(16), nullable=False),
    Column("scheme", String(16), nullable=False),
    Column("key", Text, nullable=False),
    Column("serial", String(40), ForeignKey("certificate.serial")),
    Column("imported", String(64), ForeignKey("foreign_certificate.digest"), unique=True),
    Column("chain", LargeBinary, nullable=False),
    Column("not_after", UtcDateTime, nullable=False),
)
"""Either `serial`, of a certificate of ours, or `imported`, the digest of another authority's."""
seal_certificates = Table(
    "seal_certificate",
    metadata,
    Column("serial", String(40), ForeignKey("certificate.serial"), primary_key=True),
    Column("seal_id", String(32), ForeignKey("seal.id"), nullable=False, index=True),
    Column("key", Text, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("not_after", UtcDateTime, nullable=False),
    Column("since", UtcDateTime, nullable=False),
)
"""Every certificate of ours that a seal has had: what was signed with it is made again with it."""

appearances = Table(
    "seal_appearance",
    metadata,
    Column("seal_id", String(32), ForeignKey("seal.id"), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("svg", LargeBinary, nullable=False),
    Column("drawn_at", UtcDateTime, nullable=False),
)
"""The picture of a seal, drawn once: fonts and designs may change, it does not."""
_KEEP = text(
    """INSERT INTO seal_appearance (seal_id, digest, svg, drawn_at)
       VALUES (:seal_id, :digest, :svg, :drawn_at) ON CONFLICT (seal_id) DO NOTHING"""
).bindparams(bindparam("svg", type_=LargeBinary), bindparam("drawn_at", type_=UtcDateTime))


class SealStore:
    """Rows in, values out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, seal: Seal, at: datetime, svg: bytes | None = None) -> None:
        """Keep a new seal, with its picture if it is drawn already."""
        async with self._database.write() as connection:
            await insert(connection, seal, at)
            if svg is not None:
                await connection.execute(appearances.insert().values(_picture(seal, svg, at)))

    async def keep_appearance(self, seal: Seal, svg: bytes, at: datetime) -> None:
        """Give a seal of before its picture; one that it got meanwhile stays."""
        async with self._database.write() as connection:
            await connection.execute(_KEEP, _picture(seal, svg, at))

    async def appearance(self, account_id: AccountId, seal_id: str) -> tuple[str, bytes] | None:
        """Digest and SVG of the picture of the account's seal; None when it has none yet."""
        statement = (
            select(appearances.c.digest, appearances.c.svg)
            .join(seals, seals.c.id == appearances.c.seal_id)
            .where(seals.c.account_id == account_id, seals.c.id == seal_id)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        return None if row is None else (row.digest, row.svg)

    async def renew(self, before: Seal, seal: Seal, at: datetime) -> bool:
        """Give a seal another certificate; False when the one of before is no more its own."""
        known = select(seal_certificates.c.serial).where(
            seal_certificates.c.serial == key_of(before.serial)
        )
        state = (
            select(certificates.c.revoked_at)
            .where(certificates.c.serial == key_of(before.serial))
            .with_for_update()
        )
        async with self._database.write() as connection:
            if await connection.scalar(state) is not None:
                return False  # a seal that was stopped stays so
            done = await connection.execute(
                update(seals)
                .where(seals.c.id == seal.id, seals.c.serial == key_of(before.serial))
                .values(
                    key=seal.key,
                    serial=key_of(seal.serial),
                    chain=b"".join(seal.chain),
                    not_after=seal.not_after,
                )
            )
            if done.rowcount != 1:
                return False
            rows = [_certificate(seal, at)]
            if (await connection.execute(known)).first() is None:  # of a program of before 0010
                rows.insert(0, _certificate(before, at))
            await connection.execute(seal_certificates.insert(), rows)
            content: dict[str, object] = {
                "seal": seal.id,
                "serial": key_of(seal.serial),
                "before": key_of(before.serial),
                "new_key": seal.key != before.key,
            }
            await append(connection, [Event("seal.renewed", content, at, seal.account_id)])
        return True

    async def history(self, account_id: AccountId, seal_id: str) -> list[Seal]:
        """The seal with each certificate that it has had, oldest first; its own always last.

        Raises:
            SealNotFound: absent, or another account's.
        """
        now = await self.find(account_id, seal_id)
        statement = (
            select(seal_certificates, certificates.c.revoked_at)
            .join(certificates, certificates.c.serial == seal_certificates.c.serial)
            .where(
                seal_certificates.c.seal_id == seal_id,
                seal_certificates.c.serial != key_of(now.serial),
            )
            .order_by(seal_certificates.c.since, seal_certificates.c.serial)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).all()
        earlier = [
            replace(
                now,
                key=row.key,
                serial=int(row.serial, 16),
                chain=_chain(row.chain),
                not_after=row.not_after,
                revoked_at=row.revoked_at,
            )
            for row in rows
        ]
        return [*earlier, now]

    async def ending(self, *, after: datetime, before: datetime) -> list[datetime]:
        """When the seals end that end between these times and are not revoked, soonest first."""
        end = _end()
        statement = (
            select(end)
            .select_from(seals)
            .outerjoin(certificates, certificates.c.serial == seals.c.serial)
            .outerjoin(foreign_certificates, foreign_certificates.c.digest == seals.c.imported)
            .where(
                certificates.c.revoked_at.is_(None),
                foreign_certificates.c.revoked_at.is_(None),
                end > after,
                end < before,
            )
            .order_by(end)
        )
        async with self._database.read() as connection:
            return list(await connection.scalars(statement))

    async def find(self, account_id: AccountId, seal_id: str) -> Seal:
        """One seal of the account.

        Raises:
            SealNotFound: absent, or another account's.
        """
        statement = _joined().where(seals.c.account_id == account_id, seals.c.id == seal_id)
        found = await self._read(statement)
        if not found:
            raise SealNotFound("this account has no seal with that id", field="seal_id")
        return found[0]

    async def all(self, account_id: AccountId) -> list[Seal]:
        """The account's seals."""
        return await self._read(
            _joined().where(seals.c.account_id == account_id).order_by(seals.c.id)
        )

    async def chain_of(self, certificate: bytes) -> tuple[bytes, ...] | None:
        """The chain of an imported certificate (DER), whoever's it is; None if it was not."""
        statement = select(seals.c.chain).where(seals.c.imported == digest_of(certificate))
        async with self._database.read() as connection:
            chain = await connection.scalar(statement)
        return None if chain is None else _chain(chain)

    async def imported(self, account_id: AccountId, serial: int) -> list[Seal]:
        """The account's seals with this serial number of other authorities, revoked or not."""
        return await self._read(
            _joined().where(
                seals.c.account_id == account_id,
                foreign_certificates.c.serial == format(serial, "x"),
            )
        )

    async def _read(self, statement: Select[Any]) -> list[Seal]:
        """The seals of these rows, each with what is known of its chain."""
        async with self._database.read() as connection:
            found = [_seal(row) for row in await connection.execute(statement)]
            chains = {one.id: [*map(digest_of, one.chain[:-1])] for one in found if one.imported}
            asked = (digest for chain in chains.values() for digest in chain)
            callable_ = await with_addresses(connection, asked)
        return [
            replace(one, provable=callable_.issuperset(chains[one.id])) if one.imported else one
            for one in found
        ]


async def chains_of(
    connection: AsyncConnection, digests: Sequence[str]
) -> Mapping[str, Sequence[bytes]]:
    """The chains (DER) of the seals with these imported certificates; others have none here."""
    if not digests:
        return {}
    statement = select(seals.c.imported, seals.c.chain).where(seals.c.imported.in_(padded(digests)))
    return {row.imported: _chain(row.chain) for row in await connection.execute(statement)}


async def insert(connection: AsyncConnection, seal: Seal, at: datetime) -> None:
    """Keep a new seal, with its audit record."""
    serial = key_of(seal.serial)
    await connection.execute(
        seals.insert().values(
            id=seal.id,
            account_id=seal.account_id,
            kind=seal.kind,
            subject=seal.subject,
            key_algorithm=seal.key_algorithm.value,
            scheme=seal.scheme.value,
            key=seal.key,
            serial=serial if seal.imported is None else None,
            imported=seal.imported,
            chain=b"".join(seal.chain),
            not_after=seal.not_after,
        )
    )
    if seal.imported is None:
        await connection.execute(seal_certificates.insert().values(_certificate(seal, at)))
    content: dict[str, object] = {"seal": seal.id, "serial": serial}
    if seal.imported is not None:
        content["sha256"] = seal.imported
    await append(connection, [Event("seal.created", content, at, seal.account_id)])


def _end() -> Case[datetime]:
    """`Seal.ends_at`."""
    short = literal(RSA_2048_ENDS_AT, UtcDateTime)
    over = and_(seals.c.key_algorithm == KeyAlgorithm.RSA2048.value, seals.c.not_after > short)
    return case((over, short), else_=seals.c.not_after)


def _joined() -> Select[Any]:
    return (
        select(
            seals,
            func.coalesce(certificates.c.revoked_at, foreign_certificates.c.revoked_at).label(
                "revoked_at"
            ),
            func.coalesce(seals.c.serial, foreign_certificates.c.serial).label("number"),
            appearances.c.digest.label("appearance_digest"),
        )
        .outerjoin(certificates, certificates.c.serial == seals.c.serial)
        .outerjoin(foreign_certificates, foreign_certificates.c.digest == seals.c.imported)
        .outerjoin(appearances, appearances.c.seal_id == seals.c.id)
    )


def _seal(row: Row[Any]) -> Seal:
    return Seal(
        id=SealId(row.id),
        account_id=row.account_id,
        kind=row.kind,
        subject=row.subject,
        key_algorithm=KeyAlgorithm(row.key_algorithm),
        scheme=SignatureScheme(row.scheme),
        key=row.key,
        serial=int(row.number, 16),
        chain=_chain(row.chain),
        not_after=row.not_after,
        revoked_at=row.revoked_at,
        imported=row.imported,
        appearance_digest=row.appearance_digest,
    )


def _picture(seal: Seal, svg: bytes, at: datetime) -> dict[str, object]:
    """A row of pictures."""
    digest = hashlib.sha256(svg).hexdigest()
    return {"seal_id": seal.id, "digest": digest, "svg": svg, "drawn_at": at}


def _chain(octets: bytes) -> tuple[bytes, ...]:
    return tuple(element.raw for element in der.elements(octets))


def _certificate(seal: Seal, at: datetime) -> dict[str, object]:
    """A row of the seal's history."""
    return {
        "serial": key_of(seal.serial),
        "seal_id": seal.id,
        "key": seal.key,
        "chain": b"".join(seal.chain),
        "not_after": seal.not_after,
        "since": at,
    }
