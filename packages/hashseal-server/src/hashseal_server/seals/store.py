"""Seals in the database; every query takes the account."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKey, LargeBinary, Row, Select, String, Table, Text, select

from hashseal_core import der
from hashseal_core.algorithms import KeyAlgorithm, SignatureScheme
from hashseal_core.errors import SealNotFound
from hashseal_server.accounts.model import AccountId
from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database, UtcDateTime, metadata
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
    Column("serial", String(40), ForeignKey("certificate.serial"), nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("not_after", UtcDateTime, nullable=False),
)


class SealStore:
    """Rows in, values out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, seal: Seal, at: datetime) -> None:
        """Keep a new seal."""
        async with self._database.write() as connection:
            await connection.execute(
                seals.insert().values(
                    id=seal.id,
                    account_id=seal.account_id,
                    kind=seal.kind,
                    subject=seal.subject,
                    key_algorithm=seal.key_algorithm.value,
                    scheme=seal.scheme.value,
                    key=seal.key,
                    serial=key_of(seal.serial),
                    chain=b"".join(seal.chain),
                    not_after=seal.not_after,
                )
            )
            content: dict[str, object] = {"seal": seal.id, "serial": key_of(seal.serial)}
            await append(connection, [Event("seal.created", content, at, seal.account_id)])

    async def find(self, account_id: AccountId, seal_id: str) -> Seal:
        """One seal of the account.

        Raises:
            SealNotFound: absent, or another account's.
        """
        statement = _joined().where(seals.c.account_id == account_id, seals.c.id == seal_id)
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            raise SealNotFound("this account has no seal with that id", field="seal_id")
        return _seal(row)

    async def all(self, account_id: AccountId) -> list[Seal]:
        """The account's seals."""
        statement = _joined().where(seals.c.account_id == account_id).order_by(seals.c.id)
        async with self._database.read() as connection:
            return [_seal(row) for row in await connection.execute(statement)]


def _joined() -> Select[Any]:
    return select(seals, certificates.c.state).join(
        certificates, certificates.c.serial == seals.c.serial
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
        serial=int(row.serial, 16),
        chain=tuple(element.raw for element in der.elements(row.chain)),
        not_after=row.not_after,
        revoked=row.state == "revoked",
    )
