"""Requests for certificates of other authorities, and what was brought for them, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKey, LargeBinary, Row, String, Table, Text, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.algorithms import KeyAlgorithm, SignatureScheme
from hashseal_core.errors import InvalidValue, NotFound
from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database, UtcDateTime, metadata
from hashseal_server.pki.foreign_store import confirm, record_chain, require_unrevoked
from hashseal_server.pki.imported import Addresses, Checked
from hashseal_server.seals.model import Request, Seal
from hashseal_server.seals.store import insert, seals

requests = Table(
    "certification_request",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), ForeignKey("account.id"), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("key_algorithm", String(16), nullable=False),
    Column("scheme", String(16), nullable=False),
    Column("key", Text, nullable=False),
    Column("subject", String(400), nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("seal_id", String(32)),
)


class RequestStore:
    """Rows in, values out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, request: Request) -> None:
        """Keep a new request."""
        async with self._database.write() as connection:
            await connection.execute(
                requests.insert().values(
                    id=request.id,
                    account_id=request.account_id,
                    kind=request.kind,
                    key_algorithm=request.key_algorithm.value,
                    scheme=request.scheme.value,
                    key=request.key,
                    subject=request.subject,
                    der=request.der,
                    made_at=request.made_at,
                )
            )
            content: dict[str, object] = {"request": request.id, "subject": request.subject}
            event = Event("certificate.requested", content, request.made_at, request.account_id)
            await append(connection, [event])

    async def find(self, request_id: str) -> Request:
        """One request.

        Raises:
            NotFound: there is none with that id.
        """
        statement = select(requests).where(requests.c.id == request_id)
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            raise NotFound("there is no request with that id; see `credential list`")
        return _request(row)

    async def all(self) -> list[Request]:
        """Every request, oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(requests).order_by(requests.c.made_at))
            return [_request(row) for row in rows]

    async def bring(
        self,
        seal: Seal,
        checked: Checked,
        confirmed: Sequence[Addresses] | None,
        request_id: str | None,
        at: datetime,
    ) -> None:
        """Keep chain, seal and, if given, what is confirmed, and end the request: all or nothing.

        Raises:
            InvalidValue: the certificate is a seal's already, or the request has ended.
            CertificateRefused: the certificate, or one above it, is known as revoked.
        """
        async with self._database.write() as connection:
            digests = await record_chain(connection, checked.chain)
            await require_unrevoked(connection, digests)
            # Whoever brings the same at the same time has waited there.
            taken = await connection.scalar(
                select(seals.c.id).where(seals.c.imported == seal.imported)
            )
            if taken is not None:
                raise InvalidValue(f"this certificate was imported before: seal {taken}")
            if confirmed is not None:
                await confirm(connection, digests[:-1], confirmed, at)
            await insert(connection, seal, at)
            if request_id is not None:
                await _end(connection, request_id, seal)

    async def confirm(
        self, chain: Sequence[bytes], addresses: Sequence[Addresses], at: datetime
    ) -> None:
        """Record that these addresses of a chain may be called; those of the root do not count."""
        async with self._database.write() as connection:
            digests = await record_chain(connection, chain)
            await confirm(connection, digests[:-1], addresses, at)


async def _end(connection: AsyncConnection, request_id: str, seal: Seal) -> None:
    ended = await connection.execute(
        update(requests)
        .where(requests.c.id == request_id, requests.c.seal_id.is_(None))
        .values(seal_id=seal.id)
    )
    if ended.rowcount != 1:
        raise InvalidValue("a certificate was imported for this request before")


def _request(row: Row[Any]) -> Request:
    return Request(
        id=row.id,
        account_id=row.account_id,
        kind=row.kind,
        key_algorithm=KeyAlgorithm(row.key_algorithm),
        scheme=SignatureScheme(row.scheme),
        key=row.key,
        subject=row.subject,
        der=row.der,
        made_at=row.made_at,
        seal_id=row.seal_id,
    )
