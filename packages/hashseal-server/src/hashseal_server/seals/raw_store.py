"""Raw credentials in the database; every query takes the account."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    Select,
    String,
    Table,
    Text,
    select,
)

from hashseal_core import der
from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import SealNotFound
from hashseal_server.accounts.model import AccountId
from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database, UtcDateTime, metadata
from hashseal_server.pki.store import certificates, key_of
from hashseal_server.seals.raw import RawCredential

raw_credentials = Table(
    "raw_credential",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), ForeignKey("account.id"), nullable=False, index=True),
    Column("subject", String(400), nullable=False),
    Column("key_algorithm", String(16), nullable=False),
    Column("key", Text, nullable=False),
    Column("serial", String(40), ForeignKey("certificate.serial"), nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("not_after", UtcDateTime, nullable=False),
    Column("told_days", Integer),
)
"""`told_days`: so many days before its end the account was last told of it."""


class RawStore:
    """Rows in, values out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, credential: RawCredential, at: datetime) -> None:
        """Keep a new one, with its audit record."""
        serial = key_of(credential.serial)
        async with self._database.write() as connection:
            await connection.execute(
                raw_credentials.insert().values(
                    id=credential.id,
                    account_id=credential.account_id,
                    subject=credential.subject,
                    key_algorithm=credential.key_algorithm.value,
                    key=credential.key,
                    serial=serial,
                    chain=b"".join(credential.chain),
                    not_after=credential.not_after,
                )
            )
            content: dict[str, object] = {"credential": credential.id, "serial": serial}
            event = Event("raw-credential.created", content, at, credential.account_id)
            await append(connection, [event])

    async def find(self, account_id: AccountId, credential_id: str) -> RawCredential:
        """One of the account's.

        Raises:
            SealNotFound: absent, or another account's.
        """
        statement = _joined().where(
            raw_credentials.c.account_id == account_id, raw_credentials.c.id == credential_id
        )
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            raise SealNotFound("this account has no credential with that id", field="credentialID")
        return _credential(row)

    async def all(self, account_id: AccountId) -> list[RawCredential]:
        """The account's."""
        statement = (
            _joined()
            .where(raw_credentials.c.account_id == account_id)
            .order_by(raw_credentials.c.id)
        )
        async with self._database.read() as connection:
            return [_credential(row) for row in await connection.execute(statement)]


def _joined() -> Select[Any]:
    return select(raw_credentials, certificates.c.revoked_at).join(
        certificates, certificates.c.serial == raw_credentials.c.serial
    )


def _credential(row: Row[Any]) -> RawCredential:
    return RawCredential(
        id=row.id,
        account_id=row.account_id,
        subject=row.subject,
        key_algorithm=KeyAlgorithm(row.key_algorithm),
        key=row.key,
        serial=int(row.serial, 16),
        chain=tuple(element.raw for element in der.elements(row.chain)),
        not_after=row.not_after,
        revoked_at=row.revoked_at,
    )
